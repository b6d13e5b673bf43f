package web_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"imsafe/node"
	"imsafe/secure"
	"imsafe/trace/ladder"
	"imsafe/web"
)

// pageOf makes a page with what c does not say.
func pageOf(c web.Config) *web.Page {
	c.Domain = "ims.example.org"
	if c.Random == nil {
		c.Random = rand.Reader
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Tick == nil {
		c.Tick = func(every time.Duration) (<-chan time.Time, func()) {
			t := time.NewTicker(every)
			return t.C, t.Stop
		}
	}
	if c.Proof == nil {
		c.Proof = func() web.Proof { return web.Proof{Note: "there is none"} }
	}
	if c.Gate == nil {
		gate := secure.NewGate(nil, nil)
		c.Gate = func() *secure.Gate { return gate }
	}
	if c.Policy == nil {
		c.Policy = func() node.PolicyReport { return node.PolicyReport{} }
	}
	return web.New(c)
}

// asking is a browser: it keeps its cookie.
type asking struct {
	page   *web.Page
	cookie *http.Cookie
	key    string
}

func (a *asking) ask(method, target, body string, more ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = "127.0.0.1:9464"
	if method != "GET" {
		r.Header.Set("Origin", "http://127.0.0.1:9464")
	}
	for i := 0; i+1 < len(more); i += 2 {
		if r.Header.Set(more[i], more[i+1]); more[i] == "Host" {
			r.Host = more[i+1]
		}
	}
	if r.Header.Set("Imsafe-Key", a.key); a.cookie != nil {
		r.AddCookie(a.cookie)
	}
	w := httptest.NewRecorder()
	a.page.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		a.cookie = c
	}
	if target == "/login" && w.Code == http.StatusOK {
		a.key = keyIn(w.Body.Bytes())
	}
	return w
}

// keyIn is the key of the page in the answer to a login.
func keyIn(answer []byte) string {
	var told struct{ Key string }
	_ = json.Unmarshal(answer, &told) // "" is no key
	return told.Key
}

// in logs in.
func in(t *testing.T, page *web.Page) *asking {
	t.Helper()
	code, err := page.Login.Code()
	if err != nil {
		t.Fatal(err)
	}
	a := &asking{page: page}
	if w := a.ask("POST", "/login", `{"code":"`+code+`"}`); w.Code != http.StatusOK || a.cookie == nil || len(a.key) < 40 {
		t.Fatalf("the login: %d %s", w.Code, w.Body)
	}
	return a
}

// TestLogin: a code lets in once and for ten minutes; the cookie is for the server alone; what ends, ends.
func TestLogin(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	page := pageOf(web.Config{Now: func() time.Time { return at }})
	a := in(t, page)
	if c := a.cookie; !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Name != "imsafe-9464" || len(c.Value) < 40 {
		t.Errorf("the cookie: %+v", c)
	}
	if w := a.ask("GET", "/api/cells", ""); w.Code != http.StatusOK {
		t.Errorf("logged in: %d", w.Code)
	}
	code, _ := page.Login.Code()
	late, _ := page.Login.Code()
	twice := &asking{page: page}
	if w := twice.ask("POST", "/login", `{"code":"`+code+`"}`); w.Code != http.StatusOK {
		t.Errorf("a second browser: %d", w.Code)
	}
	if w := (&asking{page: page}).ask("POST", "/login", `{"code":"`+code+`"}`); w.Code != http.StatusForbidden {
		t.Errorf("the same code again: %d", w.Code)
	}
	at = at.Add(11 * time.Minute)
	if w := (&asking{page: page}).ask("POST", "/login", `{"code":"`+late+`"}`); w.Code != http.StatusForbidden {
		t.Errorf("a code of eleven minutes ago: %d", w.Code)
	}
	kept := *a.cookie
	a.ask("POST", "/logout", "")
	a.cookie = &kept
	if w := a.ask("GET", "/api/cells", ""); w.Code != http.StatusUnauthorized {
		t.Errorf("logged out, with the cookie of before: %d", w.Code)
	}
	if w := twice.ask("GET", "/api/cells", ""); w.Code != http.StatusOK {
		t.Errorf("the other browser: %d", w.Code)
	}
	at = at.Add(12 * time.Hour)
	if w := twice.ask("GET", "/api/cells", ""); w.Code != http.StatusUnauthorized {
		t.Errorf("twelve hours later: %d", w.Code)
	}
}

// TestLogin_tries: whoever tries codes finds none, and keeps nobody out: the operator's works at once, and each try is counted.
func TestLogin_tries(t *testing.T) {
	gate := secure.NewGate(nil, nil)
	page := pageOf(web.Config{Gate: func() *secure.Gate { return gate }})
	code, _ := page.Login.Code()
	a := &asking{page: page}
	for i := range 1000 {
		if w := a.ask("POST", "/login", `{"code":"WRONG"}`); w.Code != http.StatusForbidden {
			t.Fatalf("try %d: %d", i, w.Code)
		}
	}
	if w := a.ask("POST", "/login", `{"code":"`+code+`"}`); w.Code != http.StatusOK {
		t.Errorf("the right one after a thousand: %d", w.Code)
	}
	if refused, _ := gate.Counts(secure.ManagementAuthenticationPage); refused != 1000 {
		t.Errorf("%d are counted", refused)
	}
	if w := a.ask("POST", "/login", `{"code":`+strings.Repeat(" ", 4096)); w.Code != http.StatusBadRequest {
		t.Errorf("what is no code: %d", w.Code)
	}
	none := &asking{page: pageOf(web.Config{Gate: func() *secure.Gate { return nil }})}
	if w := none.ask("GET", "/api/cells", ""); w.Code != http.StatusUnauthorized {
		t.Errorf("of a page that has no node yet: %d", w.Code)
	}
}

