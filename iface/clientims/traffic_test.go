package clientims

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"imsafe/hop"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/refpoint/gm"
	"imsafe/secure"
)

// asks sends a request of the core to the client of a, who answers with a status and more header lines. It returns what the core hears.
func (b *bench) asks(a secure.Association, w *wire, status string, lines ...string) (heard string) {
	m := b.pool.NewRequest(sip.MESSAGE, "sip:alice@198.51.100.1")
	for h, v := range map[sip.HeaderID]string{sip.HdrMaxForwards: "60", sip.HdrFrom: "<sip:bob@ims.example>;tag=b", sip.HdrTo: "<sip:alice@ims.example>",
		sip.HdrCallID: "out", sip.HdrCSeq: "7 MESSAGE"} {
		m.AppendString(h, v)
	}
	w.sent = nil
	b.on(func() {
		b.shard.Start(func(task *shard.Task) {
			r := b.port.door.ports.Table.Originate(task, "pcscf", gm.Name, hop.Inbound{Msg: m, Client: a})
			heard = string(r.Msg.AppendTo(nil))
			r.Msg.Release()
		})
	})
	if len(w.sent) != 1 {
		b.t.Fatalf("%d messages to the client, want one", len(w.sent))
	}
	request := []byte(w.sent[0])
	b.on(func() {
		r := []string{"SIP/2.0 " + status}
		for line := range bytes.SplitSeq(request, []byte("\r\n")) {
			if name, _, _ := bytes.Cut(line, []byte(":")); strings.Contains(" Via From To Call-ID CSeq ", " "+string(name)+" ") {
				r = append(r, string(line))
			}
		}
		r = append(append(r, lines...), "Content-Length: 0", "", "")
		b.port.Packet(w.flow(), []byte(strings.Join(r, "\r\n")))
	})
	return heard
}

// TestResponse_challenge: a client that challenges is heard as one that refuses, and nobody sees its challenge.
func TestResponse_challenge(t *testing.T) {
	b := newBench(t, overTLS)
	a, w := b.register()
	for i, c := range []struct{ status, line, want string }{
		{"407 Proxy Authentication Required", `Proxy-Authenticate: Digest realm="evil",nonce="n"`, "SIP/2.0 403 "},
		{"401 Unauthorized", `WWW-Authenticate: Digest realm="ims.example",nonce="n"`, "SIP/2.0 403 "},
		{"486 Busy Here", `Proxy-Authenticate: Digest realm="evil",nonce="n"`, "SIP/2.0 486 "},
	} {
		heard := b.asks(a, w, c.status, c.line)
		if !strings.HasPrefix(heard, c.want) || strings.Contains(heard, "Authenticate") {
			t.Errorf("%s is heard as\n%s", c.status, heard)
		}
		if n := b.refusals(secure.CIConfidentialityDigestRealm); n != uint64(i+1) {
			t.Errorf("%d refusals named after %d challenges", n, i+1)
		}
	}
	if heard := b.asks(a, w, "200 OK", "Subject: stays"); !strings.Contains(heard, "Subject: stays") || b.refusals(secure.CIConfidentialityDigestRealm) != 3 {
		t.Errorf("an answer without a challenge is heard as\n%s", heard)
	}
}

// TestTraffic_headers: who writes more into headers than a call needs is answered 513, whoever he calls for help.
func TestTraffic_headers(t *testing.T) {
	b := newBench(t, overTLS)
	w := b.user("mallory")
	large := "X-Data: " + strings.Repeat("d", 7000)
	for _, c := range []struct {
		method string
		lines  []string
		want   string
	}{
		{"OPTIONS", []string{large}, "200"}, {"OPTIONS", []string{large, large}, "513"}, {"REGISTER", []string{large, large}, "200"}, {"BYE", []string{large, large}, "200"},
	} {
		b.send(w, c.method, c.lines...)
		if n := w.answers(); n[c.want] != 1 {
			t.Errorf("%s with %d large headers is answered %v, want %s", c.method, len(c.lines), n, c.want)
		}
	}
	if n := b.refusals(secure.CIAvailabilityTrafficShape); n != 2 || b.door.Budgets().OverTraffic.Load() != 2 {
		t.Errorf("%d refusals named, %d counted, want 2", n, b.door.Budgets().OverTraffic.Load())
	}
}

// TestTraffic_octets: a user has so many octets a minute. What cannot be refused is lightened, and time gives them back.
func TestTraffic_octets(t *testing.T) {
	b := newBench(t, overTLS)
	w := b.user("mallory")
	var seen string
	b.pcscf = func(x *hop.Exchange, in hop.Inbound) hop.Reply {
		seen = string(in.Msg.AppendTo(nil))
		return x.Refuse(in, 200, "")
	}
	large := "X-Data: " + strings.Repeat("d", 7000)
	for range 100 {
		b.send(w, "OPTIONS", large)
	}
	n := w.answers()
	if most := (512 << 10) / 7000; n["200"] > most || n["200"] < most*9/10 || n["503"] != 100-n["200"] {
		t.Errorf("of 700 kB in one go these are answered: %v", n)
	}
	b.send(w, "BYE", large)
	if n := w.answers(); n["200"] != 1 || strings.Contains(seen, "X-Data") {
		t.Errorf("a BYE is answered %v, and has come through as\n%.300s", n, seen)
	}
	other := b.user("alice")
	if b.send(other, "OPTIONS", large); other.answers()["200"] != 1 {
		t.Error("somebody else is refused")
	}
	b.sos(w)
	for range 3 {
		if b.send(w, "OPTIONS", large, large); w.answers()["503"]+w.answers()["513"] > 0 {
			t.Error("who calls for help is refused what belongs to the call")
		}
	}
	b.advance(helpLife + time.Minute)
	if b.send(w, "OPTIONS", large); w.answers()["200"] != 1 {
		t.Error("a minute later she is still refused")
	}
}

// TestBudget_of_a_client_that_calls_for_help: whatever his telephone has sent before, an emergency call is heard.
func TestBudget_of_a_client_that_calls_for_help(t *testing.T) {
	b := newBench(t, overTLS)
	w := b.user("alice")
	for range 300 {
		b.send(w, "OPTIONS")
	}
	if n := w.answers(); n["503"] != 100 {
		t.Fatalf("the budget of a client: %v", n)
	}
	if b.sos(w); w.answers()["200"] != 1 {
		t.Error("a call for help is refused")
	}
}
