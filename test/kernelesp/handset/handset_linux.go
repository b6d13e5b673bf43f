package handset

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Handset is one telephone.
type Handset struct {
	c     Config
	inner netip.Addr // that its SIP is spoken from: behind a NAT it is the outside one (TS 33.203 M.7.1)

	mu       sync.Mutex
	sets     []*set
	clear    *net.UDPConn // while it has no associations
	clearTCP *net.TCPConn
	closers  []func() error
	accepted map[*net.TCPConn]uint16 // connections that the network opened, by its port
	waiting  map[string]chan *message
	answered map[string][]byte // responses by transaction: for a request that comes again
	dialogs  map[string]*dialog
	heard    chan Heard
	stray    int // responses that nobody waits for
	serial   int
	callID   string // of its registration
	routes   []string
	answer   string // Authorization of the challenge that waits
	offered  string // Security-Client of the last REGISTER that had a new one
	next     *set   // that the offer is of
}

func newHandset() *Handset {
	return &Handset{accepted: map[*net.TCPConn]uint16{}, waiting: map[string]chan *message{}, answered: map[string][]byte{}, dialogs: map[string]*dialog{},
		heard: make(chan Heard, 256), callID: rand.Text()}
}

// On switches the telephone on: it takes its address and opens its protected server port.
func (h *Handset) On(c Config, _ *Nothing) error {
	h.c, h.inner = c, c.Local
	if err := h.address(c.Local, c.Device); err != nil {
		return err
	}
	if !c.Gateway.IsValid() {
		return h.open()
	}
	lc := net.ListenConfig{Control: takesESP}
	door, err := lc.ListenPacket(context.Background(), "udp", netip.AddrPortFrom(c.Local, 4500).String())
	if err != nil {
		return err
	}
	h.closers = append(h.closers, door.Close)
	return nil // the server port is opened when the outside address is known
}

// address puts an address on a device, for as long as the telephone is on.
func (h *Handset) address(a netip.Addr, device string) error {
	on := fmt.Sprintf("%v/%d dev %s", a, a.BitLen(), device)
	nodad := ""
	if a.Is6() {
		nodad = " nodad"
	}
	h.closers = append(h.closers, func() error { return ip("addr del " + on) })
	return ip("addr add " + on + nodad)
}

// open opens the protected server port.
func (h *Handset) open() error {
	us := netip.AddrPortFrom(h.inner, h.c.Server)
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(us))
	if err != nil {
		return err
	}
	h.closers = append(h.closers, udp.Close)
	go h.datagrams(udp)
	if h.c.Deaf {
		return nil
	}
	tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(us))
	if err != nil {
		return err
	}
	h.closers = append(h.closers, tcp.Close)
	go func() {
		for {
			c, err := tcp.AcceptTCP()
			if err != nil {
				return // it is off
			}
			h.mu.Lock()
			h.accepted[c] = portOf(c.RemoteAddr())
			h.mu.Unlock()
			go h.stream(c, false)
		}
	}()
	return nil
}

// off gives all back.
func (h *Handset) off() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.sets {
		h.giveUp(s)
	}
	if h.next != nil {
		h.giveUp(h.next)
	}
	h.closeClear()
	for _, c := range h.closers {
		_ = c() // the machine ends soon after
	}
}

// giveUp ends a set with its connections.
func (h *Handset) giveUp(s *set) {
	if !s.stands {
		return
	}
	for c, port := range h.accepted {
		if port == s.pc {
			_ = c.SetLinger(0)
			_ = c.Close()
			delete(h.accepted, c)
		}
	}
	_ = h.remove(s)
}

// Drop gives a set of associations up.
func (h *Handset) Drop(number int, _ *Nothing) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if number >= len(h.sets) {
		return errors.New("no such set")
	}
	h.giveUp(h.sets[number])
	return nil
}

// datagrams reads a socket until it is closed.
func (h *Handset) datagrams(c *net.UDPConn) {
	buf := make([]byte, 65536)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error for something sent before
		}
		if m, err := parse(buf[:n]); err == nil {
			h.take(m, "udp", from.Port(), false, nil)
		}
	}
}

// stream reads a connection to its end.
func (h *Handset) stream(c *net.TCPConn, ours bool) {
	r := bufio.NewReader(c)
	for {
		m, err := read(r)
		if err != nil {
			_ = c.Close()
			h.mu.Lock()
			delete(h.accepted, c)
			h.mu.Unlock()
			return
		}
		h.take(m, "tcp", portOf(c.RemoteAddr()), ours, c)
	}
}

