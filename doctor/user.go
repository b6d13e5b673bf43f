package doctor

import (
	"context"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"imsafe/config"
	"imsafe/imsbox/hss"
	"imsafe/node"
	"imsafe/proto/aka"
	"imsafe/proto/sip"
)

// Subscriber is one subscriber as far as the caller could find it.
type Subscriber struct {
	Name   string // as the person who asks says it
	Config *config.Config
	View   *hss.View // nil: unknown
	// Comparison is nil if no keys were given. CompareErr is why there is none although they were.
	Comparison *hss.Comparison
	CompareErr error
	// Registration is what the node remembers of its attempts; nil with Running means none.
	Registration *node.Registration
	Running      bool
}

// ExamineUser looks at one subscriber. Nothing it finds holds a key.
func ExamineUser(s *Subscriber) []Finding {
	x := &patient{Subscriber: s, examination: &examination{ctx: context.Background(), Patient: &Patient{Config: s.Config}}}
	x.spelling()
	if s.View == nil {
		x.breaks(UserKnown, "%s is not provisioned", s.Name)
		x.attempts()
		return x.found
	}
	x.fine(UserKnown, "%s, group %s", s.View.ID, s.View.Group)
	for i := range s.View.Cards {
		x.card(&s.View.Cards[i])
	}
	x.sets()
	x.keys()
	x.attempts()
	return x.found
}

// patient is a subscriber under examination.
type patient struct {
	*Subscriber
	*examination
}

// spelling looks at the name as it was typed.
func (x *patient) spelling() {
	if wrong := misspelt(x.Name); wrong != "" {
		x.breaks(UserIdentity, "%q %s, so it is another identity than the one without", x.Name, wrong)
	}
}

// misspelt says what of an identity is there by mistake, "" if nothing is.
func misspelt(identity string) string {
	switch {
	case strings.TrimSpace(identity) != identity:
		return "begins or ends with a blank"
	case strings.HasSuffix(identity, "."):
		return "ends with a dot"
	case strings.ContainsAny(identity, " \t"):
		return "has a blank inside"
	}
	return ""
}

func (x *patient) card(c *hss.CardView) {
	x.scheme(c)
	if wrong := misspelt(c.IMPI); wrong != "" {
		x.breaks(UserIdentity, "private identity %q %s", c.IMPI, wrong)
	}
	if c.IMSI != "" {
		x.derived(c)
	}
	if scheme, _ := aka.ParseDigestAlgorithm([]byte(c.Scheme)); !scheme.AKA() {
		return
	}
	if amf, err := hex.DecodeString(c.AMF); err == nil && len(amf) == 2 {
		switch {
		case amf[0]&0x80 != 0:
			x.hint(UserAMF, "AMF %s of %s has the separation bit, which is for EPS and 5G", c.AMF, c.IMPI)
		case c.AMF != "0000":
			x.hint(UserAMF, "AMF %s of %s has bits of the operator's own: the card must be programmed for them", c.AMF, c.IMPI)
		default:
			x.fine(UserAMF, "AMF %s", c.AMF)
		}
	}
	x.sequence(c)
}

// sequence tells how far the sequence numbers are, and how far from the card they were.
func (x *patient) sequence(c *hss.CardView) {
	const most = aka.MaxSEQ
	left := most - min(c.ReservedSEQ, most)
	if left < most/100 {
		x.hint(UserSQN, "sequence numbers of %s are used below %d: %d are left of %d", c.IMPI, c.ReservedSEQ, left, uint64(most))
	} else {
		x.fine(UserSQN, "sequence numbers (SEQ) of %s below %d may have been used", c.IMPI, c.ReservedSEQ)
	}
	r := c.Resynced
	switch {
	case r == nil:
	case r.Next == 0:
		x.hint(UserSQN, "the card of %s asked for resynchronisation at %s: it had seen SEQ %d", c.IMPI, utc(r.At), r.Seen)
	case r.Next > r.Seen:
		x.hint(UserSQN, "the card of %s asked for resynchronisation at %s: it had seen SEQ %d, and the next one here was %d, too far ahead or of another index", c.IMPI, utc(r.At), r.Seen, r.Next)
	default:
		x.hint(UserSQN, "the card of %s asked for resynchronisation at %s: it had seen SEQ %d, and the next one here was %d, %d behind", c.IMPI, utc(r.At), r.Seen, r.Next, r.Seen-r.Next)
	}
}

