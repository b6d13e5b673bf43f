package hss

import (
	"time"

	"imsafe/proto/aka"
	"imsafe/refpoint/cx"
)

// subscription is an IMS subscription: private identities with their secrets, and implicit
// registration sets of public identities (TS 23.228 4.3.3.4). Its id is its first private identity; it is the
// key of its records and the name of their partition.
type subscription struct {
	group    string
	created  int64    // unix seconds
	service  *Service // nil: it is a user's
	privates []private
	sets     []implicitSet
}

// private is one private identity. The algorithm is fixed for the life of a registration: no client and no
// message chooses it (TS 33.203 P.3).
type private struct {
	impi      string
	imsi      string
	algorithm byte                // algorithmMilenage, algorithmTUAK, algorithmDigest or algorithmNone
	scheme    aka.DigestAlgorithm // AKAv1-MD5, AKAv2-MD5 or AKAv2-SHA-256; without a card SHA-256 or MD5
	amf       aka.AMF
	sealed    []byte // K || OPc, K || TOPc, or H(A1), under the sealing key; the associated data is the table and sealedFor
}

// The numbers of algorithms in records.
const (
	algorithmMilenage = 1
	algorithmTUAK     = 2
	algorithmDigest   = 3 // no card: H(A1) of a password
	algorithmNone     = 4 // a private service identity: it has no secret
)

// implicitSet is registered and de-registered as one.
type implicitSet struct {
	services []service
}

// service binds identities of a set to a service profile.
type service struct {
	profile    string // name; empty: the group's
	identities []identity
}

// identity is a public user identity, or of a service a public service identity; a range if its octets say so.
type identity struct {
	impu    string
	barred  bool
	display string
}

// The versions of the record. The first has no service.
const (
	userVersion         = 1
	subscriptionVersion = 2
)

func (s *subscription) encode() []byte {
	e := encoder{b: make([]byte, 0, 320)}
	e.byte(subscriptionVersion)
	e.string(s.group)
	e.uint(uint64(s.created))
	e.bool(s.service != nil)
	if s.service != nil {
		e.string(s.service.Server)
	}
	e.uint(uint64(len(s.privates)))
	for i := range s.privates {
		p := &s.privates[i]
		e.string(p.impi)
		e.string(p.imsi)
		e.byte(p.algorithm)
		e.byte(byte(p.scheme))
		e.b = append(e.b, p.amf[:]...)
		e.bytes(p.sealed)
	}
	e.uint(uint64(len(s.sets)))
	for _, set := range s.sets {
		e.uint(uint64(len(set.services)))
		for _, v := range set.services {
			e.string(v.profile)
			e.uint(uint64(len(v.identities)))
			for _, id := range v.identities {
				e.string(id.impu)
				e.bool(id.barred)
				e.string(id.display)
			}
		}
	}
	return e.b
}

func decodeSubscription(b []byte) (*subscription, error) {
	d := decoder{b: b}
	version := d.byte()
	if version != subscriptionVersion && version != userVersion {
		return nil, errRecord
	}
	s := &subscription{group: d.string(), created: int64(d.uintMax(1 << 40))}
	if version == subscriptionVersion && d.bool() {
		s.service = &Service{Server: d.string()}
	}
	s.privates = make([]private, d.count())
	for i := range s.privates {
		p := &s.privates[i]
		p.impi, p.imsi = d.string(), d.string()
		p.algorithm, p.scheme = d.byte(), aka.DigestAlgorithm(d.byte())
		p.amf[0], p.amf[1] = d.byte(), d.byte()
		p.sealed = d.bytes()
		if !p.sound() {
			d.fail()
		}
	}
	s.sets = make([]implicitSet, d.count())
	for i := range s.sets {
		s.sets[i].services = make([]service, d.count())
		for j := range s.sets[i].services {
			v := &s.sets[i].services[j]
			v.profile = d.string()
			v.identities = make([]identity, d.count())
			for k := range v.identities {
				v.identities[k] = identity{impu: d.string(), barred: d.bool(), display: d.string()}
			}
		}
	}
	if len(s.privates) == 0 {
		d.fail()
	}
	return s, d.done()
}

// findPrivate returns the index of a private identity, -1 if it is not of this subscription.
func (s *subscription) findPrivate(impi cx.IMPI) int {
	for i := range s.privates {
		if s.privates[i].impi == string(impi) {
			return i
		}
	}
	return -1
}

