// Package clientweb is the half of the C-S door that speaks HTTPS: what clients of the home network fetch of the core, and the tokens by which
// they may fetch from services.
//
// It publishes the certificates of the network's signer (RFC 8224 7), trades the one-time code of a registration for access tokens that are bound to
// a key (RFC 6749, RFC 9068, RFC 9449), and serves one page of its own that needs one. TLS 1.3 only: what begins as anything else is not read. Who may have a code is the P-CSCF's to say:
// the registration has proven the user, so there is no other password here.
//
// node assembles it. It imports ca, proto and secure, never a function. Safe for concurrent use.
package clientweb

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"imsafe/proto/budget"
	"imsafe/proto/fairlisten"
	"imsafe/proto/oauth"
	"imsafe/proto/shard"
	"imsafe/proto/webdoor"
	"imsafe/secure"
)

// Host is the name of the door in a home network: what stands in its certificate and in the URLs of signers.
func Host(domain string) string { return "cs." + domain }

// Config is what the door must know.
type Config struct {
	Origin string        // https origin of its URLs, as clients reach it
	Life   time.Duration // of tokens; 0 is 5 minutes, and the package oauth bounds it
	// Connections is what one address may open; default 10 a second, 50 at once.
	Connections budget.Rate
}

// Ports is what is plugged into the door.
type Ports struct {
	Gate        *secure.Gate
	Clock       shard.Clock
	Random      io.Reader
	Log         *slog.Logger
	Certificate func() (*tls.Certificate, error)
	// Chain returns the certificates of a signer by the last part of their URL, in PEM; nil where there are none.
	Chain func(name string) []byte
	// Tokens are the keys of access tokens: several doors may be one issuer.
	Tokens oauth.Keys
	// CodeKeys are by which one-time codes are sealed, the one that seals now first; it does not wait. nil: by one of this run.
	CodeKeys func() [][]byte
	// Platform says how a service platform knows users, by its host: tokens are issued for it. nil where no platform has that host, is active and may serve pages.
	Platform func(host []byte) (as func(user string) string)
}

// Counters count what came.
type Counters struct {
	Codes   atomic.Uint64 // given out
	Tokens  atomic.Uint64 // issued
	Limited atomic.Uint64 // connections of sources that had their share
	Refused atomic.Uint64 // at the token endpoint, and pages without a good token
}

// Door is the door of one node.
type Door struct {
	Counters Counters

	cfg    Config
	ports  Ports
	issuer *oauth.Issuer
	own    *oauth.Verifier
	proofs oauth.Proofs
	codes  codes
	mux    *http.ServeMux
}

// New returns a door.
func New(cfg Config, ports Ports) (*Door, error) {
	if cfg.Origin == "" || ports.Gate == nil || ports.Clock == nil || ports.Random == nil || ports.Certificate == nil || ports.Chain == nil || ports.Tokens == nil {
		return nil, errors.New("clientweb: origin, gate, clock, randomness, certificate, chains and the keys of tokens are needed")
	}
	if cfg.Connections == (budget.Rate{}) {
		cfg.Connections = budget.Rate{Limit: 10, Per: time.Second, Burst: 50}
	}
	if ports.CodeKeys == nil {
		key := make([]byte, sha256.Size)
		if _, err := io.ReadFull(ports.Random, key); err != nil {
			return nil, fmt.Errorf("clientweb: key: %w", err)
		}
		ports.CodeKeys = func() [][]byte { return [][]byte{key} }
	}
	d := &Door{cfg: cfg, ports: ports, mux: http.NewServeMux(), issuer: oauth.NewIssuer(cfg.Origin, ports.Tokens, ports.Random)}
	d.own = d.issuer.Verifier(cfg.Origin, ports.Clock.Wall)
	d.mux.HandleFunc("GET /certificates/{name}", d.certificates)
	d.mux.HandleFunc("POST /token", d.token)
	d.mux.HandleFunc("GET /token/keys", d.keys)
	d.mux.HandleFunc("GET /registration", d.registration)
	return d, nil
}

// Certificates is the URL below which the certificates of signers are found.
func Certificates(origin string) string { return origin + "/certificates/" }

// The limits of the door. A client sends a few small requests when it registers.
const (
	maxConnections = 1024
	maxOfSource    = 64 // many clients stand behind one translator of addresses, but one of them cannot have them all
	maxHeader      = 16 << 10
	maxBody        = 8 << 10
)

