// Package scscf is the Serving-CSCF (TS 24.229 5.4): the registrar, the function that authenticates users, and
// the one that decides where their requests go.
//
// It holds registrations in pointer-free memory with their durable records behind it (package store), and
// pending challenges in memory only. One REGISTER is one commit: the HSS adds its change to the batch of
// the S-CSCF. It sends nothing by itself to a socket: everything leaves through hop.
//
// node assembles it; others reach it through hop and refpoint/cx only. Safe for concurrent use.
package scscf

import (
	"fmt"
	"io"
	"net/netip"
	"sync/atomic"
	"time"

	"imsafe/hop"
	"imsafe/imsbox/dialog"
	"imsafe/proto/aka"
	"imsafe/proto/shard"
	"imsafe/proto/slab"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/isc"
	"imsafe/refpoint/rf"
	"imsafe/secure"
	"imsafe/store"
)

// The tables of the S-CSCF in the store.
const (
	TableRegistration store.Table = 32 // private identity -> registration
	TableIdentity     store.Table = 33 // public identity -> private identity
)

// Config is what the S-CSCF must know. Zero times are replaced by the defaults named.
type Config struct {
	Name       hop.Name // its host name; also its Server-Name at the HSS
	HomeDomain string   // realm of its challenges; requests for it go to the I-CSCF of that name

	MinExpires     time.Duration // a shorter wish is answered 423 (RFC 3261 10.3); default 60 s
	DefaultExpires time.Duration // where the client wishes nothing; default 3600 s
	MaxExpires     time.Duration // a longer wish is cut; default 7200 s
	ReauthInterval time.Duration // a protected re-REGISTER is challenged again after this; default 24 h
	AwaitAuth      time.Duration // reg-await-auth (TS 24.229 7.8); default 4 min

	// Digest are the algorithms of SIP Digest for subscribers without a card, inside TLS; empty: off.
	Digest    []aka.DigestAlgorithm
	Numbering Numbering // how dialled numbers are read
	Routes    Routes    // and which of them users may dial

	// EmergencyIdentity is who answers emergency calls: as many as come. "" is nobody.
	EmergencyIdentity string

	// Shared says that other S-CSCFs keep their registrations in the same store: what they have is theirs to end.
	Shared bool

	// Nodes are where the other nodes of this network listen on Mw: a Via of theirs is not a client's.
	Nodes []netip.AddrPort

	// RangesUntold says that who asks may be an I-CSCF that does not know P-Profile-Key (RFC 5002): one of another make, in a lab.
	RangesUntold bool

	// LabAccess accepts AKAv1 over an unprotected path, for test clients. node sets it in lab mode only.
	LabAccess bool
}

// Ports are its reference points: Cx to the HSS, Rf to charging, Mw and ISC through hop.
type Ports struct {
	Cx       cx.Server
	Charging rf.Charging
	Store    store.Store
	Hop      *hop.Table // for its own requests
	Clock    shard.Clock
	Gate     *secure.Gate
	Origin   secure.Proof  // of what it says itself
	Sealer   *shard.Sealer // of the tokens in temporary GRUUs
	ISC      isc.Door      // the I-S door; nil: there are no service platforms
	Random   io.Reader     // nonces of SIP Digest and numbers of grants; safe for concurrent use, needed only with them
	Voucher  Voucher       // signs for the home network; nil: nobody vouches for anything
}

// SCSCF is one Serving-CSCF.
type SCSCF struct {
	serverName string // for the HSS
	realm      []byte // the home domain, as challenges name it
	cfg        Config
	ports      Ports
	users      *slab.Table   // private identity -> registration, lifetimes on the monotonic clock
	owners     *slab.Table   // public identity -> private identities, one a line; device handle -> what its GRUUs mean
	gruus      atomic.Uint64 // temporary GRUUs given out
	calls      *earlyCalls
	pace       *pace
	challenges *challenges
	origins    *origins
	decoys     *decoys
	digests    *digests // nil: SIP Digest is off
	dialogs    *dialog.Ledger
	invites    dialog.Early[string] // that have no final response yet, by private identity and binding
	profiles   *profiles
	passages   *passages
	transfers  *transfers
	unvouched  atomic.Uint64
	hosted     *dialog.Ledger // the dialogs that platforms take part in, by their host
}

var (
	_ hop.Function = (*SCSCF)(nil)
	_ isc.Chains   = (*SCSCF)(nil)
)

// voiceTag is what a telephone says of itself in its Contact (TS 24.229 7.9.2, TS 24.173 5.1): one of the words that memory has once.
const voiceTag = `+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel"`

// New returns an S-CSCF. It holds no resource that must be closed.
func New(cfg Config, ports Ports) (*SCSCF, error) {
	if cfg.Name == "" || cfg.HomeDomain == "" {
		return nil, fmt.Errorf("scscf: name and home domain are needed")
	}
	if ports.Cx == nil || ports.Charging == nil || ports.Store == nil || ports.Hop == nil || ports.Clock == nil || ports.Gate == nil || ports.Sealer == nil {
		return nil, fmt.Errorf("scscf: a port is not plugged")
	}
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&cfg.MinExpires, time.Minute}, {&cfg.DefaultExpires, time.Hour}, {&cfg.MaxExpires, 2 * time.Hour},
		{&cfg.ReauthInterval, 24 * time.Hour}, {&cfg.AwaitAuth, 4 * time.Minute},
	} {
		if *d.value == 0 {
			*d.value = d.standard
		}
	}
	digests, err := newDigests(cfg.Digest, ports.Random)
	if err != nil {
		return nil, err
	}
	realm := []byte(cfg.HomeDomain)
	words := [][]byte{[]byte(voiceTag), realm}
	s := &SCSCF{cfg: cfg, ports: ports, serverName: "sip:" + string(cfg.Name), realm: realm, users: slab.New(slab.Config{Words: words}), owners: slab.New(slab.Config{Words: words}),
		calls: newEarlyCalls(), pace: newPace(), origins: newOrigins(cfg.Nodes), decoys: newDecoys(cfg.AwaitAuth), digests: digests,
		profiles: newProfiles(), passages: newPassages(), transfers: newTransfers(),
		hosted:  dialog.New(dialog.Config{Name: cfg.Name, Hop: ports.Hop, Proof: ports.Origin, Past: pastPlatform}),
		dialogs: dialog.New(dialog.Config{Name: cfg.Name, Hop: ports.Hop, Proof: ports.Origin})}
	s.challenges = newChallenges(cfg.AwaitAuth, s.refusesCrowd)
	if digests != nil {
		digests.crowded = s.refusesCrowd
	}
	return s, nil
}

// ServerName is the Server-Name of this S-CSCF at the HSS (TS 29.228 7.4).
func (s *SCSCF) ServerName() string { return s.serverName }

// Registered is the number of registrations in memory.
func (s *SCSCF) Registered() int { return s.users.Len() }