// findPublic returns the set of a public identity and the identity, or -1.
func (s *subscription) findPublic(impu cx.IMPU) (set int, id *identity) {
	for i := range s.sets {
		for j := range s.sets[i].services {
			ids := s.sets[i].services[j].identities
			for k := range ids {
				if ids[k].impu == string(impu) {
					return i, &ids[k]
				}
			}
		}
	}
	return -1, nil
}

// kind returns what an identity of the subscription is to an S-CSCF (TS 29.228 table E.1).
func (s *subscription) kind(id *identity) cx.IdentityType {
	switch {
	case s.service != nil && id.wildcard():
		return cx.WildcardedPSI
	case s.service != nil:
		return cx.DistinctPSI
	case id.wildcard():
		return cx.WildcardedIMPU
	}
	return cx.DistinctIMPU
}

// each visits every public identity.
func (s *subscription) each(visit func(set int, id *identity)) {
	for i := range s.sets {
		for j := range s.sets[i].services {
			ids := s.sets[i].services[j].identities
			for k := range ids {
				visit(i, &ids[k])
			}
		}
	}
}

// state is the registration state of a set (TS 29.228 3.1).
type state byte

const (
	notRegistered state = iota
	registered
	unregistered // has an S-CSCF for services, or keeps its profile there
)

// String returns the word of the standard.
func (s state) String() string {
	return [...]string{"not registered", "registered", "unregistered"}[s]
}

// assignment says which S-CSCF has a subscription, and what is registered. There is none before the
// first registration; after the last it stays, empty, for its epoch.
type assignment struct {
	server  string // SIP URI of the S-CSCF, "" if none
	epoch   uint64 // number of the assignment; grows with every new owner
	sets    []setState
	restore []restoration
	updated int64  // unix seconds
	version uint64 // of the record, 0 if there is none; not in its value
}

// setState is the state of one implicit set, by its place in the subscription.
type setState struct {
	state state
	by    uint64 // bit i: registered with private identity i
}

// restoration is what an S-CSCF left for its successor (TS 23.380 4.3), per set and private identity.
type restoration struct {
	set  int
	info cx.RestorationInfo
}

const assignmentVersion = 1

func (a *assignment) encode() []byte {
	e := encoder{b: make([]byte, 0, 96)}
	e.byte(assignmentVersion)
	e.string(a.server)
	e.uint(a.epoch)
	e.uint(uint64(a.updated))
	e.uint(uint64(len(a.sets)))
	for _, s := range a.sets {
		e.byte(byte(s.state))
		e.uint(s.by)
	}
	e.uint(uint64(len(a.restore)))
	for i := range a.restore {
		e.uint(uint64(a.restore[i].set))
		e.restorationInfo(&a.restore[i].info)
	}
	return e.b
}

func decodeAssignment(b []byte) (*assignment, error) {
	d := decoder{b: b}
	if d.byte() != assignmentVersion {
		return nil, errRecord
	}
	a := &assignment{server: d.string(), epoch: d.uint(), updated: int64(d.uintMax(1 << 40))}
	a.sets = make([]setState, d.count())
	for i := range a.sets {
		a.sets[i] = setState{state(d.uintMax(uint64(unregistered))), d.uint()}
	}
	a.restore = make([]restoration, d.count())
	for i := range a.restore {
		a.restore[i] = restoration{int(d.uintMax(1 << 16)), d.restorationInfo()}
	}
	return a, d.done()
}

func (e *encoder) restorationInfo(r *cx.RestorationInfo) {
	e.string(string(r.IMPI))
	e.uint(uint64(r.RegistrationTimeOut))
	e.string(r.AuthScheme)
	e.uint(uint64(len(r.Contacts)))
	for i := range r.Contacts {
		c := &r.Contacts[i]
		e.string(c.Path)
		e.string(c.Contact)
		e.uint(uint64(c.InitialCSeq))
		e.string(c.CallID)
		e.subscriptionInfo(c.Subscription)
		e.subscriptionInfo(c.PCSCF)
	}
}

