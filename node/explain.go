package node

import (
	"fmt"
	"strings"
	"time"

	"imsafe/iface/clientims"
	"imsafe/proto/secagree"
	"imsafe/secure"
)

// happening says in plain words what a chapter tells, and what to do about it.
func happening(c *clientims.Chapter) Happening {
	switch c.Step {
	case clientims.StepRefused:
		return refused(c)
	case clientims.StepAnswered:
		return answered(c)
	case clientims.StepSilence:
		return silence(c)
	}
	return arrived(c)
}

// arrived tells of a REGISTER.
func arrived(c *clientims.Chapter) Happening {
	what, code := "a REGISTER came in clear", ""
	switch {
	case c.Generation == secure.GenerationNew:
		what = "a REGISTER came over the new security associations"
	case c.Generation != secure.GenerationNone:
		what = "a REGISTER came over its security associations"
	case c.Access == "tls":
		what = "a REGISTER came over TLS"
	}
	switch {
	case c.Resync:
		code = "resync"
		what += ", and says that the card has seen a later sequence number (AUTS)"
	case c.Answers:
		what += ", with the answer to the challenge"
	case c.Leaves:
		what += ", to end the registration"
	}
	if c.BehindNAT {
		what += "; its Via has another address than its source: there is a NAT in between"
	}
	if c.Offered != nil && !c.Answers {
		var space [256]byte
		what = string(appendOffers(append(append(space[:0], what...), "; it offers "...), c.Offered))
	}
	return Happening{What: what, Code: code}
}

// appendOffers lists the pairs of algorithms of a Security-Client.
func appendOffers(what []byte, l *secagree.List) []byte {
	for i := range l.Entries {
		if i > 0 {
			what = append(what, ", "...)
		}
		e := &l.Entries[i]
		if e.Mechanism != secagree.IPsec3GPP {
			what = append(what, e.Mechanism...)
			continue
		}
		what = append(append(append(what, e.Alg...), '/'), e.EAlg...)
		if e.Mode != secagree.Transport {
			what = append(append(what, ' '), e.Mode...)
		}
	}
	return what
}

// What to do about each reason for which the door refuses an offer.
var advice = map[secagree.Reason]string{
	secagree.ErrRequired:      "switch IPsec on in the telephone's IMS settings (carrier configuration); a client without it belongs to the TLS access",
	secagree.ErrNoTunnel:      "the telephone cannot do ESP in UDP: take the NAT between the packet gateway and this node away (no masquerading on that route)",
	secagree.ErrPortInUse:     "the telephone takes other ports and tries again; if it does not, wait until its former registration is over",
	secagree.ErrClientChanged: "somebody between telephone and network has changed what the telephone offered, or the telephone is broken: capture on both sides and compare",
	secagree.ErrVerifyChanged: "somebody between telephone and network has changed what the network offered, or the telephone is broken: capture on both sides and compare",
	secagree.ErrClientMissing: "the telephone does not repeat Security-Client under protection (TS 33.203 7.2): its software has to",
	secagree.ErrVerifyMissing: "the telephone does not send Security-Verify (RFC 3329 2.3.1): its software has to",
}

// refused tells of a refusal of the door.
func refused(c *clientims.Chapter) Happening {
	h := Happening{Code: c.Reason, What: fmt.Sprintf("refused with %d: %s", c.Status, strings.TrimPrefix(c.Reason, "secagree: "))}
	if c.Status <= 0 {
		h.What = "dropped without an answer: " + strings.TrimPrefix(c.Reason, "secagree: ")
	}
	reason := secagree.Reason(strings.TrimPrefix(c.Reason, "secagree: "))
	h.Do = advice[reason]
	if reason == secagree.ErrNothingAcceptable && c.Offered != nil {
		h.Do = wouldDo(c.Offered)
	}
	if h.Do == "" && c.Status == 400 {
		h.Do = "the telephone's Security-Client cannot be meant: its software has to change"
	}
	return h
}

// wouldDo says which profile, or which way of ESP,, if any, has something of what a client offers.
func wouldDo(offered *secagree.List) string {
	if _, err := secagree.Choose(offered, secagree.Strict(), secagree.Transport); err == nil {
		return "the telephone offers ESP on IP alone, and this node has none: let it have a raw socket (CAP_NET_RAW; esp = \"on\" in [ci.ipsec] says so at start)"
	}
	for _, p := range []secagree.Profile{secagree.Handset(), secagree.Legacy()} {
		if _, err := secagree.Choose(offered, p, secagree.Transport, secagree.UDPTunnel); err == nil {
			return fmt.Sprintf("profile = %q in [ci.ipsec] has it; that is a weakening, which is logged and shown", p.Name)
		}
	}
	return "no profile has any of it: name the device in [[ci.ipsec.exception]] with an owner and an end, or change the telephone"
}

