package fairlisten

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"imsafe/proto/budget"
)

// arrivals is a listener to which whoever is on the list comes.
type arrivals struct{ next []*visitor }

func (a *arrivals) Accept() (net.Conn, error) {
	if len(a.next) == 0 {
		return nil, net.ErrClosed
	}
	v := a.next[0]
	a.next = a.next[1:]
	return v, nil
}
func (a *arrivals) Close() error   { return nil }
func (a *arrivals) Addr() net.Addr { return &net.TCPAddr{} }

// visitor is a connection from an address.
type visitor struct {
	net.Conn
	from   netip.Addr
	closed bool
}

func (v *visitor) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(v.from, 1))
}
func (v *visitor) Close() error {
	v.closed = true
	return nil
}

// rig is a Listener with visitors, and what it said of them.
type rig struct {
	t    *testing.T
	in   arrivals
	l    *Listener
	now  time.Duration
	said []string
	lax  bool // nothing is refused
}

func newRig(t *testing.T, places, ofSource, burst int) *rig {
	r := &rig{t: t}
	r.l = New(&r.in, Config{Places: places, OfSource: ofSource, Pace: budget.Rate{Limit: 1, Per: time.Second, Burst: burst}, Now: func() time.Duration { return r.now },
		Refuses: func(_ netip.Addr, reason string) bool {
			r.said = append(r.said, reason)
			return !r.lax
		}})
	return r
}

// comes is a connection from an address; held is nil if it was turned away.
func (r *rig) comes(from string) (v *visitor, held net.Conn) {
	r.t.Helper()
	v = &visitor{from: netip.MustParseAddr(from)}
	r.in.next = append(r.in.next, v)
	held, err := r.l.Accept()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		r.t.Fatal(err)
	}
	if (held == nil) != v.closed {
		r.t.Errorf("%s: held %v, closed %v", from, held != nil, v.closed)
	}
	return v, held
}

func (r *rig) wants(said ...string) {
	r.t.Helper()
	if !slices.Equal(r.said, said) {
		r.t.Errorf("said %v, want %v", r.said, said)
	}
	r.said = nil
}

func TestPace(t *testing.T) {
	r := newRig(t, 100, 100, 3)
	for range 3 {
		if _, c := r.comes("192.0.2.1"); c == nil {
			t.Fatal("within its pace an address is turned away")
		}
	}
	if _, c := r.comes("192.0.2.1"); c != nil {
		t.Error("beyond its pace an address is let in")
	}
	r.wants(TooOften)
	if _, c := r.comes("192.0.2.2"); c == nil {
		t.Error("another address pays for it")
	}
	r.now += time.Second
	if _, c := r.comes("192.0.2.1"); c == nil {
		t.Error("later it is turned away still")
	}
	r.wants()
}

func TestShareOfAnAddress(t *testing.T) {
	r := newRig(t, 100, 2, 100)
	_, first := r.comes("2001:db8::1")
	r.comes("2001:db8::2")
	if _, c := r.comes("2001:db8::3"); c != nil {
		t.Error("a third connection of one /64 of two")
	}
	r.wants(TooMany)
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	_ = first.Close() // twice counts once
	if _, c := r.comes("2001:db8::3"); c == nil {
		t.Error("its place was not given back")
	}
	if _, c := r.comes("2001:db8::4"); c != nil {
		t.Error("one place was given back twice")
	}
	if _, c := r.comes("2001:db8:0:1::1"); c == nil {
		t.Error("another /64 pays for it")
	}
}

// What comes last gets in, and the crowd pays.
func TestCrowd(t *testing.T) {
	r := newRig(t, 4, 4, 100)
	honest, _ := r.comes("198.51.100.1")
	oldest, _ := r.comes("192.0.2.1")
	r.comes("192.0.2.2") // of the same network
	last, _ := r.comes("192.0.2.3")
	if _, c := r.comes("203.0.113.1"); c == nil {
		t.Fatal("the door is shut")
	}
	r.wants(Crowd)
	if !oldest.closed || honest.closed || last.closed {
		t.Errorf("who made room: honest %v, the oldest of the crowd %v, its last %v", honest.closed, oldest.closed, last.closed)
	}
	for i := range 20 { // one that goes on pushes out its own
		if _, c := r.comes("192.0.2.9"); c == nil {
			t.Errorf("%d", i)
		}
	}
	if honest.closed {
		t.Error("an honest connection made room for a crowd")
	}
	if n := len(r.l.open); n != 4 {
		t.Errorf("%d places are taken of 4", n)
	}
}

func TestProvenMakesNoRoom(t *testing.T) {
	r := newRig(t, 2, 2, 100)
	v, c := r.comes("192.0.2.1")
	Proven(c)
	Proven(&visitor{}) // another's connection
	for range 3 {
		r.comes("192.0.2.1")
	}
	if v.closed || len(r.l.open) != 2 {
		t.Errorf("a proven connection was closed: %v; %d places are taken", v.closed, len(r.l.open))
	}
	if err := c.Close(); err != nil || len(r.l.sources) != 1 || len(r.l.open) != 2 {
		t.Errorf("%v, %d sources, %d places", err, len(r.l.sources), len(r.l.open))
	}
}

// A laboratory without the control: all are let in, as long as there are places.
func TestNothingIsRefused(t *testing.T) {
	r := newRig(t, 3, 1, 1)
	r.lax = true
	for range 3 {
		if _, c := r.comes("192.0.2.1"); c == nil {
			t.Error("turned away")
		}
	}
	r.said = nil
	if v, c := r.comes("198.51.100.1"); c != nil || !v.closed {
		t.Error("there is no place, and no control")
	}
	r.wants(Crowd)
}
