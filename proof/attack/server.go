package attack

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"imsafe/proto/sip"
)

// Approved is a service platform that the operator of a target has approved before the run.
type Approved struct {
	Name string
	// Manifest is the rest of it: what it may, and when it is asked. Who it is stands before that.
	Manifest string
	Life     time.Duration // of its certificate; 0 is as long as may be
	Whole    bool          // the profile of the users sends it their REGISTER as it is (TS 24.229 5.4.1.7)
}

// Names of certificates that are not quite those of an approved platform.
const (
	Unapproved = "unapproved"  // of the authority of the platforms, for a name that nobody has approved
	AnotherKey = "another key" // of the same, for the name of the first platform of the row
)

// Text returns the manifest for a home domain. The endpoint is none that the core could dial: all platforms connect by themselves.
func (p *Approved) Text(domain string) string {
	return fmt.Sprintf("manifest = 1\nservice = %q\nprovider = \"lab\"\ndomain = %q\nendpoint = %q\npsi = [%q]\nusers = { groups = [\"default\"] }\nexpires = 2099-12-31\n",
		p.Name, domain, "wss://"+p.host(domain), p.psi(domain)) + p.Manifest
}

func (p *Approved) host(domain string) string { return p.Name + ".as." + domain }
func (p *Approved) psi(domain string) string  { return "sip:" + p.Name + "@" + domain }

// rights are the scopes and limits of a manifest.
func rights(scopes ...string) string {
	media := ""
	if slices.ContainsFunc(scopes, func(scope string) bool { return strings.HasPrefix(scope, "media.") }) {
		media = ", media_mbps = 10"
	}
	return fmt.Sprintf("scopes = [\"%s\"]\nlimits = { cps = 50, sessions = 50%s }\n", strings.Join(scopes, `", "`), media)
}

// asked is a trigger of a manifest: requests of, or to, a user of the group whose Request-URI is carol's. So honest users whom the runner
// watches are not asked for.
func asked(when string, priority int, onFailure string) string {
	return fmt.Sprintf("[[trigger]]\ncase = %q\nmethods = [\"INVITE\", \"MESSAGE\", \"REFER\"]\npriority = %d\nuri = \"^sip:carol@\"\non_failure = %q\n", when, priority, onFailure)
}

// Server is a service platform that is connected to the core: a proxy without state that stays in the path, passes everything on and
// believes everybody. Handle and Edit are set before it can be asked for anything.
type Server struct {
	*Hand
	PSI string
	// Handle takes a request, or returns false: then it is passed on.
	Handle func(*sip.Message) bool
	// Edit changes each request that is passed on.
	Edit func(*sip.Message)
	// EditAnswer changes each response that is passed on.
	EditAnswer func(*sip.Message)
	// Silent platforms read, and do nothing.
	Silent atomic.Bool

	host string
	mu   sync.Mutex
	seen []string // requests that came, as they were
}

// platform finds one that the target knows.
func (f *Field) platform(name string) (*ServicePlatform, error) {
	p, there := f.Platforms[name]
	if !there {
		return nil, fmt.Errorf("attack: the target has no service %q", name)
	}
	return &p, nil
}

// server connects an approved platform with its certificate.
func (f *Field) server(ctx context.Context, n Network, name string, with func(*Server)) (*Server, error) {
	p, err := f.platform(name)
	if err != nil {
		return nil, err
	}
	s, err := f.serverBy(ctx, n, name, &p.Certificate, with)
	if err == nil {
		err = s.settles(ctx)
	}
	return s, err
}

// settles waits until the core has the connection: a ping is answered after that (RFC 5626 4.4.1).
func (s *Server) settles(ctx context.Context) error {
	if err := s.Write("\r\n\r\n\r\n\r\n"); err != nil { // twice: more than the head of a record, if TLS is expected

		return err
	}
	select {
	case <-s.pongs:
		return nil
	case <-s.gone:
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrSilence, ctx.Err())
	}
}

// serverBy connects with any certificate, or none, and says that it is the platform name.
func (f *Field) serverBy(ctx context.Context, n Network, name string, certificate *tls.Certificate, with func(*Server)) (*Server, error) {
	conn, err := n.Dial(ctx, "tcp", netip.Addr{}, f.ISC)
	if err != nil {
		return nil, err
	}
	secured, err := f.secures(ctx, conn, certificate)
	if err != nil {
		return nil, err
	}
	return f.serverOn(secured, name, with), nil
}

