package scscf

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"slices"
	"strings"
	"time"

	"imsafe/hop"
	"imsafe/proto/passport"
	"imsafe/proto/sip"
	"imsafe/refpoint/isc"
	"imsafe/secure"
)

// The S-CSCF vouches for the ends of a call and their media keys (RFC 8224 5, RFC 8225): for its caller in the INVITE, for its callee in what he
// answers, for a service platform that is an end of the media in a grant. Whoever is between may change a session description only if the
// operator has made him an end of media; then it is said, and signed, that it is he.

// Voucher signs for the home network. Safe for concurrent use; it does not wait.
type Voucher interface {
	Sign(p *passport.PASSporT) error
}

// anonymousURI stands for who does not want to be known (RFC 3323 4.1.1.3).
const anonymousURI = "sip:anonymous@anonymous.invalid"

// seal signs p and appends it to m. Where there is no signing key the message goes on as it is: who needs a voucher refuses it.
func (s *SCSCF) seal(m *sip.Message, p *passport.PASSporT) {
	if s.ports.Voucher == nil || p.Orig == (passport.Identity{}) {
		return
	}
	p.IssuedAt = time.Unix(s.ports.Clock.Wall().Unix(), 0)
	if p.Grants != nil {
		p.Grants.Expires = p.IssuedAt.Add(passport.MaxLife)
	}
	if err := s.ports.Voucher.Sign(p); err != nil {
		s.unvouched.Add(1)
		return
	}
	var b [1024]byte
	m.Append(sip.HdrIdentity, p.AppendIdentity(b[:0]))
}

// Unvouched is how many messages went on without a signature that they should have had.
func (s *SCSCF) Unvouched() uint64 { return s.unvouched.Load() }

// vouches signs the INVITE of a served caller (RFC 8224 5.1). dest is the Request-URI, which has been read as the called user's identity by now.
func (s *SCSCF) vouches(in hop.Inbound) {
	in.Msg.Remove(sip.HdrIdentity)
	if in.Msg.Method() != sip.INVITE || s.ports.Voucher == nil {
		return
	}
	to, ok := sip.PublicIdentity(in.Msg.RequestURI())
	if !ok {
		return
	}
	s.seal(in.Msg, &passport.PASSporT{Orig: senderOf(in.Msg), Dest: []passport.Identity{passport.IdentityOf(to)}, Keys: passport.KeysOf(in.Msg.Body())})
}

// senderOf is who sends m, as the other party may know him: the asserted identity, unless Privacy withholds it (RFC 3323 4.2, RFC 8224 4.1).
func senderOf(m *sip.Message) passport.Identity {
	if withheld(m) {
		return passport.Identity{URI: anonymousURI}
	}
	id, ok := sip.PublicIdentity(m.Get(sip.HdrPAssertedIdentity))
	if !ok {
		return passport.Identity{}
	}
	return passport.IdentityOf(id)
}

// withheld reports whether Privacy asks that the asserted identity not be shown (RFC 3325 9.3, TS 24.607 4.5.2.4).
func withheld(m *sip.Message) bool {
	for v := range m.Values(sip.HdrPrivacy) {
		for word := range bytes.FieldsFuncSeq(v, func(r rune) bool { return r == ';' || r == ',' || r == ' ' }) {
			if bytes.EqualFold(word, []byte("id")) || bytes.EqualFold(word, []byte("user")) {
				return true
			}
		}
	}
	return false
}

// diverts signs that the called user's network sends an INVITE elsewhere (RFC 8946 4.1): only beside what vouches for the caller.
func (s *SCSCF) diverts(m *sip.Message, from, target string) {
	if m.Method() != sip.INVITE || !m.Has(sip.HdrIdentity) {
		return
	}
	was, ok := sip.PublicIdentity([]byte(from))
	to, known := sip.PublicIdentity([]byte(target))
	if !ok || !known || was == to {
		return
	}
	s.seal(m, &passport.PASSporT{Type: passport.Div, Orig: senderOf(m), Div: passport.IdentityOf(was), Dest: []passport.Identity{passport.IdentityOf(to)}})
}

// answers returns what signs the session descriptions that a called user answers with (RFC 9970): a hop.Up, for the final response too.
func (s *SCSCF) answers(in hop.Inbound, callee user) hop.Up {
	if in.Msg.Method() != sip.INVITE || s.ports.Voucher == nil {
		return func(r hop.Reply) hop.Reply { return r }
	}
	caller := senderOf(in.Msg)
	return func(r hop.Reply) hop.Reply {
		if !describes(r) {
			return r
		}
		who := passport.IdentityOf(callee.served)
		if withheld(r.Msg) {
			who = passport.Identity{URI: anonymousURI}
		}
		r.Msg.Remove(sip.HdrIdentity)
		s.seal(r.Msg, &passport.PASSporT{Type: passport.Rsp, Orig: caller, Dest: []passport.Identity{who}, Keys: passport.KeysOf(r.Msg.Body())})
		return r
	}
}

