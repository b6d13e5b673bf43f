package attack

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"imsafe/secure"
)

// pageOpen: an account of the host that the operator has given nothing sees the page of the node.
func pageOpen() Attack {
	controls := []secure.ControlID{secure.ManagementAuthenticationPage}
	variant := func(name string, run func(context.Context, *Field, *Outcome) error) Variant {
		return Variant{Name: name, Position: LocalAccount, Controls: controls, NotWire: ofOneNode(), Run: run}
	}
	return Attack{
		ID: "mgmt.page.open", Number: "MG-06", Title: "an account of the host without a code sees the page of the node",
		Text:     "the page names subscribers and shows who calls whom; every account of the host, and every page that its browsers open, reaches the address",
		Services: []Service{Authentication}, Stride: Spoofing, Threats: []Threat{Removal, Disclosure}, Module: InfrastructureAdmin,
		Source: "OWASP ASVS V2.2, V3.2; RFC 6265 8.5", Access: []Access{Page},
		Bounds:   Bounds{Packets: 400, Bytes: 200_000, Conns: 10, Time: 3 * time.Second},
		Variants: []Variant{variant("read", readsPage), variant("guess", guessesCode), variant("session", forgesSession), variant("cookie", stealsCookie)},
	}
}

// ofOneNode says why the page is not attacked over two nodes.
func ofOneNode() map[Access]string {
	return map[Access]string{Page: "the page is of one node and at an address of its own host: nothing of it goes between nodes"}
}

// tellsOf are the paths of the page that tell something of the node.
var tellsOf = [...]string{"/api/cells", "/api/live", "/proof", "/api/ladder/1", "/api/run?key=x"}

// Browser is one at the page of the node: it has a cookie, and what its origin keeps.
type Browser struct {
	f           *Field
	client      *http.Client
	cookie, key string
}

// browser opens one, over the sockets of n.
func (f *Field) browser(n Network) *Browser {
	return &Browser{f: f, client: &http.Client{Transport: &http.Transport{MaxConnsPerHost: 2, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return n.Dial(ctx, "tcp", netip.Addr{}, f.Page)
	}}}}
}

func (b *Browser) close() { b.client.CloseIdleConnections() }

// ask asks for a path, with further header fields as a page or its browser sets them.
func (b *Browser) ask(ctx context.Context, method, path, body string, lines ...string) (*http.Response, string, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+b.f.Page.String()+path, strings.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	if method != http.MethodGet {
		r.Header.Set("Origin", "http://"+b.f.Page.String())
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		switch r.Header.Set(name, value); {
		case name == "Host":
			r.Host = value
		case value == "":
			r.Header.Del(name)
		}
	}
	if b.cookie != "" {
		r.Header.Set("Cookie", fmt.Sprintf("imsafe-%d=%s", b.f.Page.Port(), b.cookie))
	}
	if b.key != "" {
		r.Header.Set("Imsafe-Key", b.key)
	}
	got, err := b.client.Do(r)
	if err != nil {
		return nil, "", fmt.Errorf("attack: the page: %w", err)
	}
	defer func() { _ = got.Body.Close() }()
	if got.Header.Get("Content-Type") == "text/event-stream" {
		return got, "", nil // it does not end
	}
	said, err := io.ReadAll(io.LimitReader(got.Body, 1<<20))
	return got, string(said), err
}

// logIn takes a code to the page and keeps what it gets.
func (b *Browser) logIn(ctx context.Context, code string) (status int, err error) {
	got, said, err := b.ask(ctx, http.MethodPost, "/login", `{"code":"`+code+`"}`)
	if err != nil {
		return 0, err
	}
	for _, c := range got.Cookies() {
		b.cookie = c.Value
	}
	_, key, _ := strings.Cut(said, `"key":"`)
	b.key, _, _ = strings.Cut(key, `"`)
	return got.StatusCode, nil
}

// reads asks for everything that tells something, and says how much of it was answered. What is not there is answered too, to whoever may ask.
func (b *Browser) reads(ctx context.Context) (answered, last int, err error) {
	for _, path := range tellsOf {
		got, _, err := b.ask(ctx, http.MethodGet, path, "")
		if err != nil {
			return 0, 0, err
		}
		if last = got.StatusCode; last == http.StatusOK || last == http.StatusNotFound {
			answered++
		}
	}
	return answered, last, nil
}

// operator is the honest one, who has logged in.
func (f *Field) operator(ctx context.Context) (*Browser, error) {
	b := f.browser(f.honest)
	status, err := b.logIn(ctx, f.Codes[0])
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("attack: the operator's code is answered %d", status)
	}
	return b, err
}

