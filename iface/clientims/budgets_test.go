package clientims

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"imsafe/hop"
	"imsafe/proto/budget"
	"imsafe/proto/secagree"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/secure"
)

// told keeps the chapters of a story.
type told struct{ all []Chapter }

func (s *told) Tell(c Chapter) { s.all = append(s.all, c) }

// refusals is how often a control has refused so far.
func (b *bench) refusals(c secure.ControlID) uint64 {
	n, _ := b.gate.Counts(c)
	return n
}

// TestBudget_datagrams: one address gets five datagrams for each request that it may send, and then silence before anything is parsed; from
// elsewhere a client is heard.
func TestBudget_datagrams(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	mallory, p := b.phone("mallory", "198.51.100.66"), b.phone("alice", "203.0.113.7")
	for range 600 {
		mallory.sendClear("OPTIONS")
	}
	if n := b.port.layer.Counters().Screened.Load(); n != 500 {
		t.Errorf("%d were parsed, want 500", n)
	}
	if over := b.door.Budgets().OverDatagrams.Load(); over != 100 || b.refusals(secure.CIAvailabilityBudgetSource) != 500 {
		t.Errorf("%d datagrams dropped, %d refusals", over, b.refusals(secure.CIAvailabilityBudgetSource)) // 400 of them as requests
	}
	p.register()
	b.advance(time.Second)
	before := b.port.layer.Counters().Screened.Load()
	mallory.sendClear("OPTIONS")
	if b.port.layer.Counters().Screened.Load() != before+1 {
		t.Error("after a second the address is not heard again")
	}
}

// TestBudget_network: the addresses of one network share what it has, whatever each of them may; what one is refused by its own budget costs the others nothing.
func TestBudget_network(t *testing.T) {
	second := func(burst int) budget.Rate { return budget.Rate{Limit: 1, Per: time.Second, Burst: burst} }
	b := newBudgets(Budgets{Source: second(2), Network: second(3)})
	for _, c := range []struct {
		from string
		want bool
	}{{"198.51.100.1", true}, {"198.51.100.1", true}, {"198.51.100.1", false}, {"198.51.100.2", true}, {"198.51.100.2", false}, {"198.51.100.3", false}, {"203.0.113.1", true},
		{"2001:db8::1", true}, {"2001:db8:0:1::1", true}, {"2001:db8:0:2::1", true}, {"2001:db8:0:3::1", false}, {"2001:db8:1::1", true}} {
		s := b.sourceOf(netip.MustParseAddr(c.from))
		if got := b.requests[byProof].take(&s, 0).Granted(); got != c.want {
			t.Errorf("%s: %v", c.from, got)
		}
	}
}

// TestBudget_retransmissions: the same request again costs a datagram and no request, and gets the same answer.
func TestBudget_retransmissions(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	p := b.phone("alice", "203.0.113.7")
	text := p.request("REGISTER", p.offer())
	for range 120 {
		b.on(func() { b.port.Packet(p.flow(), []byte(text)) })
	}
	if len(p.clear) != 120 || strings.Join(p.clear, "") != strings.Repeat(p.clear[0], 120) {
		t.Errorf("%d answers", len(p.clear))
	}
	want(t, p.clear[:1], 401)
}

// TestBudget_paths: what comes by forged datagrams with a client's address costs nothing of what that address has over TLS, nor what it
// does inside its registration.
func TestBudget_paths(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	p := b.phone("alice", "203.0.113.7")
	p.register()
	forger := *p
	for range 1000 {
		forger.uc++
		forger.sendClear("REGISTER", forger.offer())
	}
	if b.refusals(secure.CIAvailabilityBudgetSource) == 0 || b.refusals(secure.CIAvailabilityBudgetVector) == 0 {
		t.Fatal("the forger is not refused: the test proves nothing")
	}
	want(t, p.send(0, "MESSAGE"), 200)
	p.renew()
	over := b.door.access[0].ports[0]
	w := &wire{stream: true, peer: netip.AddrPortFrom(p.addr, 40000)}
	b.port = over
	b.bench.pcscf = func(x *hop.Exchange, in hop.Inbound) hop.Reply { return x.Refuse(in, 401, "") }
	b.send(w, "REGISTER", fmt.Sprintf("Authorization: Digest username=%q,nonce=\"\",response=\"\"", "alice@ims.example"))
	want(t, w.sent, 401)
}

