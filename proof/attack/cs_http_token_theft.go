package attack

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"imsafe/client/ue"
	"imsafe/proto/oauth"
	"imsafe/proto/shard"
	"imsafe/secure"
)

// tokenTheft: somebody has a subscriber's access token, and with it what the subscriber could fetch.
func tokenTheft() Attack {
	controls := []secure.ControlID{secure.CSAuthenticationToken}
	variant := func(name string, run func(context.Context, *Field, *Outcome) error) Variant {
		return Variant{Name: name, Position: EnrolledPlatform, Controls: controls, Run: run,
			NotWire: notOnNodes()}
	}
	return Attack{
		ID: "cs.http.token-theft", Number: "CS-11", Title: "the access token of a subscriber, used by somebody else",
		Text:     "tokens pass through logs, proxies and the services they are for: one that is worth something by itself is everybody's who has seen it",
		Services: []Service{Authentication, Confidentiality}, Stride: Spoofing, Threats: []Threat{Disclosure}, Module: ServicesUser,
		Source: "RFC 9449 2", Access: []Access{ISC},
		Approved: []Approved{{Name: tap, Manifest: rights("session.proxy", "page.serve")}},
		Bounds:   Bounds{Packets: 60, Bytes: 80_000, Conns: 8, Time: 3 * time.Second},
		Variants: []Variant{variant("stolen", stolenToken), variant("foreign", foreignToken), variant("replayed", replayedProof), variant("other-proof", otherProof),
			{Name: "elsewhere", Position: Subscriber, Controls: controls, NotWire: notOnNodes(), Run: tokenElsewhere}},
	}
}

// origin is where the target's clients fetch.
func (f *Field) origin() string {
	return "https://" + "cs." + f.Domain + ":" + strconv.Itoa(int(f.HTTPS.Port()))
}

// web reaches the target by HTTPS, whatever host is asked for.
func (f *Field) web(n Network) *http.Transport {
	return &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: f.EnrolRoots, MinVersion: tls.VersionTLS13, Time: f.Clock.Wall},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return n.Dial(ctx, "tcp", netip.Addr{}, f.HTTPS)
		}}
}

// reader is an honest subscriber whose telephone fetches, registered.
func (f *Field) reader(ctx context.Context, clock shard.Clock) (*Party, error) {
	p, err := f.party(ctx, Carol, func(c *ue.Config) { c.Web, c.Clock = f.web(f.honest), clock })
	if err != nil {
		return nil, err
	}
	_, err = p.UE.Register(ctx)
	return p, err
}

// shows asks for a page with a token and a proof, or as a bearer with none, from the attacker's address, and says whether it is that of the subscriber.
func (f *Field) shows(ctx context.Context, o *Outcome, of *Party, at, token, proof string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return err
	}
	if r.Header.Set("Authorization", "Bearer "+token); proof != "" {
		r.Header.Set("Authorization", "DPoP "+token)
		r.Header.Set("DPoP", proof)
	}
	answer, err := (&http.Client{Transport: f.web(f.attacker)}).Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	page, err := io.ReadAll(io.LimitReader(answer.Body, 1<<16))
	if err != nil {
		return err
	}
	read := strings.Contains(string(page), of.IMPU)
	o.Arrived("the attacker is answered %d", answer.StatusCode)
	if read {
		o.Users = 1
	}
	o.Wire(answer.StatusCode == http.StatusOK, "the attacker is answered %d", answer.StatusCode)
	o.Peer(read, "the attacker reads the page of %s: %v", of.Name, read)
	return nil
}

// stolenToken: the token without its key. The thief shows it as it is, makes one that names a key of his, and proves that key with the stolen one.
func stolenToken(ctx context.Context, f *Field, o *Outcome) error {
	of, err := f.reader(ctx, f.Clock)
	if err != nil {
		return err
	}
	at := f.origin() + "/registration"
	if _, err := of.UE.Get(ctx, at); err != nil {
		return err
	}
	token, _, err := of.UE.Token(ctx, f.origin(), http.MethodGet, at)
	if err != nil {
		return err
	}
	key, err := oauth.NewProver(f.Random)
	if err != nil {
		return err
	}
	forged, err := f.forgedToken(of, token, key.Thumbprint())
	if err != nil {
		return err
	}
	if err := f.shows(ctx, o, of, at, token, ""); err != nil {
		return err
	}
	for _, with := range []string{forged, token} {
		proof, err := key.Prove(http.MethodGet, at, with, f.Clock.Wall())
		if err != nil {
			return err
		}
		if err := f.shows(ctx, o, of, at, with, proof); err != nil {
			return err
		}
	}
	return nil
}

