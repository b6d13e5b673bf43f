package clientims

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"imsafe/hop"
	"imsafe/proto/secagree"
	"imsafe/proto/shard"
)

// TestBudget_amplification_of_help: a call for help from an address that nobody has proven is answered, and no more than that: an answer that is repeated until
// somebody acknowledges it would be a flood for whoever has that address.
func TestBudget_amplification_of_help(t *testing.T) {
	b := newGmBench(t, secagree.Handset())
	b.bench.pcscf = func(x *hop.Exchange, in hop.Inbound) hop.Reply {
		r := x.Refuse(in, 380, "")
		r.Msg.SetBody("application/3gpp-ims+xml", []byte(strings.Repeat("x", 300)))
		return r
	}
	host := &wire{peer: netip.MustParseAddrPort("198.51.100.66:9")}
	small := "INVITE urn:service:sos SIP/2.0\r\nv:SIP/2.0/UDP 198.51.100.66:9;rport;branch=z9hG4bK1\r\nMax-Forwards:9\r\nf:<sip:a@a>;tag=1\r\nt:<sip:a@a>\r\ni:1\r\nm:<sip:a@a>\r\nCSeq:1 INVITE\r\nl:0\r\n\r\n"
	b.on(func() { b.port.Packet(host.flow(), []byte(small)) })
	b.advance(time.Minute)
	out := 0
	for _, s := range host.sent {
		out += len(s)
	}
	t.Logf("%d octets came, %d left in %d datagrams: a factor of %.1f", len(small), out, len(host.sent), float64(out)/float64(len(small)))
	if out == 0 || out > 4*len(small) {
		t.Error("silence, or too much")
	}
}

// TestBudget_room_for_others: however many call for help from addresses that are nobody's, whoever wants to register finds room, at the door and in the table of
// associations.
func TestBudget_room_for_others(t *testing.T) {
	b := newGmBench(t, secagree.Handset())
	at := func(i int) *wire {
		return &wire{peer: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}), 9)}
	}
	ask := func(i int, method string) {
		text := fmt.Sprintf("%s urn:service:sos SIP/2.0\r\nv:SIP/2.0/UDP a;rport;branch=z9hG4bK%d\r\nMax-Forwards:9\r\nf:<sip:a@a>;tag=1\r\nt:<sip:a@a>\r\ni:%d\r\nm:<sip:a@a>\r\n"+
			"CSeq:1 %s\r\nl:0\r\n\r\n", method, i, i, method)
		b.on(func() { b.gm.Clear()[0].Packet(at(i).flow(), []byte(text)) })
	}
	for i := range 100 {
		ask(i, "OPTIONS") // answered 200
	}
	b.advance(10 * time.Minute)
	if n := b.door.Associations(); n != 0 {
		t.Errorf("%d associations are kept for those who have asked something", n)
	}
	waiting := 0
	b.bench.pcscf = func(x *hop.Exchange, in hop.Inbound) hop.Reply {
		waiting++
		in.Msg.Release()
		x.Task().Await(func(shard.Waker) {})
		return hop.Reply{}
	}
	b.door.helping.Store(maxHelping - 50) // so many others wait
	for i := range 60 {
		ask(1000+i, "INVITE")
	}
	if waiting != 50 {
		t.Errorf("%d of 60 wait for help, want 50", waiting)
	}
}
