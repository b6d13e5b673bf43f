package kernelesp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"imsafe/proto/esp"
	"imsafe/proto/espnet"
	"imsafe/proto/shard"
	"imsafe/proto/siptransport"
	"imsafe/test/kernelesp/machine"
)

// options is a SIP request.
const options = "OPTIONS sip:p.example SIP/2.0\r\nVia: SIP/2.0/TCP 10.77.0.2:39001;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: <sip:u@example>;tag=1\r\n" +
	"To: <sip:p.example>\r\nCall-ID: 1@example\r\nCSeq: 1 OPTIONS\r\nContent-Length: 4\r\n\r\nping"

// echoing is a Receiver that sends back what comes, and tells by which agreement it came.
type echoing struct {
	opened chan siptransport.Flow
	came   chan siptransport.Flow
	closed chan error
	echo   bool
}

func (e *echoing) Packet(f siptransport.Flow, data []byte) {
	e.came <- f
	if e.echo {
		_ = f.Send(data) // a lost one is missed
	}
}
func (e *echoing) Opened(f siptransport.Flow, _ *tls.ConnectionState) { e.opened <- f }
func (e *echoing) Closed(_ siptransport.Flow, err error)              { e.closed <- err }

func newEchoing(echo bool) *echoing {
	return &echoing{make(chan siptransport.Flow, 16), make(chan siptransport.Flow, 16), make(chan error, 16), echo}
}

// sip puts proto/siptransport on proto/espnet, as a door does: messages of the kernel's UE come to the shard of their agreement's owner, and
// requests to it go over a connection of that agreement.
func (w *wire) sip(t *testing.T, k *machine.Kernel, uc uint16) {
	g, ref := w.agree(t, esp.PCSCF, pairs[0].alg, pairs[0].ealg, uc, 0x1001, false)
	all, err := w.stack.ListenEach(netip.AddrPortFrom(w.here, 5999), 2)
	if err != nil {
		t.Fatal(err)
	}
	streams := siptransport.NewStreams(siptransport.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, len(all))
	var shards []*shard.Shard
	in := newEchoing(true)
	for i, l := range all {
		sh := shard.New(shard.Config{ID: uint8(i), Clock: shard.RealClock(), Inbox: 16})
		shards = append(shards, sh)
		go func() {
			served <- streams.Serve(ctx, []*shard.Shard{sh}, l, func(*shard.Shard) siptransport.Receiver { return in })
		}()
	}
	defer func() {
		cancel()
		for range all {
			if err := <-served; err != nil {
				t.Error(err)
			}
		}
		drain, stop := context.WithTimeout(context.Background(), time.Second)
		defer stop()
		if err := streams.Close(drain); err != nil {
			t.Error(err)
		}
	}()
	said := make(chan string, 1)
	words := strings.Repeat(options, 3)
	script := w.associationsTCP(g, pairs[0].words) + w.guestDoes(t, g, order{Stream: len(words), Words: words}) + flush
	go func() {
		out, err := k.Shell(script)
		said <- fmt.Sprintln(out, err)
	}()
	if err := ofAgreement(in, ref, 3); err != nil {
		t.Fatalf("uc -> ps: %v; the guest says %s", err, <-said)
	}
	out := newEchoing(false)
	f := streams.DialBy(ctx, shards[0], netip.AddrPortFrom(w.there, g.There.Port[esp.Server]), out, func(ctx context.Context) (net.Conn, error) {
		return w.stack.Dial(ctx, ref)
	})
	for range 3 { // what is sent before it is open waits
		if err := f.Send([]byte(options)); err != nil {
			t.Error(err)
		}
	}
	if err := ofAgreement(out, ref, 3); err != nil {
		t.Fatalf("pc -> us: %v; the guest says %s", err, <-said)
	}
	f.Via.(*siptransport.Conn).Close()
	if err := <-out.closed; !errors.Is(err, siptransport.ErrClosed) {
		t.Error(err)
	}
	w.judgeStream(t, <-said)
}

// ofAgreement waits for a flow to open and for n messages on it, all of an agreement.
func ofAgreement(e *echoing, want esp.Ref, n int) error {
	late := time.After(patience)
	var f siptransport.Flow
	for i := range n + 1 {
		came := e.came
		if i == 0 {
			came = e.opened
		}
		select {
		case f = <-came:
		case err := <-e.closed:
			return fmt.Errorf("closed after %d messages: %w", i, err)
		case <-late:
			return fmt.Errorf("%d messages came", i)
		}
		c, ok := f.Via.(*siptransport.Conn).NetConn().(*espnet.Conn)
		if !ok {
			return errors.New("it is no connection over ESP")
		}
		if ref, _, _ := c.Agreement(); ref != want {
			return errors.New("it came by another agreement")
		}
	}
	return nil
}
