package live_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"imsafe/client/media"
	"imsafe/client/ue"
	"imsafe/config"
	"imsafe/proto/aka"
	"imsafe/proto/oauth"
	"imsafe/secure"
	"imsafe/servicebox/as"
	"imsafe/servicebox/echo"
	"imsafe/test/live"
)

// startWeb starts a node where clients fetch.
func startWeb(t *testing.T) *enrolling {
	return startEnrolling(t, func(c *config.Config) { c.HTTPS.Listen = live.AnyPort() })
}

// client is a registered client that fetches and checks.
func (e *enrolling) fetching(u *live.User, transport ue.Transport, more func(*ue.Config)) *live.UE {
	e.t.Helper()
	x, err := e.UE(u, transport, func(c *ue.Config) {
		c.Web, c.Vouching = e.Web(), e.Vouching(true)
		if more != nil {
			more(c)
		}
	})
	if err == nil {
		_, err = x.Register(e.Context)
	}
	if err != nil {
		e.t.Fatal(err)
	}
	return x
}

// TestVouched: two clients that believe nobody but the network call each other; its certificates come over HTTPS.
func TestVouched(t *testing.T) {
	e := startWeb(t)
	alice, bob := e.fetching(e.Users[0], ue.IPsecUDP, nil), e.fetching(e.Users[1], ue.IPsecTCP, nil)
	call, err := alice.Call(e.Context, bob.User.IMPU, ue.Voice{Play: media.NewTone(440, -10)})
	if err != nil {
		t.Fatal(err)
	}
	var rings *ue.Call
	select {
	case rings = <-bob.Calls:
	case <-call.Done():
		t.Fatalf("%+v", call.Result())
	}
	rings.Answer(ue.Voice{Play: media.NewTone(880, -10)})
	if _, err := call.Until(e.Context, ue.Secured); err != nil {
		t.Fatal(err)
	}
	if v := call.Vouched(); v.By != live.Domain || v.Identity != bob.User.IMPU {
		t.Errorf("alice: %+v", v)
	}
	if v := rings.Vouched(); v.By != live.Domain || v.Identity != alice.User.IMPU {
		t.Errorf("bob: %+v", v)
	}
	call.Hangup()
	<-rings.Done()
	if n := e.SCSCF.Unvouched(); n != 0 {
		t.Errorf("%d messages without a signature", n)
	}
}

