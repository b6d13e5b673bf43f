package load

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// packetWire lets all UEs of a worker share some sockets, one for each port: so a hundred thousand UEs have an address each and need no hundred thousand sockets.
type packetWire struct {
	clients     Clients
	first, step int // UE number i of the worker is number first + i*step of all
	base        uint32
	sockets     []*Socket // by port
	polled      []unix.PollFd
	opener      func(i int32, from netip.AddrPort, data []byte) ([]byte, bool) // nil: what comes is in clear
}

const maxPacket = 8192

func newPacketWire(c Clients, first, step, workers int) (_ *packetWire, err error) {
	a := c.Addresses.Masked().Addr().As4()
	w := &packetWire{clients: c, first: first, step: step, base: binary.BigEndian.Uint32(a[:])}
	if c.Addresses.Bits() < 31 {
		w.base++
	}
	w.sockets = make([]*Socket, c.Ports)
	for port := first % workers; port < c.Ports; port += workers {
		s, err := OpenSocket(c.FirstPort+uint16(port), maxPacket)
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

func (w *packetWire) send(u *ue, _ int32, b []byte) { w.sendTo(u.addr, u.proxy, b) }

func (w *packetWire) sendTo(from, to netip.AddrPort, b []byte) {
	s := w.sockets[from.Port()-w.clients.FirstPort]
	s.Send(copy(s.Next(), b), from, to)
}

func (w *packetWire) flush() error {
	for _, s := range w.sockets {
		if s != nil && s.fill > 0 {
			s.Flush()
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
			n, err := s.Read()
			if err != nil {
				return err
			}
			for i := range n {
				to, from, data, whole := s.Got(i)
				at, ok := w.index(to, port)
				if ok = ok && whole; ok && w.opener != nil {
					data, ok = w.opener(at, from, data)
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

// index finds the UE of an address at a port.
func (w *packetWire) index(to netip.Addr, port int) (int32, bool) {
	if !to.Is4() {
		return 0, false
	}
	a := to.As4()
	at := int(binary.BigEndian.Uint32(a[:])-w.base)*w.clients.Ports + port - w.first
	return int32(at / w.step), at >= 0
}

func (w *packetWire) reliable() bool { return false }

func (w *packetWire) drops() (n uint64) {
	for _, s := range w.sockets {
		if s != nil {
			n += s.Lost + s.Refused
		}
	}
	return n
}

func (w *packetWire) close() error {
	for _, s := range w.sockets {
		if s != nil {
			s.Close()
		}
	}
	return nil
}
