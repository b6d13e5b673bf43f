package media

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// wire is the one socket of all ends: bound to a port of no address, so that it has every address of loopback.
type wire struct {
	fd      int
	in, out vector
	fill    int    // of out
	seen    uint32 // what the kernel has dropped, as it last said
	lost    uint64 // by the generator's host: at the socket, or because it refused to send
}

const (
	packets      = 64
	maxPacket    = 512
	socketBuffer = 16 << 20
	controlSpace = 64 // of IP_PKTINFO and SO_RXQ_OVFL
)

type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// vector is the arguments of recvmmsg or sendmmsg.
type vector struct {
	hdrs    [packets]mmsghdr
	iovs    [packets]unix.Iovec
	names   [packets]unix.RawSockaddrInet4
	control [packets][controlSpace]byte
	bufs    [packets][maxPacket]byte
}

func (v *vector) init() {
	for i := range v.hdrs {
		h := &v.hdrs[i].hdr
		h.Name, h.Namelen = (*byte)(unsafe.Pointer(&v.names[i])), unix.SizeofSockaddrInet4
		h.Iov = &v.iovs[i]
		h.SetIovlen(1)
		h.Control = &v.control[i][0]
		v.iovs[i].Base = &v.bufs[i][0]
		v.iovs[i].SetLen(maxPacket)
	}
}

func openWire(port uint16) (*wire, error) {
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
	w := &wire{fd: fd}
	w.in.init()
	w.out.init()
	return w, nil
}

// next is the buffer of the next packet to send. send then says how long it is, where from and where to.
func (w *wire) next() []byte {
	if w.fill == packets {
		w.flush()
	}
	return w.out.bufs[w.fill][:]
}

func (w *wire) send(n int, from, to netip.AddrPort) {
	v, i := &w.out, w.fill
	w.fill++
	v.iovs[i].SetLen(n)
	v.names[i] = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: to.Port()<<8 | to.Port()>>8, Addr: to.Addr().As4()}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&v.control[i][0]))
	h.Level, h.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
	h.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
	*(*unix.Inet4Pktinfo)(unsafe.Pointer(&v.control[i][unix.CmsgLen(0)])) = unix.Inet4Pktinfo{Spec_dst: from.Addr().As4()}
	v.hdrs[i].hdr.SetControllen(unix.CmsgSpace(unix.SizeofInet4Pktinfo))
}

// flush sends what was gathered.
func (w *wire) flush() {
	for sent := 0; sent < w.fill; {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(w.fd), uintptr(unsafe.Pointer(&w.out.hdrs[sent])), uintptr(w.fill-sent), 0, 0, 0)
		switch errno {
		case 0:
			sent += int(n)
		case unix.EINTR:
		case unix.ECONNREFUSED: // of a packet before: nobody listens there any more. It was lost, and this one is tried again
		default:
			w.lost++
			sent++
		}
	}
	w.fill = 0
}

// read takes up to 64 packets of what the socket holds.
func (w *wire) read() (int, error) {
	for i := range w.in.hdrs {
		w.in.hdrs[i].hdr.SetControllen(controlSpace)
	}
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(w.fd), uintptr(unsafe.Pointer(&w.in.hdrs[0])), packets, unix.MSG_DONTWAIT, 0, 0)
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

// got is packet number i of a read: which address it came to, and from where.
func (w *wire) got(i int) (to netip.Addr, from netip.AddrPort, b []byte) {
	h := &w.in.hdrs[i].hdr
	control := w.in.control[i][:h.Controllen]
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
			w.lost += uint64(total - w.seen)
			w.seen = total
		}
		control = control[min((length+7)&^7, len(control)):]
	}
	name := &w.in.names[i]
	return to, netip.AddrPortFrom(netip.AddrFrom4(name.Addr), name.Port<<8|name.Port>>8), w.in.bufs[i][:w.in.hdrs[i].n]
}

func (w *wire) close() { _ = unix.Close(w.fd) }

// sleep waits, in the system call: the thread is the generator's own. What a timer may be late by is set to nothing.
func sleep(ns int64) {
	t := unix.NsecToTimespec(ns)
	_, _, _ = unix.RawSyscall6(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, 0, uintptr(unsafe.Pointer(&t)), 0, 0, 0)
}

// exact takes the slack off the timers of this thread.
func exact() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) }

// threadCPU is what this thread has used, in ns.
func threadCPU() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t)
	return t.Nano()
}
