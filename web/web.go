// Package web is the page of a running node: what its controls have refused, what weakens them, and what the last proof of this program was worth.
//
// It is for whoever sits at the machine: it answers on loopback names alone, only reads, has no script and asks nobody else for anything. It
// serves / and /proof, the page of the proof. What it shows comes from functions that are handed in; they must be safe for concurrent use, and then
// it is. It imports node for the words of the policy.
package web

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"imsafe/node"
)

//go:embed page.html
var files embed.FS

// Cell is one of the twelve.
type Cell struct {
	Door, Service, State, Sign string
	Proven, Total              int
}

// Proof is what the newest bundle is worth for this program.
type Proof struct {
	Cells    []Cell
	Sentence string // how it went as a whole
	Made     string // when, for people; "" if there is no bundle
	Note     string // what keeps it from being trusted, or why there is none
	Page     []byte // of the proof, for /proof; nil if there is none
}

// Config is what the page shows.
type Config struct {
	Domain string
	Policy func() node.PolicyReport
	Proof  func() Proof
}

// Handler serves the page.
func Handler(c Config) (http.Handler, error) {
	t, err := template.ParseFS(files, "page.html")
	if err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { c.live(w, t) })
	mux.HandleFunc("GET /proof", func(w http.ResponseWriter, r *http.Request) {
		if page := c.Proof().Page; page != nil {
			write(w, page)
			return
		}
		http.NotFound(w, r)
	})
	return guard(mux), nil
}

// guard refuses names that are not this machine's: a page of somebody else's, whose name leads here, would read what this one shows. It lets nothing
// be framed, kept or loaded from elsewhere.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !here(r.Host) {
			http.Error(w, "this page is for this machine: ask for it by a loopback address", http.StatusMisdirectedRequest)
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// here reports whether a Host is a name of loopback.
func here(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.Unmap().IsLoopback()
}

func write(w http.ResponseWriter, page []byte) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(page) // who has gone needs no answer
}

// live is the page as of now.
func (c *Config) live(w http.ResponseWriter, t *template.Template) {
	report, proof := c.Policy(), c.Proof()
	seen := struct {
		Domain     string
		Proof      Proof
		Services   []string
		Weakenings []node.NamedWeakening
		Refused    uint64
		Active     []node.PolicyRow // that have refused something, most first
		Weak       []node.PolicyRow // that are not as they should be
		Controls   int
	}{Domain: c.Domain, Proof: proof, Weakenings: report.Weakenings, Controls: len(report.Rows)}
	for _, row := range report.Rows {
		seen.Refused += row.Refused
		if row.Refused > 0 {
			seen.Active = append(seen.Active, row)
		}
		if row.State != "on" {
			seen.Weak = append(seen.Weak, row)
		}
	}
	slices.SortStableFunc(seen.Active, func(a, b node.PolicyRow) int { return cmp.Compare(b.Refused, a.Refused) })
	for _, cell := range proof.Cells {
		if cell.Door == proof.Cells[0].Door {
			seen.Services = append(seen.Services, cell.Service)
		}
	}
	var page bytes.Buffer
	if err := t.Execute(&page, seen); err != nil {
		http.Error(w, "the page cannot be made", http.StatusInternalServerError)
		return
	}
	write(w, page.Bytes())
}