// TestBudget_client: a registered client has a budget of its own, and hears that it is over it.
func TestBudget_client(t *testing.T) {
	b := newBench(t, overTLS)
	_, w := b.register()
	_, other := b.register()
	for range 205 {
		b.send(w, "MESSAGE")
	}
	if n := strings.Count(strings.Join(w.sent, ""), "SIP/2.0 503 Service Unavailable"); n != 5 || !strings.Contains(w.sent[len(w.sent)-1], "Retry-After: 10") {
		t.Errorf("%d of %d are refused, want 5", n, len(w.sent))
	}
	b.send(other, "MESSAGE")
	want(t, other.sent, 200)
}

// TestBudget_ACK: an ACK has no transaction and no answer; a client has as many as requests, beside these.
func TestBudget_ACK(t *testing.T) {
	b := newBench(t, overTLS)
	_, w := b.register()
	walked := 0
	b.pcscf = func(x *hop.Exchange, in hop.Inbound) hop.Reply {
		if in.Msg.Method() == sip.ACK {
			walked++
		}
		return x.Refuse(in, 200, "")
	}
	for range 1000 {
		b.send(w, "ACK", "Route: <sip:x@pcscf;lr>")
	}
	if walked != 200 || b.refusals(secure.CIAvailabilityBudgetSource) != 800 {
		t.Errorf("%d of 1000 go on, want 200", walked)
	}
	b.send(w, "MESSAGE")
	want(t, w.sent, 200)
}

// TestBudget_vector: beyond ten challenges in one name from one address there are six a minute; an answer to a challenge costs nothing, and
// the owner of the name has his own share elsewhere. A refusal is told once.
func TestBudget_vector(t *testing.T) {
	b := newBench(t, overTLS)
	story := &told{}
	b.door.ports.Story = story
	nonce := 0
	b.pcscf = func(x *hop.Exchange, in hop.Inbound) hop.Reply {
		if c, _ := sip.ParseCredentials(in.Msg.Get(sip.HdrAuthorization)); len(c.Response) > 0 {
			return x.Refuse(in, 403, "")
		}
		nonce++
		r := x.Refuse(in, 401, "")
		r.Msg.AppendString(sip.HdrWWWAuthenticate, fmt.Sprintf("Digest realm=\"ims.example\",nonce=\"n%d\",algorithm=AKAv2-SHA-256", nonce))
		return r
	}
	first := `Authorization: Digest username="alice@ims.example",nonce="",response=""`
	answer := func(n int) string {
		return fmt.Sprintf(`Authorization: Digest username="alice@ims.example",nonce="n%d",response="00"`, n)
	}
	w := b.connect()
	for range 10 {
		w.sent = nil
		b.send(w, "REGISTER", first)
		want(t, w.sent, 401)
		w.sent = nil
		b.send(w, "REGISTER", answer(nonce))
		want(t, w.sent, 403)
	}
	for range 5 {
		w.sent = nil
		b.send(w, "REGISTER", first)
		want(t, w.sent, 503)
	}
	w.sent = nil
	b.send(w, "REGISTER", answer(nonce)) // it is answered already: this would draw a vector
	want(t, w.sent, 503)
	refused := 0
	for _, c := range story.all {
		if c.Step == StepRegister {
			refused++
		}
	}
	if refused != 21 {
		t.Errorf("%d REGISTERs are told of, want 20 and the first that was refused", refused)
	}
	elsewhere := b.connect()
	b.send(elsewhere, "REGISTER", first)
	want(t, elsewhere.sent, 401)
	b.advance(10 * time.Second)
	w.sent = nil
	b.send(w, "REGISTER", first)
	want(t, w.sent, 401)
}

// TestBudget_resync: four resynchronisations an hour, each with a challenge that was asked for.
func TestBudget_resync(t *testing.T) {
	b := newBench(t, overTLS)
	nonce, resyncs := 0, 0
	b.pcscf = func(x *hop.Exchange, in hop.Inbound) hop.Reply {
		if c, _ := sip.ParseCredentials(in.Msg.Get(sip.HdrAuthorization)); len(c.AUTS) > 0 {
			resyncs++
		}
		nonce++
		r := x.Refuse(in, 401, "")
		r.Msg.AppendString(sip.HdrWWWAuthenticate, fmt.Sprintf("Digest realm=\"ims.example\",nonce=\"n%d\",algorithm=AKAv2-SHA-256", nonce))
		return r
	}
	w := b.connect()
	b.send(w, "REGISTER", `Authorization: Digest username="alice@ims.example",nonce="",response=""`)
	for range 20 {
		b.advance(20 * time.Second) // slow enough for challenges
		b.send(w, "REGISTER", fmt.Sprintf(`Authorization: Digest username="alice@ims.example",nonce="n%d",response="00",auts="AAAAAAAAAAAAAAAAAAA="`, nonce))
	}
	if resyncs != 4 || b.door.Budgets().OverResyncs.Load() == 0 {
		t.Errorf("%d resynchronisations went on, %d did not", resyncs, b.door.Budgets().OverResyncs.Load())
	}
}

