package scscf

import (
	"errors"
	"hash/maphash"
	"io"
	"sync"
	"time"

	"imsafe/hop"
	"imsafe/proto/aka"
	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/secure"
)

// Who asks for a name that nobody has is challenged like everybody else (attacks CI-26): by a vector of a card that does not exist. Else a
// stranger learns from 403 and 401 who is a subscriber. A telephone that is not provisioned finds that the network does not know its
// key, which is true.

// hides reports whether a REGISTER that the HSS has refused gets a challenge all the same: for a name, or a pair of names, that the HSS does
// not know. It is the enforcement point of "one answer for known and unknown".
func (s *SCSCF) hides(in hop.Inbound, r *register, err error) bool {
	unknown := errors.Is(err, cx.ErrUserUnknown) || errors.Is(err, cx.ErrIdentitiesDontMatch)
	stranger := in.Protection != hop.ProtectionYes && in.Protection != hop.ProtectionTLSYes // a registered client may know that it errs
	return unknown && stranger && !r.emergency && s.ports.Random != nil &&
		s.ports.Gate.Refuse(secure.CIConfidentialityUniform, secure.Event{Reason: "unknown-user", Subject: r.impi})
}

// decoy draws a vector for nobody, by the algorithm that fits the path. It costs what a vector of somebody does.
func (s *SCSCF) decoy(in hop.Inbound) (*cx.AuthDataItem, error) {
	var k aka.K
	var opc aka.OPc
	if _, err := io.ReadFull(s.ports.Random, k[:]); err != nil {
		return nil, err
	}
	copy(opc[:], k[:]) // nothing that leaves tells
	item := &cx.AuthDataItem{Algorithm: aka.AKAv1MD5}
	if in.Protection == hop.ProtectionTLSConnected || in.Protection == hop.ProtectionTLSYes {
		item.Algorithm = aka.AKAv2SHA256
	}
	return item, aka.Generate(aka.NewMilenage(k, opc), s.ports.Random, 0, aka.AMF{}, &item.Vector)
}

// fails reports whether a REGISTER answers the decoy that was sent last to its name, and spends that: nobody can answer it well.
func (s *SCSCF) fails(r *register, now time.Duration) bool {
	return s.decoys.take(r.impi, r.credentials.Nonce, now)
}

const (
	decoySets = 2048 // a power of two
	decoyWays = 4
)

// decoys remember which decoy was sent last to whom, in fixed memory without pointers: names cost nothing, so there is no end to them. Who
// has lost his place is challenged anew, as one whose answer came late. Safe for concurrent use.
type decoys struct {
	seed maphash.Seed
	life time.Duration

	mu   sync.Mutex
	sets [][decoyWays]decoyed // nil before the first
}

// decoyed is one of them.
type decoyed struct {
	name, nonce uint64 // hashes
	until       time.Duration
}

func newDecoys(life time.Duration) *decoys { return &decoys{seed: maphash.MakeSeed(), life: life} }

// place returns the name's own record, or that which has waited longest.
func (d *decoys) place(name uint64) *decoyed {
	set := &d.sets[name%decoySets]
	oldest := &set[0]
	for i := range set {
		switch {
		case set[i].name == name:
			return &set[i]
		case set[i].until < oldest.until:
			oldest = &set[i]
		}
	}
	return oldest
}

func (d *decoys) put(name string, nonce []byte, now time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sets == nil {
		d.sets = make([][decoyWays]decoyed, decoySets)
	}
	n := maphash.String(d.seed, name)
	*d.place(n) = decoyed{n, maphash.Bytes(d.seed, nonce), now + d.life}
}

func (d *decoys) take(name string, nonce []byte, now time.Duration) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sets == nil {
		return false
	}
	n := maphash.String(d.seed, name)
	p := d.place(n)
	if p.name != n || p.nonce != maphash.Bytes(d.seed, nonce) || p.until <= now {
		return false
	}
	*p = decoyed{}
	return true
}

// leavesNothing reports whether a REGISTER asks to end a registration that is not there. The I-CSCF would say so at once (403, TS 24.229 5.3.1.2), and
// a stranger would learn who is registered: so it is said to who has proven himself.
func (s *SCSCF) leavesNothing(t *shard.Task, r *register) bool {
	return leaves(r) && !s.standing(t, r).exists
}

func leaves(r *register) bool {
	for i := range r.contacts {
		if r.contacts[i].expires > 0 {
			return false
		}
	}
	return r.leaveAll || len(r.contacts) > 0
}
