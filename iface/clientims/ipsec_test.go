package clientims

import (
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"imsafe/hop"
	"imsafe/proto/aka"
	"imsafe/proto/esp"
	"imsafe/proto/secagree"
	"imsafe/proto/siptransport"
	"imsafe/refpoint/gm"
	"imsafe/refpoint/gm/gmtest"
	"imsafe/secure"
)

func TestGmContract(t *testing.T) {
	gmtest.Run(t, func(t *testing.T) gmtest.Harness {
		b := newGmBench(t, secagree.Strict())
		n := 0
		of := map[secure.Association]*phone{}
		return gmtest.Harness{
			Door: b.door,
			Open: func() secure.Association {
				n++
				p := b.phone(fmt.Sprintf("alice%d", n), fmt.Sprintf("198.51.100.%d", n))
				b.pcscf = func(x *hop.Exchange, in hop.Inbound) hop.Reply { return x.Refuse(in, 401, "") }
				p.sendClear("REGISTER", p.offer())
				of[b.last] = p
				return b.last
			},
			Proof: func(a secure.Association) secure.Proof {
				record, _ := b.door.lookup(a)
				return record.proof
			},
			Close:   func(a secure.Association) { b.on(func() { b.door.end(a, gm.ReasonClosed) }) },
			Advance: b.advance,
			Gone:    func(a secure.Association) []gm.Reason { return b.gone[a] },
		}
	})
}

func TestGm_registration(t *testing.T) {
	for name, profile := range map[string]secagree.Profile{"strict": secagree.Strict(), "handset": secagree.Handset(), "legacy": secagree.Legacy()} {
		for _, suite := range profile.Suites {
			for _, nat := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s+%s/nat=%v", name, suite.Alg, suite.EAlg, nat), func(t *testing.T) {
					b := newGmBench(t, profile)
					p := b.phone("alice", "198.51.100.7")
					p.suites = secagree.Profile{Suites: []secagree.Suite{suite}}
					if nat {
						p.via = netip.MustParseAddr("10.0.0.5")
						p.edit = func(s string) string { // inside the tunnel it knows better (TS 33.203 M.7.1)
							if strings.Contains(s, "Security-Verify") {
								return strings.Replace(s, "10.0.0.5", p.addr.String(), 1)
							}
							return s
						}
					}
					a := p.register()
					if p.tunnel != nat {
						t.Errorf("tunnel %v, want %v", p.tunnel, nat)
					}
					proof := b.proofs[a]
					if proof.Generation() != secure.GenerationNew || !proof.Protected() {
						t.Errorf("the answer to the challenge came with the proof %v", proof)
					}
					p.edit = nil
					p.via = p.addr
					want(t, p.send(0, "MESSAGE"), 200)
					if proof := b.proofs[a]; proof.IMPI() != "alice@ims.example" || proof.Generation() != secure.GenerationCurrent {
						t.Errorf("a message came with the proof %v", proof)
					}
					before := len(p.got)
					b.deliver(a, 10)
					if len(p.got) != before+1 || !strings.HasPrefix(p.got[before], "MESSAGE ") || !strings.Contains(p.got[before], "Via: SIP/2.0/UDP 192.0.2.1:5999;") {
						t.Errorf("what the core sends came as %q", p.got[before:])
					}
				})
			}
		}
	}
}

// TestGm_without_ESP_on_IP is a node that may open no raw socket: a client that knows nothing else is told so, not met with silence.
func TestGm_without_ESP_on_IP(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	b.gm.CarryBy(nil, carrier{b, true})
	p := b.phone("alice", "198.51.100.7")
	p.modes = []secagree.Mode{secagree.Transport}
	answers := p.sendClear("REGISTER", p.offer())
	want(t, answers, 494)
	if !strings.Contains(answers[0], "mod=UDP-enc-tun") {
		t.Errorf("it is not told what there is:\n%s", answers[0])
	}
	p.modes = append(p.modes, secagree.UDPTunnel)
	p.register()
}

