package rtpport

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// thread is one of a poller: an epoll instance, and what it reads.
type thread struct {
	epoll, wake int
	failed      func(*Port, error)
	ended       atomic.Bool

	mu    sync.Mutex // guards ports
	ports []*Port    // by descriptor

	// The rest is run's.
	events [together]unix.EpollEvent
	in     [together]arrived
	out    *outbox
	room   *room

	gathering bool
	began     time.Time           // when it last woke
	pause     func(time.Duration) // sleep, but for tests
	fetched   uint32              // nobody's: see fetch
}

// together is how many ports are read, at most, before what they had is looked at.
const together = 32

// arrived is a packet that was read.
type arrived struct {
	port *Port
	leg  *Leg // that it is probably for, then that it probably leaves by
	from netip.AddrPort
	n    int
	b    [maxPacket + skew]byte
}

// skew keeps the beginnings of packets apart in the processor's cache, which would have them all in a few places if they were 2 KiB apart.
const skew = 128

func newThread(c *PollerConfig) (_ *thread, err error) {
	t := &thread{epoll: -1, wake: -1, failed: c.Failed, out: &outbox{unsent: c.Unsent}, room: newRoom(), pause: sleep}
	if t.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err == nil {
		t.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	}
	if err == nil {
		err = unix.EpollCtl(t.epoll, unix.EPOLL_CTL_ADD, t.wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(t.wake)})
	}
	if err != nil {
		t.close()
		return nil, fmt.Errorf("rtpport: epoll: %w", err)
	}
	return t, nil
}

// add lets the thread read a port, which nobody else uses yet.
func (t *thread) add(p *Port) error {
	fd := int(p.descriptor.number)
	t.mu.Lock()
	defer t.mu.Unlock()
	for fd >= len(t.ports) {
		t.ports = append(t.ports, nil)
	}
	if err := unix.EpollCtl(t.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
		return fmt.Errorf("rtpport: epoll: %w", err)
	}
	t.ports[fd] = p
	p.room, p.descriptor.out = t.room, t.out
	return nil
}

// remove takes a port off before its descriptor closes, when another port may get its number.
func (t *thread) remove(p *Port) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if fd := int(p.descriptor.number); fd < len(t.ports) && t.ports[fd] == p {
		t.ports[fd] = nil
		_ = unix.EpollCtl(t.epoll, unix.EPOLL_CTL_DEL, fd, nil) // nothing is left to do about its error
	}
}

// run hears until stop.
func (t *thread) run() {
	for !t.ended.Load() {
		if err := t.step(); err != nil { // of an epoll instance that is there, nothing is known that could fail
			t.fail(nil, err)
			return
		}
	}
}

// step hears what is there. Where nothing is, it pauses first if more than one port had something after the last pause, and else waits: for as
// long as anything is there, nobody sleeps.
func (t *thread) step() error {
	n, err := t.poll(false)
	if n == 0 && err == nil && t.gathering {
		t.pause(gather - time.Since(t.began))
		t.began = time.Now()
		n, err = t.poll(false)
		t.gathering = n > 1
	}
	if n == 0 && err == nil {
		n, err = t.poll(true)
		now := time.Now()
		t.gathering, t.began = now.Sub(t.began) < gather, now
	}
	if err == nil {
		t.round(n)
	}
	return err
}

// poll returns how many ports have something, and may wait until one has.
func (t *thread) poll(wait bool) (n int, err error) {
	if wait {
		n, err = unix.EpollWait(t.epoll, t.events[:], -1)
	} else {
		r, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(t.epoll), uintptr(unsafe.Pointer(&t.events[0])), uintptr(len(t.events)), 0, 0, 0)
		if n = int(r); errno != 0 {
			n, err = 0, errno
		}
	}
	if err == unix.EINTR {
		return 0, nil
	}
	return n, err
}

// round reads one packet of each port that has something; the rest of what a port has comes in the next round. First all are read, then all are
// looked at, then what the legs send leaves: so each part of the way stays in the processor's cache, the kernel's too.
func (t *thread) round(n int) {
	t.mu.Lock()
	for i := range n {
		t.in[i].port = nil
		if fd := int(t.events[i].Fd); fd < len(t.ports) {
			t.in[i].port = t.ports[fd]
		}
	}
	t.mu.Unlock()
	t.fetchPorts(n)
	for i := range n {
		if a := &t.in[i]; a.port != nil && !t.read(a) {
			a.port = nil
		}
	}
	t.fetch(n)
	t.out.hold()
	for i := range n {
		if a := &t.in[i]; a.port != nil {
			t.deliver(a)
		}
	}
	t.out.flush()
}

