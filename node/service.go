package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/sync/errgroup"

	"imsafe/ca"
	"imsafe/config"
	"imsafe/iface/imsservice"
	"imsafe/imsbox/filter"
	"imsafe/imsbox/hss"
	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/isc"
	"imsafe/secure"
	"imsafe/store"
	"imsafe/store/seal"
)

// services are the authority and the register of service platforms.
type services struct {
	authority  *ca.Authority
	registry   *imsservice.Registry
	pseudonyms *imsservice.Pseudonyms
}

// sharedSets are the filter criteria of all services, as an S-CSCF wants them.
func (s services) sharedSets() filter.SharedSets {
	if s.registry == nil {
		return nil
	}
	return s.registry.Sets()
}

func (n *Node) sharedSets() filter.SharedSets { return services{registry: n.Registry}.sharedSets() }

// servicesWorld is what they are made of.
type servicesWorld struct {
	domain    string
	approvers []ed25519.PublicKey
	nodes     []string // names of nodes in certificates, which no platform may have
	epoch     uint64
	store     store.Store
	keys      func() *seal.Keyring
	random    io.Reader
	clock     shard.Clock
	gate      *secure.Gate
	record    func(imsservice.Deed) error
}

// openServices opens both.
func openServices(w servicesWorld) (s services, err error) {
	if s.authority, err = ca.OpenAuthority(w.domain, ca.Ports{Store: w.store, Keys: w.keys, Random: w.random, Now: w.clock.Wall}); err != nil {
		return s, err
	}
	if s.pseudonyms, err = imsservice.NewPseudonyms(w.domain, imsservice.PseudonymPorts{Store: w.store, Keys: w.keys, Random: w.random}); err != nil {
		return s, err
	}
	s.registry, err = imsservice.OpenRegistry(imsservice.RegistryConfig{Domain: w.domain, Approvers: w.approvers, Reserved: append(coreHosts(w.domain), w.nodes...), RestoreEpoch: w.epoch},
		imsservice.RegistryPorts{Store: w.store, Authority: s.authority, Random: w.random, Clock: w.clock, Gate: w.gate, Record: w.record})
	return s, err
}

// serveEnrolment opens the door for enrolment, and ends what was left half done.
func (n *Node) serveEnrolment(ctx context.Context, group *errgroup.Group) {
	if n.Registry == nil {
		return
	}
	group.Go(func() error {
		if err := n.operations().Republish(ctx); err != nil {
			n.o.Log.Warn("the hss does not agree with the register of services", "error", err)
		}
		return n.every(ctx, sweepEvery, nil, func(context.Context) error { n.Registry.Sweep(); return nil })
	})
	if n.o.Sockets.Enrol != nil {
		group.Go(func() error { return n.enrolment.Serve(ctx, n.o.Sockets.Enrol) })
	}
}

// nodeNames are the names by which the nodes of a network know each other.
func nodeNames(c *config.Config) (names []string) {
	all := append([]string{c.CxName(), c.ShName(), c.CxServerName(), c.Cx.AlternateName, c.Mw.PCSCF.Certificate, c.Mw.ICSCF.Certificate, c.Mw.SCSCF.Certificate}, append(slices.Clone(c.Cx.Clients), c.Cx.Interrogating...)...)
	for _, s := range c.Sh.Services {
		all = append(all, s.Hosts...)
	}
	for _, node := range c.Mw.Nodes {
		for _, name := range []string{c.Node.Name, node.Name} {
			named := namesOf(c.HomeDomain(), name)
			all = append(all, string(named.pcscf), string(named.icscf), string(named.scscf))
		}
		all = append(all, node.Certificate)
	}
	return slices.DeleteFunc(all, func(name string) bool { return name == "" })
}

// authorityEnds is the unix time at which nothing can be issued any more.
func (n *Node) authorityEnds() float64 {
	issuers := n.Authority.Issuers()
	if len(issuers) == 0 {
		return 0
	}
	return float64(issuers[0].NotAfter.Unix())
}

// coreHosts are names that no service platform may have: those of the functions and doors of this network.
func coreHosts(domain string) []string {
	hosts := []string{imsservice.EnrolmentHost(domain)}
	for _, function := range []string{"pcscf", "icscf", "scscf", "cscf", "hss", "pcrf", "isc", "core", "ims", "pseudonym", "cs"} {
		hosts = append(hosts, function+"."+domain)
	}
	return hosts
}

// privateService is the private service identity of a platform's public ones (TS 23.003 13.6), and the name of their profile.
func privateService(name, domain string) (impi, profile string) {
	return "service." + name + "@" + domain, "service." + name
}