// scheme compares how a card authenticates with the accesses that are open.
func (x *patient) scheme(c *hss.CardView) {
	ci := &x.Subscriber.Config.CI
	tls, ipsec, lab := len(ci.TLS.Listen) > 0, len(ci.IPsec.Listen) > 0, len(ci.LabUDP.Listen) > 0
	if !x.Subscriber.Config.HasRole("pcscf") {
		x.unchecked(UserScheme, "ask where the P-CSCF runs", "%s uses %s; this node has no P-CSCF, so which accesses are open is another's to say", c.IMPI, c.Scheme)
		return
	}
	missing := ""
	scheme, _ := aka.ParseDigestAlgorithm([]byte(c.Scheme))
	switch {
	case scheme == aka.AKAv1MD5 && !ipsec && !lab:
		missing = "[ci.ipsec] listens nowhere"
	case (scheme == aka.AKAv2MD5 || scheme == aka.AKAv2SHA256) && !tls && !lab && !ipsec:
		missing = "no access listens"
	case (scheme == aka.AKAv2MD5 || scheme == aka.AKAv2SHA256) && !tls && !lab:
		missing = "[ci.tls] listens nowhere, and telephones inside IPsec do AKAv1-MD5"
	case scheme == aka.SHA256 && !ci.Digest.Enabled:
		missing = "[ci.digest] is off"
	case scheme == aka.MD5 && !ci.DigestMD5.Enabled:
		missing = "[ci.digest_md5] is off"
	case !scheme.AKA() && !tls && !lab:
		missing = "[ci.tls] listens nowhere"
	}
	if missing != "" {
		x.breaks(UserScheme, "%s uses %s, and %s", c.IMPI, c.Scheme, missing)
		return
	}
	x.fine(UserScheme, "%s uses %s, for which an access is open", c.IMPI, c.Scheme)
}

// derived looks whether a card without ISIM, which makes its identities of its IMSI, finds them (TS 23.003 13.3, 13.4B).
func (x *patient) derived(c *hss.CardView) {
	want := c.IMSI + "@" + x.Subscriber.Config.HomeDomain()
	if c.IMPI != want {
		x.hint(UserIdentity, "the private identity is %s: a card without ISIM would say %s", c.IMPI, want)
		return
	}
	for _, set := range x.View.Sets {
		if slices.ContainsFunc(set.Public, func(p hss.Public) bool { return p.IMPU == "sip:"+want }) {
			x.fine(UserIdentity, "the identities that a card without ISIM derives are there")
			return
		}
	}
	x.breaks(UserIdentity, "sip:%s is not among the public identities: a card without ISIM registers with it and is refused", want)
}

// sets looks at the public identities.
func (x *patient) sets() {
	number := false
	for _, set := range x.View.Sets {
		for _, p := range set.Public {
			number = number || strings.HasPrefix(p.IMPU, "tel:")
			if wrong := misspelt(p.IMPU); wrong != "" {
				x.breaks(UserIdentity, "public identity %q %s", p.IMPU, wrong)
			} else if canonical, ok := sip.PublicIdentity([]byte(p.IMPU)); !sip.IsWildcard(p.IMPU) && (!ok || canonical != p.IMPU) {
				x.breaks(UserIdentity, "public identity %q is looked up as %q and never found", p.IMPU, canonical)
			}
			if p.Barred && p.IMPU == "sip:"+x.View.ID {
				x.fine(UserBarred, "%s is barred for everything but registering, as it should be", p.IMPU)
			} else if p.Barred {
				x.hint(UserBarred, "%s is barred", p.IMPU)
			}
		}
		if len(set.RegisteredBy) > 0 {
			x.fine(UserRegistered, "%s is %s, by %s", set.Default, set.State, strings.Join(set.RegisteredBy, ", "))
		} else {
			x.fine(UserRegistered, "%s is %s", set.Default, set.State)
		}
	}
	if x.View.Service != nil {
		return
	}
	if !number {
		x.hint(UserNumber, "no number (tel URI)")
	} else {
		x.fine(UserNumber, "it has a number")
	}
}

