// Package icscf is the Interrogating-CSCF (TS 24.229 5.3): the entry point of the home network. It asks the
// HSS who serves a user (refpoint/cx), selects an S-CSCF where nobody does, and forwards.
//
// It keeps no state, asserts no identity and authenticates nobody. node assembles it; others reach it
// through hop only. Safe for concurrent use.
package icscf

import (
	"fmt"
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
	SCSCFs        []hop.Name // the S-CSCFs it may select from, the preferred one first
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

// selectSCSCF chooses an S-CSCF: the one the HSS named, or one with the capabilities it asked for
// (TS 29.228 6.7). All S-CSCFs of imsafe are alike, so any has them.
func (i *ICSCF) selectSCSCF(assigned string, _ *cx.ServerCapabilities) hop.Name {
	if assigned != "" {
		return nameOf(assigned)
	}
	return i.cfg.SCSCFs[0]
}

// nameOf returns the host of a Server-Name, which is a SIP URI (TS 29.228 7.4).
func nameOf(server string) hop.Name {
	host := strings.TrimPrefix(server, "sip:")
	if end := strings.IndexAny(host, ";:?"); end >= 0 {
		host = host[:end]
	}
	return hop.Name(host)
}