func TestGm_in_clear(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	p := b.phone("alice", "198.51.100.7")
	stranger := b.phone("mallory", "198.51.100.9")
	p.register()
	n := 0
	b.pcscf = func(x *hop.Exchange, in hop.Inbound) hop.Reply { n++; return x.Refuse(in, 200, "") }
	for _, who := range []*phone{p, stranger} {
		for _, method := range []string{"INVITE", "BYE", "MESSAGE", "SUBSCRIBE", "OPTIONS"} {
			want(t, who.sendClear(method), 0)
		}
	}
	if refused, _ := b.gate.Counts(secure.CIAuthorizationProtectedPort); refused != 10 || n != 0 {
		t.Errorf("%d refusals named, %d requests let in", refused, n)
	}
}

// TestGm_stranger holds that a REGISTER in a client's name touches nothing that the client has proven, and nothing that it does from
// elsewhere.
func TestGm_stranger(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	p := b.phone("alice", "198.51.100.7")
	a := p.register()
	mallory := b.phone("alice", "198.51.100.66")
	const times = 48
	for range times {
		mallory.us++
		mallory.addr = mallory.addr.Next()
		mallory.via = mallory.addr
		want(t, mallory.sendClear("REGISTER", mallory.offer()), 401)
		b.advance(10 * time.Second) // as fast as strangers may in one name
	}
	if n := b.engine.Len(); n < 2 || n > times/2+3 {
		t.Errorf("%d sets stand: hers, and those of the last four minutes", n)
	}
	spoofed := *p // from the client's own address
	want(t, spoofed.sendClear("REGISTER", spoofed.offer()), 401)
	want(t, p.send(0, "MESSAGE"), 200)
	p.uc = spoofed.uc
	p.renew()
	if refused, _ := b.gate.Counts(secure.CIAvailabilitySACap); refused == 0 || !b.door.Alive(a) {
		t.Errorf("%d refusals named, alive %v", refused, b.door.Alive(a))
	}
}

// TestGm_crowd: very many addresses begin to register in the name of somebody who is about to answer her challenge. Hers waits on: where she is known
// whatever they are, else as long as they have fewer networks than there are places.
func TestGm_crowd(t *testing.T) {
	for _, known := range []bool{true, false} {
		b := newGmBench(t, secagree.Strict())
		networks := maxClaims - 1
		p := b.phone("alice", "198.51.100.7")
		if known {
			p.register()
			b.advance(3 * time.Hour) // it is over, and where she was is known
			networks = 4 * maxClaims
		}
		offer := p.offer()
		p.install(p.sendClear("REGISTER", offer)[0])
		ck, ik := b.ck, b.ik
		for i := range 4 * maxClaims {
			mallory := b.phone("alice", netip.AddrFrom4([4]byte{10, 1, byte(i % networks), byte(1 + i/networks)}).String())
			b.door.budgets.prove(mallory.addr, b.clock.Now()) // each is some subscriber's
			want(t, mallory.sendClear("REGISTER", mallory.offer()), 401)
		}
		if n := b.engine.Len(); n != maxClaims {
			t.Errorf("known %v: %d sets stand, want %d", known, n, maxClaims)
		}
		b.ck, b.ik = ck, ik
		want(t, p.send(0, "REGISTER", offer), 200)
	}
}

func TestGm_ports_in_use(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	p := b.phone("alice", "198.51.100.7")
	p.register()
	q := b.phone("bob", "198.51.100.7") // behind the same NAT
	b.phones[p.addr] = p
	want(t, q.sendClear("REGISTER", q.offer()), 400) // bob's client port is alice's
	q.uc = 38500
	if answers := q.sendClear("REGISTER", q.offer()); len(answers) == 1 && strings.HasPrefix(answers[0], "SIP/2.0 401") {
		t.Error("bob's server port is alice's, and he was challenged")
	}
	q.us = 39500
	want(t, q.sendClear("REGISTER", q.offer()), 401)
	want(t, p.send(0, "MESSAGE"), 200)
}

