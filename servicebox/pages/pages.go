// Package pages is where clients fetch from a service: the half of C-S that speaks HTTPS, at the service's end.
//
//	client -> TLS 1.3: certificate of the platform -> access token of the home network, for this service, by the client's key -> page
//
// The certificate is the one that the platform was approved with, so a client that trusts the network's root knows whose page it is. There is no page without a
// token (RFC 9068) that the network issued to a registered user for this very service, and a proof of the key that it is bound to (RFC 9449): see
// proto/oauth. What the token says is the Visitor; of a request nothing else is believed. The keys of the issuer are fetched from the network's own door,
// and again when the network has others.
//
// servicebox/as opens it. It knows no SIP. Safe for concurrent use.
package pages

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"imsafe/proto/budget"
	"imsafe/proto/fairlisten"
	"imsafe/proto/oauth"
	"imsafe/proto/shard"
	"imsafe/proto/webdoor"
)

// Config is what a server is made of. All but Log is required.
type Config struct {
	Origin string // https origin of the service, as clients reach it: what their tokens are for
	Issuer string // https origin of the network's door, which issues them
	// Keys fetches the issuer's key set (RFC 7517). It bounds its time itself: whose request it is for may have gone.
	Keys func(ctx context.Context) ([]byte, error)
	// Certificate is that of the service, as it is at that moment.
	Certificate func() (*tls.Certificate, error)
	Clock       shard.Clock
	Log         *slog.Logger
}

// Visitor is who fetches a page, as the home network vouches for him.
type Visitor struct {
	Subject string    // public identity, as a URI
	Until   time.Time // end of his token
}

// Handler answers a request for a page.
type Handler func(w http.ResponseWriter, r *http.Request, v Visitor)

// Counters only grow.
type Counters struct {
	Served  atomic.Uint64 // pages
	Refused atomic.Uint64 // requests without a good token
	Limited atomic.Uint64 // connections that were turned away, or made room for others
	Keys    atomic.Uint64 // key sets that were fetched
}

// Server serves the pages of one service.
type Server struct {
	Counters Counters

	cfg  Config
	mux  *http.ServeMux
	keys keys
}

// New returns a server without pages.
func New(c Config) (*Server, error) {
	if c.Origin == "" || c.Issuer == "" || c.Keys == nil || c.Certificate == nil || c.Clock == nil {
		return nil, errors.New("pages: origin, issuer, its keys, certificate and clock are needed")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: c, mux: http.NewServeMux()}
	s.keys.cfg = &s.cfg
	return s, nil
}

// Origin is the https origin of the service.
func (s *Server) Origin() string { return s.cfg.Origin }

// Handle says who answers for a pattern, as http.ServeMux has them. Before Serve.
func (s *Server) Handle(pattern string, h Handler) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		who, ok := r.Context().Value(visitor{}).(Visitor)
		if !ok {
			w.WriteHeader(http.StatusInternalServerError) // nobody comes here but through ServeHTTP
			return
		}
		s.Counters.Served.Add(1)
		h(w, r, who)
	})
}

// visitor is the key of a Visitor in the context of a request.
type visitor struct{}

// ServeHTTP implements http.Handler: first the name, then the token, and whether there is such a page comes last, so a stranger learns nothing of what there is.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	if "https://"+r.Host != s.cfg.Origin {
		w.WriteHeader(http.StatusMisdirectedRequest)
		return
	}
	who, err := s.keys.admit(r)
	if err == nil && !who.May(oauth.ScopeService) {
		err = oauth.ErrScope
	}
	switch {
	case errors.Is(err, errNoKey):
		w.Header().Set("Retry-After", "5")
		w.WriteHeader(http.StatusServiceUnavailable) // the home network says nothing of its keys
		return
	case err != nil:
		s.Counters.Refused.Add(1)
		s.cfg.Log.Debug("page refused", "error", err)
		oauth.Refuse(w, err)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	v := Visitor{Subject: who.Subject, Until: time.Unix(who.Expires, 0)}
	s.mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), visitor{}, v)))
}

// The limits of the door.
const (
	maxConnections = 1024
	maxOfSource    = 64
	maxHeader      = 16 << 10
	maxBody        = 64 << 10
)

// pace is how often an address may connect: many clients stand behind one translator of addresses.
var pace = budget.Rate{Limit: 50, Per: time.Second, Burst: 200}

// Serve takes requests on ln until ctx ends, and closes ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	fair := fairlisten.New(ln, fairlisten.Config{Places: maxConnections, OfSource: maxOfSource, Pace: pace, Now: s.cfg.Clock.Now,
		Refuses: func(netip.Addr, string) bool { s.Counters.Limited.Add(1); return true }})
	secured := tls.NewListener(fair, &tls.Config{MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true, NextProtos: []string{"http/1.1"}, Time: s.cfg.Clock.Wall,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.cfg.Certificate() }})
	if err := webdoor.Serve(ctx, secured, s, maxHeader, s.cfg.Log); err != nil {
		return fmt.Errorf("pages: %w", err)
	}
	return nil
}
