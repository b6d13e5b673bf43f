package ue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"imsafe/proto/oauth"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
)

// web is how a client fetches from services: with tokens that it has for its registration, each for one service and bound to its key
// (RFC 6749 4.1.3, RFC 9449). A code for the first token comes in the 200 to REGISTER.
type web struct {
	u      *UE
	client *http.Client
	prover *oauth.Prover

	mu     sync.Mutex
	code   oauth.Code
	until  time.Duration          // of the code
	tokens map[string]bearerToken // by origin
}

type bearerToken struct {
	text  string
	until time.Duration
}

// Errors of Get.
var (
	ErrNoWeb  = errors.New("ue: Config.Web is not set")
	ErrNoCode = errors.New("ue: the network gave no code: it has no door where clients fetch, or the path to it is not protected")
	ErrToken  = errors.New("ue: no token")
)

// maxPage bounds what is read of an answer, in octets.
const maxPage = 1 << 20

func newWeb(u *UE) (*web, error) {
	if u.cfg.Web == nil {
		return nil, nil
	}
	prover, err := oauth.NewProver(u.cfg.Rand)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	// Whoever is sent elsewhere would take his token and a proof with him.
	client := &http.Client{Transport: u.cfg.Web, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &web{u: u, client: client, prover: prover, tokens: map[string]bearerToken{}}, nil
}

// ask says in a REGISTER that a code is welcome, and for which key (RFC 9449 10).
func (w *web) ask(m *sip.Message) {
	if w != nil {
		m.AppendString(sip.HdrAccept, oauth.CodeType+";"+oauth.JKT+"="+w.prover.Thumbprint())
	}
}

// take keeps the code of a 200, if it has one that leads to the home network.
func (w *web) take(m *sip.Message, now time.Duration) {
	if w == nil || string(m.Get(sip.HdrContentType)) != oauth.CodeType {
		return
	}
	var c oauth.Code
	if json.Unmarshal(m.Body(), &c) != nil || c.Code == "" || !w.u.isHome(c.TokenEndpoint) {
		w.u.log.Warn("code not taken")
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.code, w.until = c, now+time.Duration(c.ExpiresIn)*time.Second
}

// Page is what a service has answered.
type Page struct {
	Status      int
	ContentType string
	Body        []byte
}

// Get fetches an https URL of a service of the home network, with a token for it; the client registers once more where it needs a code for that.
// Errors: ErrNoWeb, ErrNoCode, ErrToken, ErrURI, those of Register, and of the transport. A refusal of the service is a Page.
func (u *UE) Get(ctx context.Context, at string) (Page, error) {
	w := u.web
	if w == nil {
		return Page{}, ErrNoWeb
	}
	target, err := url.Parse(at)
	if err != nil || target.Scheme != "https" || target.Host == "" || target.User != nil {
		return Page{}, fmt.Errorf("%w: %q", ErrURI, at)
	}
	origin := "https://" + target.Host
	token, err := w.tokenFor(ctx, origin)
	if err != nil {
		return Page{}, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return Page{}, fmt.Errorf("ue: %w", err)
	}
	proof, err := w.prover.Prove(r.Method, at, token, u.cfg.Clock.Wall())
	if err != nil {
		return Page{}, fmt.Errorf("ue: %w", err)
	}
	r.Header.Set("Authorization", "DPoP "+token)
	r.Header.Set("DPoP", proof)
	p, err := w.do(r)
	if err == nil && p.Status == http.StatusUnauthorized {
		w.mu.Lock()
		delete(w.tokens, origin)
		w.mu.Unlock()
	}
	return p, err
}

func (w *web) do(r *http.Request) (Page, error) {
	resp, err := w.client.Do(r)
	if err != nil {
		return Page{}, fmt.Errorf("ue: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxPage+1))
	if err != nil {
		return Page{}, fmt.Errorf("ue: %w", err)
	}
	if len(body) > maxPage {
		return Page{}, fmt.Errorf("%w: the page has more than %d octets", ErrTooLarge, maxPage)
	}
	return Page{Status: resp.StatusCode, ContentType: resp.Header.Get("Content-Type"), Body: body}, nil
}

// tokenFor returns the token for a service: the one that is there, or one for a code.
func (w *web) tokenFor(ctx context.Context, origin string) (string, error) {
	now := w.u.cfg.Clock.Now()
	w.mu.Lock()
	have, there := w.tokens[origin]
	w.mu.Unlock()
	if there && now < have.until {
		return have.text, nil
	}
	code, fresh := w.takeCode(now)
	if !fresh {
		if _, err := w.u.Register(ctx); err != nil {
			return "", err
		}
		if code, fresh = w.takeCode(w.u.cfg.Clock.Now()); !fresh {
			return "", ErrNoCode
		}
	}
	return w.trade(ctx, code, origin)
}

// takeCode takes the code out: it is good once.
func (w *web) takeCode(now time.Duration) (oauth.Code, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, fresh := w.code, w.code.Code != "" && now < w.until
	w.code = oauth.Code{}
	return c, fresh
}

// trade gives a code for a token (RFC 6749 4.1.3, RFC 8707).
func (w *web) trade(ctx context.Context, c oauth.Code, origin string) (string, error) {
	form := url.Values{"grant_type": {"authorization_code"}, "code": {c.Code}, "client_id": {"ue"}, "resource": {origin}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.TokenEndpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return "", fmt.Errorf("ue: %w", err)
	}
	proof, err := w.prover.Prove(r.Method, c.TokenEndpoint, "", w.u.cfg.Clock.Wall())
	if err != nil {
		return "", fmt.Errorf("ue: %w", err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("DPoP", proof)
	p, err := w.do(r)
	if err != nil {
		return "", err
	}
	var t oauth.Token
	if err := json.NewDecoder(bytes.NewReader(p.Body)).Decode(&t); err != nil || p.Status != http.StatusOK || !strings.EqualFold(t.TokenType, "DPoP") || t.AccessToken == "" {
		return "", fmt.Errorf("%w: %d %s", ErrToken, p.Status, t.Error)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tokens[origin] = bearerToken{t.AccessToken, w.u.cfg.Clock.Now() + time.Duration(t.ExpiresIn)*time.Second - spare}
	return t.AccessToken, nil
}

// spare is how long before its end a token is not used any more.
const spare = 10 * time.Second

// Fetch makes a Vouching.Fetch of the transport by which a client reaches its home network.
func Fetch(transport http.RoundTripper) func(ctx context.Context, at string) ([]byte, error) {
	w := &web{client: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	return func(ctx context.Context, at string) ([]byte, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
		if err != nil {
			return nil, fmt.Errorf("ue: %w", err)
		}
		p, err := w.do(r)
		if err == nil && p.Status != http.StatusOK {
			err = fmt.Errorf("ue: certificates: answered %d", p.Status)
		}
		return p.Body, err
	}
}

// Token returns the access token that the client has for a service, and a proof for one request with it: for tests that play somebody who has
// stolen or copied them. ErrToken if there is none.
func (u *UE) Token(ctx context.Context, origin, method, at string) (token, proof string, err error) {
	if u.web == nil {
		return "", "", ErrNoWeb
	}
	err = u.do(ctx, func(*shard.Task) error {
		u.web.mu.Lock()
		defer u.web.mu.Unlock()
		have, there := u.web.tokens[origin]
		if !there {
			return ErrToken
		}
		token = have.text
		proof, err = u.web.prover.Prove(method, at, token, u.cfg.Clock.Wall())
		return err
	})
	return token, proof, err
}
