package clientims

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"imsafe/hop"
	"imsafe/proto/budget"
	"imsafe/proto/overload"
	"imsafe/proto/secagree"
	"imsafe/refpoint/gm"
	"imsafe/secure"
)

// wide is a budget that these tests do not reach: what they look at is behind it.
func (b *bench) wide() {
	much := budget.Rate{Limit: 1_000_000, Per: time.Second, Burst: 1_000_000}
	b.door.budgets = newBudgets(Budgets{Source: much, Network: much, Client: much, Challenge: much, Unproven: much, Signalling: much, Places: 4096})
}

// user registers a connection of its own for somebody.
func (b *bench) user(name string) *wire {
	a, w := b.open()
	if err := b.door.Promote(a, gm.Registration{IMPI: name + "@ims.example", IMPUs: []string{"sip:" + name + "@ims.example"}, Expires: time.Hour}); err != nil {
		b.t.Fatal(err)
	}
	w.sent = nil
	return w
}

// busy lets a while pass in which each request that the core gets takes so long, and does something in each hundredth of a second.
func (b *bench) busy(d, cost time.Duration, each func(turn int)) {
	const step = 10 * time.Millisecond
	core := b.pcscf
	defer func() { b.pcscf = core }()
	queue := time.Duration(0)
	b.pcscf = func(x *hop.Exchange, in hop.Inbound) hop.Reply {
		queue += cost
		if core != nil {
			return core(x, in)
		}
		return x.Refuse(in, 200, "")
	}
	for turn := range int(d / step) {
		b.clock.Advance(step)
		b.on(func() { b.port.load.Observe(queue, b.shard.Now()) })
		each(turn)
		queue = max(0, queue-step)
	}
}

// within sends a request of a dialog, sos an emergency call.
func (b *bench) within(w *wire) {
	b.text(w, "BYE sip:bob@ims.example", "<sip:bob@ims.example>;tag=b", "BYE")
}
func (b *bench) sos(w *wire) { b.text(w, "INVITE urn:service:sos", "<urn:service:sos>", "INVITE") }

func (b *bench) text(w *wire, line, to, method string) {
	b.n++
	text := fmt.Sprintf("%s SIP/2.0\r\nVia: SIP/2.0/TLS ue;branch=z9hG4bKt%d\r\nMax-Forwards: 70\r\nFrom: <sip:alice@ims.example>;tag=a\r\nTo: %s\r\n"+
		"Call-ID: t%d\r\nCSeq: 1 %s\r\nContact: <sip:alice@ue>\r\nContent-Length: 0\r\n\r\n", line, b.n, to, b.n, method)
	b.on(func() { b.port.Packet(w.flow(), []byte(text)) })
}

// answers counts what came over w by status, and forgets it.
func (w *wire) answers() map[string]int {
	n := map[string]int{}
	for _, text := range w.sent {
		n[text[8:11]]++
	}
	w.sent = nil
	return n
}

// TestOverload_order is one user who floods among others who do what users do: he is turned away with the time to come back, they are served.
func TestOverload_order(t *testing.T) {
	b := newBench(t, overTLS)
	b.wide()
	mallory, alice := b.user("mallory"), b.user("alice")
	flood := func(turn int) {
		for range 10 {
			b.send(mallory, "MESSAGE")
		}
		if turn%100 == 0 {
			b.send(alice, "MESSAGE")
			b.within(alice)
		}
	}
	b.busy(time.Second, 0, flood)
	if n := mallory.answers(); n["503"] > 0 || b.refusals(secure.CIAvailabilityOverload) > 0 {
		t.Fatalf("turned away without an overload: %v", n)
	}
	alice.answers()
	b.busy(2*time.Second, 5*time.Millisecond, flood) // it needs a moment to be noticed
	mallory.answers()
	alice.answers()
	b.busy(10*time.Second, 5*time.Millisecond, flood)
	if n := alice.answers(); n["200"] != 20 {
		t.Errorf("alice is answered %v", n)
	}
	for _, text := range mallory.sent {
		if text[8:11] == "503" && !strings.Contains(text, "\r\nRetry-After: ") {
			t.Fatalf("mallory is not told when to come again:\n%s", text)
		}
	}
	if n := mallory.answers(); n["503"] < 3*n["200"] {
		t.Errorf("mallory is answered %v", n)
	}
	if over := b.door.Budgets().OverLoad.Load(); over == 0 || over != b.refusals(secure.CIAvailabilityOverload) {
		t.Errorf("%d counted, %d refusals", over, b.refusals(secure.CIAvailabilityOverload))
	}
	b.busy(4*time.Second, 0, func(int) {})
	b.busy(time.Second, 0, flood)
	if n := mallory.answers(); n["503"] > 0 {
		t.Errorf("four seconds after the end %v", n)
	}
}

// TestOverload_classes: within a flood of all users calls go first, then first registrations, then re-registrations; never an emergency call, what
// belongs to a dialog, or the answer to a challenge before those.
func TestOverload_classes(t *testing.T) {
	b := newBench(t, overTLS)
	b.wide()
	var users []*wire
	for i := range 40 {
		users = append(users, b.user(fmt.Sprintf("user%d", i)))
	}
	stranger := b.connect()
	calls, again, sos, first := map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}
	add := func(to map[string]int, w *wire) {
		for k, n := range w.answers() {
			to[k] += n
		}
	}
	b.busy(12*time.Second, 20*time.Millisecond, func(turn int) {
		u := users[turn%40]
		b.send(u, "MESSAGE")
		add(calls, u)
		if turn%50 == 0 {
			b.send(u, "REGISTER", fmt.Sprintf(`Authorization: Digest username="user%d@ims.example",nonce="",response=""`, turn%40))
			add(again, u)
			b.sos(u)
			add(sos, u)
			b.send(stranger, "REGISTER", `Authorization: Digest username="new@ims.example",nonce="",response=""`)
			add(first, stranger)
		}
	})
	if calls["503"] < 300 || calls["200"] < 100 {
		t.Errorf("calls %v", calls)
	}
	if sos["200"] != 24 {
		t.Errorf("emergency calls %v", sos)
	}
	if again["503"] > first["503"] || first["503"] > 20 {
		t.Errorf("first registrations %v, re-registrations %v", first, again)
	}
}

