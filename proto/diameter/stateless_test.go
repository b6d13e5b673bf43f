package diameter

import (
	"errors"
	"testing"

	"imsafe/proto/shard"
)

// stateless is an application with one feature, bit 2.
var stateless = Stateless{ID: AppCx, Features: 1 << 2, Answers: map[Command]Grammar{UAR: {{SessionID, 1, 1}, {OriginHost, 1, 1}, {OriginRealm, 1, 1},
	{ResultCode, 0, 1}, {ExperimentalResult, 0, 1}, {VendorSpecificApplicationID, 0, 1}, {AuthSessionState, 0, 1}, {SupportedFeatures, 0, 0}}}}

// A feature that is insisted on must be there; one that is offered need not (TS 29.229 7.2.1).
func TestStateless_features(t *testing.T) {
	feature := func(flags byte, list uint32) Message {
		w := Begin(nil, Header{Command: UAR})
		stateless.appendFeatures(&w)
		b, _ := w.End()
		b[HeaderLen+4] |= flags
		b[len(b)-1] = byte(list)
		m, _ := Parse(b)
		return m
	}
	for name, c := range map[string]struct {
		m    Message
		want bool
	}{"ours, insisted on": {feature(0x40, 1<<2), true}, "unknown, offered": {feature(0, 0x80), true}, "unknown, insisted on": {feature(0x40, 0x80), false}} {
		if got := stateless.Knows(c.m); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// The answer goes back with what the request had: session, Proxy-Info, features; its result in the AVP of its kind, and the E bit only with a
// result of the protocol (RFC 6733 6.2, 7.1.3; TS 29.229 6.2).
func TestStateless_answers(t *testing.T) {
	w := Begin(nil, Header{Flags: FlagRequest | FlagProxiable, Command: UAR, Application: AppCx, HopByHop: 7, EndToEnd: 8})
	w.Text(SessionID, "a;1;2")
	w.Text(OriginHost, alpha)
	w.Open(ProxyInfo)
	w.Text(ProxyHost, "agent.example")
	w.Octets(ProxyState, []byte("x"))
	w.Close()
	b, _ := w.End()
	request, _ := Parse(b)
	for _, c := range []struct {
		o        Outcome
		error    bool
		features bool
	}{{Outcome{2001, false}, false, false}, {Outcome{5001, true}, false, false}, {Outcome{3004, false}, true, false}, {featureUnsupported, false, true}} {
		x := stateless.Exchange(&Request{Message: request}, Identities{beta, realm})
		if x.Origin != alpha || x.Secure {
			t.Errorf("%+v", x)
		}
		w := x.Answer(c.o)
		w.Raw(x.proxy)
		b, _ := w.End()
		m, _ := Parse(b)
		if f := m.Check(nil); f != nil {
			t.Fatal(f)
		}
		r, vendor, ok := ResultOf(m)
		if !ok || uint32(r) != c.o.Code || (vendor == Vendor3GPP) != c.o.Experimental || m.IsRequest() || (m.Flags()&FlagError != 0) != c.error {
			t.Errorf("%+v: %v of %d, flags %x", c.o, r, vendor, m.Flags())
		}
		_, features := m.Find(SupportedFeatures)
		_, proxy := m.Find(ProxyInfo)
		if features != c.features || !proxy || string(m.Identity(SessionID)) != "a;1;2" || string(m.Identity(OriginHost)) != beta {
			t.Errorf("%+v: features %v, Proxy-Info %v", c.o, features, proxy)
		}
	}
}

// An answer without a result, with two, or with that of another vendor says nothing.
func TestStateless_asks(t *testing.T) {
	experimental := func(w *Writer, vendor uint32) {
		w.Open(ExperimentalResult)
		w.Unsigned32(VendorID, vendor)
		w.Unsigned32(ExperimentalResultCode, 5001)
		w.Close()
	}
	for what, c := range map[string]struct {
		write func(w *Writer)
		want  Outcome
		err   error
	}{
		"success":        {func(w *Writer) { w.Unsigned32(ResultCode, 2001) }, Outcome{2001, false}, nil},
		"experimental":   {func(w *Writer) { experimental(w, Vendor3GPP) }, Outcome{5001, true}, nil},
		"nothing":        {func(*Writer) {}, Outcome{}, ErrAnswer},
		"both":           {func(w *Writer) { w.Unsigned32(ResultCode, 2001); experimental(w, Vendor3GPP) }, Outcome{}, ErrAnswer},
		"another vendor": {func(w *Writer) { experimental(w, 9) }, Outcome{}, ErrAnswer},
	} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *network) {
				c0 := config(beta, PeerConfig{Host: alpha})
				c0.Applications = []ApplicationConfig{{ID: AppCx, Vendor: Vendor3GPP, Accepts: map[Command]Grammar{UAR: grammarTest}, Handler: answering(c.write)}}
				w.start(c0)
				client := w.start(config(alpha, PeerConfig{Host: beta, Dial: w.dial(alpha, beta)}))
				client.wantState("up", beta, "open")
				var o Outcome
				var err error
				if e := client.sh.Call(t.Context(), func(task *shard.Task) {
					q := stateless.Begin(client.Node, UAR, "", realm)
					_, o, err = stateless.Ask(task, client.Node, &q, Outgoing{Realm: realm})
				}); e != nil {
					t.Fatal(e)
				}
				if !errors.Is(err, c.err) || o != c.want {
					t.Errorf("%+v, %v", o, err)
				}
			})
		})
	}
	for err, want := range map[error]Outcome{shard.ErrFull: {3004, false}, ErrTooLong: {5008, true}, ErrAnswer: {5012, false}, ErrNoPeer: {3002, false}, ErrTimeout: {3002, false}} {
		if got := Undelivered(err); got != want {
			t.Errorf("%v is %+v", err, got)
		}
	}
}

// answering answers every request with what it writes.
type answering func(w *Writer)

// Serve implements Handler.
func (a answering) Serve(r *Request) {
	h := r.Header()
	h.Flags &= FlagProxiable
	w := Begin(nil, h)
	w.Octets(SessionID, r.Identity(SessionID))
	w.Text(OriginHost, beta)
	w.Text(OriginRealm, realm)
	a(&w)
	b, _ := w.End()
	r.Reply.Send(b)
}
