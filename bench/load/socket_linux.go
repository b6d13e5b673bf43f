package load

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Socket is a UDP socket of IPv4 that is bound to a port of no address, so that it has every address of the host: where a datagram goes to, and comes from, is told
// by IP_PKTINFO. Up to 64 datagrams, of as many addresses, cross the border to the kernel in one call. One goroutine.
type Socket struct {
	Lost    uint64 // dropped by the kernel, at the socket
	Refused uint64 // that the kernel did not send

	fd      int
	in, out mmsg
	fill    int    // of out
	seen    uint32 // of Lost, as the kernel last said
}

const (
	packets      = 64
	socketBuffer = 16 << 20
	controlSpace = 64 // of IP_PKTINFO and SO_RXQ_OVFL
)

// mmsg are the arguments of recvmmsg or sendmmsg.
type mmsg struct {
	hdrs    [packets]mmsghdr
	iovs    [packets]unix.Iovec
	names   [packets]unix.RawSockaddrInet4
	control [packets][controlSpace]byte
	bufs    [packets][]byte
}

type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// init makes room for datagrams of so many octets.
func (v *mmsg) init(size int) {
	all := make([]byte, packets*size)
	for i := range v.hdrs {
		v.bufs[i] = all[i*size:][:size:size]
		v.iovs[i].Base = &v.bufs[i][0]
		v.iovs[i].SetLen(size)
		h := &v.hdrs[i].hdr
		h.Name, h.Namelen = (*byte)(unsafe.Pointer(&v.names[i])), unix.SizeofSockaddrInet4
		h.Iov = &v.iovs[i]
		h.SetIovlen(1)
		h.Control = &v.control[i][0]
	}
}

// OpenSocket opens one for datagrams of up to so many octets.
func OpenSocket(port uint16, size int) (*Socket, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	for _, o := range []struct{ level, name, value int }{
		{unix.IPPROTO_IP, unix.IP_PKTINFO, 1}, {unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1},
		{unix.SOL_SOCKET, unix.SO_RCVBUF, socketBuffer}, {unix.SOL_SOCKET, unix.SO_SNDBUF, socketBuffer},
	} {
		if err = unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			break
		}
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketBuffer) // more than the system's limit, for those who may
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, socketBuffer)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: int(port)})
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	s := &Socket{fd: fd}
	s.in.init(size)
	s.out.init(size)
	return s, nil
}

// Next is the room for the next datagram. Send then says how long it is, where from and where to.
func (s *Socket) Next() []byte {
	if s.fill == packets {
		s.Flush()
	}
	return s.out.bufs[s.fill]
}

// Send takes what stands in Next; it leaves with Flush, or when 64 are there.
func (s *Socket) Send(n int, from, to netip.AddrPort) {
	v, i := &s.out, s.fill
	s.fill++
	v.iovs[i].SetLen(n)
	v.names[i] = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: to.Port()<<8 | to.Port()>>8, Addr: to.Addr().As4()}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&v.control[i][0]))
	h.Level, h.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
	h.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
	*(*unix.Inet4Pktinfo)(unsafe.Pointer(&v.control[i][unix.CmsgLen(0)])) = unix.Inet4Pktinfo{Spec_dst: from.Addr().As4()}
	v.hdrs[i].hdr.SetControllen(unix.CmsgSpace(unix.SizeofInet4Pktinfo))
}

// Flush sends what was gathered. What the kernel refuses is lost, as it would be in the network, and counted.
func (s *Socket) Flush() {
	for sent := 0; sent < s.fill; {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.out.hdrs[sent])), uintptr(s.fill-sent), 0, 0, 0)
		switch errno {
		case 0:
			sent += int(n)
		case unix.EINTR:
		case unix.ECONNREFUSED: // of a packet before: nobody listens there any more. It was lost, and this one is tried again
		default:
			s.Refused++
			sent++
		}
	}
	s.fill = 0
}

// Read takes up to 64 datagrams of what the socket holds, and says how many.
func (s *Socket) Read() (int, error) {
	for i := range s.in.hdrs {
		s.in.hdrs[i].hdr.SetControllen(controlSpace)
	}
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.in.hdrs[0])), packets, unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EAGAIN:
			return 0, nil
		case unix.EINTR, unix.ECONNREFUSED:
		default:
			return 0, errno
		}
	}
}

// Got is datagram number i of a Read, valid until the next: which address it came to, and from where. whole is false if it was longer than the room.
func (s *Socket) Got(i int) (to netip.Addr, from netip.AddrPort, b []byte, whole bool) {
	h := &s.in.hdrs[i].hdr
	control := s.in.control[i][:h.Controllen]
	for len(control) >= unix.CmsgLen(0) {
		c := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
		length := int(c.Len)
		if length < unix.CmsgLen(0) || length > len(control) {
			break
		}
		data := control[unix.CmsgLen(0):length]
		switch {
		case c.Level == unix.IPPROTO_IP && c.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			to = netip.AddrFrom4([4]byte(data[8:12]))
		case c.Level == unix.SOL_SOCKET && c.Type == unix.SO_RXQ_OVFL && len(data) >= 4:
			total := binary.NativeEndian.Uint32(data)
			s.Lost += uint64(total - s.seen)
			s.seen = total
		}
		control = control[min((length+7)&^7, len(control)):]
	}
	name := &s.in.names[i]
	return to, netip.AddrPortFrom(netip.AddrFrom4(name.Addr), name.Port<<8|name.Port>>8), s.in.bufs[i][:s.in.hdrs[i].n], h.Flags&unix.MSG_TRUNC == 0
}

// Close closes it.
func (s *Socket) Close() { _ = unix.Close(s.fd) }