// describes reports whether a response says where and how media go.
func describes(r hop.Reply) bool {
	return r.Msg != nil && r.Status() > 100 && r.Status() < 300 && len(r.Msg.Body()) > 0
}

// vouched is a session description that we have vouched for: its media keys, and the Identity fields beside it.
type vouched struct {
	keys     []passport.Fingerprint
	speaks   bool // there are media that move, with keys of any kind or none
	identity []string
	sender   passport.Identity // as the other party may know him
	withheld bool              // he does not want to be known
}

// maxVouched bounds the answers to one request that are told apart.
const maxVouched = 16

func vouchedIn(m *sip.Message) vouched {
	v := vouched{keys: passport.Sorted(passport.KeysOf(m.Body())), speaks: asksOf(m.Body()).any(), sender: senderOf(m), withheld: withheld(m)}
	for value := range m.Values(sip.HdrIdentity) {
		v.identity = append(v.identity, string(value))
	}
	return v
}

// holds reports whether a description with these media keys says nothing that v does not say. Without keys it may move media in clear, or by keys that nobody
// signs: then v must move some too.
func (v *vouched) holds(keys []passport.Fingerprint, description []byte) bool {
	return slices.Equal(v.keys, keys) && (len(keys) > 0 || v.speaks || !asksOf(description).any())
}

// restore puts the Identity fields of v in the place of those that m has, and reports whether m had one that is not of this leg.
func (v *vouched) restore(m *sip.Message) (foreign bool) {
	for value := range m.Values(sip.HdrIdentity) {
		foreign = foreign || !slices.Contains(v.identity, string(value))
	}
	m.Remove(sip.HdrIdentity)
	for _, value := range v.identity {
		m.AppendString(sip.HdrIdentity, value)
	}
	return foreign
}

// judgesOffer judges the INVITE that a platform gives back: the media keys that went out with it, or the platform's own with a grant. It returns the name of the
// control that refuses it, "" if none does.
func (s *SCSCF) judgesOffer(in hop.Inbound, stay *passage) (control string) {
	if in.Msg.Method() != sip.INVITE {
		return ""
	}
	s.ownWords(in.Msg, &stay.offered, stay.host)
	keys := passport.Sorted(passport.KeysOf(in.Msg.Body()))
	same := stay.offered.holds(keys, in.Msg.Body())
	if same && senderOf(in.Msg) == stay.offered.sender {
		return ""
	}
	right, may := s.ports.ISC.Media([]byte(stay.host))
	switch {
	case same:
	case !may && s.swaps(stay.host):
		return "cs.integrity.fingerprint"
	case may && s.exceeds(right, in.Msg.Body(), stay.host):
		return "cs.authentication.grant"
	}
	to, _ := sip.PublicIdentity(in.Msg.RequestURI())
	p := &passport.PASSporT{Orig: senderOf(in.Msg), Dest: []passport.Identity{passport.IdentityOf(to)}, Keys: keys}
	if !same && may && len(keys) > 0 {
		p.Type, p.Grants = passport.Grant, s.grants(right, stay.odi, in.Msg.Body())
	}
	dropVouchers(in.Msg)
	s.seal(in.Msg, p)
	return ""
}

// dropVouchers takes off what vouches for other media keys; diversions stay.
func dropVouchers(m *sip.Message) {
	var kept []string
	for value := range m.Values(sip.HdrIdentity) {
		if p, err := passport.ParseIdentity(value); err == nil && p.Type == passport.Div {
			kept = append(kept, string(value))
		}
	}
	m.Remove(sip.HdrIdentity)
	for _, value := range kept {
		m.AppendString(sip.HdrIdentity, value)
	}
}

// judgesOrigination judges the INVITE that a platform begins: it is an end of the media then, and needs a right to them.
func (s *SCSCF) judgesOrigination(in hop.Inbound) (refused bool) {
	if in.Msg.Method() != sip.INVITE {
		return false
	}
	host := in.Proof.Peer()
	s.ownWords(in.Msg, &vouched{}, host)
	keys := passport.KeysOf(in.Msg.Body())
	right, may := s.ports.ISC.Media([]byte(host))
	speaks := len(keys) > 0 || asksOf(in.Msg.Body()).any() // in clear or with keys in the description, too
	if speaks && (!may && s.lacksGrant(host) || may && s.exceeds(right, in.Msg.Body(), host)) {
		return true
	}
	to, _ := sip.PublicIdentity(in.Msg.RequestURI())
	p := &passport.PASSporT{Orig: senderOf(in.Msg), Dest: []passport.Identity{passport.IdentityOf(to)}, Keys: keys}
	if may && len(keys) > 0 {
		p.Type, p.Grants = passport.Grant, s.grants(right, "", in.Msg.Body())
	}
	s.seal(in.Msg, p)
	return false
}

