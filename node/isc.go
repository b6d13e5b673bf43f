package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync"

	"golang.org/x/sync/errgroup"

	"imsafe/ca"
	"imsafe/iface/imsservice"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/refpoint/isc"
)

// ISCHost is the name of the I-S door in a home network: what stands in its certificate.
func ISCHost(domain string) string { return "isc." + domain }

// iscSockets are the connections between the I-S door and service platforms: mutual TLS 1.3 only, both ways by the whole certificate
// (TS 33.203 Annex J, RFC 5922).
type iscSockets struct {
	n        *Node
	own      *ca.Own
	counters siptransport.Counters
	accepted *siptransport.Streams

	mu      sync.Mutex
	dialled map[string]*siptransport.Streams // by the platform's host: each must show that name
}

// openISC makes them. Before the node runs.
func (n *Node) openISC() {
	s := &iscSockets{n: n, own: n.Authority.Own(ISCHost(n.o.Config.HomeDomain()), ca.MaxServiceLife), dialled: map[string]*siptransport.Streams{}}
	accepted := s.options(&tls.Config{
		// The certificate is asked for and judged by the door (Verify), so that whoever is refused is refused by name.
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.own.Certificate() },
		ClientAuth:     tls.RequestClientCert, VerifyConnection: n.Services.Verify(s.roots),
	})
	accepted.Plain, accepted.Shed, accepted.Admit = n.Services.Plain, n.Services.Sheds, n.Services.Admits
	s.accepted = siptransport.NewStreams(accepted)
	n.isc = s
	n.Services.DialBy(s.dial)
}

func (s *iscSockets) roots() *x509.CertPool { return s.n.Authority.Pool() }

func (s *iscSockets) options(c *tls.Config) siptransport.Options {
	c.MinVersion, c.SessionTicketsDisabled, c.Time = tls.VersionTLS13, true, s.n.o.Clock.Wall
	return siptransport.Options{Clock: s.n.o.Clock, Counters: &s.counters, TLS: c}
}

// dial opens a connection to the endpoint of a platform.
func (s *iscSockets) dial(to *isc.Service, p *imsservice.Port) siptransport.Flow {
	endpoint, err := sip.ParseURI([]byte(to.Manifest.Endpoint))
	if err != nil {
		return siptransport.Flow{}
	}
	port := "5061"
	if endpoint.Port != 0 {
		port = strconv.Itoa(int(endpoint.Port))
	}
	address := net.JoinHostPort(string(endpoint.Host), port)
	return s.to(to.Manifest.Host()).DialBy(context.Background(), p.Shard(), netip.AddrPort{}, p, func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	})
}

// to returns the connections to a platform.
func (s *iscSockets) to(host string) *siptransport.Streams {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dialled[host] == nil {
		verify := s.n.Services.Verify(s.roots)
		s.dialled[host] = siptransport.NewStreams(s.options(&tls.Config{
			ServerName: host, InsecureSkipVerify: true, // VerifyConnection does it, with the authority as it is then
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return s.own.Certificate() },
			VerifyConnection: func(state tls.ConnectionState) error {
				if len(state.PeerCertificates) == 0 || state.PeerCertificates[0].VerifyHostname(host) != nil {
					return errors.New("node: the platform is not " + host)
				}
				return verify(state)
			},
		}))
	}
	return s.dialled[host]
}

// serveISC takes connections of platforms.
func (n *Node) serveISC(ctx context.Context, group *errgroup.Group) {
	if n.isc == nil || n.o.Sockets.ISC == nil {
		return
	}
	group.Go(func() error {
		return n.isc.accepted.Serve(ctx, n.Shards, n.o.Sockets.ISC, func(sh *shard.Shard) siptransport.Receiver { return n.Services.Port(sh) })
	})
}

// streams lists the connections, to be closed at the end.
func (s *iscSockets) streams() []*siptransport.Streams {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []*siptransport.Streams{s.accepted}
	for _, d := range s.dialled {
		all = append(all, d)
	}
	return all
}

// endDialogs ends the dialogs that a service takes part in.
func (n *Node) endDialogs(ctx context.Context, name string) (ended int, err error) {
	s := n.Registry.Service(name)
	if s == nil {
		return 0, nil
	}
	host := s.Manifest.Host()
	err = n.Shards[0].Call(ctx, func(t *shard.Task) { ended = n.SCSCF.EndPlatform(t, host) })
	n.Services.Forget(host)
	return ended, err
}
