package imsservice

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"imsafe/ca"
	"imsafe/proto/fairlisten"
	"imsafe/proto/webdoor"
	"imsafe/refpoint/isc"
	"imsafe/store"
)

// EnrolmentHost is the name of the door for enrolment in a home network: what stands in its certificate and in Host.
func EnrolmentHost(domain string) string { return "enrol." + domain }

// Application is what a platform sends to POST /v1/enrol.
type Application struct {
	Token    string `json:"token"`
	Manifest []byte `json:"manifest"` // its exact octets
	Request  []byte `json:"request"`  // for a certificate (RFC 2986), DER
}

// Applied is the answer (202): it waits for an operator.
type Applied struct {
	Service     string `json:"service"`
	Fingerprint string `json:"fingerprint"`
}

// Proof is what a platform sends to POST /v1/certificate: a request for a certificate, signed by its approved key. To POST /v1/renew it
// sends one for another key, over a connection that it has made with the certificate that is to be renewed.
type Proof struct {
	Request []byte `json:"request"` // DER
}

// Issued is the answer (200); while it waits for an operator the answer is 202 and empty.
type Issued struct {
	Chain   string    `json:"chain"`    // PEM, the leaf first
	Root    string    `json:"root"`     // PEM: what the platform trusts of the core
	RenewAt time.Time `json:"renew_at"` // when two thirds of its life are over
}

// Refusal is the answer to what is refused.
type Refusal struct {
	Code     string   `json:"code"`
	Message  string   `json:"message"`
	Problems []string `json:"problems,omitempty"` // of a manifest
}

// EnrolmentCounters count what came to the door for enrolment.
type EnrolmentCounters struct {
	Applications atomic.Uint64 // requests that wait for an operator now, or did
	Certificates atomic.Uint64 // issued here
	Refused      atomic.Uint64 // wrong tokens, unknown keys, mistakes
	Limited      atomic.Uint64 // requests and connections of sources that came too often
}

// Enrolment is the door through which platforms enrol: HTTPS, TLS 1.3, authenticated by the core's authority on its side and by a one-use
// token on the other. Safe for concurrent use.
type Enrolment struct {
	Counters EnrolmentCounters

	registry *Registry
	host     string
	own      *ca.Own
	log      *slog.Logger
	sources  sources
}

// NewEnrolment makes the door of a register.
func NewEnrolment(r *Registry, log *slog.Logger) *Enrolment {
	host := EnrolmentHost(r.cfg.Domain)
	return &Enrolment{registry: r, host: host, own: r.ports.Authority.Own(host, ca.MaxServiceLife), log: log, sources: sources{seed: maphash.MakeSeed()}}
}

// The limits of the door. A platform sends two small requests in its life, and asks now and then while it waits.
const (
	maxConnections = 64
	maxOfSource    = 8 // of these: one source cannot have them all
	maxHeader      = 8 << 10
	maxBody        = 32 << 10 // octets: a manifest and a request in base64
	widestBody     = 8 << 20  // without the control
)

// Serve takes requests on ln until ctx ends, and closes ln.
func (e *Enrolment) Serve(ctx context.Context, ln net.Listener) error {
	fair := fairlisten.New(ln, fairlisten.Config{Places: maxConnections, OfSource: maxOfSource, Pace: newConnections(), Now: e.registry.ports.Clock.Now, Refuses: e.refuses})
	secured := tls.NewListener(fair, &tls.Config{GetConfigForClient: e.tls})
	if err := webdoor.Serve(ctx, secured, e, maxHeader, e.log); err != nil {
		return fmt.Errorf("imsservice: enrolment: %w", err)
	}
	return nil
}

// refuses is told of connections beyond their share.
func (e *Enrolment) refuses(peer netip.Addr, reason string) bool {
	e.Counters.Limited.Add(1)
	return refusesConnection(e.registry.ports.Gate, peer, reason)
}

// tls is for one connection: which intermediates vouch for platforms may change meanwhile. A certificate is shown by who renews it alone.
func (e *Enrolment) tls(*tls.ClientHelloInfo) (*tls.Config, error) {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, GetCertificate: e.certificate, SessionTicketsDisabled: true, NextProtos: []string{"http/1.1"},
		ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: e.registry.ports.Authority.Pool(), Time: e.registry.ports.Clock.Wall,
	}, nil
}

