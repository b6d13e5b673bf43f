package node

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"imsafe/hop"
	"imsafe/proto/overload"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/secure"
)

// loaded is a wire whose shard has the controller c.
func loaded(t *testing.T, c *overload.Controller) *wires {
	t.Helper()
	w := newWires(t, false, func(x *hop.Exchange, in hop.Inbound) hop.Reply { return x.Refuse(in, 200, "") })
	ports := w.wire.ports
	ports.Load = []*overload.Controller{c}
	ports.Overloaded = func(e secure.Event) bool { return w.gate.Refuse(secure.CIAvailabilityOverload, e) }
	ports.Table = hop.NewTable(hop.Direct, w.pool, w.gate, [16]byte{1})
	wire, err := New(w.wire.cfg, ports)
	if err != nil {
		t.Fatal(err)
	}
	if err := ports.Table.Plug("near.example", function(func(x *hop.Exchange, in hop.Inbound) hop.Reply { return x.Refuse(in, 200, "") })); err != nil {
		t.Fatal(err)
	}
	w.wire, w.table, w.port = wire, ports.Table, wire.Port(w.shard)
	w.port.SendBy(func(to netip.AddrPort) siptransport.Flow { return siptransport.Flow{Via: w, Peer: to} })
	return w
}

// swamp makes an overload of c, in which new requests come all the time.
func (w *wires) swamp(c *overload.Controller) {
	clock := w.shard.Clock().(*shard.Fake)
	for range 200 {
		now := clock.Advance(10 * time.Millisecond)
		w.shard.Exec(shard.EventFunc(func(*shard.Shard) {
			c.Came(overload.Fresh, now)
			c.Observe(400*time.Millisecond, now)
		}))
	}
}

func request(method, uri, branch, offer, more string) string {
	return fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2:5070;branch=z9hG4bK%s%s\r\nMax-Forwards: 60\r\nFrom: <sip:a@near.example>;tag=1\r\n"+
		"To: <sip:b@near.example>%s\r\nCall-ID: 1\r\nCSeq: 1 %s\r\nRoute: <sip:near.example;lr>\r\nContact: <sip:a@192.0.2.2>\r\nContent-Length: 0\r\n\r\n", method, uri, branch, offer, more, method)
}

// TestOverload_of_this_node: a peer that understands is told what it may send, and believed; from another new requests are turned away, without
// a time to come back, and what belongs to a dialog or is an emergency is not (RFC 7339 5.2, 5.10).
func TestOverload_of_this_node(t *testing.T) {
	c := overload.New(overload.Config{})
	w := loaded(t, c)
	answer := func(text string) string {
		w.sent = nil
		w.arrive(there, text)
		if len(w.sent) != 1 {
			t.Fatalf("answered %q", w.sent)
		}
		return w.sent[0]
	}
	offer := ";" + overload.Offer
	report := func(text string) overload.Report {
		_, via, _ := strings.Cut(text, "Via: ")
		via, _, _ = strings.Cut(via, "\r\n")
		r, _ := overload.Reported([]byte(via))
		return r
	}
	if r := report(answer(request("MESSAGE", "sip:b@near.example", "1", offer, ""))); r.Algorithm != overload.Loss || r.Value != 0 || r.Validity != 0 {
		t.Errorf("without an overload %+v", r)
	}
	w.swamp(c)
	if !c.Active() {
		t.Fatal("no overload")
	}
	text := answer(request("MESSAGE", "sip:b@near.example", "2", offer, ""))
	if r := report(text); !strings.HasPrefix(text, "SIP/2.0 200 ") || r.Value < 50 || r.Validity != overload.DefaultValidity {
		t.Errorf("a peer that understands is told %+v:\n%s", r, text)
	}
	refused := 0
	for i := range 10 {
		if text := answer(request("MESSAGE", "sip:b@near.example", fmt.Sprint("3", i), "", "")); strings.HasPrefix(text, "SIP/2.0 503 ") {
			if refused++; strings.Contains(text, "Retry-After") {
				t.Errorf("all users of that node would wait:\n%s", text)
			}
		}
		for _, text := range []string{request("BYE", "sip:b@near.example", fmt.Sprint("4", i), "", ";tag=2"), request("INVITE", "urn:service:sos", fmt.Sprint("5", i), "", "")} {
			if a := answer(text); !strings.HasPrefix(a, "SIP/2.0 200 ") {
				t.Errorf("%s\nis answered\n%s", text, a)
			}
		}
	}
	if n, _ := w.gate.Counts(secure.CIAvailabilityOverload); refused < 6 || n != uint64(refused) {
		t.Errorf("%d of 10 turned away, %d refusals named", refused, n)
	}
}

