package attack

import (
	"context"
	"fmt"
	"time"

	"imsafe/proto/aka"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// digestLeak: a called client asks the caller for his password, as if it were a network.
func digestLeak() Attack {
	return Attack{
		ID: "ci.digest.leak", Number: "CI-28", Title: "a client that challenges whoever talks with it",
		Text:     "softphones and gateways answer whoever asks, at the end of a call above all; from one response a weak password is guessed at leisure",
		Services: []Service{Confidentiality}, Stride: Disclosing, Threats: []Threat{Disclosure}, Module: ServicesControl,
		Source: "CVE-2021-41158; sippts leak", Access: []Access{TLS}, Carried: []Access{UDP, TCP}, Digest: true,
		Bounds: Bounds{Packets: 60, Bytes: 60_000, Conns: 1, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "proxy", Position: Subscriber, Run: asProxy, Controls: []secure.ControlID{secure.CIConfidentialityDigestRealm}},
			{Name: "user", Position: Subscriber, Run: asUser, Controls: []secure.ControlID{secure.CIConfidentialityDigestRealm}},
			{Name: "bye", Position: Subscriber, Run: asProxyAtTheEnd, Controls: []secure.ControlID{secure.CIConfidentialityDigestRealm}},
		},
	}
}

// leakRealm is not the home network's: what it protects is nobody's.
const leakRealm = "asterisk"

// asking is one of the two ways to challenge (RFC 3261 22.2, 22.3).
type asking struct {
	status     int
	challenge  sip.HeaderID
	credential sip.HeaderID
}

func asProxy(ctx context.Context, f *Field, o *Outcome) error {
	return f.challengeCaller(ctx, o, asking{407, sip.HdrProxyAuthenticate, sip.HdrProxyAuthorization})
}

func asUser(ctx context.Context, f *Field, o *Outcome) error {
	return f.challengeCaller(ctx, o, asking{401, sip.HdrWWWAuthenticate, sip.HdrAuthorization})
}

// asProxyAtTheEnd challenges the BYE of a call: softphones and gateways that are asked for nothing else answer there (CVE-2021-41158).
func asProxyAtTheEnd(ctx context.Context, f *Field, o *Outcome) error {
	dave, mallory, err := f.daveAndMallory(ctx)
	if err != nil {
		return err
	}
	inside, _, err := dave.talksTo(ctx, mallory)
	if err != nil {
		return err
	}
	mallory.answers.Store(false)
	inside.Method = "BYE"
	return f.challenges(ctx, o, asking{407, sip.HdrProxyAuthenticate, sip.HdrProxyAuthorization}, dave, mallory, inside)
}

// challengeCaller: dave writes to mallory.
func (f *Field) challengeCaller(ctx context.Context, o *Outcome, by asking) error {
	dave, mallory, err := f.daveAndMallory(ctx)
	if err != nil {
		return err
	}
	return f.challenges(ctx, o, by, dave, mallory, Request{Method: "MESSAGE", URI: mallory.IMPU, CallID: f.token(), Lines: []string{"Content-Type: text/plain"}, Body: f.token()})
}

func (f *Field) daveAndMallory(ctx context.Context) (dave, mallory *Hand, err error) {
	if dave, err = f.Dave(ctx); err == nil {
		mallory, err = f.Mallory(ctx)
	}
	return dave, mallory, err
}

// challenges has dave send a request with a client that answers every challenge, as many do, and mallory challenge him.
func (f *Field) challenges(ctx context.Context, o *Outcome, by asking, dave, mallory *Hand, message Request) error {
	first, err := dave.answersAll(ctx, message)
	if err != nil {
		return err
	}
	if err := dave.Write(first); err != nil {
		return err
	}
	ofIt := func(m *sip.Message) bool {
		return m.IsRequest() && string(m.MethodName()) == message.Method && string(m.Get(sip.HdrCallID)) == message.CallID
	}
	got, err := mallory.Await(ctx, ofIt)
	if err != nil {
		return err
	}
	if got.Has(sip.HdrProxyAuthorization) { // what dave has given to his home network is for nobody behind it
		o.Users = 1
		o.Wire(true, "mallory holds the response that dave gave to his home network")
	}
	challenge := fmt.Sprintf(`%s: Digest realm="%s",nonce="%s",algorithm=MD5,qop="auth"`, by.challenge, leakRealm, f.token())
	if err := mallory.Answer(got, by.status, challenge); err != nil {
		return err
	}
	answer, err := dave.Await(ctx, func(m *sip.Message) bool { return isFinal(m) && string(m.Get(sip.HdrCallID)) == message.CallID })
	if err != nil {
		return err
	}
	o.Arrived("mallory challenges dave; dave's client hears %d", answer.Status())
	credentials, asked := dave.credulous(answer.Get(by.challenge), message.Method, message.URI)
	o.Peer(asked, "dave's client is asked for his password by %q: %v", leakRealm, asked)
	if !asked {
		o.Wire(false, "mallory gets no response")
		return nil
	}
	if message.CSeq > 0 {
		message.CSeq++ // in a dialog
	}
	message.Lines = append(message.Lines, by.credential.String()+": "+credentials)
	second, err := dave.answersAll(ctx, message)
	if err != nil {
		return err
	}
	if err := dave.Write(second); err != nil {
		return err
	}
	again, err := mallory.Await(ctx, ofIt)
	if err != nil {
		return err
	}
	stolen := contains(again.Get(by.credential), "response=")
	if stolen {
		o.Users = 1
	}
	o.Wire(stolen, "mallory holds a response made from dave's password: %v", stolen)
	return nil
}

// answersAll writes a request of dave's, with what his home network asks of him for each (407, RFC 3261 22.3).
func (h *Hand) answersAll(ctx context.Context, r Request) (string, error) {
	probe := r
	probe.CallID, probe.URI = h.f.token(), "sip:nobody@"+h.f.Domain
	answer, err := h.Ask(ctx, h.Text(probe))
	if err != nil || answer.Status() != 407 {
		return h.Text(r), err
	}
	c, err := sip.ParseChallenge(answer.Get(sip.HdrProxyAuthenticate))
	if err != nil {
		return "", fmt.Errorf("attack: %w", err)
	}
	algorithm, known := aka.ParseDigestAlgorithm(c.Algorithm)
	if !known {
		return "", fmt.Errorf("attack: a challenge for %q", c.Algorithm)
	}
	r.Lines = append(r.Lines, "Proxy-Authorization: "+h.credentials(&c, algorithm, h.IMPI, r.Method, r.URI, []byte(h.Password)))
	return h.Text(r), nil
}

// credulous is the answer of a client that gives it to whoever asks; false if nobody does.
func (h *Hand) credulous(challenge []byte, method, uri string) (credentials string, asked bool) {
	c, err := sip.ParseChallenge(challenge)
	if err != nil || string(c.Realm) != leakRealm {
		return "", false
	}
	algorithm, known := aka.ParseDigestAlgorithm(c.Algorithm)
	if !known {
		return "", false
	}
	return h.credentials(&c, algorithm, h.IMPI, method, uri, []byte(h.Password)), true
}