func TestGm_Via_is_the_source(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	p := b.phone("alice", "198.51.100.7")
	p.register()
	p.edit = func(s string) string { return strings.Replace(s, "UDP 198.51.100.7", "UDP 198.51.100.8", 1) }
	want(t, p.send(0, "REGISTER", p.offer()), 0)
	if refused, _ := b.gate.Counts(secure.CIAuthenticationSASelector); refused != 1 {
		t.Errorf("%d refusals named", refused)
	}
}

// TestGm_packets holds that what is not of the client's associations comes to nobody, with one named counter.
func TestGm_packets(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	p := b.phone("alice", "198.51.100.7")
	p.register()
	sealed := func() []byte {
		packet, _, err := p.engine.SealUDP(nil, p.sets[0], esp.Client, []byte(p.request("MESSAGE", p.verify(0))))
		if err != nil {
			t.Fatal(err)
		}
		return packet
	}
	seen := 0
	b.pcscf = func(x *hop.Exchange, in hop.Inbound) hop.Reply { seen++; return x.Refuse(in, 200, "") }
	good := sealed()
	b.arrive(good, p.addr, false)
	flipped := sealed()
	flipped[20] ^= 1
	for name, c := range map[string]struct {
		packet  []byte
		from    netip.Addr
		control secure.ControlID
	}{
		"replayed":            {good, p.addr, secure.CIIntegrityReplay},
		"an octet flipped":    {flipped, p.addr, secure.CIIntegrityESP},
		"from another client": {sealed(), netip.MustParseAddr("198.51.100.8"), secure.CIAuthenticationSASelector},
	} {
		before, _ := b.gate.Counts(c.control)
		b.arrive(c.packet, c.from, false)
		if after, _ := b.gate.Counts(c.control); after != before+1 || seen != 1 {
			t.Errorf("%s: %d refusals of %v, %d requests seen", name, after-before, c.control, seen)
		}
	}
}

// streamTo is a connection of ours to a client inside its associations; it takes what is sent, or is broken.
func (b *gmBench) streamTo(broken bool) (w *wire, dialled *int) {
	w, dialled = &wire{stream: true, broken: broken}, new(int)
	b.gm.DialBy(func(_ esp.Ref, client netip.AddrPort, _ *Port) siptransport.Flow {
		*dialled++
		w.peer = client
		return w.flow()
	})
	return w, dialled
}

func TestGm_large_requests(t *testing.T) {
	for name, refuses := range map[string]bool{"a client that takes connections": false, "a client that takes none": true} {
		t.Run(name, func(t *testing.T) {
			b := newGmBench(t, secagree.Strict())
			p := b.phone("alice", "198.51.100.7")
			a := p.register()
			w, dialled := b.streamTo(refuses)
			port := b.gm.sealed.ports[0]
			datagrams := len(p.got)
			b.deliver(a, 10)
			b.deliver(a, 2000)
			b.on(func() {
				if refuses {
					port.Closed(w.flow(), nil)
				} else {
					port.Opened(w.flow(), nil)
				}
			})
			b.deliver(a, 2000)
			wantDatagrams, wantStream := 1, 2
			if refuses {
				wantDatagrams, wantStream = 3, 0
			}
			if n := len(p.got) - datagrams; n != wantDatagrams || len(w.sent) != wantStream || *dialled != 1 {
				t.Errorf("%d datagrams, %d over %d connections; want %d and %d over one", n, len(w.sent), *dialled, wantDatagrams, wantStream)
			}
			if !refuses && (w.peer != netip.AddrPortFrom(p.addr, p.us) || !strings.Contains(w.sent[0], "Via: SIP/2.0/TLS 192.0.2.1:5999;")) {
				t.Errorf("to %v: %.200s", w.peer, w.sent[0])
			}
			b.on(func() { port.Closed(w.flow(), nil) })
			b.deliver(a, 2000)
			if !refuses && *dialled != 2 {
				t.Error("a connection that has ended is used again")
			}
		})
	}
}