// TestOverload_datagrams: within security associations a request that was turned away is so again, whatever has changed meanwhile; outside there is
// no answer at all.
func TestOverload_datagrams(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	b.wide()
	p, stranger := b.phone("alice", "203.0.113.7"), b.phone("carol", "198.51.100.9")
	p.register()
	text, refused := "", ""
	b.busy(3*time.Second, 30*time.Millisecond, func(int) {
		text = p.request("MESSAGE", p.verify(0))
		before := len(p.got)
		p.transmit(0, text)
		if len(p.got) > before && strings.HasPrefix(p.got[len(p.got)-1], "SIP/2.0 503 ") && refused == "" {
			refused = text
		}
	})
	if refused == "" {
		t.Fatal("nothing was turned away")
	}
	p.transmit(0, refused)
	want(t, p.got[len(p.got)-1:], 503)
	first := stranger.sendClear("REGISTER", stranger.offer())
	b.busy(time.Second, 30*time.Millisecond, func(int) { first = append(first, stranger.sendClear("REGISTER", stranger.offer())...) })
	for _, answer := range first {
		if strings.HasPrefix(answer, "SIP/2.0 503 ") {
			t.Errorf("a stranger's datagram is answered:\n%s", answer)
		}
	}
	b.busy(5*time.Second, 0, func(int) {})
	if b.port.load.Active() {
		t.Fatal("it is still an overload")
	}
	p.transmit(0, refused)
	want(t, p.got[len(p.got)-1:], 503)
	want(t, p.send(0, "MESSAGE"), 200)
}

// TestOverload_ablated: with the control off nobody is turned away, and the gate says who would have been.
func TestOverload_ablated(t *testing.T) {
	b := newBench(t, overTLS)
	b.wide()
	asked := 0
	b.door.ports.Overloaded = func(secure.Event) bool { asked++; return false }
	w := b.user("mallory")
	b.busy(3*time.Second, 30*time.Millisecond, func(int) { b.send(w, "MESSAGE") })
	if n := w.answers(); n["503"] > 0 || asked == 0 {
		t.Errorf("answered %v, asked %d times", n, asked)
	}
}

// TestOverload_told: a registered client that understands is told what it may send, in its own Via and nowhere else; a stranger is not, and what
// others wrote there does not reach anybody.
func TestOverload_told(t *testing.T) {
	b := newBench(t, overTLS)
	b.wide()
	inner := ""
	b.pcscf = func(x *hop.Exchange, in hop.Inbound) hop.Reply {
		inner = string(in.Msg.AppendTo(nil))
		return x.Refuse(in, 200, "")
	}
	w, stranger := b.user("alice"), b.connect()
	said := func(w *wire, method, offer string) (via string) {
		b.n++
		text := fmt.Sprintf("%s sip:ims.example SIP/2.0\r\nVia: SIP/2.0/TLS ue;branch=z9hG4bKo%d%s\r\nMax-Forwards: 70\r\nFrom: <sip:alice@ims.example>;tag=a\r\n"+
			"To: <sip:bob@ims.example>\r\nCall-ID: o%d\r\nCSeq: 1 %s\r\nContent-Length: 0\r\n\r\n", method, b.n, offer, b.n, method)
		b.on(func() { b.port.Packet(w.flow(), []byte(text)) })
		_, via, _ = strings.Cut(w.sent[len(w.sent)-1], "Via: ")
		via, _, _ = strings.Cut(via, "\r\n")
		return via
	}
	report := func(via string) overload.Report {
		r, _ := overload.Reported([]byte(via))
		return r
	}
	if r := report(said(w, "MESSAGE", `;oc;oc-algo="loss"`)); r.Algorithm != overload.Loss || r.Value != 0 || r.Validity != 0 {
		t.Errorf("without an overload %+v", r)
	}
	if strings.Contains(inner, "oc-algo") {
		t.Errorf("it goes on to the next hop:\n%s", inner)
	}
	if via := said(w, "MESSAGE", ""); strings.Contains(via, "oc") {
		t.Errorf("who does not understand is told %s", via)
	}
	b.busy(3*time.Second, 30*time.Millisecond, func(int) { b.send(w, "MESSAGE") })
	loss, rate := report(said(w, "MESSAGE", `;oc;oc-algo="loss"`)), report(said(w, "MESSAGE", `;oc;oc-algo="loss,rate"`))
	if loss.Value < 50 || loss.Validity != overload.DefaultValidity || loss.Seq == 0 {
		t.Errorf("in an overload %+v", loss)
	}
	if rate.Algorithm != overload.Rate || rate.Value != 1 || rate.Validity != overload.DefaultValidity {
		t.Errorf("in an overload by rate %+v", rate)
	}
	if via := said(stranger, "MESSAGE", `;oc;oc-algo="loss"`); report(via).Algorithm != overload.None {
		t.Errorf("a stranger is told %s", via)
	}
}
