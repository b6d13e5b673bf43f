package main

import "imsafe/secure"

// calls are the mutants of who names a call of others, or one medium in the place of another.
var calls = []Mutant{
	{secure.CSAuthorizationGrantLeg, "clients-not-asked", "imsbox/scscf/way.go",
		`	if s.barsRoute(in, user.served) || s.intrudes(x.Task(), in) {`, `	if s.barsRoute(in, user.served) {`, []string{"CS-08"}},
	{secure.CSAuthorizationGrantLeg, "any-user-is-an-end", "imsbox/scscf/transfer.go",
		`has && len(impi) > 0 {`, `has || len(impi) > 0 {`, []string{"CS-08"}},
	{secure.CSAuthorizationGrantLeg, "join-forgotten", "imsbox/scscf/transfer.go",
		`[...]sip.HeaderID{sip.HdrReplaces, sip.HdrJoin}`, `[...]sip.HeaderID{sip.HdrReplaces}`, []string{"CS-08"}},
	{secure.CSAuthorizationGrantLeg, "anybody-sends", "imsbox/scscf/transfer.go",
		`; sound && s.isEnd(in, &c) {`, `; sound {`, []string{"CS-08"}},
	{secure.CSAuthorizationGrantLeg, "not-within-dialogs", "imsbox/scscf/way.go",
		`	if s.intrudes(x.Task(), in) {`, `	if len(in.Msg.ToTag()) == 0 && s.intrudes(x.Task(), in) {`, []string{"CS-08"}},
	{secure.CSAuthorizationGrantLeg, "platforms-may-call", "imsbox/scscf/way.go",
		`	if (begun || urgent) && s.intrudes(`, `	if urgent && s.intrudes(`, []string{"CS-08"}},
	{secure.CSAuthorizationGrantLeg, "in-the-path-is-an-end", "imsbox/scscf/transfer.go",
		`		return has && part != hostedBetween`, `		return has || part != hostedBetween`, []string{"CS-08"}},
	{secure.CSAuthorizationGrantLeg, "platforms-add-what-they-like", "imsbox/scscf/platforms.go",
		`		if !slices.Equal(takenBy(in.Msg), stay.taken) && s.intrudes(`, `		if slices.Equal(takenBy(in.Msg), stay.taken) && s.intrudes(`, []string{"CS-08"}},
	{secure.CSAvailabilityMediaShape, "payload-types-of-all-lines", "proto/rtpport/bundle.go",
		`		case !n.has(pt):`, `		case n.Relay == nil:`, []string{"CI-39"}},
	{secure.CSAvailabilityMediaShape, "one-line-for-all", "iface/clientservice/bundle.go",
		`Relay: other.fromAccess})`, `Relay: st.fromAccess})`, []string{"CI-39"}},
}
