package scscf

import (
	"errors"
	"slices"

	"imsafe/hop"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
)

// findCallee returns the registrations that a called identity is served by, and the identity that stands for it in them: itself or,
// where nobody has that as his own, the wildcarded one that it falls into (TS 23.003 13.4A). known is true if a registration is known,
// though it may be over.
func (s *SCSCF) findCallee(t *shard.Task, in hop.Inbound, impu string) (all []registration, key string, known bool) {
	key = impu
	if all = s.findAll(t, key); len(all) > 0 || s.hasOwner(t, key) {
		return all, key, true
	}
	if wildcard := s.rangeOf(t, in.Msg, impu); wildcard != "" {
		key, all = wildcard, s.findAll(t, wildcard)
	}
	return all, key, len(all) > 0 || s.hasOwner(t, key)
}

// rangeOf returns the wildcarded identity that impu falls into, "" if there is none here. The I-CSCF says it in P-Profile-Key, or, by saying nothing, that
// impu is somebody's own (RFC 5002; TS 24.229 5.3.2.1); what it says must be true: impu must fit. A platform does not change it (the I-S door). The HSS is asked only where that does not tell: an
// expression that we do not read, or an I-CSCF that may not know the header.
func (s *SCSCF) rangeOf(t *shard.Task, m *sip.Message, impu string) string {
	value := m.Get(sip.HdrPProfileKey)
	if value == nil && !s.cfg.RangesUntold {
		return ""
	}
	if value != nil {
		switch w, err := sip.ParseProfileKey(value); {
		case err != nil:
		case w.Match(impu):
			return w.String()
		default:
			return ""
		}
	}
	answer, err := s.ports.Cx.ServerAssignment(t, &cx.ServerAssignmentRequest{IMPUs: []cx.IMPU{cx.IMPU(impu)},
		ServerName: s.ServerName(), Type: cx.NoAssignment, UserDataAvailable: true})
	if err != nil || answer.WildcardedIMPU == "" {
		return ""
	}
	return string(answer.WildcardedIMPU)
}

// serveUnregistered takes over a called user or service of whom no registration is known here, to serve him by his profile (TS 24.229
// 5.4.3.3; TS 29.228 6.1.2.1: UNREGISTERED_USER), and returns the answer where nothing of it takes the request: 404 for a service,
// 480 for a user. Who has no services for this never comes here: the I-CSCF is told so.
func (s *SCSCF) serveUnregistered(t *shard.Task, in hop.Inbound, impu, key string) (u user, none []device, otherwise int) {
	request := &cx.ServerAssignmentRequest{IMPUs: []cx.IMPU{cx.IMPU(impu)}, ServerName: s.ServerName(), Type: cx.UnregisteredUser}
	if key != impu {
		request.WildcardedIMPU = cx.IMPU(key)
	}
	answer, err := s.ports.Cx.ServerAssignment(t, request)
	switch {
	case errors.Is(err, cx.ErrUserUnknown):
		return user{}, nil, 404
	case err != nil || answer.Profile == nil:
		return user{}, nil, 480
	}
	otherwise = 480
	if isService(answer.Profile) {
		otherwise = 404
	}
	criteria, sound := s.compile(t, profileWith(answer.Profile, key))
	if !sound {
		return user{}, nil, 500
	}
	caller, _ := sip.PublicIdentity(in.Msg.Get(sip.HdrPAssertedIdentity))
	return user{served: impu, other: caller, filter: criteria}, nil, otherwise
}

// profileWith returns the service profile that an identity stands in; the first if the HSS sent it without.
func profileWith(p *cx.UserProfile, impu string) *cx.ServiceProfile {
	for i := range p.ServiceProfiles {
		for _, id := range p.ServiceProfiles[i].PublicIdentities {
			if string(id.Identity) == impu {
				return &p.ServiceProfiles[i]
			}
		}
	}
	if len(p.ServiceProfiles) == 0 {
		return &cx.ServiceProfile{}
	}
	return &p.ServiceProfiles[0]
}

// isService reports whether a profile is that of a public service.
func isService(p *cx.UserProfile) bool {
	return slices.ContainsFunc(p.ServiceProfiles, func(s cx.ServiceProfile) bool {
		return slices.ContainsFunc(s.PublicIdentities, func(id cx.PublicIdentity) bool { return id.Type.PSI() })
	})
}