// keys words the verdict of a comparison.
func (x *patient) keys() {
	c := x.Comparison
	if x.CompareErr != nil {
		x.unchecked(UserKeys, "`imsafe doctor` looks at the sealing key", "the keys cannot be compared: %v", x.CompareErr)
		return
	}
	if c == nil {
		return
	}
	switch c.Verdict {
	case hss.SameKeys:
		x.fine(UserKeys, "K and %s are those that are sealed", c.Bound)
	case hss.SameK:
		x.fine(UserKeys, "K is the one that is sealed; no %s was given", c.Bound)
	case hss.OtherK:
		x.breaks(UserKeys, "K is another one than that which is sealed")
	case hss.OtherValue:
		x.breaks(UserKeys, "K is the one that is sealed, and %s is another", c.Bound)
	case hss.SealedIsOP:
		x.breaks(UserKeys, "%s is sealed in the place of %s: it was given as %s when the subscriber was made", c.Operator, c.Bound, c.Bound)
	case hss.SealedTwice:
		x.breaks(UserKeys, "%s was bound to K twice: %s was given as %s when the subscriber was made", c.Operator, c.Bound, c.Operator)
	case hss.OPGivenOPc:
		x.breaks(UserKeys, "what is sealed is made of K and the value that was given as %s: either that is %s and the subscriber is right, or %s was given as %s when it was made",
			c.Bound, c.Operator, c.Bound, c.Operator)
	case hss.OPcGivenOP:
		x.breaks(UserKeys, "the value that was given as %s is sealed as %s: either it is %s and the subscriber is right, or %s was given as %s when it was made",
			c.Operator, c.Bound, c.Bound, c.Operator, c.Bound)
	case hss.NoCard:
		x.hint(UserKeys, "%s has no card, so no keys to compare", c.IMPI)
	}
}

// attempts tells the last ones in short.
func (x *patient) attempts() {
	switch {
	case !x.Running:
		x.unchecked(UserAttempts, "ask while the node runs", "no node runs here; how registrations went is known to the node alone, while it runs")
		return
	case x.Registration == nil || len(x.Registration.Attempts) == 0:
		x.hint(UserAttempts, "nobody has tried to register as %s since the node started: no REGISTER arrives", x.Name)
		x.found[len(x.found)-1].instead("look at the address of the P-CSCF that the telephone is given (PCO, DNS), its APN, whether its carrier configuration knows the network, and the route to this node")
		return
	}
	x.strangers()
	resyncs := 0
	for _, a := range x.Registration.Attempts {
		last := a.Events[len(a.Events)-1]
		for _, e := range a.Events {
			if e.Code == "resync" {
				resyncs++
			}
		}
		level := Hint
		if last.Code == "registered" || last.Code == "deregistered" {
			level = Fine
		}
		f := x.add(UserAttempts, level, "%s from %s over %s: %s", utc(a.At), a.Source, a.Access, last.What)
		if last.Do != "" && level != Fine {
			f.instead("%s", last.Do)
		}
	}
	if resyncs > 1 {
		x.hint(UserSQN, "the card asked for resynchronisation in %d of its last attempts", resyncs)
	}
}

// strangers looks for identities that the client says and the subscriber does not have, and that differ from one of his by a trifle.
func (x *patient) strangers() {
	for _, impu := range x.Registration.IMPUs {
		if wrong := misspelt(impu); wrong != "" {
			x.breaks(UserIdentity, "the client registers %q, which %s", impu, wrong)
		}
	}
}

// utc writes a time as the log of the node writes it, without parts of a second.
func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