// secures does the platform's side of mutual TLS on a connection to the core.
func (f *Field) secures(ctx context.Context, conn net.Conn, certificate *tls.Certificate) (net.Conn, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: f.EnrolRoots, ServerName: "isc." + f.Domain, Time: f.Clock.Wall}
	if certificate != nil {
		c.Certificates = []tls.Certificate{*certificate}
	}
	secured := tls.Client(conn, c)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secured, nil
}

// serverOn makes a platform of a connection.
func (f *Field) serverOn(conn net.Conn, name string, with func(*Server)) *Server {
	who := Approved{Name: name}
	s := &Server{Hand: makeHand(f, conn, "TLS"), PSI: who.psi(f.Domain), host: who.host(f.Domain)}
	s.sentBy, s.serves, s.pongs = s.host, s.serve, make(chan struct{}, 1)
	if with != nil {
		with(s)
	}
	f.hands = append(f.hands, s.Hand)
	go s.read()
	return s
}

// serve is what the platform does with a message. Responses to its own requests are left for who has sent them.
func (s *Server) serve(m *sip.Message) bool {
	switch {
	case s.Silent.Load():
		return true
	case !m.IsRequest():
		if m.Count(sip.HdrVia) < 2 {
			return false
		}
		m.RemoveFirst(sip.HdrVia)
		if s.EditAnswer != nil {
			s.EditAnswer(m)
		}
		_ = s.Write(string(m.AppendTo(nil))) // who has closed needs none
		return true
	}
	s.mu.Lock()
	s.seen = append(s.seen, string(m.AppendTo(nil)))
	s.mu.Unlock()
	if m.Method() != sip.ACK && s.Handle != nil && s.Handle(m) {
		return true
	}
	s.pass(m)
	return true
}

// pass gives a request back.
func (s *Server) pass(m *sip.Message) {
	m.RemoveFirst(sip.HdrRoute)
	if len(m.ToTag()) == 0 && m.Method().MakesDialog() {
		m.PrependString(sip.HdrRecordRoute, "<sip:"+s.host+";lr>")
	}
	if n, present := m.MaxForwards(); present {
		m.SetUint(sip.HdrMaxForwards, uint64(max(n-1, 0)))
	}
	if s.Edit != nil {
		s.Edit(m)
	}
	via, err := m.TopVia()
	if err != nil {
		return
	}
	m.PrependString(sip.HdrVia, fmt.Sprintf("SIP/2.0/TLS %s;branch=%sp%s", s.host, via.Branch, s.tag))
	_ = s.Write(string(m.AppendTo(nil)))
}

// Seen returns the requests that came with this method, as they were.
func (s *Server) Seen(method string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.seen), func(m string) bool { return !strings.HasPrefix(m, method+" ") })
}

// Over waits until the core has closed the connection; false if it has not when ctx ends.
func (s *Server) Over(ctx context.Context) bool {
	select {
	case <-s.gone:
		return true
	case <-ctx.Done():
		return false
	}
}

// Begins writes a request of the platform's own, as its public service identity where from is "".
func (s *Server) Begins(r Request) string {
	if r.From == "" {
		r.From = s.PSI
	}
	return s.Text(r)
}

// writes is a message of the platform's own.
func (s *Server) writes(whom, text string) string {
	return s.Begins(Request{Method: "MESSAGE", URI: whom, Body: text, Lines: []string{"Content-Type: text/plain"}})
}

// contact is where the platform is reached inside a dialog.
func (s *Server) contact() string { return "Contact: <sip:" + s.host + ">" }

// callerAndCallee are honest users, registered, who look at every octet: dave calls carol.
func (f *Field) callerAndCallee(ctx context.Context) (dave, carol *Hand, err error) {
	if carol, err = f.Carol(ctx); err == nil {
		dave, err = f.Dave(ctx)
	}
	return dave, carol, err
}

// counts has dave write to carol and returns how many requests that fit came to her before that.
func (f *Field) counts(ctx context.Context, dave, carol *Hand, fits func(*sip.Message) bool) (n int, err error) {
	last := "last " + f.token()
	answer, err := dave.Ask(ctx, dave.Message(carol.IMPU, last))
	if err != nil {
		return 0, err
	}
	if answer.Status() != 200 {
		return 0, fmt.Errorf("attack: an honest message is answered %d", answer.Status())
	}
	for {
		m, err := carol.Await(ctx, func(m *sip.Message) bool { return m.IsRequest() && (string(m.Body()) == last || fits(m)) })
		if err != nil {
			return n, err
		}
		over := string(m.Body()) == last
		m.Release()
		if over {
			return n, nil
		}
		n++
	}
}