// TestPage_refuses: other methods, and nothing of the node before a login, or with half of what a browser keeps.
func TestPage_refuses(t *testing.T) {
	page := pageOf(web.Config{})
	stranger, friend := &asking{page: page}, in(t, page)
	thief, reader := &asking{page: page, cookie: friend.cookie}, &asking{page: page, key: friend.key} // of the cookie, and of what the browser keeps for the origin
	other := &asking{page: page, cookie: friend.cookie, key: in(t, page).key}
	for _, c := range []struct {
		who            *asking
		method, target string
		more           []string
		want           int
	}{
		{stranger, "GET", "/", nil, http.StatusOK}, {stranger, "GET", "/page.js", nil, http.StatusOK}, {stranger, "GET", "/page.css", nil, http.StatusOK},
		{stranger, "GET", "/api/cells", nil, http.StatusUnauthorized}, {stranger, "GET", "/api/live", nil, http.StatusUnauthorized},
		{stranger, "GET", "/proof", nil, http.StatusUnauthorized}, {stranger, "GET", "/api/ladder/1", nil, http.StatusUnauthorized}, {stranger, "GET", "/api/run?key=a", nil, http.StatusUnauthorized},
		{friend, "GET", "/api/cells", nil, http.StatusOK}, {friend, "GET", "/proof", nil, http.StatusNotFound}, {friend, "GET", "/api/ladder/1", nil, http.StatusNotFound},
		{thief, "GET", "/api/cells", nil, http.StatusUnauthorized}, {thief, "GET", "/api/live", nil, http.StatusUnauthorized}, {thief, "GET", "/api/ladder/1", nil, http.StatusUnauthorized},
		{thief, "GET", "/api/run?key=a", nil, http.StatusUnauthorized}, {reader, "GET", "/api/cells", nil, http.StatusUnauthorized}, {other, "GET", "/api/cells", nil, http.StatusUnauthorized},
		{friend, "GET", "/api/run?key=../x", nil, http.StatusNotFound}, {friend, "GET", "/elsewhere", nil, http.StatusNotFound}, {friend, "POST", "/api/cells", nil, http.StatusMethodNotAllowed},
	} {
		w := c.who.ask(c.method, c.target, "", c.more...)
		if w.Code != c.want {
			t.Errorf("%s %s %v: %d, want %d", c.method, c.target, c.more, w.Code, c.want)
		}
		csp := w.Header().Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} {
			if !strings.Contains(csp, part) || strings.Contains(csp, "script-src 'unsafe") {
				t.Errorf("%s: the policy of the content is %q", c.target, csp)
			}
		}
	}
}

// TestPage_files: the page loads nothing from elsewhere, and has nothing in it that its own policy forbids.
func TestPage_files(t *testing.T) {
	a := &asking{page: pageOf(web.Config{})}
	for path, kind := range map[string]string{"/": "text/html", "/page.js": "text/javascript", "/page.css": "text/css"} {
		w := a.ask("GET", path, "")
		if !strings.HasPrefix(w.Header().Get("Content-Type"), kind) {
			t.Errorf("%s is %s", path, w.Header().Get("Content-Type"))
		}
		text := strings.ReplaceAll(w.Body.String(), "http://www.w3.org/2000/svg", "")
		for _, no := range []string{"http:", "https:", "@import", "url(", "eval(", "innerHTML", "style=", "<style", "onclick=", "javascript:"} {
			if strings.Contains(text, no) {
				t.Errorf("%s has %q", path, no)
			}
		}
	}
}

// seen is what the tests read of what changes.
type seen struct {
	Cells []struct {
		State    string
		Why      []string
		Refusing bool
		Refused  uint64
	}
	Refused uint64
	Ladders []ladder.Head
}