// publish brings the HSS to what the register says of a service: who has its shared set, and what its public service identities are. It may
// be called again at any time. The warning is of an S-CSCF that could not be told.
func (o *Operations) publish(ctx context.Context, name string) (string, error) {
	e, err := o.Registry.Show(name)
	if err != nil {
		return "", err
	}
	s := o.Registry.Service(name)
	var set hss.SharedSet
	var psi []string
	profile := &cx.ServiceProfile{SubscribedMediaProfile: -1}
	if stands(e, s) {
		set = sharedSetOf(e, s)
		psi, profile.Criteria = s.Manifest.PSI, s.Manifest.PSICriteria()
	}
	if set.Number = e.Set; set.Number == 0 {
		return "", nil // it was never approved
	}
	told, err := warning(o.HSS.Share(ctx, set))
	if err != nil {
		return told, err
	}
	other, err := o.publishPSI(ctx, name, psi, profile, e.State == imsservice.StateRevoked)
	if told == "" {
		told = other
	}
	return told, err
}

// publishPSI makes the public service identities of a service a public service that an S-CSCF serves (TS 23.228 5.4.12). Of one that is not
// active they stay its own, and nobody answers; of one that is revoked they are gone.
func (o *Operations) publishPSI(ctx context.Context, name string, psi []string, profile *cx.ServiceProfile, gone bool) (string, error) {
	impi, profileName := privateService(name, o.Domain)
	old, err := o.HSS.Show(impi)
	there := !errors.Is(err, hss.ErrUnknown)
	switch {
	case err != nil && there:
		return "", err
	case !there && len(psi) == 0:
		return "", nil
	case gone || there && len(psi) == 0 && len(profile.Criteria) == 0:
		told, err := warning(o.HSS.Remove(ctx, impi))
		if err != nil {
			return told, err
		}
		return told, o.HSS.RemoveProfile(ctx, profileName)
	}
	told, err := warning(o.HSS.PutProfile(ctx, profileName, profile))
	if err != nil || len(psi) == 0 {
		return told, err
	}
	if !there {
		return told, o.HSS.Add(ctx, o.publicService(name, psi))
	}
	if slices.Equal(psiOf(old), psi) {
		return told, nil
	}
	return warning(o.HSS.Update(ctx, o.publicService(name, psi)))
}

// publicService is the subscription of a service's own identities.
func (o *Operations) publicService(name string, psi []string) *hss.Subscriber {
	impi, profile := privateService(name, o.Domain)
	s := &hss.Subscriber{Card: hss.Card{IMPI: impi}, Service: &hss.Service{}}
	for _, impu := range psi {
		s.Public = append(s.Public, hss.Public{IMPU: impu, Profile: profile})
	}
	return s
}

func psiOf(v *hss.View) (all []string) {
	for _, set := range v.Sets {
		for _, p := range set.Public {
			all = append(all, p.IMPU)
		}
	}
	return all
}

// checkPSI refuses public service identities that somebody else has.
func (o *Operations) checkPSI(name string, psi []string) error {
	impi, _ := privateService(name, o.Domain)
	for _, impu := range psi {
		v, err := o.HSS.Show(impu)
		if errors.Is(err, hss.ErrUnknown) {
			continue
		}
		if err != nil {
			return err
		}
		if v.ID != impi {
			return fmt.Errorf("%w: %s is of subscriber %s", imsservice.ErrTaken, impu, v.ID)
		}
	}
	return nil
}

// sharedSetOf is who has the criteria of a service that stands.
func sharedSetOf(e *imsservice.Entry, s *isc.Service) hss.SharedSet {
	users := s.Manifest.Users
	set := hss.SharedSet{Number: e.Set, Groups: users.Groups, All: s.AllUsers && users.All, Unregistered: hss.ServesUnregistered(s.Manifest.Criteria())}
	if users.Consent {
		set.Consent = e.Name
	}
	return set
}

// Republish ends what a process left half done that died between the register and the HSS: what agrees is left alone.
func (o *Operations) Republish(ctx context.Context) error {
	var all error
	for _, e := range o.Registry.List() {
		if e.Set == 0 {
			continue
		}
		s := o.Registry.Service(e.Name)
		want := hss.SharedSet{Number: e.Set}
		if stands(e, s) {
			want = sharedSetOf(e, s)
		}
		have, err := o.HSS.Sharing(ctx, e.Set)
		if err == nil && (have.All != want.All || have.Consent != want.Consent || !sameNames(have.Groups, want.Groups)) {
			_, err = o.publish(ctx, e.Name)
		}
		all = errors.Join(all, err)
	}
	return all
}

// stands reports whether the users of a service have its criteria. They keep them while it is suspended, held or at its end: nobody answers
// then, and each criterion's default handling says whether a session goes on. What screens does not cease to by being suspended.
func stands(e *imsservice.Entry, s *isc.Service) bool {
	return s != nil && e.State != imsservice.StateRevoked
}

func sameNames(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
