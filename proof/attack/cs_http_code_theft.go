package attack

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"imsafe/proto/oauth"
	"imsafe/secure"
)

// codeTheft: somebody has the one-time code of a registration before its owner has used it, or uses his own once more.
func codeTheft() Attack {
	controls := []secure.ControlID{secure.CSAuthenticationToken}
	return Attack{
		ID: "cs.http.code-theft", Number: "CS-14", Title: "the one-time code of a registration, used by somebody else, or once more",
		Text:     "a code passes through the telephone's other programs and its log: whoever is quicker than the telephone would be the subscriber at every service",
		Services: []Service{Authentication, Confidentiality}, Stride: Spoofing, Threats: []Threat{Removal, Disclosure}, Module: ServicesUser,
		Source: "RFC 6749 4.1.2; RFC 9449 10; RFC 9700 2.1.1", Access: []Access{ISC},
		Approved: []Approved{{Name: tap, Manifest: rights("session.proxy", "page.serve")}},
		Bounds:   Bounds{Packets: 60, Bytes: 80_000, Conns: 8, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "stolen", Position: OffPath, Controls: controls, NotWire: notOnNodes(), Run: tradeStolenCode},
			{Name: "again", Position: Subscriber, Controls: controls, NotWire: notOnNodes(), Run: tradeCodeAgain},
			{Name: "forged", Position: Subscriber, Controls: controls, NotWire: notOnNodes(), Run: tradeForgedCode,
				NoAblation: "whose a code is stands in the code alone: without what seals it there is none"},
		},
	}
}

// codeFor registers a hand with a key that a code is wanted for, and returns the code.
func (h *Hand) codeFor(ctx context.Context, key *oauth.Prover) (code oauth.Code, err error) {
	answer, err := h.RegisterAs(ctx, Registering{User: h.User, Expires: 600, Lines: []string{"Accept: " + oauth.CodeType + ";" + oauth.JKT + "=" + key.Thumbprint()}})
	if err != nil {
		return code, err
	}
	if err := json.Unmarshal(answer.Body(), &code); err != nil || code.Code == "" {
		return code, fmt.Errorf("attack: %s gets no code", h.Name)
	}
	return code, nil
}

// mallorysCode is a code that mallory's telephone got by its registration, for a key of his.
func (f *Field) mallorysCode(ctx context.Context) (mallory *Hand, key *oauth.Prover, code oauth.Code, err error) {
	if mallory, err = f.MalloryInClear(ctx); err != nil {
		return nil, nil, code, err
	}
	if key, err = oauth.NewProver(f.Random); err != nil {
		return nil, nil, code, err
	}
	code, err = mallory.codeFor(ctx, key)
	return mallory, key, code, err
}

// tradeCodeAgain: the attacker's own telephone trades one code for one token after the other, each of which lives from the trade on: so it has them longer than
// its registration said.
func tradeCodeAgain(ctx context.Context, f *Field, o *Outcome) error {
	_, key, code, err := f.mallorysCode(ctx)
	if err != nil {
		return err
	}
	status, token, err := f.trades(ctx, key, &code)
	if err != nil || token == "" {
		return fmt.Errorf("attack: mallory's own code is answered %d: %w", status, err)
	}
	const times = 5
	more := 0
	for range times {
		if status, token, err = f.trades(ctx, key, &code); err != nil {
			return err
		}
		if token != "" {
			more++
		}
	}
	o.Arrived("a code that was used is shown %d times more, the last is answered %d", times, status)
	o.Users = min(more, 1)
	o.Wire(more > 0, "one code is good for %d tokens of %d", 1+more, 1+times)
	return nil
}

// tradeForgedCode: the attacker's own code, with carol's identity in the place of his, and then with a later end.
func tradeForgedCode(ctx context.Context, f *Field, o *Outcome) error {
	mallory, key, code, err := f.mallorysCode(ctx)
	if err != nil {
		return err
	}
	said, err := base64.RawURLEncoding.DecodeString(code.Code)
	if err != nil {
		return err
	}
	own, hers := []byte(mallory.IMPU), []byte(f.Users[Carol].IMPU)
	if !bytes.Contains(said, own) {
		return fmt.Errorf("attack: a code does not say whose it is: the attack would change nothing")
	}
	later := bytes.Clone(said)
	later[18]++ // of its end, which is the eight octets behind its number
	taken, last := 0, 0
	forged := [][]byte{bytes.Replace(said, own, hers, 1), later}
	for _, octets := range forged {
		status, token, err := f.trades(ctx, key, &oauth.Code{Code: base64.RawURLEncoding.EncodeToString(octets), TokenEndpoint: code.TokenEndpoint})
		if err != nil {
			return err
		}
		if last = status; token != "" {
			taken++
		}
	}
	o.Arrived("%d codes that the attacker has changed, the last answered %d", len(forged), last)
	o.Users = min(taken, 1)
	o.Wire(taken > 0, "%d of %d codes that the attacker has changed are good for a token", taken, len(forged))
	return nil
}

// tradeStolenCode gives carol's code and a proof of the attacker's own key for a token, and asks with that for her page.
func tradeStolenCode(ctx context.Context, f *Field, o *Outcome) error {
	hers, err := oauth.NewProver(f.Random)
	if err != nil {
		return err
	}
	carol, err := f.witness(ctx, Carol, nil)
	if err != nil {
		return err
	}
	code, err := carol.codeFor(ctx, hers)
	if err != nil {
		return err
	}
	key, err := oauth.NewProver(f.Random)
	if err != nil {
		return err
	}
	status, token, err := f.trades(ctx, key, &code)
	if err != nil {
		return err
	}
	o.Arrived("the attacker's request with carol's code is answered %d", status)
	o.Wire(token != "", "carol's code and the attacker's key are answered %d; he has a token: %v", status, token != "")
	read := false
	if token != "" {
		at := f.origin() + "/registration"
		proof, err := key.Prove(http.MethodGet, at, token, f.Clock.Wall())
		if err != nil {
			return err
		}
		shown := Outcome{}
		if err := f.shows(ctx, &shown, &Party{User: carol.User}, at, token, proof); err != nil {
			return err
		}
		read = shown.Users > 0
	}
	if read {
		o.Users = 1
	}
	o.Peer(read, "the attacker reads carol's page: %v", read)
	return nil
}

// trades asks the token endpoint for a token for the home network's own page.
func (f *Field) trades(ctx context.Context, key *oauth.Prover, code *oauth.Code) (status int, token string, err error) {
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code.Code}, "client_id": {"ue"}, "resource": {f.origin()}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, code.TokenEndpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, "", err
	}
	proof, err := key.Prove(http.MethodPost, code.TokenEndpoint, "", f.Clock.Wall())
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("DPoP", proof)
	answer, err := (&http.Client{Transport: f.web(f.attacker)}).Do(r)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = answer.Body.Close() }()
	var t oauth.Token
	err = json.NewDecoder(io.LimitReader(answer.Body, 1<<16)).Decode(&t)
	return answer.StatusCode, t.AccessToken, err
}
