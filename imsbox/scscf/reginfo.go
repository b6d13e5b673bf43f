package scscf

import (
	"encoding/xml"
	"slices"
	"strconv"
	"strings"
	"time"

	"imsafe/proto/sip"
)

// contactEvent is why a contact is in its state (RFC 3680 5.1).
type contactEvent string

// The events that the S-CSCF reports.
const (
	eventRegistered   contactEvent = "registered"
	eventRefreshed    contactEvent = "refreshed"
	eventExpired      contactEvent = "expired"
	eventUnregistered contactEvent = "unregistered"
	eventDeactivated  contactEvent = "deactivated" // by the network; the client shall register again at once
	eventRejected     contactEvent = "rejected"    // by the network; the client shall not
)

// change is what happened to a registration, as its watchers are told: the contacts that went, and why; the one that came or
// was refreshed is marked so.
type change struct {
	gone    []contact
	why     contactEvent // of the contacts that went
	touched string       // URI of the contact that was registered or refreshed
	how     contactEvent
	silent  bool // watchers are told nothing: it concerns an emergency registration
}

// byNetwork reports whether contacts went that had not asked for it.
func (c *change) byNetwork() bool {
	return len(c.gone) > 0 && (c.why == eventDeactivated || c.why == eventRejected)
}

// appendReginfo appends the whole state of r, and of the bindings that others have made for its identities, as a reginfo document (RFC 3680 5; TS 24.229 5.4.2.1.2): one registration for
// each identity that is not barred.
func appendReginfo(b []byte, r *registration, others []registration, version uint32, c change, now time.Duration) []byte {
	b = append(b, `<?xml version="1.0"?>`+"\n"+`<reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="`...)
	b = strconv.AppendUint(b, uint64(version), 10)
	b = append(b, `" state="full">`...)
	for i, id := range r.identities {
		if id.barred {
			continue
		}
		bound, state := r.shown(id.set), "active"
		registered := len(bound) > 0
		for o := range others {
			registered = registered || others[o].serves(id.impu)
		}
		if !registered {
			state = "terminated"
		}
		b = append(b, `<registration aor="`...)
		b = appendEscaped(b, id.aor())
		b = append(b, `" id="r`...)
		b = strconv.AppendInt(b, int64(i), 10)
		b = append(append(append(b, `" state="`...), state...), `">`...)
		if id.wildcard {
			b = append(b, `<wildcardedIdentity xmlns="urn:3gpp:ns:extRegExp:1.0">`...) // todo TS 24.229 7.10.2: recalled
			b = append(appendEscaped(b, id.impu), `</wildcardedIdentity>`...)
		}
		for _, contact := range bound {
			how := eventRegistered
			if contact.uri == c.touched {
				how = c.how
			}
			b = appendContact(b, i, contact, "active", how, r.publicGRUU(&contact, id.impu), now)
		}
		for o := range others {
			set, known := others[o].setOf(id.impu)
			for _, contact := range others[o].shown(set) {
				if known {
					b = appendContact(b, i, contact, "active", eventRegistered, others[o].publicGRUU(&contact, id.impu), now)
				}
			}
		}
		for _, contact := range c.gone {
			if contact.set != id.set || contact.emergency() {
				continue
			}
			b = appendContact(b, i, contact, "terminated", c.why, "", now)
		}
		b = append(b, `</registration>`...)
	}
	return append(b, "</reginfo>\n"...)
}

// shown returns the bindings of a set that watchers are told of: those of an emergency registration are not (TS 24.229 5.4.8.7).
func (r *registration) shown(set uint8) []contact {
	return slices.DeleteFunc(r.bound(set), func(c contact) bool { return c.emergency() })
}

// aor is how an identity stands in a document: a range as a URI, which its expression need not be.
func (id *identity) aor() string {
	if id.wildcard {
		return string(sip.AppendWildcard(nil, id.impu))
	}
	return id.impu
}

// appendContact appends one contact element. Its id must be the same in every document of a contact and another for each
// registration: it is made of both.
func appendContact(b []byte, registration int, c contact, state string, event contactEvent, gruu string, now time.Duration) []byte {
	b = append(b, `<contact id="c`...)
	b = strconv.AppendInt(b, int64(registration), 10)
	b = append(b, '-')
	b = strconv.AppendUint(b, uint64(fingerprint(c.uri)), 36)
	b = append(append(append(b, `" state="`...), state...), `" event="`...)
	b = append(append(b, event...), '"')
	left := int64(0) // RFC 3680 leaves it out where it says nothing; P-CSCFs that look for it keep such a contact
	if state == "active" {
		left = int64(max(0, (c.until-now)/time.Second))
	}
	b = append(b, ` expires="`...)
	b = append(strconv.AppendInt(b, left, 10), '"')
	b = append(b, `><uri>`...)
	b = appendEscaped(b, c.uri)
	b = append(b, `</uri>`...)
	for name, p := range eachParam([]byte(c.params)) {
		if string(name) == "q" {
			continue
		}
		_, value, _ := strings.Cut(string(p), "=")
		b = append(b, `<unknown-param name="`...)
		b = appendEscaped(b, string(name))
		b = append(b, `">`...)
		b = appendEscaped(b, value)
		b = append(b, `</unknown-param>`...)
	}
	if gruu != "" { // RFC 5628 5
		b = append(b, `<pub-gruu xmlns="urn:ietf:params:xml:ns:gruuinfo" uri="`...)
		b = append(appendEscaped(b, gruu), `"/>`...)
	}
	return append(b, `</contact>`...)
}

// fingerprint is FNV-1a of 32 bits.
func fingerprint(s string) uint32 {
	h := uint32(2166136261)
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return h
}

// appendEscaped appends s as XML text.
func appendEscaped(b []byte, s string) []byte {
	if !strings.ContainsAny(s, `<>&"'`) {
		return append(b, s...)
	}
	var w strings.Builder
	_ = xml.EscapeText(&w, []byte(s)) // a Builder does not fail
	return append(b, w.String()...)
}