// silence tells of associations over which nothing came.
func silence(c *clientims.Chapter) Happening {
	if c.BadICV > 0 {
		return Happening{Code: "keys-differ", What: fmt.Sprintf("%d packets came over the new security associations, and none opened: the keys differ", c.BadICV),
			Do: "compare K and OPc of the subscriber with the card's; the common mistake is OP given as OPc"}
	}
	return Happening{Code: "no-answer", What: "nothing came over the new security associations",
		Do: "either the card refused the challenge (K, OPc or AMF are not the card's), or ESP does not get here: let IP protocol 50, or UDP port 4500, through on the way from the packet gateway"}
}

// unanswered tells of an attempt that ends with a challenge, where no security associations could tell of silence (TS 24.229 5.4.1.2.1: the S-CSCF waits for
// reg-await-auth, and nobody is told when that has passed).
func unanswered(a *Attempt, now time.Time) (Happening, bool) {
	if a.Access == secagree.IPsec3GPP || len(a.Events) == 0 || a.Events[len(a.Events)-1].Code != codeChallenged {
		return Happening{}, false
	}
	return Happening{At: now, Code: "no-answer", What: fmt.Sprintf("by now: no answer to the challenge has come for %v", now.Sub(a.Events[len(a.Events)-1].At).Round(time.Second)),
		Do: "if that is long: the card refused the challenge (K, OPc or AMF are not the card's; `imsafe doctor user --k-file` compares them), or the client has gone"}, true
}

// codeChallenged is the code of a challenge in the story of a registration.
const codeChallenged = "challenged"

// answered tells of the core's answer.
func answered(c *clientims.Chapter) Happening {
	switch {
	case c.Status == 401 && c.Chosen.Mechanism != "":
		return Happening{Code: codeChallenged, What: "challenged; " + c.Chosen.Alg + "/" + c.Chosen.EAlg + " is chosen"}
	case c.Status == 401:
		return Happening{Code: codeChallenged, What: "challenged"}
	case c.Status == 200 && c.Leaves:
		return Happening{Code: "deregistered", What: "the registration has ended"}
	case c.Status == 200:
		return Happening{Code: "registered", What: "registered"}
	}
	return Happening{Code: fmt.Sprint(c.Status), What: fmt.Sprintf("answered %d", c.Status), Do: statusAdvice[c.Status]}
}

var statusAdvice = map[int]string{
	400: "the REGISTER is malformed, or names no private identity",
	403: "the subscriber is unknown, barred, does not own the identity, or its answer was wrong: `imsafe user show` tells what the network knows",
	404: "the identity is of no subscriber here",
	423: "the client wishes a shorter registration than min_expires: it will ask again with what it was told",
	480: "the subscriber's registration is not possible at the moment",
	500: "the node could not do it: its log says why",
	503: "the node has too much to do, or its disk failed: its log says why",
	504: "the HSS did not answer",
}

// What the functions' refusals mean, by their reason.
var meant = map[string][2]string{
	"response-mismatch":     {"the answer to the challenge is wrong", "compare K and OPc of the subscriber with the card's; the common mistake is OP given as OPc"},
	"path-not-protected":    {"the answer to the challenge did not come over the security associations that were made for it", "the telephone has to answer inside IPsec; a client over TLS needs the scheme AKAv2"},
	"identities-dont-match": {"the public identity is not of this private identity", "add it to the subscriber, or correct it on the card"},
	"failed-authentication": {"the registration that was there stays", ""},
	"bid-down":              {"what was offered in clear is not what was repeated under protection: somebody may have changed it on its way", "capture on both sides and compare"},
	"offer":                 {"what the client offers is weaker than the profile allows", ""},
	"challenge": {"too many challenges were asked for in this name from there: this one drew none",
		"if it is the client, it begins anew too often: look at why its last registrations failed; if it is somebody else, the client is not touched by it; challenge in [ci.budget] is the limit"},
	"resync": {"the card asked for a resynchronisation too often",
		"the sequence number of the card and that of the network do not meet: another network element may draw vectors of the same card with the same IND"},
	"crowd":    {"very many begin to register in this name: those of the same networks make room for each other, and nobody else's attempt does", ""},
	"unproven": {"the associations that the client has stand until it has proven itself anew", ""},
}

// refusal tells of a refusal by a function.
func refusal(e secure.Event) Happening {
	h := Happening{Code: e.Control.String() + " " + e.Reason, What: e.Reason}
	if m, known := meant[e.Reason]; known {
		h.What, h.Do = m[0], m[1]
	}
	return h
}
