// Package icscf is the Interrogating-CSCF (TS 24.229 5.3): the entry point of the home network. It asks the
// HSS who serves a user (refpoint/cx), selects an S-CSCF where nobody does, and forwards.
//
// It keeps no state, asserts no identity and authenticates nobody. node assembles it; others reach it
// through hop only. Safe for concurrent use.
package icscf

import (
	"fmt"
	"slices"
	"strings"

	"imsafe/hop"
	"imsafe/refpoint/cx"
)

// Config is what the I-CSCF must know.
type Config struct {
	Name             hop.Name
	Domain           string // the home domain
	VisitedNetworkID string // used in UAR when a REGISTER came without one
	// DerivePrivate takes the private identity of a REGISTER that names none from the public one (TS 23.003 13.4B).
	DerivePrivate bool
	SCSCFs        []Server // the S-CSCFs it may select from, the preferred one first
	// Replace selects another S-CSCF for who registers or is called and was assigned to one that does not answer: where several share a store.
	Replace bool
}

// Server is an S-CSCF that may be selected.
type Server struct {
	Name hop.Name
	// Capabilities are the numbers that the operator has given to what it can do (TS 29.228 6.7). nil: it can do whatever is asked for.
	Capabilities []uint32
}

// has reports whether the S-CSCF has a capability.
func (s *Server) has(capability uint32) bool {
	return s.Capabilities == nil || slices.Contains(s.Capabilities, capability)
}

// Ports are its reference points: Cx to the HSS, Mw (through hop) to the P- and S-CSCF.
type Ports struct {
	Cx cx.Server
}

// ICSCF is one Interrogating-CSCF.
type ICSCF struct {
	cfg   Config
	ports Ports
}

var _ hop.Function = (*ICSCF)(nil)

// New returns an I-CSCF. It holds no resource that must be closed.
func New(cfg Config, ports Ports) (*ICSCF, error) {
	if cfg.Name == "" || cfg.Domain == "" || len(cfg.SCSCFs) == 0 || ports.Cx == nil {
		return nil, fmt.Errorf("icscf: name, domain, one S-CSCF and Cx are needed: %+v", cfg)
	}
	return &ICSCF{cfg: cfg, ports: ports}, nil
}

// selectSCSCF chooses an S-CSCF (TS 29.228 6.7): the one the HSS named; or one that has all mandatory capabilities, and of these the one
// with most of the optional ones. It is false if there is none.
func (i *ICSCF) selectSCSCF(assigned string, wanted *cx.ServerCapabilities) (hop.Name, bool) {
	if assigned != "" {
		return nameOf(assigned), true
	}
	if wanted == nil {
		return i.cfg.SCSCFs[0].Name, true
	}
	for _, name := range wanted.ServerNames { // then nothing else counts
		if name := nameOf(name); slices.ContainsFunc(i.cfg.SCSCFs, func(s Server) bool { return s.Name == name }) {
			return name, true
		}
	}
	if len(wanted.ServerNames) > 0 {
		return "", false
	}
	best, most := hop.Name(""), -1
	for n := range i.cfg.SCSCFs {
		s := &i.cfg.SCSCFs[n]
		if slices.ContainsFunc(wanted.Mandatory, func(c uint32) bool { return !s.has(c) }) {
			continue
		}
		optional := 0
		for _, c := range wanted.Optional {
			if s.has(c) {
				optional++
			}
		}
		if optional > most {
			best, most = s.Name, optional
		}
	}
	return best, most >= 0
}

// nameOf returns the host of a Server-Name, which is a SIP URI (TS 29.228 7.4).
func nameOf(server string) hop.Name {
	host := strings.TrimPrefix(server, "sip:")
	if at := strings.IndexByte(host, '@'); at >= 0 {
		host = host[at+1:]
	}
	if end := strings.IndexAny(host, ";:?"); end >= 0 {
		host = host[:end]
	}
	return hop.Name(host)
}