// operates lets him log in and read, behind an attack: whatever the attacker has done, it must go at once.
func (f *Field) operates(ctx context.Context, o *Outcome) error {
	b := f.browser(f.honest)
	defer b.close()
	status, err := b.logIn(ctx, f.Codes[1])
	if err != nil {
		return err
	}
	answered, _, err := b.reads(ctx)
	o.Peer(status != http.StatusOK || answered != len(tellsOf), "the operator's code is answered %d, and then %d of %d paths tell him what is there", status, answered, len(tellsOf))
	return err
}

// readsPage asks without anything.
func readsPage(ctx context.Context, f *Field, o *Outcome) error {
	b := f.browser(f.attacker)
	defer b.close()
	answered, last, err := b.reads(ctx)
	if err != nil {
		return err
	}
	o.Arrived("%d paths are asked for, the last is answered %d", len(tellsOf), last)
	o.Wire(answered > 0, "%d of %d paths that tell of the node are answered to somebody without a session", answered, len(tellsOf))
	o.Users = answered
	return f.operates(ctx, o)
}

// guesses is how many codes are tried: more than a page that locks after a few would take.
const guesses = 40

// guessesCode tries codes: none, made up, and one that the operator has used.
func guessesCode(ctx context.Context, f *Field, o *Outcome) error {
	operator, err := f.operator(ctx)
	if err != nil {
		return err
	}
	operator.close()
	b := f.browser(f.attacker)
	defer b.close()
	in, last := 0, 0
	for i := range guesses {
		code := strings.ToUpper(f.token() + f.token())[:28]
		switch i {
		case 0:
			code = ""
		case 1:
			code = f.Codes[0]
		case 2:
			code = strings.Repeat("A", 28)
		}
		if last, err = b.logIn(ctx, code); err != nil {
			return err
		}
		if answered, _, err := b.reads1(ctx); err != nil {
			return err
		} else if answered {
			in++
		}
	}
	o.Arrived("%d codes are tried, the last is answered %d", guesses, last)
	o.Wire(in > 0, "%d of %d codes let somebody in, one that was used among them", in, guesses)
	o.Users = in
	return f.operates(ctx, o)
}

// reads1 asks for the cells.
func (b *Browser) reads1(ctx context.Context) (answered bool, status int, err error) {
	got, _, err := b.ask(ctx, http.MethodGet, tellsOf[0], "")
	if err != nil {
		return false, 0, err
	}
	return got.StatusCode == http.StatusOK, got.StatusCode, nil
}

// forgesSession shows sessions that nobody has begun, and one that the operator has ended.
func forgesSession(ctx context.Context, f *Field, o *Outcome) error {
	operator, err := f.operator(ctx)
	if err != nil {
		return err
	}
	defer operator.close()
	if _, _, err := operator.ask(ctx, http.MethodPost, "/logout", ""); err != nil {
		return err
	}
	b := f.browser(f.attacker)
	defer b.close()
	in, last, tries := 0, 0, 0
	for _, s := range [][2]string{{operator.cookie, operator.key}, {operator.cookie, ""}, {f.token() + f.token(), f.token()}, {"", operator.key}, {"0", "0"}} {
		b.cookie, b.key = s[0], s[1]
		answered, status, err := b.reads1(ctx)
		if err != nil {
			return err
		}
		if last, tries = status, tries+1; answered {
			in++
		}
	}
	o.Arrived("%d sessions are shown, the last is answered %d", tries, last)
	o.Wire(in > 0, "%d of %d sessions that are made up, or ended, are taken for one", in, tries)
	o.Users = in
	return nil
}

// stealsCookie has the operator's cookie, as a server at another port of the host has to whose page his browser goes.
func stealsCookie(ctx context.Context, f *Field, o *Outcome) error {
	operator, err := f.operator(ctx)
	if err != nil {
		return err
	}
	defer operator.close()
	b := f.browser(f.attacker)
	defer b.close()
	b.cookie = operator.cookie
	in, last := 0, 0
	for _, path := range tellsOf {
		if path == "/proof" {
			continue // what a link leads to; it names nobody
		}
		got, _, err := b.ask(ctx, http.MethodGet, path, "")
		if err != nil {
			return err
		}
		if last = got.StatusCode; last == http.StatusOK || last == http.StatusNotFound {
			in++
		}
	}
	o.Arrived("%d paths are asked for with the operator's cookie, the last is answered %d", len(tellsOf)-1, last)
	o.Wire(in > 0, "%d of %d paths about subscribers are answered to whoever has the cookie alone", in, len(tellsOf)-1)
	o.Users = in
	return nil
}
