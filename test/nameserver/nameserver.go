// Package nameserver is a name server for tests, on loopback: it knows the records that it is told, over UDP and TCP on one port, says what it was asked, and
// fails when it shall. The wire format is github.com/miekg/dns.
//
// For tests only. Everything may be called from any goroutine.
package nameserver

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Server is a name server. It ends with its test.
type Server struct {
	Address netip.AddrPort

	mu    sync.Mutex // guards what follows
	zone  string
	edit  func(network string, answer *dns.Msg) *dns.Msg
	asked []string
}

// Start starts a server with the records of a zone, in the form of a zone file.
func Start(t testing.TB, zone string) *Server {
	t.Helper()
	pc, ln := onePort(t)
	s := &Server{Address: netip.MustParseAddrPort(pc.LocalAddr().String()), zone: zone}
	for network, ds := range map[string]*dns.Server{"udp": {PacketConn: pc}, "tcp": {Listener: ln, ReadTimeout: time.Minute}} {
		ds.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			if m := s.answer(network, q); m != nil {
				_ = w.WriteMsg(m) // a client that went away
			}
		})
		up, down := make(chan struct{}), make(chan error, 1)
		ds.NotifyStartedFunc = func() { close(up) }
		go func() { down <- ds.ActivateAndServe() }()
		<-up
		t.Cleanup(func() {
			if err := errors.Join(ds.Shutdown(), <-down); err != nil {
				t.Error(err)
			}
		})
	}
	return s
}

// onePort listens over UDP and TCP. The port that one is given somebody else may have in the other.
func onePort(t testing.TB) (net.PacketConn, net.Listener) {
	t.Helper()
	var failed error
	for range 100 {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp", pc.LocalAddr().String())
		if err == nil {
			return pc, ln
		}
		failed = err
		_ = pc.Close()
	}
	t.Fatal(failed)
	return nil, nil
}

// Zone gives the server other records.
func (s *Server) Zone(zone string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zone = zone
}

// Edit has f change each answer before it leaves over "udp" or "tcp", or keep it back by nil; a nil f leaves them as they are.
func (s *Server) Edit(f func(network string, answer *dns.Msg) *dns.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.edit = f
}

// Silence makes the server one that does not answer.
func (s *Server) Silence() { s.Edit(func(string, *dns.Msg) *dns.Msg { return nil }) }

// Asked is what it was asked so far, each as "name TYPE".
func (s *Server) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

// answer looks a question up in the zone.
func (s *Server) answer(network string, q *dns.Msg) *dns.Msg {
	s.mu.Lock()
	defer s.mu.Unlock()
	question := q.Question[0]
	s.asked = append(s.asked, fmt.Sprintf("%s %s", strings.TrimSuffix(question.Name, "."), dns.TypeToString[question.Qtype]))
	m := new(dns.Msg)
	m.SetReply(q)
	known := false
	z := dns.NewZoneParser(strings.NewReader(s.zone), "", "")
	for rr, ok := z.Next(); ok; rr, ok = z.Next() {
		if !strings.EqualFold(rr.Header().Name, question.Name) {
			continue
		}
		known = true
		if rr.Header().Rrtype == question.Qtype {
			m.Answer = append(m.Answer, rr)
		}
	}
	if !known {
		m.Rcode = dns.RcodeNameError
	}
	if s.edit != nil {
		return s.edit(network, m)
	}
	return m
}