// TestLive: what changes is told as it happens: a cell refuses, is weaker, is off, is passed.
func TestLive(t *testing.T) {
	row := node.PolicyRow{Control: "ci.integrity.a", Door: "C-I", Service: "integrity", Level: "required", State: "on", Refused: 5}
	proof := web.Proof{Made: "then", Cells: []web.Cell{{Name: "C-I integrity", Door: "C-I", Service: "integrity", State: "proven"}, {Name: "C-S integrity", Door: "C-S", Service: "integrity", State: "proven"}}}
	rows := make(chan node.PolicyRow, 1)
	ticks := make(chan time.Time)
	at := time.Unix(1_800_000_000, 0)
	page := pageOf(web.Config{Proof: func() web.Proof { return proof }, Now: func() time.Time { return at },
		Tick: func(time.Duration) (<-chan time.Time, func()) { return ticks, func() {} },
		Policy: func() node.PolicyReport {
			select {
			case row = <-rows:
			default:
			}
			return node.PolicyReport{Rows: []node.PolicyRow{row}}
		}})
	server := httptest.NewServer(page)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	code, _ := page.Login.Code()
	next := watch(t, server, code)
	tell := func(change func(*node.PolicyRow)) seen {
		t.Helper()
		changed := row
		change(&changed)
		rows <- changed
		ticks <- at
		return next()
	}
	if s := next(); s.Cells[0].State != "proven" || s.Cells[0].Refusing || s.Refused != 5 || s.Ladders != nil {
		t.Errorf("at first: %+v", s)
	}
	if s := tell(func(r *node.PolicyRow) { r.Refused++ }); !s.Cells[0].Refusing || s.Cells[1].Refusing || s.Cells[0].State != "proven" || s.Refused != 6 {
		t.Errorf("it refuses: %+v", s)
	}
	if s := tell(func(r *node.PolicyRow) { r.State, r.By = "weakened", []string{"soft"} }); s.Cells[0].State != "stale" || s.Cells[1].State != "proven" || !strings.Contains(s.Cells[0].Why[0], "soft") {
		t.Errorf("it is weaker: %+v", s)
	}
	if s := tell(func(r *node.PolicyRow) { r.State = "off" }); s.Cells[0].State != "gap" || s.Cells[1].State != "proven" {
		t.Errorf("it is off: %+v", s)
	}
	if s := tell(func(r *node.PolicyRow) { r.Passed = 3 }); s.Cells[0].State != "gap" || !strings.Contains(s.Cells[0].Why[0], "let pass 3") {
		t.Errorf("an attack got through: %+v", s)
	}
	at = at.Add(time.Minute)
	if s := tell(func(r *node.PolicyRow) { r.State, r.Passed = "on", 0 }); s.Cells[0].State != "proven" || s.Cells[0].Refusing {
		t.Errorf("a minute later all is well: %+v", s)
	}
}

// watch logs in and returns what reads one event.
func watch(t *testing.T, server *httptest.Server, code string) (next func() seen) {
	t.Helper()
	login, err := http.NewRequestWithContext(t.Context(), "POST", server.URL+"/login", strings.NewReader(`{"code":"`+code+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	login.Header.Set("Origin", server.URL)
	r, err := http.DefaultClient.Do(login)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("the login: %v", err)
	}
	told, err := io.ReadAll(r.Body)
	if r.Body.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	live, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/api/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	live.AddCookie(r.Cookies()[0])
	live.Header.Set("Imsafe-Key", keyIn(told))
	r, err = http.DefaultClient.Do(live)
	if err != nil || r.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("what changes: %v", err)
	}
	t.Cleanup(func() { r.Body.Close() })
	lines := bufio.NewReader(r.Body)
	return func() (s seen) {
		t.Helper()
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				t.Fatal(err)
			}
			if text, found := bytes.CutPrefix(line, []byte("data: ")); found {
				if err := json.Unmarshal(text, &s); err != nil {
					t.Fatal(err)
				}
				return s
			}
		}
	}
}

// TestCells_unproven: without a proof a cell is claimed at best, and a gap where no control is.
func TestCells_unproven(t *testing.T) {
	page := pageOf(web.Config{Policy: func() node.PolicyReport {
		return node.PolicyReport{Rows: []node.PolicyRow{{Control: "ci.authorization.a", Door: "C-I", Service: "authorization", Level: "required", State: "on"}}}
	}})
	var got struct{ Cells []web.Cell }
	if err := json.Unmarshal(in(t, page).ask("GET", "/api/cells", "").Body.Bytes(), &got); err != nil || len(got.Cells) != 12 {
		t.Fatalf("%d cells: %v", len(got.Cells), err)
	}
	for _, c := range got.Cells {
		if want := map[bool]string{true: "claimed", false: "gap"}[c.Name == "C-I authentication"]; c.State != want {
			t.Errorf("%s is %s, want %s", c.Name, c.State, want)
		}
	}
}

// TestLadders: a story is drawn as wide as is asked for, within bounds, and nothing in it is more than text.
func TestLadders(t *testing.T) {
	ring := ladder.NewRing(2)
	at := ring.Add("<script>", ladder.Arrow{From: ladder.UE, To: ladder.PCSCF, What: "REGISTER"}, "sip:a@b")
	a := in(t, pageOf(web.Config{Ladders: func() *ladder.Ring { return ring }}))
	for query, want := range map[string]string{"": `width="900"`, "?width=390": `width="390"`, "?width=-1": `width="300"`, "?width=999999": `width="1600"`, "?width=x": `width="900"`} {
		w := a.ask("GET", "/api/ladder/1"+query, "")
		var got struct {
			ladder.Story
			SVG string
		}
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.ID != at.Story || !strings.Contains(got.SVG, want) || strings.Contains(got.SVG, "<script") {
			t.Errorf("%s: %v %s", query, err, w.Body)
		}
	}
}