// deliver gives a port what it has, and looks once which port that leaves by.
func (t *thread) deliver(a *arrived) {
	if a.port.beside != nil {
		a.port.deliver(a.b[:a.n], a.from)
		return
	}
	before, _ := t.out.last()
	a.port.deliver(a.b[:a.n], a.from)
	if after, by := t.out.last(); after > before {
		a.port.beside = by
	}
}

// fetch touches what the legs of a round will be asked for, without a use for it: so the processor waits for the memory of many at the same time,
// and not for that of each in its turn.
func (t *thread) fetch(n int) {
	for i := range n {
		a := &t.in[i]
		if a.leg != nil {
			t.fetched += a.leg.touch()
		}
		if a.leg = nil; a.port != nil && a.port.beside != nil {
			a.leg = a.port.beside.only.Load()
		}
	}
	for i := range n {
		if l := t.in[i].leg; l != nil {
			t.fetched += l.touchSender()
		}
	}
}

// fetchPorts does the same with the ports, before they are read.
func (t *thread) fetchPorts(n int) {
	for i := range n {
		t.in[i].leg = nil
		if p := t.in[i].port; p != nil {
			t.in[i].leg = p.only.Load()
		}
	}
}

// read reads one packet of a port. That there is none any more, or that the port has closed meanwhile, is no failure.
func (t *thread) read(a *arrived) bool {
	p, err := a.port, error(nil)
	a.n, a.from, err = p.descriptor.read(a.b[:maxPacket])
	switch err {
	case nil:
		p.failures = 0
		return true
	case unix.EAGAIN, unix.EINTR, net.ErrClosed:
	default:
		if p.failures++; p.failures > maxFailures {
			t.remove(p)
			t.fail(p, err)
		}
	}
	return false
}

func (t *thread) fail(p *Port, err error) {
	if t.failed != nil {
		t.failed(p, err)
	}
}

// stop makes run end.
func (t *thread) stop() {
	t.ended.Store(true)
	one := [8]byte{1}
	_, _ = unix.Write(t.wake, one[:]) // it can be full only if somebody has written
}

// close gives the descriptors back, when run has ended.
func (t *thread) close() {
	for _, fd := range []int{t.epoll, t.wake} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// sleep sleeps, in the system call: the timers of Go's run time would wake another thread.
func sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	t := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&t, nil) // a signal ends it early, which does no harm
}

// descriptor is a socket that is no part of the run time's poller: that would be woken for each packet as well. It neither waits nor allocates.
type descriptor struct {
	mu     sync.RWMutex // held while fd is in use: once it is closed its number may be another socket's
	fd     int32        // -1: closed
	number int32        // what fd is until then
	v6     bool
	cuts   atomic.Bool // see whole
	out    *outbox
}

// share uses the socket of u, which may be closed then.
func (d *descriptor) share(u *net.UDPConn) error {
	raw, err := u.SyscallConn()
	if err != nil {
		return ErrUnpollable
	}
	d.fd = -1
	var failed error
	err = raw.Control(func(fd uintptr) {
		var sa unix.Sockaddr
		if sa, failed = unix.Getsockname(int(fd)); failed == nil {
			_, d.v6 = sa.(*unix.SockaddrInet6)
			var n int
			n, failed = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
			d.fd = int32(n)
		}
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return fmt.Errorf("rtpport: socket: %w", err)
	}
	d.number = d.fd
	d.whole(true)
	return nil
}

// whole says whether datagrams leave in one piece or not at all. The system sets their DF flag in either case, until it knows of a path that is too narrow; but of what it
// may cut it has to number the pieces, and looks for a number in memory that is in no cache, for each packet.
func (d *descriptor) whole(on bool) {
	how := unix.IP_PMTUDISC_WANT
	if on {
		how = unix.IP_PMTUDISC_DO
	}
	if !d.v6 {
		_ = unix.SetsockoptInt(int(d.fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, how) // without it packets leave all the same
	}
}

func (d *descriptor) read(b []byte) (int, netip.AddrPort, error) {
	var sa unix.RawSockaddrInet6
	size := uint32(unix.SizeofSockaddrInet6)
	d.mu.RLock()
	if d.fd < 0 {
		d.mu.RUnlock()
		return 0, netip.AddrPort{}, net.ErrClosed
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(d.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_DONTWAIT,
		uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)))
	d.mu.RUnlock()
	if errno != 0 {
		return 0, netip.AddrPort{}, errno
	}
	return int(n), peerOf(&sa), nil
}

func (p *Port) leave(b []byte, to netip.AddrPort) error {
	d := &p.descriptor
	if d.out.take(p, b, to) {
		return nil
	}
	return d.send(b, to)
}

func (d *descriptor) send(b []byte, to netip.AddrPort) error {
	var sa unix.RawSockaddrInet6
	size := d.peer(&sa, to)
	if size == 0 {
		return unix.EAFNOSUPPORT
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.fd < 0 {
		return net.ErrClosed
	}
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(d.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL,
			uintptr(unsafe.Pointer(&sa)), size)
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		case unix.EMSGSIZE: // too long for the path in one piece: from now on the system may cut what this socket sends
			if d.cuts.Swap(true) {
				return errno
			}
			d.whole(false)
		default:
			return errno
		}
	}
}