// judgesAnswer returns what judges the session descriptions of a platform's responses: one of those from behind it, or its own, with a grant.
// It returns the name of the control that refuses one, "" if none does.
func (s *SCSCF) judgesAnswer(in hop.Inbound, stay *passage) func(hop.Reply) (control string) {
	caller, served := senderOf(in.Msg), passport.IdentityOf(stay.user.served)
	invite := in.Msg.Method() == sip.INVITE
	return func(r hop.Reply) string {
		if !invite || !describes(r) {
			return ""
		}
		keys := passport.Sorted(passport.KeysOf(r.Msg.Body()))
		behind, same, others := s.passages.behind(stay, keys, r.Msg.Body())
		s.ownWords(r.Msg, &behind, stay.host)
		if same && (!withheld(r.Msg) || behind.withheld) {
			return ""
		}
		silent := len(keys) == 0 && !others && !asksOf(r.Msg.Body()).any() // it answers, and there are no media
		right, may := s.ports.ISC.Media([]byte(stay.host))
		who := served
		if withheld(r.Msg) {
			who = passport.Identity{URI: anonymousURI}
		}
		switch {
		case same, silent:
		case may:
			if s.exceeds(right, r.Msg.Body(), stay.host) {
				return "cs.authentication.grant"
			}
		case others && s.swaps(stay.host):
			return "cs.integrity.fingerprint"
		case !others && s.lacksGrant(stay.host):
			return "cs.authentication.grant"
		}
		r.Msg.Remove(sip.HdrIdentity)
		p := &passport.PASSporT{Type: passport.Rsp, Orig: caller, Dest: []passport.Identity{who}, Keys: keys}
		if may && !same && !silent {
			p.Grants = s.grants(right, stay.odi, r.Msg.Body())
		}
		s.seal(r.Msg, p)
		return ""
	}
}

// grants makes the claims of a grant of what the operator has granted, for the media of a session description.
func (s *SCSCF) grants(right isc.MediaRight, odi string, description []byte) *passport.Grants {
	g := &passport.Grants{Service: right.Service, Scope: slices.Clone(right.Scope), ID: s.jti(), Media: mediaOf(description, right.Kbps)}
	if odi != "" {
		sum := sha256.Sum256([]byte(odi))
		g.Session = base64.RawURLEncoding.EncodeToString(sum[:16])
	}
	return g
}

// mediaOf lists the classes of media in a session description (RFC 8866 5.14), each once.
func mediaOf(description []byte, kbps int) (all []passport.Media) {
	for line := range bytes.Lines(description) {
		class, is := bytes.CutPrefix(line, []byte("m="))
		name, _, whole := bytes.Cut(class, []byte{' '})
		if !is || !whole || len(all) == maxClasses || slices.ContainsFunc(all, func(m passport.Media) bool { return m.Class == string(name) }) {
			continue
		}
		all = append(all, passport.Media{Class: string(name), Kbps: kbps})
	}
	return all
}

// maxClasses bounds the classes of a grant: audio, video, text, application, message, image.
const maxClasses = 6

// jti is the number of a grant: 128 random bits.
func (s *SCSCF) jti() string {
	var b [16]byte
	if s.ports.Random == nil {
		return ""
	}
	if _, err := io.ReadFull(s.ports.Random, b[:]); err != nil {
		return "" // which is not signed
	}
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// ownWords gives a platform's message the Identity fields that belong to it: what it brings itself means nothing. A platform mints no grant, and has
// no use for that of another call.
func (s *SCSCF) ownWords(m *sip.Message, of *vouched, host string) {
	brought := vouchedIn(m)
	if of.restore(m) && !s.isOfAnotherLeg("foreign-grant", host) {
		brought.restore(m)
	}
}

// isOfAnotherLeg is the enforcement point of "one grant for one leg".
func (s *SCSCF) isOfAnotherLeg(reason, subject string) bool {
	return s.ports.Gate.Refuse(secure.CSAuthorizationGrantLeg, secure.Event{Reason: reason, Subject: subject})
}

// swaps is the enforcement point of signed media keys: whoever is no end of the media changes none.
func (s *SCSCF) swaps(host string) bool {
	return s.ports.Gate.Refuse(secure.CSIntegrityFingerprint, secure.Event{Reason: "fingerprint-swapped", Subject: host})
}

// lacksGrant is the enforcement point of media grants: without a right to media there is none, and without one no session.
func (s *SCSCF) lacksGrant(host string) bool {
	return s.ports.Gate.Refuse(secure.CSAuthenticationGrant, secure.Event{Reason: "no-grant", Subject: host})
}

// warnsOf says to the platform at host why its message went no further: the agent is whom it is about, as at the door.
func warnsOf(r hop.Reply, host, control string) hop.Reply {
	if r.Msg != nil {
		r.Msg.SetString(sip.HdrWarning, `399 `+host+` "`+control+` scope=`+strings.Join([]string{"media.send", "media.receive", "media.mix"}, "|")+`"`)
	}
	return r
}