// TestGm_message_of_the_past is what was on its way over associations that are forgotten when it comes: nobody's, and not in clear either.
func TestGm_message_of_the_past(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	p := b.phone("alice", "198.51.100.7")
	a := p.register()
	record, _ := b.door.lookup(a)
	old := record.sa.sets[current].set
	b.on(func() { b.door.end(a, gm.ReasonRemoved) })
	n := b.door.Associations()
	b.pcscf = func(x *hop.Exchange, in hop.Inbound) hop.Reply {
		t.Error("it came through")
		return x.Refuse(in, 200, "")
	}
	for _, via := range []*set{old, strangerSet} {
		for _, text := range []string{p.request("MESSAGE", p.verify(0)), p.request("REGISTER", p.offer(), p.verify(0))} {
			b.on(func() { b.gm.sealed.ports[0].Packet(siptransport.Flow{Via: via, Peer: old.client}, []byte(text)) })
		}
	}
	if b.door.Associations() != n {
		t.Errorf("%d associations were opened", b.door.Associations()-n)
	}
}

func BenchmarkGmRequest(b *testing.B) {
	t := &testing.T{}
	g := newGmBench(t, secagree.Strict())
	g.wide() // what it costs, not how much of it one client may
	p := g.phone("alice", "198.51.100.7")
	p.register()
	m, err := g.pool.Parse([]byte(p.request("MESSAGE", p.verify(0))))
	if err != nil {
		b.Fatal(err)
	}
	record, _ := g.door.lookup(g.last)
	f := siptransport.Flow{Via: record.sa.sets[current].set, Peer: netip.AddrPortFrom(p.addr, p.uc)}
	b.ReportAllocs()
	for b.Loop() {
		g.clock.Advance(time.Millisecond)
		g.shard.Step(g.clock.Now())
		if status, _ := g.gm.sealed.ports[0].Screen(f, m); status != 0 {
			b.Fatal(status)
		}
	}
}

// BenchmarkGmClients builds clients with four associations each, as the door and the engine keep them when they are idle: what one costs in
// memory, and how long it takes to make.
func BenchmarkGmClients(b *testing.B) {
	const clients = 100_000
	for b.Loop() {
		g := newGmBench(&testing.T{}, secagree.Strict())
		table := g.door.tables[0]
		names := make([]string, clients)
		for i := range names {
			names[i] = fmt.Sprintf("00101%010d@ims.mnc001.mcc001.3gppnetwork.org", i)
		}
		before := heap()
		started := time.Now()
		for i := range clients {
			addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
			a, ok := table.open(path{}, siptransport.Flow{Peer: netip.AddrPortFrom(addr, 5060)}, g.gm.clear, names[i], time.Minute)
			if !ok {
				b.Fatal("no room")
			}
			there := secagree.Endpoint{SPIC: 1000 + uint32(i)*2, SPIS: 1001 + uint32(i)*2, PortC: 38000, PortS: 39000}
			list := secagree.Offer(secagree.Strict(), there, secagree.Transport)
			table.offered(a.ref, g.gm, &offer{said: secagree.Quote([][]byte{list.AppendTo(nil)}), there: there, peer: addr, profile: &g.gm.Profile, user: user{names[i], addr},
				choice: secagree.Choice{Suite: secagree.Strict().Suites[0], Mode: secagree.Transport}})
			if _, err := install(g.door, a.ref, aka.CK{byte(i)}, aka.IK{byte(i >> 8)}); err != nil {
				b.Fatal(err)
			}
			if err := g.door.Promote(a.ref, gm.Registration{IMPI: names[i], IMPUs: []string{"sip:" + names[i], "tel:+15551234567"}, Expires: time.Hour}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(time.Since(started).Nanoseconds())/clients, "ns/client")
		b.ReportMetric(float64(heap()-before)/clients, "octets/client")
		if g.engine.Len() != clients {
			b.Fatal(g.engine.Len())
		}
	}
}

// heap is what is in use after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