// TestBudget_unproven: addresses that were never proven share one budget; who has registered lately is served beyond it, and so is an
// emergency call.
func TestBudget_unproven(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	p := b.phone("alice", "203.0.113.7")
	p.register()
	answered := 0
	for i := range 2500 {
		m := b.phone(fmt.Sprintf("u%d", i), netip.AddrFrom4([4]byte{10, byte(i % 50), byte(i / 250), byte(i)}).String())
		answered += len(m.sendClear("REGISTER", m.offer()))
	}
	if answered != 1999 || b.refusals(secure.CIAvailabilityPathProof) != 501 { // alice's first was one of the two thousand
		t.Errorf("%d were answered, want 1999; %d refusals", answered, b.refusals(secure.CIAvailabilityPathProof))
	}
	again := *p
	again.uc += 100
	want(t, again.sendClear("REGISTER", again.offer()), 401)
}

// TestBudget_emergency: a call for help is let in whatever its address has spent, as far as the budget of such calls goes.
func TestBudget_emergency(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	p := b.phone("mallory", "198.51.100.66")
	for range 1000 {
		p.sendClear("OPTIONS")
	}
	p.edit = func(s string) string {
		return strings.Replace(s, "INVITE sip:ims.example", "INVITE urn:service:sos", 1)
	}
	served := 0
	for range 15 {
		served += len(p.sendClear("INVITE"))
	}
	if served == 0 || b.door.Budgets().OverEmergency.Load() == 0 {
		t.Errorf("%d of 15 are served, %d refused", served, b.door.Budgets().OverEmergency.Load())
	}
}

// TestBudget_connections: an address may open fifty connections at once.
func TestBudget_connections(t *testing.T) {
	b := newBench(t, overTLS)
	admitted := 0
	for i := range 60 {
		if b.door.Admits(netip.AddrPortFrom(netip.MustParseAddr("198.51.100.66"), uint16(i))) {
			admitted++
		}
	}
	if admitted != 50 || !b.door.Admits(netip.MustParseAddrPort("198.51.101.66:1")) || b.refusals(secure.CIAvailabilityBudgetSource) != 10 {
		t.Errorf("%d connections admitted, want 50", admitted)
	}
}

// TestBudget_amplification: what goes to addresses that were never proven is counted, and but for challenges none of it is larger than
// what came.
func TestBudget_amplification(t *testing.T) {
	b := newGmBench(t, secagree.Handset())
	host := &wire{peer: netip.MustParseAddrPort("198.51.100.66:9")}
	small := "REGISTER sip:a SIP/2.0\r\nv:SIP/2.0/UDP 198.51.100.66:9;rport;branch=z9hG4bK1\r\nMax-Forwards:9\r\nf:<sip:a@a>;tag=1\r\nt:<sip:a@a>\r\ni:1\r\nCSeq:1 REGISTER\r\n" +
		"Security-Client:tls\r\nl:0\r\n\r\n"
	b.on(func() { b.port.Packet(host.flow(), []byte(small)) })
	if len(host.sent) != 0 || b.refusals(secure.CIAvailabilityPathProof) != 1 {
		t.Errorf("%d octets are answered with %q", len(small), host.sent)
	}
	p := b.phone("alice", "203.0.113.7")
	p.sendClear("REGISTER", p.offer())
	if n := b.door.Budgets(); n.UnprovenChallenge.Load() != 1 || n.UnprovenAnswers.Load() != 1 || n.Amplification() <= 0 || n.Amplification() > 1.5 {
		t.Errorf("%d challenges, a factor of %v", n.UnprovenChallenge.Load(), n.Amplification())
	}
}

// BenchmarkBudget is what a datagram of a stranger costs when its source has spent all it may: the whole way from the socket's batch.
func BenchmarkBudget(b *testing.B) {
	for name, mask := range map[string]int{"one source": 0, "a million sources": 1<<20 - 1} {
		b.Run(name, func(b *testing.B) {
			x := newGmBench(b, secagree.Strict())
			data := []byte(x.phone("alice", "203.0.113.7").request("REGISTER"))
			via := &wire{}
			at := func(i int) siptransport.Flow {
				n := i * 7919 & mask
				return siptransport.Flow{Via: via, Peer: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 5060)}
			}
			for i := range 100000 { // until it is refused
				x.port.hears(at(i), data)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				x.port.Packet(at(i), data)
			}
		})
	}
}