// Serve takes requests on ln until ctx ends, and closes ln.
func (d *Door) Serve(ctx context.Context, ln net.Listener) error {
	fair := fairlisten.New(ln, fairlisten.Config{Places: maxConnections, OfSource: maxOfSource, Pace: d.cfg.Connections, Now: d.ports.Clock.Now, Refuses: d.limits})
	secured := &tlsFirst{door: d, Listener: fair, config: d.floor(&tls.Config{
		MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true, NextProtos: []string{"http/1.1"}, Time: d.ports.Clock.Wall,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return d.ports.Certificate() },
	})}
	if err := webdoor.Serve(ctx, secured, d, maxHeader, d.ports.Log); err != nil {
		return fmt.Errorf("clientweb: %w", err)
	}
	return nil
}

// limits is the enforcement point of connections: how many of an address, how many new ones, and whose makes room.
func (d *Door) limits(peer netip.Addr, reason string) bool {
	d.Counters.Limited.Add(1)
	return d.ports.Gate.Refuse(secure.CSAvailabilityConnections, secure.Event{Reason: reason, Source: peer})
}

// ServeHTTP implements http.Handler.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	if "https://"+r.Host != d.cfg.Origin {
		w.WriteHeader(http.StatusMisdirectedRequest)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	d.mux.ServeHTTP(w, r)
}

// certificates is for whoever verifies what the network has signed (RFC 8224 7.1, RFC 8555 9.1): everybody, since they are no secret.
func (d *Door) certificates(w http.ResponseWriter, r *http.Request) {
	chain := d.ports.Chain(r.PathValue("name"))
	if chain == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/pem-certificate-chain")
	_, _ = w.Write(chain)
}

// keys is for services elsewhere, which verify our tokens (RFC 7517 8.5.1).
func (d *Door) keys(w http.ResponseWriter, _ *http.Request) {
	set, err := d.issuer.Keys()
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	_, _ = w.Write(set)
}

// scopeRegistration is what a token must reach for the page registration.
const scopeRegistration = "registration.read"

// registration is the page of the door's own: who its reader is to the home network.
func (d *Door) registration(w http.ResponseWriter, r *http.Request) {
	who, err := d.own.Admit(r)
	if err == nil && !who.May(scopeRegistration) {
		err = oauth.ErrScope
	}
	if err != nil && (d.refuses(reasonOf(err)) || who == nil) {
		d.Counters.Refused.Add(1)
		oauth.Refuse(w, err)
		return
	}
	answer(w, http.StatusOK, struct {
		Subject string `json:"sub"`
		Scope   string `json:"scope"`
		Expires int64  `json:"exp"`
	}{who.Subject, who.Scope, who.Expires})
}

// refuses is the enforcement point of tokens: whoever has none that is his, for here and for now, gets nothing.
func (d *Door) refuses(reason string) bool {
	return d.ports.Gate.Refuse(secure.CSAuthenticationToken, secure.Event{Reason: reason})
}

// reasonOf is an error of the package oauth as the reason of an event.
func reasonOf(err error) string {
	for _, known := range []struct {
		is   error
		code string
	}{
		{oauth.ErrMissing, "token-missing"}, {oauth.ErrToken, "token-foreign"}, {oauth.ErrExpired, "token-expired"}, {oauth.ErrAudience, "token-audience"},
		{oauth.ErrScope, "token-scope"}, {oauth.ErrProof, "proof-wrong"}, {oauth.ErrKey, "proof-other-key"}, {oauth.ErrReplay, "proof-replayed"}, {oauth.ErrTooMany, "proof-budget"},
	} {
		if errors.Is(err, known.is) {
			return known.code
		}
	}
	return "token"
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // who went away needs no answer
}

// audience is for whom a token is, how far it reaches there, and how its subject is known.
type audience struct {
	origin, scope string
	as            func(user string) string
}

// audience reads the resource that a token is wanted for (RFC 8707 2): the origin of this door, or that of an active service platform. It
// returns nil where there is nobody.
func (d *Door) audience(resource string) *audience {
	if resource == "" || resource == d.cfg.Origin {
		return &audience{d.cfg.Origin, scopeRegistration, func(user string) string { return user }}
	}
	host, ok := strings.CutPrefix(resource, "https://")
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	if !ok || strings.ContainsAny(host, "/?#@") || d.ports.Platform == nil {
		return nil
	}
	as := d.ports.Platform([]byte(name))
	if as == nil {
		return nil
	}
	return &audience{resource, oauth.ScopeService, as}
}
