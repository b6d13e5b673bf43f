package imsservice

import (
	"bytes"

	"imsafe/proto/sip"
	"imsafe/refpoint/isc"
)

// identified are the header fields in which users stand.
var identified = []sip.HeaderID{sip.HdrFrom, sip.HdrTo, sip.HdrContact, sip.HdrPAssertedIdentity, sip.HdrPServedUser, sip.HdrPCalledPartyID,
	sip.HdrHistoryInfo, sip.HdrReferTo, sip.HdrReferredBy}

// telling are fields that name users in ways of their own: who may not know them does not get these (RFC 8224 4: the PASSporT has both ends).
var telling = []sip.HeaderID{sip.HdrIdentity, sip.HdrIdentityInfo, sip.HdrReplyTo, sip.HdrCallInfo}

// veil stands between a service and the users that it may not know: it gives them pseudonyms on the way out, and takes these for them on the
// way in.
type veil struct {
	*pseudonym
	service *isc.Service
}

// veil returns that of a service, nil if the service may know everybody.
func (d *Door) veil(s *isc.Service) *veil {
	if s.May(isc.IdentityPrivate) {
		return nil
	}
	return &veil{d.ports.Pseudonyms.of(s.Name()), s}
}

// As is how a service knows a user by his public identity, a URI: by that, or by the pseudonym that he has there. For what reaches a service by another way than through
// the door.
func (p *Pseudonyms) As(s *isc.Service, identity string) string {
	if v := (&veil{p.of(s.Name()), s}); !s.May(isc.IdentityPrivate) && v.names([]byte(identity)) {
		return v.pseudonym.cover(identity)
	}
	return identity
}

// names reports whether a URI is that of a user, whom the service may not know. Its own identities, those that it may assert, and the core's
// functions are no secret from it.
func (v *veil) names(uri []byte) bool {
	if bytes.HasPrefix(uri, []byte("tel:")) {
		return !v.mayKnow(uri)
	}
	u, err := sip.ParseURI(uri)
	if err != nil || len(u.User) == 0 {
		return false
	}
	return !bytes.EqualFold(u.Host, []byte(v.service.Manifest.Host())) && !bytes.EqualFold(u.Host, []byte("anonymous.invalid")) && !v.mayKnow(uri)
}

func (v *veil) mayKnow(uri []byte) bool {
	canonical, ok := sip.PublicIdentity(uri)
	return ok && (v.service.Is([]byte(canonical)) || v.service.AssertsAs([]byte(canonical)))
}

// finds reports whether a message names a user whom the service may not know.
func (v *veil) finds(m *sip.Message) bool {
	if v == nil {
		return false
	}
	if m.IsRequest() && v.names(m.RequestURI()) {
		return true
	}
	for _, h := range identified {
		for value := range m.Values(h) {
			if v.names(uriOf(value)) {
				return true
			}
		}
	}
	return false
}

// cover puts pseudonyms in the place of users.
func (v *veil) cover(m *sip.Message) {
	if v == nil {
		return
	}
	v.each(m, func(uri []byte) (string, bool) {
		if !v.names(uri) {
			return "", false
		}
		return v.pseudonym.cover(string(uri)), true
	})
}

// uncover puts users in the place of their pseudonyms. What is no pseudonym of the service stays what it is.
func (v *veil) uncover(m *sip.Message) {
	if v != nil {
		v.each(m, func(uri []byte) (string, bool) { return v.pseudonym.uncover(string(uri)) })
	}
}

// each changes the URIs of users; a display name goes with the URI that it belongs to.
func (v *veil) each(m *sip.Message, change func(uri []byte) (string, bool)) {
	if m.IsRequest() {
		if uri, changed := change(m.RequestURI()); changed {
			m.SetRequestURI([]byte(uri))
		}
	}
	for _, h := range identified {
		m.Rewrite(h, func(value []byte) []byte {
			addr, err := sip.ParseNameAddr(value)
			if err != nil {
				return value
			}
			uri, changed := change(addr.URI)
			if !changed {
				return value
			}
			return nameAddr(uri, addr.Params)
		})
	}
}

func nameAddr(uri string, params []byte) []byte {
	out := append(append([]byte("<"), uri...), '>')
	if len(params) > 0 {
		out = append(append(out, ';'), params...)
	}
	return out
}

// reunite gives those whose pseudonym has come back what else original says of them, display names for example: the parties of the
// session, and who was asserted.
func (v *veil) reunite(m, original *sip.Message) {
	if v == nil {
		return
	}
	for _, h := range []sip.HeaderID{sip.HdrFrom, sip.HdrTo} {
		reparty(m, h, original.Get(h))
	}
	for _, h := range []sip.HeaderID{sip.HdrPAssertedIdentity, sip.HdrHistoryInfo} {
		m.Rewrite(h, func(value []byte) []byte {
			for was := range original.Values(h) {
				if sameUser(value, was) {
					return was
				}
			}
			return value
		})
	}
}

// reparty gives a party of a message the name that was is written with; the tag stays.
func reparty(m *sip.Message, h sip.HeaderID, was []byte) {
	m.Rewrite(h, func(value []byte) []byte {
		now, err := sip.ParseNameAddr(value)
		before, wrong := sip.ParseNameAddr(was)
		if err != nil || wrong != nil || !bytes.Equal(now.URI, before.URI) || len(before.Display) == 0 {
			return value
		}
		out := append([]byte(nil), was[:bytes.IndexByte(was, '<')]...)
		return append(out, nameAddr(string(now.URI), now.Params)...)
	})
}

// sameUser reports whether two values of a field name the same user in the same way, but for the display name.
func sameUser(a, b []byte) bool {
	x, err := sip.ParseNameAddr(a)
	y, wrong := sip.ParseNameAddr(b)
	return err == nil && wrong == nil && bytes.Equal(x.URI, y.URI) && bytes.Equal(x.Params, y.Params)
}