func (d *descriptor) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	fd := d.fd
	d.fd = -1
	return unix.Close(int(fd))
}

// peerOf reads a socket address of the kernel. A description names no zone, so one that has one is nobody's that was agreed on.
func peerOf(sa *unix.RawSockaddrInet6) netip.AddrPort {
	port := swapped(sa.Port)
	if sa.Family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(sa)).Addr), port)
	}
	a := netip.AddrFrom16(sa.Addr).Unmap()
	if sa.Scope_id != 0 {
		a = a.WithZone(strconv.FormatUint(uint64(sa.Scope_id), 10))
	}
	return netip.AddrPortFrom(a, port)
}

// peer writes a socket address for the kernel and returns its length; 0 if the socket cannot reach it.
func (d *descriptor) peer(sa *unix.RawSockaddrInet6, to netip.AddrPort) uintptr {
	a := to.Addr()
	switch {
	case d.v6:
		*sa = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: swapped(to.Port()), Addr: a.As16()}
		if zone, err := strconv.ParseUint(a.Zone(), 10, 32); err == nil {
			sa.Scope_id = uint32(zone)
		}
		return unix.SizeofSockaddrInet6
	case a.Is4() || a.Is4In6():
		*(*unix.RawSockaddrInet4)(unsafe.Pointer(sa)) = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: swapped(to.Port()), Addr: a.As4()}
		return unix.SizeofSockaddrInet4
	}
	return 0
}

// swapped turns network order into the host's and back.
func swapped(v uint16) uint16 {
	p := (*[2]byte)(unsafe.Pointer(&v))
	return uint16(p[0])<<8 | uint16(p[1])
}

// outbox keeps what leaves by the ports of a thread while it looks at packets, whoever sends it: afterwards all of it leaves in the order in which
// it came.
type outbox struct {
	holding atomic.Bool
	mu      sync.Mutex // guards the fields below while holding
	n       int
	list    [2 * together]leaving
	unsent  func()
}

type leaving struct {
	by *Port
	to netip.AddrPort
	n  int
	b  [maxPacket + skew]byte
}

// last is how many are held, and by which port the last one leaves.
func (o *outbox) last() (n int, by *Port) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.n > 0 {
		by = o.list[o.n-1].by
	}
	return o.n, by
}

func (o *outbox) hold() { o.holding.Store(true) }

// take copies a packet, and reports whether it will leave: false if nothing is held, or too much is already.
func (o *outbox) take(by *Port, b []byte, to netip.AddrPort) bool {
	if !o.holding.Load() || len(b) > maxPacket {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.holding.Load() || o.n == len(o.list) {
		return false
	}
	l := &o.list[o.n]
	o.n++
	l.by, l.to, l.n = by, to, copy(l.b[:], b)
	return true
}

// flush sends what was held.
func (o *outbox) flush() {
	o.mu.Lock()
	n := o.n
	o.n = 0
	o.holding.Store(false)
	o.mu.Unlock()
	for i := range n {
		l := &o.list[i]
		if err := l.by.descriptor.send(l.b[:l.n], l.to); err != nil && o.unsent != nil {
			o.unsent()
		}
		l.by = nil
	}
}
