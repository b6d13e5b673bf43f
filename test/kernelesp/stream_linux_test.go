package kernelesp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"imsafe/proto/esp"
	"imsafe/proto/espnet"
	"imsafe/test/kernelesp/machine"
)

// octetsOf is what goes over each connection of a pair of algorithms, there and back: a megabyte by the first, in which windows fill and are probed; the
// others differ in what is done with each packet, of which the rest has hundreds.
func octetsOf(pair int) int {
	if pair == 0 {
		return 1 << 20
	}
	return 1 << 17
}

// streams are the cases over TCP, of one family.
func (w *wire) streams(t *testing.T, k *machine.Kernel, uc *uint16) {
	l, err := w.stack.Listen(netip.AddrPortFrom(w.here, 5999))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for i, p := range pairs {
		for _, tunnel := range []bool{false, true} {
			for _, role := range []esp.Role{esp.PCSCF, esp.UE} {
				if role == esp.UE && i != 0 && i != 2 {
					continue
				}
				t.Run(fmt.Sprintf("TCP %s/%s %s tunnel=%v, the kernel is the %s", p.alg, p.ealg, w.name, tunnel, [...]string{"P-CSCF", "UE"}[role]), func(t *testing.T) {
					*uc++
					w.stream(t, k, i, *uc, role, tunnel, l)
				})
			}
		}
	}
	t.Run("SIP over TCP "+w.name, func(t *testing.T) {
		*uc++
		_ = l.Close()
		w.sip(t, k, *uc)
		if l, err = w.stack.Listen(netip.AddrPortFrom(w.here, 5999)); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("TCP after re-authentication "+w.name, func(t *testing.T) { w.reauthentication(t, k, *uc+1, l) })
	*uc += 2
}

// associationsTCP makes the guest one end of g with all four associations.
func (w *wire) associationsTCP(g *esp.Agreement, words string) (script string) {
	for _, side := range []esp.Side{esp.Client, esp.Server} {
		script += w.association(g, words, "tcp", side, "out") + w.association(g, words, "tcp", side, "in")
	}
	return script
}

// stream is one agreement with a connection from each end.
func (w *wire) stream(t *testing.T, k *machine.Kernel, pair int, uc uint16, role esp.Role, tunnel bool, l *espnet.Listener) {
	g, ref := w.agree(t, role, pairs[pair].alg, pairs[pair].ealg, uc, 0x1001, tunnel)
	said := make(chan string, 1)
	script := w.associationsTCP(g, pairs[pair].words) + w.guestDoes(t, g, order{Stream: octetsOf(pair), Encap: tunnel}) +
		"[ $? = 0 ] || { /sbin/ip -s xfrm state; cat /proc/net/xfrm_stat /proc/net/snmp /proc/net/tcp; }\n" + flush
	go func() {
		out, err := k.Shell(script)
		said <- fmt.Sprintln(out, err)
	}()
	begin := time.Now()
	if err := w.echo(l, ref, octetsOf(pair)); err != nil {
		t.Fatalf("uc -> ps: %v; the guest says %s", err, <-said)
	}
	took := time.Since(begin)
	if err := w.call(ref, octetsOf(pair)); err != nil {
		t.Fatalf("pc -> us: %v; the guest says %s", err, <-said)
	}
	w.judgeStream(t, <-said)
	t.Logf("%d octets there and back: %v, and %v", octetsOf(pair), took.Round(time.Millisecond), (time.Since(begin) - took).Round(time.Millisecond))
}

// echo takes the guest's connection and sends back what comes, to its end.
func (w *wire) echo(l *espnet.Listener, ref esp.Ref, octets int) error {
	c, err := accept(l)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if of, _, side := c.Agreement(); of != ref || side != esp.Server {
		return errors.New("it came by another agreement")
	}
	if n, err := io.Copy(c, c); err != nil || n != int64(octets) {
		return fmt.Errorf("%d octets came: %w", n, err)
	}
	return nil
}

// accept is Accept with an end.
func accept(l *espnet.Listener) (*espnet.Conn, error) {
	type result struct {
		c   net.Conn
		err error
	}
	came := make(chan result, 1)
	go func() {
		c, err := l.Accept()
		came <- result{c, err}
	}()
	select {
	case r := <-came:
		if r.err != nil {
			return nil, r.err
		}
		return r.c.(*espnet.Conn), r.c.SetDeadline(time.Now().Add(patience))
	case <-time.After(patience):
		_ = l.Close() // it ends the other goroutine, and the cases after this one
		return nil, errors.New("no connection comes")
	}
}

// call opens a connection to the guest, which sends back what it gets.
func (w *wire) call(ref esp.Ref, octets int) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := w.stack.Dial(ctx, ref)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if err := there(c, digits(octets)); err != nil {
		return err
	}
	if err := c.CloseWrite(); err != nil {
		return err
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		return fmt.Errorf("after both have closed: %d octets, %w", n, err)
	}
	return nil
}

// judgeStream looks at what the guest said and at what was dropped.
func (w *wire) judgeStream(t *testing.T, out string) {
	t.Helper()
	if w.judge(t, out, 0); !strings.Contains(out, "GUEST-OK") {
		t.Errorf("the guest says:\n%s", out)
	}
	n := w.stack.Counters()
	for what, c := range map[string]uint64{"foreign": n.DropForeign.Load(), "not TCP": n.DropProtocol.Load(), "over a bound": n.DropConns.Load() + n.DropHalfOpen.Load() + n.DropBacklog.Load(),
		"failed handshakes": n.FailedHandshakes.Load(), "send errors": n.SendErrors.Load()} {
		if c != 0 {
			t.Errorf("%d %s", c, what)
		}
	}
}

// reauthentication is a UE with a connection over its old associations and one over its new; then the old ones end.
func (w *wire) reauthentication(t *testing.T, k *machine.Kernel, first uint16, l *espnet.Listener) {
	old, oldRef := w.agree(t, esp.PCSCF, pairs[0].alg, pairs[0].ealg, first, 0x2001, false)
	next, nextRef := w.agree(t, esp.PCSCF, pairs[2].alg, pairs[2].ealg, first+1, 0x2003, false)
	said := make(chan string, 1)
	script := w.associationsTCP(old, pairs[0].words) + w.associationsTCP(next, pairs[2].words) +
		w.guestDoes(t, old, order{Stream: 10_000, Next: netip.AddrPortFrom(w.there, first+1)}) + flush
	go func() {
		out, err := k.Shell(script)
		said <- fmt.Sprintln(out, err)
	}()
	before, err := accept(l)
	if err != nil {
		t.Fatalf("%v; the guest says %s", err, <-said)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- serveUntilFarewell(before, func() { w.engine.Remove(oldRef) })
	}()
	after, err := accept(l)
	if err != nil {
		t.Fatalf("%v; the guest says %s", err, <-said)
	}
	for c, want := range map[*espnet.Conn]esp.Ref{before: oldRef, after: nextRef} {
		if ref, _, _ := c.Agreement(); ref != want {
			t.Error("a connection is another agreement's")
		}
	}
	if _, err := io.Copy(after, after); err != nil {
		t.Error(err)
	}
	_ = after.Close()
	if err := <-ended; !errors.Is(err, espnet.ErrGone) {
		t.Errorf("the old connection ended with %v", err)
	}
	out := <-said
	if w.dropped == nil {
		w.dropped = map[esp.Drop]uint64{}
	}
	w.dropped[esp.DropUnknown] = w.engine.Counters().Dropped(esp.DropUnknown) // what the guest went on to send over the old associations
	w.judgeStream(t, out)
}

// serveUntilFarewell sends back what comes on c; after the farewell it ends the associations and reads on.
func serveUntilFarewell(c *espnet.Conn, end func()) error {
	defer func() { _ = c.Close() }()
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return err
		}
		if buf[n-1] == farewell {
			end()
			continue
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return err
		}
	}
}