// certificate is the core's own, with the root at the end of its chain: who knows only the fingerprint of the root finds it there.
func (e *Enrolment) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	own, err := e.own.Certificate()
	if err != nil {
		return nil, err
	}
	text, err := e.registry.ports.Authority.Root()
	if err != nil {
		return nil, err
	}
	roots, err := ca.ParseCertificates(text)
	if err != nil {
		return nil, err
	}
	whole := *own
	whole.Certificate = append(append([][]byte(nil), own.Certificate...), roots[0].Raw)
	return &whole, nil
}

// ServeHTTP implements http.Handler.
func (e *Enrolment) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	source, _ := netip.ParseAddrPort(r.RemoteAddr)
	if !e.sources.may(source.Addr().Unmap(), e.registry.ports.Clock.Now()) {
		e.Counters.Limited.Add(1)
		w.Header().Set("Retry-After", "10")
		answer(w, http.StatusTooManyRequests, Refusal{Code: "enrol.limited", Message: "too many requests from this address"})
		return
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case host != e.host:
		e.refuse(w, http.StatusMisdirectedRequest, Refusal{Code: "enrol.host", Message: "this is not the host that was asked for"})
	case r.Method != http.MethodPost || kind != "application/json":
		e.refuse(w, http.StatusNotFound, Refusal{Code: "enrol.unknown", Message: "there is nothing of that kind here"})
	case r.URL.Path == "/v1/enrol":
		e.apply(w, r)
	case r.URL.Path == "/v1/certificate":
		e.certify(w, r, e.registry.Certificate)
	case r.URL.Path == "/v1/renew" && r.TLS != nil && len(r.TLS.VerifiedChains) > 0:
		e.certify(w, r, func(der []byte) ([]*x509.Certificate, error) { return e.registry.Renew(r.TLS.PeerCertificates[0], der) })
	default:
		e.refuse(w, http.StatusNotFound, Refusal{Code: "enrol.unknown", Message: "there is nothing of that kind here"})
	}
}

// apply takes a request.
func (e *Enrolment) apply(w http.ResponseWriter, r *http.Request) {
	var in Application
	if !e.read(w, r, &in) {
		return
	}
	m, f, err := e.registry.Request(in.Token, in.Manifest, in.Request)
	if err != nil {
		e.refuseError(w, err)
		return
	}
	e.Counters.Applications.Add(1)
	e.log.Info("a service platform asks to be approved", "name", m.Service)
	answer(w, http.StatusAccepted, Applied{m.Service, f.String()})
}

// certify issues a certificate to who may have one.
func (e *Enrolment) certify(w http.ResponseWriter, r *http.Request, issue func([]byte) ([]*x509.Certificate, error)) {
	var in Proof
	if !e.read(w, r, &in) {
		return
	}
	chain, err := issue(in.Request)
	if errors.Is(err, ErrNotApproved) {
		answer(w, http.StatusAccepted, struct{}{})
		return
	}
	var root []byte
	if err == nil {
		root, err = e.registry.ports.Authority.Root()
	}
	if err != nil {
		e.refuseError(w, err)
		return
	}
	e.Counters.Certificates.Add(1)
	answer(w, http.StatusOK, Issued{string(EncodeChain(chain)), string(root), ca.RenewAt(chain[0])})
}

// read reads one JSON value, within the limit for documents.
func (e *Enrolment) read(w http.ResponseWriter, r *http.Request, into any) bool {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err == nil && len(body) > maxBody && !e.registry.tooLarge("body") {
		var rest []byte
		rest, err = io.ReadAll(io.LimitReader(r.Body, widestBody))
		body = append(body, rest...)
	} else if len(body) > maxBody {
		e.refuse(w, http.StatusRequestEntityTooLarge, Refusal{Code: "enrol.too-large", Message: fmt.Sprintf("more than %d octets", maxBody)})
		return false
	}
	if err != nil || json.Unmarshal(body, into) != nil {
		e.refuse(w, http.StatusBadRequest, Refusal{Code: "enrol.form", Message: "the body is not the JSON that is wanted here"})
		return false
	}
	return true
}

