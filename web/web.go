// Package web is the page of a running node: the twelve cells as they stand now, what stands behind each of them, and the ladders of its last calls and
// registrations.
//
// It is for the operator: it shows nothing before he has logged in (Login), only reads, and asks nobody else for anything; management.Own stands before it.
// Its script and its style are its own and all that a browser may load; what changes comes as events of the server. What it shows comes from functions that
// are handed in; they must be safe for concurrent use, and then it is. It imports node and trace/ladder for their words.
package web

import (
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"imsafe/node"
	"imsafe/secure"
	"imsafe/trace/ladder"
)

//go:embed page.html page.css page.js
var files embed.FS

// Config is what the page shows, and what it stands on. All of it is needed but Ladders.
type Config struct {
	Domain  string
	Policy  func() node.PolicyReport
	Gate    func() *secure.Gate // the node's; returning nil while there is none
	Proof   func() Proof
	Ladders func() *ladder.Ring // nil, or returning nil: none are kept
	Random  io.Reader
	Now     func() time.Time
	// Tick delivers the time again and again until stop is called.
	Tick func(every time.Duration) (ticks <-chan time.Time, stop func())
}

// Page is the page of one node.
type Page struct {
	Login *Login // makes the codes with which one logs in

	c       Config
	mux     *http.ServeMux
	watcher watcher
	streams chan struct{} // room for those who watch
}

// maxStreams is how many may watch at once.
const maxStreams = 16

// New makes the page.
func New(c Config) *Page {
	p := &Page{Login: NewLogin(c.Random, c.Now), c: c, mux: http.NewServeMux(), streams: make(chan struct{}, maxStreams)}
	for _, file := range []string{"page.html", "page.css", "page.js"} {
		path := "/" + file
		if file == "page.html" {
			path = "/{$}"
		}
		p.mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { own(w, file) })
	}
	p.mux.HandleFunc("POST /login", p.login)
	p.mux.HandleFunc("POST /logout", p.logout)
	p.mux.HandleFunc("GET /proof", p.known(p.proof, false))
	p.mux.HandleFunc("GET /api/cells", p.known(func(w http.ResponseWriter, _ *http.Request) { answer(w, p.cells()) }, true))
	p.mux.HandleFunc("GET /api/live", p.known(p.live, true))
	p.mux.HandleFunc("GET /api/ladder/{id}", p.known(p.ladder, true))
	p.mux.HandleFunc("GET /api/run", p.known(p.run, true))
	return p
}

// The content policies: of the page, which has a script of its own, and of the proof, which has none and brings its style with it.
const (
	policyOfPage  = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
	policyOfProof = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)

// ServeHTTP implements http.Handler. It lets nothing be framed, kept or loaded from elsewhere. Whoever serves it puts management.Own before it, which
// refuses other names and other pages.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policyOfPage)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	p.mux.ServeHTTP(w, r)
}

// refuses is the enforcement point of the login. A page without a node refuses everybody.
func (p *Page) refuses(why string) bool {
	gate := p.c.Gate()
	return gate == nil || gate.Refuse(secure.ManagementAuthenticationPage, secure.Event{Reason: why})
}

// known lets those through who have logged in. What a link leads to comes without the key of the page.
func (p *Page) known(next http.HandlerFunc, keyed bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !p.Login.admits(r, keyed) && p.refuses("session") {
			http.Error(w, "log in first: imsafe page prints the address with a code", http.StatusUnauthorized)
			return
		}
		next(w, r)
	}
}

// own sends a file of the page.
func own(w http.ResponseWriter, name string) {
	text, err := files.ReadFile(name)
	if err != nil {
		http.Error(w, "the page cannot be read", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", mime.TypeByExtension(name[strings.LastIndexByte(name, '.'):]))
	_, _ = w.Write(text) // who has gone needs no answer
}

// answer sends v.
func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // who has gone needs no answer
}

// proof sends the page of the proof as it is.
func (p *Page) proof(w http.ResponseWriter, r *http.Request) {
	page := p.c.Proof().Page
	if page == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Security-Policy", policyOfProof)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(page)
}

// drawn is a story with its drawing.
type drawn struct {
	ladder.Story
	SVG string `json:"svg"`
}

// The widths that a drawing may have, in CSS pixels.
const leastWidth, mostWidth = 280, 1600

// draw draws a story as wide as r asks for.
func draw(s ladder.Story, r *http.Request) drawn {
	width, err := strconv.Atoi(r.FormValue("width"))
	if err != nil {
		width = 900
	}
	return drawn{s, s.SVG(min(max(width, leastWidth), mostWidth))}
}

// ladder sends one story of this node.
func (p *Page) ladder(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if ring := p.ring(); err == nil && ring != nil {
		if s, there := ring.Get(id); there {
			answer(w, draw(s, r))
			return
		}
	}
	http.Error(w, "that story has gone: the node keeps the last ones only", http.StatusNotFound)
}

func (p *Page) ring() *ladder.Ring {
	if p.c.Ladders == nil {
		return nil
	}
	return p.c.Ladders()
}

// run sends the ladders of one run of an attack.
func (p *Page) run(w http.ResponseWriter, r *http.Request) {
	var stories []ladder.Story
	if of := p.c.Proof().Stories; of != nil {
		stories = of(r.FormValue("key"))
	}
	if stories == nil {
		http.Error(w, "the bundle has no ladders of that run", http.StatusNotFound)
		return
	}
	all := []drawn{}
	for _, s := range stories {
		all = append(all, draw(s, r))
	}
	answer(w, all)
}

// live sends what changes, until whoever watches has gone (server-sent events).
func (p *Page) live(w http.ResponseWriter, r *http.Request) {
	select {
	case p.streams <- struct{}{}:
		defer func() { <-p.streams }()
	default:
		http.Error(w, fmt.Sprintf("%d are watching already", maxStreams), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	ticks, stop := p.c.Tick(lookEvery)
	defer stop()
	out := http.NewResponseController(w)
	last, quiet := "", 0
	for {
		now, err := json.Marshal(p.now())
		if err != nil {
			return
		}
		switch quiet++; {
		case string(now) != last:
			_, err = fmt.Fprintf(w, "data: %s\n\n", now)
			last, quiet = string(now), 0
		case quiet*int(lookEvery) > int(aliveEvery):
			_, err = io.WriteString(w, ":\n\n") // so that the other side notices when the node has gone
			quiet = 0
		}
		if err != nil || out.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-ticks:
		}
		if !p.Login.admits(r, true) && p.refuses("session") {
			return // he has logged out, or his time is over
		}
	}
}

// lookEvery is how soon a change is seen, aliveEvery how often somebody is told that there was none.
const (
	lookEvery  = 300 * time.Millisecond
	aliveEvery = 15 * time.Second
)
