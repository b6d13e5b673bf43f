package siptransport

import (
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// This file holds the system calls recvmmsg and sendmmsg. golang.org/x/net offers them too, but allocates an address per
// datagram; here addresses stay values. Neither waits (MSG_DONTWAIT), so they are made without telling Go's scheduler: told, it would take the
// processor from a thread that is 20 us in a burst, give it to another that has nothing to do, and look again every 20 us.

// mmsghdr is struct mmsghdr of the kernel; the compiler pads it as C does.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// vector is the argument of recvmmsg and sendmmsg: headers that point at names (addresses) and buffers.
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

// readVector is the vector of a batch.
type readVector struct {
	vector
	stamp [64]byte // control message of the first datagram: when it came
}

func (v *readVector) init(b *batch) {
	v.vector = newVector(len(b.bufs))
	for i, p := range b.bufs {
		v.iovs[i].Base = &p[0]
		v.iovs[i].SetLen(len(p))
	}
	v.hdrs[0].hdr.Control = &v.stamp[0]
}

// came is when the kernel had the first datagram, in nanoseconds of the time of day; 0 if it does not say.
func (v *readVector) came() int64 {
	h := &v.hdrs[0].hdr
	const header, size = unix.SizeofCmsghdr, int(unsafe.Sizeof(unix.Timespec{}))
	if int(h.Controllen) < header+size {
		return 0
	}
	c := (*unix.Cmsghdr)(unsafe.Pointer(&v.stamp[0]))
	if c.Level != unix.SOL_SOCKET || c.Type != unix.SCM_TIMESTAMPNS {
		return 0
	}
	return (*unix.Timespec)(unsafe.Pointer(&v.stamp[header])).Nano()
}

// mmsgIO is packetIO for a UDP socket.
type mmsgIO struct {
	d   *Datagrams
	raw syscall.RawConn

	// The call-backs of raw are made once: a closure per call would be an allocation. What they work on is here.
	readFn  func(fd uintptr) bool
	in      *batch
	got     int // datagrams read
	readErr error

	writeFn  func(fd uintptr) bool
	out      vector
	first    int // the next message of out to send
	count    int // how many there are
	writeErr error
}

// newPacketIO chooses the packetIO of d's socket.
func newPacketIO(d *Datagrams) packetIO {
	u, ok := d.pc.(*net.UDPConn)
	if !ok {
		return newSingleIO(d)
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return newSingleIO(d)
	}
	m := &mmsgIO{d: d, raw: raw, out: newVector(d.o.Batch)}
	m.readFn, m.writeFn = m.tryRead, m.tryWrite
	return m
}

func (m *mmsgIO) read(b *batch) error {
	m.in, m.readErr = b, nil
	if err := m.raw.Read(m.readFn); err != nil {
		return err
	}
	if m.readErr != nil {
		return m.readErr
	}
	b.fill(m.got, func(i int) (int, netip.AddrPort, bool) {
		h := &b.vec.hdrs[i]
		return int(h.n), peerOf(&b.vec.names[i]), h.hdr.Flags&unix.MSG_TRUNC != 0
	})
	b.came = b.vec.came()
	return nil
}

// tryRead takes what the socket holds; false makes the runtime wait until there is something.
func (m *mmsgIO) tryRead(fd uintptr) bool {
	hdrs := m.in.vec.hdrs
	for i := range hdrs {
		hdrs[i].hdr.Namelen = unix.SizeofSockaddrInet6
	}
	hdrs[0].hdr.SetControllen(len(m.in.vec.stamp))
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&hdrs[0])), uintptr(len(hdrs)), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			m.got = int(n)
			return true
		case unix.EAGAIN:
			return false
		case unix.EINTR:
		default:
			m.readErr = errno
			return true
		}
	}
}

// stamp is best effort: without it nobody hears how long datagrams wait.
func (m *mmsgIO) stamp() {
	_ = m.raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) })
}

func (m *mmsgIO) write(g *gathered) {
	for sent := 0; sent < g.len(); {
		n := min(len(m.out.hdrs), g.len()-sent)
		for i := range n {
			p := g.at(sent + i)
			m.out.iovs[i].Base = unsafe.SliceData(p)
			m.out.iovs[i].SetLen(len(p))
			m.out.hdrs[i].hdr.Namelen = setPeer(&m.out.names[i], g.peers[sent+i])
		}
		m.send(n)
		sent += n
	}
}

// send gives the first n messages of out to the kernel. A message that the kernel refuses is skipped; if the socket's buffer
// is full the rest is dropped: UDP may lose, a shard may not wait.
func (m *mmsgIO) send(n int) {
	c := m.d.n
	m.first, m.count = 0, n
	for m.first < m.count {
		start := m.first
		m.writeErr = nil
		err := m.raw.Write(m.writeFn)
		if err == nil {
			err = m.writeErr
		}
		c.WriteCalls.Add(1)
		octets := uint64(0)
		for i := start; i < m.first; i++ {
			octets += uint64(m.out.hdrs[i].n)
		}
		c.PacketsOut.Add(uint64(m.first - start))
		c.OctetsOut.Add(octets)
		switch err {
		case nil:
		case unix.EAGAIN, unix.ENOBUFS:
			c.SendDropped.Add(uint64(m.count - m.first))
			return
		default:
			c.SendErrors.Add(1)
			m.first++
		}
	}
}

// tryWrite sends as many messages as the socket takes; it never asks the runtime to wait.
func (m *mmsgIO) tryWrite(fd uintptr) bool {
	hdrs := m.out.hdrs[m.first:m.count]
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&hdrs[0])), uintptr(len(hdrs)), unix.MSG_DONTWAIT, 0, 0)
	switch errno {
	case 0:
		m.first += int(n)
	case unix.EINTR:
	default:
		m.writeErr = errno // the first message failed; those before it were sent by the call before
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
