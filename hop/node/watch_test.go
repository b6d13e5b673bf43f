package node

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"imsafe/hop"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
)

// closing is a stream of a test: it takes what is sent, and tells that it was closed.
type closing struct {
	*wires
	closed int
}

func (*closing) Reliable() bool { return true }
func (c *closing) Close()       { c.closed++ }

// TestSilent: a peer that answers no pings is given up and nobody waits for it; it is tried again each second, and when it is there it is asked again.
func TestSilent(t *testing.T) {
	w := newWires(t, false, nil)
	clock := w.shard.Clock().(*shard.Fake)
	stream, dials := &closing{wires: w}, 0
	flow := siptransport.Flow{Via: stream, Peer: there}
	w.port.DialBy(func(netip.AddrPort) siptransport.Flow { dials++; return flow })
	on := func(f func()) { w.shard.Exec(shard.EventFunc(func(*shard.Shard) { f() })) }
	pass := func(d time.Duration) {
		for range int(d / (100 * time.Millisecond)) {
			clock.Advance(100 * time.Millisecond)
			on(func() {})
		}
	}
	on(func() { w.port.lineTo(there); w.port.Opened(flow, nil) })
	for range 5 {
		pass(time.Second)
		on(func() { w.port.Pong(flow) })
	}
	if stream.closed != 0 {
		t.Fatal("a peer that answers is given up")
	}
	pass(5 * time.Second)
	if stream.closed == 0 {
		t.Fatal("a peer that does not answer is not given up")
	}
	on(func() { w.port.Closed(flow, errors.New("closed here")) })
	if w.port.silent[there] == nil {
		t.Fatal("it is not known as silent")
	}
	m := w.pool.NewRequest(sip.MESSAGE, "sip:b@far.example")
	for h, v := range map[sip.HeaderID]string{sip.HdrMaxForwards: "60", sip.HdrFrom: "<sip:a@near.example>;tag=1", sip.HdrTo: "<sip:b@far.example>", sip.HdrCallID: "1", sip.HdrCSeq: "1 MESSAGE"} {
		m.AppendString(h, v)
	}
	status := 0
	on(func() {
		w.shard.Start(func(task *shard.Task) {
			r := w.table.Originate(task, "near.example", "far.example", hop.Inbound{Msg: m})
			status = r.Status()
			r.Msg.Release()
		})
	})
	if status != 503 || dials != 1 {
		t.Errorf("a request to it: %d after %d dials, want 503 at once", status, dials)
	}
	pass(2 * time.Second)
	if dials != 2 {
		t.Errorf("%d dials: it is not tried again", dials)
	}
	on(func() { w.port.Opened(flow, nil) })
	if w.port.silent[there] != nil {
		t.Error("it is there, and still silent")
	}
}
