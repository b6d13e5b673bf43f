package isc

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Scope is one right. The zero value is none.
type Scope uint8

// The scopes. What none of them says, a service may not do.
const (
	SessionProxy      Scope = iota + 1 // stay in the path of a session
	SessionRedirect                    // change its target, and have one end of it call elsewhere (RFC 3515)
	SessionAnswer                      // be its far end
	SessionOriginate                   // start dialogs, as its own public service identity or as one of its users
	SessionFork                        // make more than one branch
	IdentityPrivacy                    // withhold the identity of a user (TS 24.607 4.5.2)
	IdentityPrivate                    // see identities, where others see pseudonyms
	IdentityAssert                     // assert other identities: those of its patterns
	MediaSend                          // send media to a client
	MediaReceive                       // receive them
	MediaRecord                        // and keep them, with tone and consent
	MediaMix                           // mix those of several
	MessageReceive                     // be given messages
	MessageSend                        // send them
	MessageStore                       // keep them
	MWINotify                          // tell of waiting messages (RFC 3842)
	PresenceWatch                      // subscribe to the presence of its users
	PresenceCompose                    // publish it
	DataSimservs                       // the documents that users keep by XCAP, one by one
	DataResourceLists                  // resource-lists
	DataRLSServices                    // rls-services
	DataPresRules                      // pres-rules
	DataPIDF                           // pidf-manipulation
	PageServe                          // serve pages to clients, by tokens of the core
	scopeCount
)

var scopeNames = [scopeCount]string{
	"", "session.proxy", "session.redirect", "session.answer", "session.originate", "session.fork",
	"identity.privacy", "identity.private", "identity.assert", "media.send", "media.receive", "media.record", "media.mix",
	"message.receive", "message.send", "message.store", "mwi.notify", "presence.watch", "presence.compose",
	"data.simservs", "data.resource-lists", "data.rls-services", "data.pres-rules", "data.pidf-manipulation",
	"page.serve",
}

// String returns the name as it stands in a manifest.
func (s Scope) String() string {
	if s == 0 || s >= scopeCount {
		return "none"
	}
	return scopeNames[s]
}

// Scopes is a set of scopes. The zero value is empty: it grants nothing. It is a value and is not changed.
type Scopes struct {
	bits    uint64
	asserts []Pattern // in order, each once
}

// Has says whether the set has a scope.
func (s Scopes) Has(scope Scope) bool {
	return scope < scopeCount && s.bits>>scope&1 == 1 && scope != 0
}

// Asserts says whether a pattern of the set matches an identity in canonical form. It does not allocate.
func (s Scopes) Asserts(identity []byte) bool {
	for i := range s.asserts {
		if s.asserts[i].Match(identity) {
			return true
		}
	}
	return false
}

// ParseScopes makes a set of names as they stand in a manifest. A name may stand once; ParseScopes of List returns the same set.
func ParseScopes(names []string) (Scopes, error) {
	var s Scopes
	for _, name := range names {
		scope, pattern, err := parseScope(name)
		switch {
		case err != nil:
			return Scopes{}, err
		case scope != IdentityAssert && s.Has(scope), scope == IdentityAssert && slices.Contains(s.asserts, pattern):
			return Scopes{}, fmt.Errorf("isc: scope %q stands twice", name)
		}
		s.bits |= 1 << scope
		if scope == IdentityAssert {
			s.asserts = append(s.asserts, pattern)
		}
	}
	slices.SortFunc(s.asserts, func(a, b Pattern) int { return strings.Compare(a.String(), b.String()) })
	return s, nil
}

func parseScope(name string) (Scope, Pattern, error) {
	if text, ok := strings.CutPrefix(name, IdentityAssert.String()+":"); ok {
		p, err := ParsePattern(text)
		return IdentityAssert, p, err
	}
	i := slices.Index(scopeNames[1:], name)
	switch {
	case i < 0:
		return 0, Pattern{}, fmt.Errorf("isc: there is no scope %q; there are %s", name, strings.Join(scopeNames[1:], ", "))
	case Scope(i+1) == IdentityAssert:
		return 0, Pattern{}, fmt.Errorf("isc: %s must say whom: identity.assert:sip:*@example.org", name)
	}
	return Scope(i + 1), Pattern{}, nil
}

// List returns the names, in the order of the constants, patterns by their text: the canonical form.
func (s Scopes) List() []string {
	names := make([]string, 0, 8)
	for scope := Scope(1); scope < scopeCount; scope++ {
		if scope == IdentityAssert {
			for _, p := range s.asserts {
				names = append(names, scope.String()+":"+p.String())
			}
		} else if s.Has(scope) {
			names = append(names, scope.String())
		}
	}
	return names
}

// String lists the names, with commas.
func (s Scopes) String() string { return strings.Join(s.List(), ",") }

// Without returns the set without another: with identity.assert, without the patterns that both have.
func (s Scopes) Without(other Scopes) Scopes {
	rest := Scopes{bits: s.bits &^ other.bits}
	for _, p := range s.asserts {
		if !slices.Contains(other.asserts, p) {
			rest.asserts = append(rest.asserts, p)
		}
	}
	rest.bits &^= 1 << IdentityAssert
	if len(rest.asserts) > 0 {
		rest.bits |= 1 << IdentityAssert
	}
	return rest
}

// Within says whether another set has all of this one. Patterns are compared as texts: a narrower pattern is another one.
func (s Scopes) Within(other Scopes) bool { return s.Without(other).bits == 0 }

// Pattern is a set of identities: a SIP or tel URI in canonical form with at most one asterisk, which stands for any letters
// of the user part or digits of the number, one at least. It is no regular expression: a person can read what it allows, and
// it matches in one pass.
type Pattern struct {
	before, after string
	wild          bool
}

// An asterisk is in the user part, or ends a number. The host is always whole: a service asserts for no other network by mistake.
var patternForm = regexp.MustCompile(`^(sips?:[a-z0-9+._-]*\*?[a-z0-9+._-]*@[a-z0-9.-]+|tel:\+[0-9]+\*?)$`)

// ParsePattern reads a pattern such as sip:*@example.org or tel:+4930*.
func ParsePattern(text string) (Pattern, error) {
	if len(text) > maxPattern || !patternForm.MatchString(text) || strings.Contains(text, ":@") {
		return Pattern{}, fmt.Errorf("isc: %.80q is no pattern of identities: write a URI in lower case with at most one * in its user part, like sip:*@example.org or tel:+4930*", text)
	}
	before, after, wild := strings.Cut(text, "*")
	return Pattern{before, after, wild}, nil
}

// String returns the text.
func (p Pattern) String() string {
	if p.wild {
		return p.before + "*" + p.after
	}
	return p.before
}

// Match says whether an identity in canonical form is of the set. It does not allocate.
func (p Pattern) Match(identity []byte) bool {
	if !p.wild {
		return string(identity) == p.before
	}
	n := len(identity) - len(p.after)
	if n <= len(p.before) || string(identity[:len(p.before)]) != p.before || string(identity[n:]) != p.after {
		return false
	}
	// What stands for the asterisk may not bring a host, parameters or a password with it.
	return !bytes.ContainsAny(identity[len(p.before):n], "@:;?%<> ")
}