func portOf(a net.Addr) uint16 { return netip.MustParseAddrPort(a.String()).Port() }

// take gives a response to whoever waits for it, and answers a request.
func (h *Handset) take(m *message, transport string, port uint16, ours bool, c *net.TCPConn) {
	if m.status() == 0 {
		h.serve(m, transport, port, ours, c)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	wait, waited := h.waiting[m.transaction()]
	if !waited {
		h.stray++
		return
	}
	select {
	case wait <- m:
	default: // it has more than it asked for
	}
}

// through sends octets over a set, or in clear.
func (h *Handset) through(s *set, transport string, b []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.c.Terse {
		b = terse(b)
	}
	if transport == "udp" {
		conn, to := h.clear, h.unprotected()
		if s != nil {
			conn, to = s.udp, netip.AddrPortFrom(h.c.Proxy, s.ps)
		}
		if conn == nil {
			return errors.New("the unprotected port is closed")
		}
		_, err := conn.WriteToUDPAddrPort(b, to)
		return err
	}
	conn, from, to := &h.clearTCP, netip.AddrPortFrom(h.c.Local, 0), h.unprotected()
	if s != nil {
		conn, from, to = &s.tcp, netip.AddrPortFrom(h.inner, s.uc), netip.AddrPortFrom(h.c.Proxy, s.ps)
	}
	if *conn == nil {
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(from), Timeout: time.Minute, Control: reusesAddress}
		c, err := d.Dial("tcp", to.String())
		if err != nil {
			return err
		}
		*conn = c.(*net.TCPConn)
		go h.stream(*conn, true)
	}
	_, err := (*conn).Write(b)
	return err
}

// unprotected is where first REGISTERs go.
func (h *Handset) unprotected() netip.AddrPort {
	if h.c.Gateway.IsValid() {
		return netip.AddrPortFrom(h.c.Gateway, h.c.Port)
	}
	return netip.AddrPortFrom(h.c.Proxy, h.c.Port)
}

// closeClear closes what was open in clear (a telephone does so when it has associations).
func (h *Handset) closeClear() {
	if h.clear != nil {
		_ = h.clear.Close()
	}
	if h.clearTCP != nil {
		_ = h.clearTCP.Close()
	}
	h.clear, h.clearTCP = nil, nil
}

// transact sends a request until a final response comes.
func (h *Handset) transact(s *set, a Asking, request []byte) (*message, error) {
	patience := time.Minute
	if a.Patience > 0 {
		patience = a.Patience
	}
	m, err := parse(request)
	if err != nil {
		return nil, err
	}
	wait := make(chan *message, 16)
	h.mu.Lock()
	h.waiting[m.transaction()] = wait
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		delete(h.waiting, m.transaction())
		h.mu.Unlock()
	}()
	if err := h.through(s, a.Transport, request); err != nil {
		return nil, err
	}
	again := time.NewTimer(time.Second)
	defer again.Stop()
	late := time.After(patience)
	for interval := time.Second; ; {
		select {
		case r := <-wait:
			if r.status() >= 200 {
				return r, nil
			}
			again.Stop()
		case <-again.C:
			if a.Transport == "udp" {
				if err := h.through(s, a.Transport, request); err != nil {
					return nil, err
				}
				interval = min(2*interval, 4*time.Second)
				again.Reset(interval)
			}
		case <-late:
			return nil, errors.New("no answer to " + strings.TrimSpace(m.start))
		}
	}
}

// branch is new for each transaction.
func branch() string { return "z9hG4bK" + rand.Text() }

// takesESP makes a UDP socket the kernel's door for ESP (RFC 3948).
func takesESP(_, _ string, c syscall.RawConn) error {
	const udpEncap, espInUDP = 100, 2
	return option(c, syscall.IPPROTO_UDP, udpEncap, espInUDP)
}

// reusesAddress lets a connection begin at a port where one has just ended.
func reusesAddress(_, _ string, c syscall.RawConn) error {
	return option(c, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
}

func option(c syscall.RawConn, level, name, value int) (err error) {
	if outer := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), level, name, value) }); outer != nil {
		return outer
	}
	return err
}