// forgedToken is one for a key, such as the network gives to a subscriber: it names the network's key as the genuine one does, and is signed by somebody else.
func (f *Field) forgedToken(of *Party, genuine, thumbprint string) (string, error) {
	first, _, _ := strings.Cut(genuine, ".")
	text, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil {
		return "", err
	}
	var header struct {
		Key string `json:"kid"`
	}
	if err := json.Unmarshal(text, &header); err != nil {
		return "", err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), f.Random)
	if err != nil {
		return "", err
	}
	issuer := oauth.NewIssuer(f.origin(), oauth.OneKey(header.Key, key), f.Random)
	c := oauth.Claims{Subject: of.IMPU, Audience: f.origin(), Scope: "registration.read"}
	c.Key.Thumbprint = thumbprint
	token, _, err := issuer.Issue(c, f.Clock.Wall(), oauth.MaxLife)
	return token, err
}

// provesOwn is a proof by a key of the attacker's.
func (f *Field) provesOwn(at, token string) (string, error) {
	key, err := oauth.NewProver(f.Random)
	if err != nil {
		return "", err
	}
	return key.Prove(http.MethodGet, at, token, f.Clock.Wall())
}

// foreignToken: a service goes to the core with the token that a subscriber has shown to it.
func foreignToken(ctx context.Context, f *Field, o *Outcome) error {
	of, err := f.reader(ctx, f.Clock)
	if err != nil {
		return err
	}
	service := "https://" + (&Approved{Name: tap}).host(f.Domain)
	_, _ = of.UE.Get(ctx, service+"/") // nobody answers there; the token for it is there all the same
	token, _, err := of.UE.Token(ctx, service, http.MethodGet, service+"/")
	if err != nil {
		return err
	}
	at := f.origin() + "/registration"
	proof, err := f.provesOwn(at, token)
	if err != nil {
		return err
	}
	return f.shows(ctx, o, of, at, token, proof)
}

// askew is a clock whose wall time is wrong by so much.
type askew struct {
	shard.Clock
	by atomic.Int64 // a time.Duration
}

// Wall implements shard.Clock.
func (c *askew) Wall() time.Time { return c.Clock.Wall().Add(time.Duration(c.by.Load())) }

// otherProof: the thief has proofs by the subscriber's own key, for another page, for another method, for another token and for another time. Services have such proofs,
// and so have logs of requests that never came to anything.
func otherProof(ctx context.Context, f *Field, o *Outcome) error {
	clock := &askew{Clock: f.Clock}
	of, err := f.reader(ctx, clock)
	if err != nil {
		return err
	}
	service, at := "https://"+(&Approved{Name: tap}).host(f.Domain), f.origin()+"/registration"
	if _, err := of.UE.Get(ctx, at); err != nil {
		return err
	}
	_, _ = of.UE.Get(ctx, service+"/") // nobody answers there; the token for it is there all the same
	token, elsewhere, err := of.UE.Token(ctx, f.origin(), http.MethodGet, service+"/registration")
	if err != nil {
		return err
	}
	_, ofAnother, err := of.UE.Token(ctx, service, http.MethodGet, at)
	if err != nil {
		return err
	}
	_, otherwise, err := of.UE.Token(ctx, f.origin(), http.MethodPost, at)
	if err != nil {
		return err
	}
	clock.by.Store(int64(-time.Hour))
	_, old, err := of.UE.Token(ctx, f.origin(), http.MethodGet, at)
	if err != nil {
		return err
	}
	clock.by.Store(int64(2 * time.Minute))
	_, ahead, err := of.UE.Token(ctx, f.origin(), http.MethodGet, at)
	if err != nil {
		return err
	}
	for _, proof := range []string{elsewhere, otherwise, ofAnother, old, ahead} {
		if err := f.shows(ctx, o, of, at, token, proof); err != nil {
			return err
		}
	}
	return nil
}

// tokenElsewhere: the attacker's own telephone, which has a token for one service, shows it with a good proof of its key to another.
func tokenElsewhere(ctx context.Context, f *Field, o *Outcome) error {
	mallory, err := f.party(ctx, Mallory, func(c *ue.Config) { c.Web = f.web(f.attacker) })
	if err != nil {
		return err
	}
	if _, err := mallory.UE.Register(ctx); err != nil {
		return err
	}
	service, at := "https://"+(&Approved{Name: tap}).host(f.Domain), f.origin()+"/registration"
	_, _ = mallory.UE.Get(ctx, service+"/") // nobody answers there; the token for it is there all the same
	token, proof, err := mallory.UE.Token(ctx, service, http.MethodGet, at)
	if err != nil {
		return err
	}
	return f.shows(ctx, o, mallory, at, token, proof)
}

// replayedProof: who has seen a whole request sends it again, when its subscriber has made some more.
func replayedProof(ctx context.Context, f *Field, o *Outcome) error {
	of, err := f.reader(ctx, f.Clock)
	if err != nil {
		return err
	}
	at := f.origin() + "/registration"
	if _, err := of.UE.Get(ctx, at); err != nil {
		return err
	}
	token, proof, err := of.UE.Token(ctx, f.origin(), http.MethodGet, at)
	if err != nil {
		return err
	}
	first := Outcome{}
	if err := f.shows(ctx, &first, of, at, token, proof); err != nil { // the subscriber's own
		return err
	}
	for range 3 {
		if _, err := of.UE.Get(ctx, at); err != nil {
			return err
		}
	}
	return f.shows(ctx, o, of, at, token, proof)
}