// refuseError answers an error of the register. A token that is wrong, used or over has one answer, and a key that nobody knows has one.
func (e *Enrolment) refuseError(w http.ResponseWriter, err error) {
	var problems isc.Problems
	var large isc.TooLarge
	for _, known := range []struct {
		is     error
		status int
		code   string
	}{
		{ErrToken, http.StatusForbidden, "enrol.token"},
		{ErrUnknownService, http.StatusForbidden, "enrol.unknown-key"},
		{ErrStanding, http.StatusForbidden, "enrol.standing"},
		{ErrRevokedKey, http.StatusForbidden, "enrol.revoked"},
		{ErrTaken, http.StatusConflict, "enrol.taken"},
		{ErrDomain, http.StatusUnprocessableEntity, "enrol.domain"},
		{ca.ErrRequest, http.StatusUnprocessableEntity, "enrol.request"},
		{ca.ErrNames, http.StatusUnprocessableEntity, "enrol.names"},
		{ca.ErrNone, http.StatusServiceUnavailable, "enrol.no-authority"},
		{ca.ErrClock, http.StatusServiceUnavailable, "enrol.clock"},
		{ErrFull, http.StatusServiceUnavailable, "enrol.full"},
	} {
		if errors.Is(err, known.is) {
			e.refuse(w, known.status, Refusal{Code: known.code, Message: known.is.Error()})
			return
		}
	}
	switch {
	case errors.As(err, &large):
		e.refuse(w, http.StatusRequestEntityTooLarge, Refusal{Code: "enrol.too-large", Message: large.Error()})
	case errors.As(err, &problems):
		refusal := Refusal{Code: "enrol.manifest", Message: "the manifest has mistakes"}
		for _, p := range problems {
			refusal.Problems = append(refusal.Problems, p.Error())
		}
		e.refuse(w, http.StatusUnprocessableEntity, refusal)
	default:
		e.log.Error("an enrolment failed", "error", err)
		status := http.StatusInternalServerError
		if errors.Is(err, store.ErrOverloaded) || errors.Is(err, store.ErrFailed) || errors.Is(err, store.ErrFull) {
			status = http.StatusServiceUnavailable
		}
		e.refuse(w, status, Refusal{Code: "enrol.failed", Message: "the core could not do that"})
	}
}

func (e *Enrolment) refuse(w http.ResponseWriter, status int, r Refusal) {
	e.Counters.Refused.Add(1)
	answer(w, status, r)
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // who went away needs no answer
}

// sources bound how often one address may come: so many at once, then one in each interval. Addresses share a slot by a hash that nobody
// outside knows; nothing is remembered for an address itself. IPv6 counts by /64.
type sources struct {
	seed maphash.Seed
	mu   sync.Mutex
	slot [1024]time.Duration // when the bucket is full again, by the monotonic clock
}

const (
	sourceBurst    = 20
	sourceInterval = time.Second
)

func (s *sources) may(a netip.Addr, now time.Duration) bool {
	var h maphash.Hash
	h.SetSeed(s.seed)
	b := sourceOf(a).As16()
	_, _ = h.Write(b[:]) // a hash does not fail
	s.mu.Lock()
	defer s.mu.Unlock()
	full := &s.slot[h.Sum64()%uint64(len(s.slot))]
	next := max(*full, now) + sourceInterval
	if next-now > sourceBurst*sourceInterval {
		return false
	}
	*full = next
	return true
}

// sourceOf is the address that limits count by: of IPv6 the /64.
func sourceOf(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if a.Is6() {
		prefix, _ := a.Prefix(64)
		a = prefix.Addr()
	}
	return a
}

// VerifyCore says how a platform checks the door that it enrols at: the chain must end at the root, which is one of roots, or, if roots is
// nil, the certificate in the chain whose key has the fingerprint. For tls.Config.VerifyConnection, with InsecureSkipVerify, which only takes
// the place of the check that this is.
func VerifyCore(domain string, roots *x509.CertPool, fingerprint string, now func() time.Time) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		between := x509.NewCertPool()
		trusted := roots
		for _, cert := range state.PeerCertificates[1:] {
			between.AddCert(cert)
			if roots == nil && cert.IsCA && isc.FingerprintOf(cert.RawSubjectPublicKeyInfo).Matches(fingerprint) {
				trusted = x509.NewCertPool()
				trusted.AddCert(cert)
			}
		}
		if trusted == nil {
			return errors.New("imsservice: the core does not show an authority with this fingerprint")
		}
		_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: trusted, Intermediates: between, DNSName: EnrolmentHost(domain), CurrentTime: now()})
		return err
	}
}