// TestOverload_by_one_user: in an overload a user who has spent his share is turned away, though his node understands; others of it are not, and without an
// overload nobody is. Of places it is told how many are wanting for others than him.
func TestOverload_by_one_user(t *testing.T) {
	taken := 0.0
	c := overload.New(overload.Config{Places: func() float64 { return taken }})
	w := loaded(t, c)
	n := 0
	send := func(who string) (answer string) {
		n++
		w.sent = nil
		w.arrive(there, strings.Replace(request("MESSAGE", "sip:b@near.example", fmt.Sprint("u", n), ";"+overload.Offer, ""), "Contact: ",
			"P-Asserted-Identity: <sip:"+who+"@near.example>\r\nContact: ", 1))
		if len(w.sent) != 1 {
			t.Fatalf("answered %q", w.sent)
		}
		return w.sent[0]
	}
	served := func(who string, times int) (n int) {
		for range times {
			if strings.HasPrefix(send(who), "SIP/2.0 200 ") {
				n++
			}
		}
		return n
	}
	if n := served("mallory", 50); n != 50 {
		t.Errorf("without an overload %d of 50 are served", n)
	}
	taken = 0.78
	if n := served("mallory", 50); n > 6 {
		t.Errorf("%d of 50 of him who holds the places are served", n)
	}
	if answer := send("alice"); !strings.HasPrefix(answer, "SIP/2.0 200 ") || !strings.Contains(answer, ";oc=0;") {
		t.Errorf("another user hears\n%s", answer)
	}
	taken = 0.99
	if answer := send("alice"); strings.Contains(answer, ";oc=0;") {
		t.Errorf("the last places are wanting, and the peer is told\n%s", answer)
	}
}

// TestOverload_of_the_peer: what a peer tells is held back, what belongs to a dialog last, for as long as it said (RFC 7339 5.5, 5.7).
func TestOverload_of_the_peer(t *testing.T) {
	w := loaded(t, overload.New(overload.Config{}))
	clock := w.shard.Clock().(*shard.Fake)
	send := func(method sip.Method, toTag string) (status int) {
		m := w.pool.NewRequest(method, "sip:b@far.example")
		for h, v := range map[sip.HeaderID]string{sip.HdrMaxForwards: "60", sip.HdrFrom: "<sip:a@near.example>;tag=1", sip.HdrTo: "<sip:b@far.example>" + toTag,
			sip.HdrCallID: "1", sip.HdrCSeq: "1 " + method.String()} {
			m.AppendString(h, v)
		}
		w.sent = nil
		w.shard.Exec(shard.EventFunc(func(sh *shard.Shard) {
			sh.Start(func(task *shard.Task) {
				r := w.table.Originate(task, "near.example", "far.example", hop.Inbound{Msg: m})
				status = r.Status()
				r.Msg.Release()
			})
		}))
		return status
	}
	answered := func(report string) {
		sent := w.sent[0]
		_, rest, _ := strings.Cut(sent, "Via: ")
		via, _, _ := strings.Cut(rest, "\r\n")
		clean := overload.AppendWithout(nil, []byte(via))
		w.arrive(there, fmt.Sprintf("SIP/2.0 200 OK\r\nVia: %s%s\r\nFrom: <sip:a@near.example>;tag=1\r\nTo: <sip:b@far.example>;tag=2\r\nCall-ID: 1\r\n"+
			"CSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n", clean, report))
	}
	send(sip.MESSAGE, "")
	if len(w.sent) != 1 || !strings.Contains(w.sent[0], overload.Offer) {
		t.Fatalf("sent %q", w.sent)
	}
	answered(`;oc=20;oc-algo="loss";oc-validity=500;oc-seq=1282321615.782`)
	held := 0
	for range 100 {
		if send(sip.MESSAGE, "") == 503 {
			held++
		}
	}
	if held < 18 || held > 22 {
		t.Errorf("%d of 100 held back, the peer asked for 20 %%", held)
	}
	for range 20 {
		if send(sip.BYE, ";tag=2") == 503 {
			t.Error("what belongs to a dialog is held back first")
		}
	}
	clock.Advance(600 * time.Millisecond)
	for range 100 {
		if send(sip.MESSAGE, "") == 503 {
			t.Fatal("it is held back for longer than the peer said")
		}
	}
}
