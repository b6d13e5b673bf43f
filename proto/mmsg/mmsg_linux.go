package mmsg

import (
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls here never wait (MSG_DONTWAIT), so they are made without telling Go's scheduler: told, it would take the processor from a thread that is
// 20 us in a burst, give it to another that has nothing to do, and look again every 20 us.

// mmsghdr is struct mmsghdr of the kernel; the compiler pads it as C does.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// vector is the argument of both calls: headers that point at names (addresses) and buffers.
type vector struct {
	hdrs  []mmsghdr
	iovs  []unix.Iovec
	names []unix.RawSockaddrInet6 // long enough for an IPv4 address as well
}

func newVector(n int) vector {
	v := vector{make([]mmsghdr, n), make([]unix.Iovec, n), make([]unix.RawSockaddrInet6, n)}
	for i := range v.hdrs {
		h := &v.hdrs[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&v.names[i]))
		h.Iov = &v.iovs[i]
		h.SetIovlen(1)
	}
	return v
}

// rawOf is the way to the descriptor of a socket; nil for any other conn.
func rawOf(conn any) syscall.RawConn {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// Reader reads datagrams from a socket into its buffers. One goroutine at a time.
type Reader struct {
	v     vector
	raw   syscall.RawConn
	stamp []byte // control message of the first datagram: when it came

	try func(fd uintptr) bool // made once: a closure for each call would be an allocation. What it works on follows
	got int
	err error
}

// NewReader makes the Reader of a socket, which fills bufs from their start. It reports false where there is none.
func NewReader(conn any, bufs [][]byte) (*Reader, bool) {
	raw := rawOf(conn)
	if raw == nil {
		return nil, false
	}
	r := &Reader{v: newVector(len(bufs)), raw: raw}
	for i, p := range bufs {
		r.v.iovs[i].Base = &p[0]
		r.v.iovs[i].SetLen(len(p))
	}
	r.try = r.tryRead
	return r, true
}

// Stamp asks the kernel to say when datagrams come. Where it cannot, Came says nothing.
func (r *Reader) Stamp() {
	_ = r.raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) })
	r.stamp = make([]byte, 64)
	r.v.hdrs[0].hdr.Control = &r.stamp[0]
}

// Read waits for datagrams and returns how many it took, at least one, or the error of the socket.
func (r *Reader) Read() (int, error) {
	r.err = nil
	if err := r.raw.Read(r.try); err != nil {
		return 0, err
	}
	return r.got, r.err
}

// tryRead takes what the socket holds; false makes the run time wait until there is something.
func (r *Reader) tryRead(fd uintptr) bool {
	hdrs := r.v.hdrs
	for i := range hdrs {
		hdrs[i].hdr.Namelen = unix.SizeofSockaddrInet6
	}
	hdrs[0].hdr.SetControllen(len(r.stamp))
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&hdrs[0])), uintptr(len(hdrs)), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			r.got = int(n)
			return true
		case unix.EAGAIN:
			return false
		case unix.EINTR:
		default:
			r.got, r.err = 0, errno
			return true
		}
	}
}

// Size is how many octets datagram i of the last Read has, at most as many as its buffer.
func (r *Reader) Size(i int) int { return int(r.v.hdrs[i].n) }

// From is where datagram i of the last Read came from.
func (r *Reader) From(i int) netip.AddrPort { return peerOf(&r.v.names[i]) }

// Cut reports whether datagram i of the last Read was longer than its buffer.
func (r *Reader) Cut(i int) bool { return r.v.hdrs[i].hdr.Flags&unix.MSG_TRUNC != 0 }

// Came is when the kernel had the first datagram of the last Read, the oldest, in nanoseconds of the time of day; 0 if it did not say.
func (r *Reader) Came() int64 {
	const header, size = unix.SizeofCmsghdr, int(unsafe.Sizeof(unix.Timespec{}))
	if int(r.v.hdrs[0].hdr.Controllen) < header+size {
		return 0
	}
	c := (*unix.Cmsghdr)(unsafe.Pointer(&r.stamp[0]))
	if c.Level != unix.SOL_SOCKET || c.Type != unix.SCM_TIMESTAMPNS {
		return 0
	}
	return (*unix.Timespec)(unsafe.Pointer(&r.stamp[header])).Nano()
}

// Writer sends datagrams by a socket. One goroutine at a time.
type Writer struct {
	v   vector
	raw syscall.RawConn

	try          func(fd uintptr) bool
	first, count int // what is to be sent yet
	err          error
}

// NewWriter makes the Writer of a socket, for so many datagrams at a time. It reports false where there is none.
func NewWriter(conn any, datagrams int) (*Writer, bool) {
	raw := rawOf(conn)
	if raw == nil {
		return nil, false
	}
	w := &Writer{v: newVector(datagrams), raw: raw}
	w.try = w.tryWrite
	return w, true
}

// Room is how many datagrams one Send takes.
func (w *Writer) Room() int { return len(w.v.hdrs) }

// Set lays datagram i out: p is read by Send.
func (w *Writer) Set(i int, p []byte, to netip.AddrPort) {
	w.v.iovs[i].Base = unsafe.SliceData(p)
	w.v.iovs[i].SetLen(len(p))
	w.v.hdrs[i].hdr.Namelen = setPeer(&w.v.names[i], to)
}

// Send gives datagrams from to below end to the kernel, without waiting. It returns how many it took. With an error the first of the others is what it
// refused; without one it may be called again with the rest.
func (w *Writer) Send(from, end int) (sent int, err error) {
	w.first, w.count, w.err = from, end, nil
	if err := w.raw.Write(w.try); err != nil {
		return 0, err
	}
	return w.first - from, w.err
}

// tryWrite sends as many messages as the socket takes; it never asks the run time to wait.
func (w *Writer) tryWrite(fd uintptr) bool {
	hdrs := w.v.hdrs[w.first:w.count]
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&hdrs[0])), uintptr(len(hdrs)), unix.MSG_DONTWAIT, 0, 0)
	switch errno {
	case 0:
		w.first += int(n)
	case unix.EINTR:
	default:
		w.err = errno // the first message failed; those before it were sent by the call before
	}
	return true
}

// peerOf reads a socket address of the kernel.
func peerOf(sa *unix.RawSockaddrInet6) netip.AddrPort {
	port := ntohs(sa.Port)
	if sa.Family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(sa)).Addr), port)
	}
	a := netip.AddrFrom16(sa.Addr).Unmap()
	if sa.Scope_id != 0 {
		a = a.WithZone(strconv.Itoa(int(sa.Scope_id)))
	}
	return netip.AddrPortFrom(a, port)
}

// setPeer writes a socket address for the kernel and returns its length.
func setPeer(sa *unix.RawSockaddrInet6, peer netip.AddrPort) uint32 {
	a := peer.Addr()
	if a.Is4() {
		*(*unix.RawSockaddrInet4)(unsafe.Pointer(sa)) = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: ntohs(peer.Port()), Addr: a.As4()}
		return unix.SizeofSockaddrInet4
	}
	*sa = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: ntohs(peer.Port()), Addr: a.As16()}
	if z := a.Zone(); z != "" {
		if n, err := strconv.ParseUint(z, 10, 32); err == nil {
			sa.Scope_id = uint32(n)
		} else if i, err := net.InterfaceByName(z); err == nil {
			sa.Scope_id = uint32(i.Index)
		}
	}
	return unix.SizeofSockaddrInet6
}

// ntohs turns network order into host order and back.
func ntohs(v uint16) uint16 {
	p := (*[2]byte)(unsafe.Pointer(&v))
	return uint16(p[0])<<8 | uint16(p[1])
}
