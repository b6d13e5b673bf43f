package clientims

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"imsafe/hop"
	"imsafe/proto/esp"
	"imsafe/proto/secagree"
	"imsafe/proto/shard"
	"imsafe/proto/siptransport"
	"imsafe/refpoint/gm"
	"imsafe/secure"
)

// inner is a TCP connection that a client has opened inside its associations.
type inner struct {
	wire
	net.Conn // nothing of it is used
	ref      esp.Ref
	owner    shard.Place
}

func (i *inner) NetConn() net.Conn                             { return i }
func (i *inner) Agreement() (esp.Ref, shard.Place, esp.Side)   { return i.ref, i.owner, esp.Server }
func (i *inner) flow() siptransport.Flow                       { return siptransport.Flow{Via: i, Peer: i.peer} }
func (i *inner) SendTo(to netip.AddrPort, octets []byte) error { return i.wire.SendTo(to, octets) }

// TestGm_answer_without_its_connection: a caller whose connection closes while he rings is answered over one that we open to his protected server port, by the
// security associations that his request came by or those that have come in their place, and by no others (RFC 3261 18.2.2).
func TestGm_answer_without_its_connection(t *testing.T) {
	stays := func(*gmBench, *phone, secure.Association) {}
	for name, c := range map[string]struct {
		closes    bool
		meanwhile func(b *gmBench, p *phone, a secure.Association)
		by        by
	}{
		"it stands":                       {false, stays, none},
		"it has closed":                   {true, stays, his},
		"his associations were renewed":   {true, func(_ *gmBench, p *phone, _ secure.Association) { p.renew() }, his},
		"those of his request have ended": {true, func(_ *gmBench, p *phone, _ secure.Association) { p.renew(); p.renew() }, others},
		"all have ended":                  {true, func(b *gmBench, _ *phone, a secure.Association) { b.on(func() { b.door.end(a, gm.ReasonClosed) }) }, none},
		"he takes no connections":         {true, func(b *gmBench, _ *phone, a secure.Association) { b.door.tableOf(a).deaf(a, b.reached(a).ref) }, none},
	} {
		t.Run(name, func(t *testing.T) {
			b := newGmBench(t, secagree.Strict())
			p := b.phone("alice", "198.51.100.7")
			a := p.register()
			first := b.reached(a).ref
			var dialled []esp.Ref
			ours := &wire{stream: true}
			b.gm.DialBy(func(ref esp.Ref, client netip.AddrPort, _ *Port) siptransport.Flow {
				dialled, ours.peer = append(dialled, ref), client
				return ours.flow()
			})
			answers := b.pcscf
			var answer shard.Waker
			b.pcscf = func(x *hop.Exchange, in hop.Inbound) hop.Reply {
				if in.Msg.Method().String() != "INVITE" {
					return b.answer(x, in)
				}
				x.Provisional(x.Respond(180, ""))
				x.Task().Await(func(w shard.Waker) { answer = w })
				return x.Refuse(in, 200, "")
			}
			defer func() { b.pcscf = answers }()
			conn := &inner{wire: wire{stream: true, peer: netip.AddrPortFrom(p.addr, p.uc)}, ref: first, owner: shard.Place(a)}
			invite := p.request("INVITE", p.verify(0), fmt.Sprintf("Contact: <sip:alice@%v:%d>", p.addr, p.us))
			port := b.gm.sealed.ports[0]
			b.on(func() { port.Packet(conn.flow(), []byte(strings.Replace(invite, "SIP/2.0/UDP", "SIP/2.0/TCP", 1))) })
			if n := len(conn.sent); n == 0 || !strings.HasPrefix(conn.sent[n-1], "SIP/2.0 180 ") {
				t.Fatalf("he hears %q", conn.sent)
			}
			before := len(conn.sent)
			if c.closes {
				conn.broken = true
				b.on(func() { port.Closed(conn.flow(), nil) })
			}
			c.meanwhile(b, p, a)
			clear, sealed := len(p.clear), len(p.got)
			b.on(func() { answer.Wake() })
			var want []esp.Ref
			switch c.by {
			case his:
				want = []esp.Ref{first}
			case others:
				want = []esp.Ref{b.reached(a).ref}
				if want[0] == first {
					t.Fatal("they have not ended")
				}
			}
			if fmt.Sprint(dialled) != fmt.Sprint(want) || len(ours.sent) != len(want) || len(conn.sent)-before != map[bool]int{false: 1, true: 0}[c.closes] {
				t.Errorf("by %v, want %v; %q over ours, %q over his", dialled, want, ours.sent, conn.sent[before:])
			}
			if len(p.clear) != clear || len(p.got) != sealed {
				t.Errorf("by datagrams: %q, %q", p.clear[clear:], p.got[sealed:])
			}
			for _, s := range ours.sent {
				if !strings.HasPrefix(s, "SIP/2.0 200 ") || ours.peer != netip.AddrPortFrom(p.addr, p.us) {
					t.Errorf("%v: %q", ours.peer, s)
				}
			}
		})
	}
}

// by is the associations that an answer leaves by.
type by uint8

const (
	none   by = iota
	his       // those that the request came by
	others    // those by which the client is reached now
)

// reached is the set by which the client of an association is reached now.
func (b *gmBench) reached(a secure.Association) *set {
	record, known := b.door.lookup(a)
	if !known {
		b.t.Fatal("no association")
	}
	return record.sa.route(b.door.tableOf(a).now())
}
