package load

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// packetWire lets all UEs of a worker share some sockets, one for each port, that are bound to no address: where a datagram goes to, and comes
// from, is told by IP_PKTINFO. So a hundred thousand UEs have an address each and need no hundred thousand sockets, and 64 datagrams
// of as many UEs cross the border to the kernel in one call.
type packetWire struct {
	clients     Clients
	first, step int // UE number i of the worker is number first + i*step of all
	base        uint32
	sockets     []*packetSocket // by port
	polled      []unix.PollFd
	lost        uint64
	opener      func(i int32, from netip.AddrPort, data []byte) ([]byte, bool) // nil: what comes is in clear
}

type packetSocket struct {
	fd      int
	in, out mmsg
	fill    int // of out
	seen    uint32
	refused uint64
}

const (
	packets      = 64
	maxPacket    = 8192
	socketBuffer = 8 << 20
	controlSpace = 64 // of IP_PKTINFO and SO_RXQ_OVFL
)

type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// mmsg are the arguments of recvmmsg and sendmmsg.
type mmsg struct {
	hdrs    [packets]mmsghdr
	iovs    [packets]unix.Iovec
	names   [packets]unix.RawSockaddrInet4
	control [packets][controlSpace]byte
	bufs    [packets][maxPacket]byte
}

func (v *mmsg) init() {
	for i := range v.hdrs {
		h := &v.hdrs[i].hdr
		h.Name, h.Namelen = (*byte)(unsafe.Pointer(&v.names[i])), unix.SizeofSockaddrInet4
		h.Iov = &v.iovs[i]
		h.SetIovlen(1)
		h.Control = &v.control[i][0]
		v.iovs[i].Base = &v.bufs[i][0]
	}
}

func newPacketWire(c Clients, first, step, workers int) (_ *packetWire, err error) {
	a := c.Addresses.Masked().Addr().As4()
	w := &packetWire{clients: c, first: first, step: step, base: binary.BigEndian.Uint32(a[:])}
	if c.Addresses.Bits() < 31 {
		w.base++
	}
	w.sockets = make([]*packetSocket, c.Ports)
	for port := first % workers; port < c.Ports; port += workers {
		s, err := openPacketSocket(c.FirstPort + uint16(port))
		if err != nil {
			return nil, fmt.Errorf("UDP port %d: %w", int(c.FirstPort)+port, joinClose(err, w))
		}
		w.sockets[port] = s
		w.polled = append(w.polled, unix.PollFd{Fd: int32(s.fd), Events: unix.POLLIN})
	}
	return w, nil
}

func joinClose(err error, w *packetWire) error {
	_ = w.close()
	return err
}

func openPacketSocket(port uint16) (*packetSocket, error) {
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
	s := &packetSocket{fd: fd}
	s.in.init()
	s.out.init()
	for i := range s.in.iovs {
		s.in.iovs[i].SetLen(maxPacket)
	}
	return s, nil
}

func (w *packetWire) send(u *ue, _ int32, b []byte) { w.sendTo(u.addr, u.proxy, b) }

func (w *packetWire) sendTo(from, to netip.AddrPort, b []byte) {
	s := w.sockets[from.Port()-w.clients.FirstPort]
	if s.fill == packets {
		s.flush()
	}
	i := s.fill
	s.fill++
	v := &s.out
	v.iovs[i].SetLen(copy(v.bufs[i][:], b))
	v.names[i] = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: to.Port()<<8 | to.Port()>>8, Addr: to.Addr().As4()}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&v.control[i][0]))
	h.Level, h.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
	h.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
	*(*unix.Inet4Pktinfo)(unsafe.Pointer(&v.control[i][unix.CmsgLen(0)])) = unix.Inet4Pktinfo{Spec_dst: from.Addr().As4()}
	v.hdrs[i].hdr.SetControllen(unix.CmsgSpace(unix.SizeofInet4Pktinfo))
}

// flush sends what was gathered. What the kernel refuses is lost, as it would be in the network, and counted.
func (s *packetSocket) flush() {
	for sent := 0; sent < s.fill; {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.out.hdrs[sent])), uintptr(s.fill-sent), 0, 0, 0)
		switch errno {
		case 0:
			sent += int(n)
		case unix.EINTR:
		default:
			s.refused++
			sent++
		}
	}
	s.fill = 0
}

func (w *packetWire) flush() error {
	for _, s := range w.sockets {
		if s != nil && s.fill > 0 {
			s.flush()
		}
	}
	return nil
}

func (w *packetWire) poll(wait time.Duration, receive func(i int32, data []byte)) error {
	timeout := unix.NsecToTimespec(int64(wait))
	if _, err := unix.Ppoll(w.polled, &timeout, nil); err != nil && err != unix.EINTR {
		return err
	}
	for port, s := range w.sockets {
		if s == nil {
			continue
		}
		for {
			n, err := s.read()
			if err != nil {
				return err
			}
			for i := range n {
				at, ok := w.index(s, i, port)
				data := s.in.bufs[i][:s.in.hdrs[i].n]
				if ok && w.opener != nil {
					name := &s.in.names[i]
					data, ok = w.opener(at, netip.AddrPortFrom(netip.AddrFrom4(name.Addr), name.Port<<8|name.Port>>8), data)
				}
				if ok {
					receive(at, data)
				}
			}
			if n < packets/2 {
				break
			}
			_ = w.flush()
		}
	}
	return nil
}

// read takes what the socket holds.
func (s *packetSocket) read() (int, error) {
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

// index finds the UE that datagram number i of a batch is for.
func (w *packetWire) index(s *packetSocket, i, port int) (int32, bool) {
	h := &s.in.hdrs[i].hdr
	control := s.in.control[i][:h.Controllen]
	at, found := 0, false
	for len(control) >= unix.CmsgLen(0) {
		c := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
		length := int(c.Len)
		if length < unix.CmsgLen(0) || length > len(control) {
			break
		}
		data := control[unix.CmsgLen(0):length]
		switch {
		case c.Level == unix.IPPROTO_IP && c.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			at, found = int(binary.BigEndian.Uint32(data[8:12])-w.base)*w.clients.Ports+port-w.first, true
		case c.Level == unix.SOL_SOCKET && c.Type == unix.SO_RXQ_OVFL && len(data) >= 4:
			total := binary.NativeEndian.Uint32(data)
			w.lost += uint64(total - s.seen)
			s.seen = total
		}
		control = control[min((length+7)&^7, len(control)):]
	}
	return int32(at / w.step), found && at >= 0 && h.Flags&unix.MSG_TRUNC == 0
}

func (w *packetWire) reliable() bool { return false }

func (w *packetWire) drops() uint64 {
	n := w.lost
	for _, s := range w.sockets {
		if s != nil {
			n += s.refused
		}
	}
	return n
}

func (w *packetWire) close() error {
	for _, s := range w.sockets {
		if s != nil {
			_ = unix.Close(s.fd)
		}
	}
	return nil
}
