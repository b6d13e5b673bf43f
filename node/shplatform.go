package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"imsafe/iface/imsservice"
	"imsafe/imsbox/hss"
	"imsafe/refpoint/isc"
	"imsafe/refpoint/sh"
)

// Service platforms on Sh. Who is in the register and active is let in, with what the manifest says that an operator has approved; who is so no
// more has lost it when the change returns, and his connection right after. A service that the configuration names is left to it.

// followPlatforms keeps Sh with the register until ctx ends.
func (n *Node) followPlatforms(ctx context.Context) error {
	n.Registry.Watch(n.platformChanged)
	for _, e := range n.Registry.List() {
		if s := n.Registry.Service(e.Name); s != nil {
			n.platformChanged(s.Manifest.Host())
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.services.look:
		}
		for _, host := range n.services.takeChanged() {
			n.admitPlatform(host)
		}
	}
}

// platformChanged brings the permissions list to what the register says of a host, and has the wire follow. It does not wait.
func (n *Node) platformChanged(host string) {
	if n.configuredSh(func(name, configured string) bool { return configured == host }) {
		return
	}
	s := n.Registry.ByServer([]byte(host))
	if s != nil && n.configuredSh(func(name, _ string) bool { return name == s.Name() }) {
		n.o.Log.Warn("a service of the configuration has the name of this platform, which gets nothing on sh", "service", s.Name())
		s = nil
	}
	was, is := n.services.platform(host, s)
	if was != "" && was != is && !n.services.elsewhere(was) {
		_ = n.Permissions.Set(was) // nothing cannot be wrong
	}
	if is != "" {
		if err := n.Permissions.Set(is, grantsOf(s)...); err != nil {
			_ = n.Permissions.Set(is)
			n.o.Log.Warn("what a manifest says of sh cannot be granted", "service", is, "error", err)
		}
	}
}

// admitPlatform closes the connection of a platform, whose certificate may be another one by now, and lets it in again if it may.
func (n *Node) admitPlatform(host string) {
	if n.sh == nil {
		return
	}
	err := n.DismissSh(host)
	if service := n.services.platformOf(host); err == nil && service != "" {
		err = n.AdmitSh(service, host)
	}
	if err != nil {
		n.o.Log.Warn("the wire to application servers does not follow the register of services", "host", host, "error", err)
	}
}

// configuredSh reports whether a service of the configuration fits.
func (n *Node) configuredSh(fits func(name, host string) bool) bool {
	for _, s := range n.o.Config.Sh.Services {
		for _, host := range s.Hosts {
			if fits(s.Name, host) {
				return true
			}
		}
	}
	return false
}

// grantsOf is what an approved manifest says of Sh.
func grantsOf(s *isc.Service) (grants []hss.Grant) {
	for _, line := range s.Manifest.Sh {
		g := hss.Grant{Data: []sh.DataReference{sh.DataReference(line.Data)}, Indications: line.Indications, Groups: line.Users.Groups,
			Everybody: line.Users.All && s.AllUsers, PerSecond: float64(line.Rate) / line.Per.Seconds(), Burst: line.Rate, Consent: line.Users.Consent}
		for op, ours := range map[isc.ShOps]sh.Operation{isc.ShPull: sh.Pull, isc.ShUpdate: sh.Update, isc.ShSubscribe: sh.Subscribe} {
			if line.Ops&op != 0 {
				g.Ops |= ours
			}
		}
		if g.Everybody || len(g.Groups) > 0 {
			grants = append(grants, g)
		}
	}
	return grants
}

// platform notes which platform has a host, nil if none, and has the wire follow. It returns the names of the services before and after. One
// that asks for nothing on Sh has no place there.
func (s *shServices) platform(host string, now *isc.Service) (was, is string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was = s.platforms[host]
	delete(s.platforms, host)
	if now != nil && len(now.Manifest.Sh) > 0 {
		is = now.Name()
		s.platforms[host] = is
	}
	s.changed = append(s.changed, host)
	select {
	case s.look <- struct{}{}:
	default: // it is looked at already
	}
	return was, is
}

// platformOf returns the platform that has a host; "" if none.
func (s *shServices) platformOf(host string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.platforms[host]
}

// elsewhere reports whether a platform has another host.
func (s *shServices) elsewhere(service string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range s.platforms {
		if name == service {
			return true
		}
	}
	return false
}

func (s *shServices) takeChanged() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	hosts := s.changed
	s.changed = nil
	return hosts
}

var errNotOnSh = errors.New("node: the certificate is not that of an application server")

// shTLS is for one connection of an application server: which authorities vouch for platforms may change meanwhile.
func (n *Node) shTLS(*tls.ClientHelloInfo) (*tls.Config, error) {
	id := n.o.Identity
	clients := id.services().Clone()
	for _, issuer := range n.Authority.Issuers() {
		clients.AddCert(issuer)
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{id.Certificate}, ClientCAs: clients,
		ClientAuth: tls.RequireAndVerifyClientCert, VerifyConnection: n.verifySh, Time: n.o.Clock.Wall}, nil
}

// verifySh makes sure that each is vouched for by his own: a platform by the register, which knows its key, and by the authority of platforms;
// whoever else by the operator's.
func (n *Node) verifySh(state tls.ConnectionState) error {
	leaf := state.PeerCertificates[0]
	roots := n.o.Identity.services()
	for _, name := range leaf.DNSNames {
		if n.services.platformOf(strings.ToLower(name)) == "" {
			continue
		}
		if _, how := n.Registry.ByPeer(leaf); how != imsservice.StandingActive {
			return fmt.Errorf("%w: %s", errNotOnSh, how)
		}
		roots = n.Authority.Pool()
	}
	between := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		between.AddCert(c)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: n.o.Clock.Wall(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return fmt.Errorf("%w: %w", errNotOnSh, err)
	}
	return nil
}