func (d *decoder) restorationInfo() cx.RestorationInfo {
	r := cx.RestorationInfo{IMPI: cx.IMPI(d.string()), RegistrationTimeOut: int64(d.uintMax(1 << 40)), AuthScheme: d.string()}
	if n := d.count(); n > 0 {
		r.Contacts = make([]cx.RestorationContact, n)
	}
	for i := range r.Contacts {
		r.Contacts[i] = cx.RestorationContact{Path: d.string(), Contact: d.string(), InitialCSeq: uint32(d.uintMax(1<<32 - 1)),
			CallID: d.string(), Subscription: d.subscriptionInfo(), PCSCF: d.subscriptionInfo()}
	}
	return r
}

func (e *encoder) subscriptionInfo(s *cx.SubscriptionInfo) {
	e.bool(s != nil)
	if s != nil {
		e.strings([]string{s.CallID, s.From, s.To, s.RecordRoute, s.Contact})
	}
}

func (d *decoder) subscriptionInfo() *cx.SubscriptionInfo {
	if !d.bool() {
		return nil
	}
	f := d.strings()
	if len(f) != 5 {
		d.fail()
		return nil
	}
	return &cx.SubscriptionInfo{CallID: f[0], From: f[1], To: f[2], RecordRoute: f[3], Contact: f[4]}
}

// sequence is the high-water mark of a private identity's SEQ: everything below may have been used.
type sequence struct {
	mark    uint64 // first SEQ that is not reserved
	written int64  // unix seconds
	epoch   uint64 // restore epoch of the store when it was written
}

const sequenceVersion = 1

func (s sequence) encode() []byte {
	e := encoder{b: make([]byte, 0, 20)}
	e.byte(sequenceVersion)
	e.uint(s.mark)
	e.uint(uint64(s.written))
	e.uint(s.epoch)
	return e.b
}

func decodeSequence(b []byte) (sequence, error) {
	d := decoder{b: b}
	if d.byte() != sequenceVersion {
		return sequence{}, errRecord
	}
	s := sequence{d.uintMax(aka.MaxSEQ + 1), int64(d.uintMax(1 << 40)), d.uint()}
	return s, d.done()
}

// Group is what its members have in common.
type Group struct {
	Name            string
	Profile         string                 // default service profile of the members, by name; may be empty
	VisitedNetworks []string               // networks that members may roam in, beyond the configured ones
	Capabilities    *cx.ServerCapabilities // what their S-CSCF must have
	Charging        *cx.ChargingInformation
}

const groupVersion = 1

func (g *Group) encode() []byte {
	e := encoder{}
	e.byte(groupVersion)
	e.string(g.Profile)
	e.strings(g.VisitedNetworks)
	e.bool(g.Capabilities != nil)
	if c := g.Capabilities; c != nil {
		e.uints(c.Mandatory)
		e.uints(c.Optional)
		e.strings(c.ServerNames)
	}
	e.bool(g.Charging != nil)
	if c := g.Charging; c != nil {
		e.strings([]string{c.PrimaryECF, c.SecondaryECF, c.PrimaryCCF, c.SecondaryCCF})
	}
	return e.b
}

func decodeGroup(name string, b []byte) (*Group, error) {
	d := decoder{b: b}
	if d.byte() != groupVersion {
		return nil, errRecord
	}
	g := &Group{Name: name, Profile: d.string(), VisitedNetworks: d.strings()}
	if d.bool() {
		g.Capabilities = &cx.ServerCapabilities{Mandatory: d.uints(), Optional: d.uints(), ServerNames: d.strings()}
	}
	if d.bool() {
		f := d.strings()
		if len(f) != 4 {
			d.fail()
			return nil, d.done()
		}
		g.Charging = &cx.ChargingInformation{PrimaryECF: f[0], SecondaryECF: f[1], PrimaryCCF: f[2], SecondaryCCF: f[3]}
	}
	return g, d.done()
}

func (e *encoder) uints(list []uint32) {
	e.uint(uint64(len(list)))
	for _, v := range list {
		e.uint(uint64(v))
	}
}

func (d *decoder) uints() []uint32 {
	n := d.count()
	if n == 0 {
		return nil
	}
	list := make([]uint32, n)
	for i := range list {
		list[i] = uint32(d.uintMax(1<<32 - 1))
	}
	return list
}

// unixSeconds is t as records keep it.
func unixSeconds(t time.Time) int64 { return max(t.Unix(), 0) }
