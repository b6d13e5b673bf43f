package clientweb

import (
	"crypto/subtle"
	"net/http"
	"time"

	"imsafe/proto/oauth"
)

// token is the token endpoint (RFC 6749 3.2, 4.1.3; RFC 9449 5): a code and the proof of the key that it is for, against a token for one service.
func (d *Door) token(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil || len(r.URL.RawQuery) > 0 {
		d.denies(w, "invalid_request")
		return
	}
	if r.PostForm.Get("grant_type") != "authorization_code" {
		d.denies(w, "unsupported_grant_type")
		return
	}
	to := d.audience(r.PostForm.Get("resource"))
	if to == nil {
		d.denies(w, "invalid_target")
		return
	}
	wall := d.ports.Clock.Wall()
	what, proof, denied := d.redeem(r, wall)
	if denied != "" {
		d.denies(w, denied)
		return
	}
	c := oauth.Claims{Subject: to.as(what.subject), Audience: to.origin, ClientID: "ue", Scope: to.scope}
	c.Key.Thumbprint = proof.Thumbprint
	text, life, err := d.issuer.Issue(c, wall, d.cfg.Life)
	if err != nil {
		d.ports.Log.Error("a token was not issued", "error", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	d.Counters.Tokens.Add(1)
	answer(w, http.StatusOK, oauth.Token{AccessToken: text, TokenType: "DPoP", ExpiresIn: int(life / time.Second), Scope: to.scope})
}

// redeem takes the code of a request, by the proof of the key that it is for. What is denied has a word of RFC 6749 5.2 and RFC 9449 5. The proof is remembered when the code
// has shown whose it is, and not before: whoever has none may make as many proofs as he likes.
func (d *Door) redeem(r *http.Request, wall time.Time) (what code, proof oauth.Proven, denied string) {
	values := r.Header.Values("DPoP")
	err := error(oauth.ErrProof)
	if len(values) == 1 {
		proof, err = oauth.Check(values[0], r.Method, d.cfg.Origin+"/token", "", wall)
	}
	if err != nil {
		d.refuses(reasonOf(err)) // whatever the control says: there is no key to bind a token to
		return what, proof, "invalid_dpop_proof"
	}
	what, good := d.take(r.PostForm.Get("code"), wall)
	switch {
	case !good:
		d.refuses("code-unknown") // whatever the control says: nobody knows whose it is
		return what, proof, "invalid_grant"
	case what.used && d.refuses("code-used"): // RFC 6749 4.1.2: not more than once
		return what, proof, "invalid_grant"
	case subtle.ConstantTimeCompare([]byte(what.jkt), []byte(proof.Thumbprint)) != 1 && d.refuses("code-other-key"):
		return what, proof, "invalid_grant"
	}
	if err := d.proofs.Use(proof, wall); err != nil && d.refuses(reasonOf(err)) {
		return what, proof, "invalid_dpop_proof"
	}
	return what, proof, ""
}

// denies answers a request for a token that gets none (RFC 6749 5.2).
func (d *Door) denies(w http.ResponseWriter, why string) {
	d.Counters.Refused.Add(1)
	answer(w, http.StatusBadRequest, oauth.Token{Error: why})
}
