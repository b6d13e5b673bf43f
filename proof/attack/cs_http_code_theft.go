package attack

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"imsafe/proto/oauth"
	"imsafe/secure"
)

// codeTheft: somebody has the one-time code of a registration before its owner has used it.
func codeTheft() Attack {
	return Attack{
		ID: "cs.http.code-theft", Number: "CS-14", Title: "the one-time code of a subscriber's registration, used by somebody else",
		Text:     "a code passes through the telephone's other programs and its log: whoever is quicker than the telephone would be the subscriber at every service",
		Services: []Service{Authentication, Confidentiality}, Stride: Spoofing, Threats: []Threat{Removal, Disclosure}, Module: ServicesUser,
		Source: "RFC 9449 10; RFC 9700 2.1.1", Access: []Access{ISC},
		Approved: []Approved{{Name: tap, Manifest: rights("session.proxy")}},
		Bounds:   Bounds{Packets: 60, Bytes: 80_000, Conns: 8, Time: 3 * time.Second},
		Variants: []Variant{{Position: OffPath, Controls: []secure.ControlID{secure.CSAuthenticationToken}, NotWire: notOnNodes(), Run: tradeStolenCode}},
	}
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
	answer, err := carol.RegisterAs(ctx, Registering{User: carol.User, Expires: 600,
		Lines: []string{"Accept: " + oauth.CodeType + ";" + oauth.JKT + "=" + hers.Thumbprint()}})
	if err != nil {
		return err
	}
	var code oauth.Code
	if err := json.Unmarshal(answer.Body(), &code); err != nil || code.Code == "" {
		return errors.New("attack: carol gets no code")
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
