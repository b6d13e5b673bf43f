package clientims

import (
	"net/netip"
	"strings"

	"imsafe/hop"
	"imsafe/proto/budget"
	"imsafe/proto/secagree"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/secure"
)

// Story is told how clients fare that register, for whoever asks why one does not succeed. It is called on a shard, with locks held: it
// must not block and must not call the door. Safe for concurrent use.
type Story interface{ Tell(Chapter) }

// Step says what a chapter tells of.
type Step uint8

// The steps of a registration.
const (
	StepRegister Step = iota // a REGISTER came in
	StepRefused              // the door refused it
	StepAnswered             // the core answered it
	StepSilence              // nothing authentic ever came over the associations that were made for it
)

// String returns the word.
func (s Step) String() string {
	return [...]string{"arrived", "refused", "answered", "silent"}[min(s, StepSilence)]
}

// Chapter is one thing that happened.
type Chapter struct {
	IMPI, IMPU string // as the REGISTER names them
	CallID     string // the same
	Realm      string // that the client names: a wrong one is a common mistake of a telephone's settings
	Source     netip.Addr
	Access     string // profile of the access
	Step       Step
	Generation secure.Generation // of the associations that the REGISTER came over
	Answers    bool              // it answers a challenge
	Resync     bool              // it says that the sequence number is out of range (RFC 3310 3.4)
	BehindNAT  bool
	Leaves     bool            // it takes the registration back
	Offered    *secagree.List  // of StepRegister; nil without one
	Reason     string          // of StepRefused
	Status     int             // of StepRefused and StepAnswered; 0 or less: silence
	Chosen     secagree.Choice // with a challenge
	BadICV     uint32          // of StepSilence: packets whose ICV was wrong
}

// chapter begins a chapter about a REGISTER.
func (p *Port) chapter(f siptransport.Flow, m *sip.Message, a association) Chapter {
	c := Chapter{CallID: string(m.Get(sip.HdrCallID)), Source: f.Peer.Addr().Unmap(), Access: p.access.Profile, Generation: a.proof.Generation()}
	if credentials, err := m.Credentials(0); err == nil {
		c.IMPI, _ = m.Username()
		c.Realm, c.Resync = realmIn(c.IMPI, credentials.Realm), len(credentials.AUTS) > 0
		c.Answers = len(credentials.Response) > 0 && !c.Resync
	}
	c.IMPU, _ = m.ToIdentity()
	seconds, given := m.ContactExpires(0)
	c.Leaves = given && seconds == 0 || string(m.Get(sip.HdrContact)) == "*"
	if via, err := m.TopVia(); err == nil {
		c.BehindNAT = behindNAT(via.Host, c.Source)
	}
	return c
}

// realmIn is a realm as a text: the one in the private identity, where that is the same.
func realmIn(impi string, realm []byte) string {
	if _, host, _ := strings.Cut(impi, "@"); host == string(realm) {
		return host
	}
	return string(realm)
}

// behindNAT reports whether a Via names another address than the one that the message came from.
func behindNAT(host []byte, source netip.Addr) bool {
	var text [64]byte
	if string(host) == string(source.AppendTo(text[:0])) {
		return false // as nearly everybody writes it
	}
	named, err := netip.ParseAddr(string(host))
	return err == nil && named.Unmap() != source
}

// tell tells of a REGISTER that came in, and if the door refuses it, why.
func (p *Port) tell(c *Chapter, refused error, status int) {
	story := p.door.ports.Story
	if story == nil {
		return
	}
	story.Tell(*c)
	if refused != nil {
		c.Step, c.Status, c.Reason = StepRefused, status, refused.Error()
		story.Tell(*c)
	}
}

// leaveRegister adds to leave what the final answer to a REGISTER of ref is told and noted for: c is the chapter that it ends, name
// the one that it claims.
func (p *Port) leaveRegister(leave hop.Leave, c *Chapter, name budget.Key, ref secure.Association) hop.Leave {
	chapter := *c
	return func(x *hop.Exchange, r hop.Reply) hop.Reply {
		if r = leave(x, r); r.Final() {
			p.tellAnswer(&chapter, r.Status(), ref)
			p.noteChallenge(name, r)
		}
		return r
	}
}

// tellAnswer tells of the answer to a REGISTER, which ends its chapter.
func (p *Port) tellAnswer(c *Chapter, status int, of secure.Association) {
	if p.door.ports.Story == nil {
		return
	}
	c.Step, c.Status = StepAnswered, status
	if status == 401 {
		if now, known := p.door.lookup(of); known && now.sa != nil && now.sa.sets[fresh].set != nil {
			c.Chosen = now.sa.sets[fresh].set.choice
		}
	}
	p.door.ports.Story.Tell(*c)
}

// Waiting tells of the associations that were made in the name of a private identity and that nothing authentic has come over yet.
func (d *Door) Waiting(impi string) (all []Chapter) {
	for _, c := range d.users.claims(impi) {
		a, known := d.lookup(c.association)
		if !known || a.sa == nil || a.sa.sets[fresh].set == nil {
			continue
		}
		of := a.sa.sets[fresh].set
		if status, stands := a.sa.gm.Engine.Status(of.ref); stands && !status.Used() {
			all = append(all, a.sa.silence(of, status.AuthFailed))
		}
	}
	return all
}

// silence is the chapter of a set that is not answered.
func (s *security) silence(of *set, badICV uint32) Chapter {
	return Chapter{IMPI: s.user.impi, Source: s.user.addr, Access: s.gm.sealed.Profile, Step: StepSilence, Chosen: of.choice, BadICV: badICV}
}

// tellSilence tells of a set that is given up and over which nothing authentic ever came.
func (s *security) tellSilence(of *set) {
	story := s.gm.door.ports.Story
	status, known := s.gm.Engine.Status(of.ref)
	if story == nil || !known || status.Used() {
		return
	}
	story.Tell(s.silence(of, status.AuthFailed))
}