// steals plays a thief who has copied what a client shows for a page.
func (e *enrolling) steals(from *live.UE, way http.RoundTripper, origin, page string) {
	t := e.t
	t.Helper()
	token, proof, err := from.Token(e.Context, origin, http.MethodGet, page)
	if err != nil {
		t.Fatal(err)
	}
	thief := &http.Client{Transport: way}
	other, err := oauth.NewProver(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	others, err := other.Prove(http.MethodGet, page, token, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what, token, proof string
		status             int
	}{
		{"nothing", "", "", 401}, {"the token alone", token, "", 401}, {"a proof of the thief's key", token, others, 401},
		{"token and proof, first", token, proof, 200}, {"token and proof, again", token, proof, 401},
	} {
		r, err := http.NewRequestWithContext(e.Context, http.MethodGet, page, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "DPoP "+c.token)
		if c.proof != "" {
			r.Header.Set("DPoP", c.proof)
		}
		resp, err := thief.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != c.status {
			t.Errorf("%s: %d", c.what, resp.StatusCode)
		}
	}
}

// TestGet: a registered client fetches a page that is his alone; whoever copies his token has nothing of it.
func TestGet(t *testing.T) {
	e := startWeb(t)
	page := e.Origin() + "/registration"
	alice := e.fetching(e.Users[0], ue.IPsecUDP, nil)
	for range 2 { // the second with the token of the first
		p, err := alice.Get(e.Context, page)
		if err != nil || p.Status != http.StatusOK || !strings.Contains(string(p.Body), `"sub":"`+alice.User.IMPU+`"`) {
			t.Fatalf("%d %s, %v", p.Status, p.Body, err)
		}
	}
	if issued := e.Node.Web.Counters.Tokens.Load(); issued != 1 {
		t.Errorf("%d tokens for one service", issued)
	}
	e.steals(alice, e.Web(), e.Origin(), page)
	if refused, _ := e.Gate.Counts(secure.CSAuthenticationToken); refused != 4 {
		t.Errorf("%d refusals", refused)
	}
}

// TestGetOfService: echo is on a machine of its own, and serves a page by the tokens of the core. Nobody else's token leads to it, and it is told a pseudonym.
func TestGetOfService(t *testing.T) {
	e := startWeb(t)
	path := e.EnrolInto(t.TempDir(), echo.Manifest(live.Domain))
	svc, err := as.Open(path, as.At(e.ISC.String()), as.Log(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := svc.ServePages(ln, as.Home(e.HTTPS.String()), 0); err != nil {
		t.Fatal(err)
	}
	echo.Setup(svc)
	ended := make(chan error, 1)
	go func() { ended <- svc.Run(e.Context) }()
	t.Cleanup(func() {
		svc.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	way := e.Web()
	way.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		to := e.HTTPS.String()
		if strings.HasPrefix(address, "echo.as.") {
			to = ln.Addr().String()
		}
		return (&net.Dialer{}).DialContext(ctx, network, to)
	}
	alice := e.fetching(e.Users[0], ue.IPsecUDP, func(c *ue.Config) { c.Web = way })
	page := svc.PagesAt() + "/protections"
	p, err := alice.Get(e.Context, page)
	if err != nil || p.Status != http.StatusOK || !strings.Contains(string(p.Body), "@pseudonym."+live.Domain) || strings.Contains(string(p.Body), alice.User.IMPU) {
		t.Fatalf("%d %s, %v", p.Status, p.Body, err)
	}
	e.steals(alice, way, svc.PagesAt(), page)
	if _, err := alice.Get(e.Context, e.Origin()+"/registration"); err != nil {
		t.Fatal(err)
	}
	for origin, at := range map[string]string{e.Origin(): page, svc.PagesAt(): e.Origin() + "/registration"} { // each at the other's
		token, proof, err := alice.Token(e.Context, origin, http.MethodGet, at)
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequestWithContext(e.Context, http.MethodGet, at, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "DPoP "+token)
		r.Header.Set("DPoP", proof)
		resp, err := (&http.Client{Transport: way}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("a token for %s at %s: %d", origin, at, resp.StatusCode)
		}
	}
}

// TestCode: a code is good once, for one key, and nobody gets one in clear.
func TestCode(t *testing.T) {
	e := startWeb(t)
	inClear, err := e.UE(e.Users[1], ue.UDP, func(c *ue.Config) { c.Web, c.Lab, c.Proxy = e.Web(), true, e.Lab; c.Scheme = aka.AKAv1MD5 })
	if err == nil {
		_, err = inClear.Register(e.Context)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := inClear.Get(e.Context, e.Origin()+"/registration"); !errors.Is(err, ue.ErrNoCode) {
		t.Errorf("in clear: %v", err)
	}
	key, err := oauth.NewProver(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(body []byte, by *oauth.Prover, resource string) int {
		t.Helper()
		code := string(body)
		_, code, _ = strings.Cut(code, `"code":"`)
		code, _, _ = strings.Cut(code, `"`)
		form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "resource": {resource}}
		r, err := http.NewRequestWithContext(e.Context, http.MethodPost, e.Origin()+"/token", strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		proof, err := by.Prove(http.MethodPost, e.Origin()+"/token", "", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("DPoP", proof)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := (&http.Client{Transport: e.Web()}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	thief, err := oauth.NewProver(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := e.Node.Web.Code(e.Users[0].IMPU, key.Thumbprint())
	if s := ask(good, key, e.Origin()); s != http.StatusOK {
		t.Errorf("the first time: %d", s)
	}
	if s := ask(good, key, e.Origin()); s != http.StatusBadRequest {
		t.Errorf("the second time: %d", s)
	}
	if s := ask(e.Node.Web.Code(e.Users[0].IMPU, key.Thumbprint()), thief, e.Origin()); s != http.StatusBadRequest {
		t.Errorf("with another key: %d", s)
	}
	if s := ask(e.Node.Web.Code(e.Users[0].IMPU, key.Thumbprint()), key, "https://evil.example"); s != http.StatusBadRequest {
		t.Errorf("for somebody else's service: %d", s)
	}
	if s := ask([]byte(`{"code":"`+strings.Repeat("A", 22)+`"}`), key, e.Origin()); s != http.StatusBadRequest {
		t.Errorf("guessed: %d", s)
	}
}
