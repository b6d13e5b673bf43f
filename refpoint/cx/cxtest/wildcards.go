package cxtest

import (
	"errors"
	"reflect"

	"imsafe/refpoint/cx"
)

// located asks where an identity is served.
func (w *world) located(what string, impu cx.IMPU) *cx.LocationInfoAnswer {
	w.t.Helper()
	a, err := w.lir(cx.LocationInfoRequest{IMPU: impu})
	if err != nil {
		w.t.Errorf("%s: %v", what, err)
		return &cx.LocationInfoAnswer{}
	}
	return a
}

// TS 29.228 6.1.1.1, 6.1.2.1, 6.1.4.1; TS 23.003 13.4A; TS 23.228 5.2.1a: a range is registered with the distinct identities of its set.
func wildcardedIMPU(w *world) {
	const inRange, number, outside = cx.IMPU("sip:pbx-471@" + Home), cx.IMPU("tel:+1555777123"), cx.IMPU("sip:pbx-4711@" + Home)
	w.wantLIRError("nobody is registered", cx.LocationInfoRequest{IMPU: inRange}, cx.ErrIdentityNotRegistered)
	w.wantLIRError("outside of the range", cx.LocationInfoRequest{IMPU: outside}, cx.ErrUserUnknown)
	for _, impu := range []cx.IMPU{inRange, pbxRange} {
		w.wantUARError("registration by a range", authorize(exchange, impu), cx.ErrUserUnknown)
		if _, err := w.mar(challenge(exchange, impu)); !errors.Is(err, cx.ErrUserUnknown) {
			w.t.Errorf("a challenge for %s: %v", impu, err)
		}
		if _, err := w.sar(assign(cx.AssignRegistration, exchange, impu)); !errors.Is(err, cx.ErrUserUnknown) {
			w.t.Errorf("registration of %s: %v", impu, err)
		}
	}
	w.wantUARError("somebody else, by a range", authorize(bob, inRange), cx.ErrUserUnknown)

	a := w.register(exchange, pilotSIP)
	w.wantProfile("the pilot's set", a, exchange, subscribers()[4].Sets[0])
	if a.Profile != nil {
		for _, p := range a.Profile.ServiceProfiles[0].PublicIdentities {
			ranged := p.Identity == pbxRange || p.Identity == pbxTel
			if ranged != (p.Type == cx.WildcardedIMPU) || ranged && p.WildcardedIMPU != p.Identity || p.Type.PSI() {
				w.t.Errorf("in the profile: %+v", p)
			}
		}
	}
	for impu, wildcard := range map[cx.IMPU]cx.IMPU{inRange: pbxRange, number: pbxTel, pilotSIP: ""} {
		if l := w.located(string(impu), impu); l.ServerName != scscf || l.WildcardedIMPU != wildcard || l.PSIDirectRouting {
			w.t.Errorf("%s: %+v, want %q", impu, l, wildcard)
		}
	}
	if l := w.located("a distinct identity comes before a range", deskSIP); l.Result != cx.ResultUnregisteredService || l.WildcardedIMPU != "" {
		w.t.Errorf("a distinct identity comes before a range: %+v", l)
	}

	fetch := w.wantSAR("the profile by an identity of the range", assign(cx.NoAssignment, "", inRange), cx.ResultSuccess)
	if fetch.WildcardedIMPU != pbxRange || fetch.IMPI != exchange {
		w.t.Errorf("the profile by an identity of the range: %+v", fetch)
	}
	told := assign(cx.NoAssignment, exchange, inRange)
	told.WildcardedIMPU = pbxRange
	if fetch := w.wantSAR("with the range named", told, cx.ResultSuccess); fetch.WildcardedIMPU != pbxRange {
		w.t.Errorf("with the range named: %+v", fetch)
	}
	w.wantSAR("the pilot leaves", assign(cx.UserDeregistration, exchange, pilotSIP), cx.ResultSuccess)
	w.wantLIRError("the range leaves with him", cx.LocationInfoRequest{IMPU: inRange}, cx.ErrIdentityNotRegistered)
	if w.Crash != nil {
		w.Crash()
		w.register(exchange, pilotSIP)
		if l := w.located("after a crash", inRange); l.WildcardedIMPU != pbxRange {
			w.t.Errorf("after a crash: %+v", l)
		}
	}
}

// TS 29.228 6.1.4.1, 6.1.2.1; TS 23.228 5.4.12, 5.7.6.
func publicServiceIdentity(w *world) {
	const room, red = cx.IMPU("sip:room-5@" + Home), cx.IMPU("sip:room-red-1@" + Home)
	for _, c := range []struct{ impu, wildcard cx.IMPU }{{chatPSI, ""}, {room, roomPSI}, {red, redPSI}} {
		l := w.located("nobody serves it", c.impu)
		if l.Result != cx.ResultUnregisteredService || l.ServerName != "" || l.WildcardedIMPU != c.wildcard ||
			!reflect.DeepEqual(l.Capabilities, subscribers()[5].Capabilities) {
			w.t.Errorf("%s, nobody serves it: %+v", c.impu, l)
		}
	}
	w.wantUARError("a service does not register", authorize(chat, chatPSI), cx.ErrUserUnknown)
	if _, err := w.mar(challenge(chat, chatPSI)); !errors.Is(err, cx.ErrUserUnknown) {
		w.t.Errorf("a challenge for a service: %v", err)
	}
	if _, err := w.sar(assign(cx.AssignRegistration, chat, chatPSI)); !errors.Is(err, cx.ErrUserUnknown) {
		w.t.Errorf("registration of a service: %v", err)
	}

	a := w.wantSAR("an S-CSCF takes it", assign(cx.UnregisteredUser, "", room), cx.ResultSuccess)
	w.wantProfile("an S-CSCF takes it", a, chat, subscribers()[5].Sets[0])
	if a.WildcardedIMPU != roomPSI || a.IMPI != chat {
		w.t.Errorf("an S-CSCF takes it: %+v", a)
	}
	if p := a.Profile; p != nil {
		distinct, ranged := p.ServiceProfiles[0].PublicIdentities[0], p.ServiceProfiles[0].PublicIdentities[1]
		if distinct.Type != cx.DistinctPSI || ranged.Type != cx.WildcardedPSI || ranged.WildcardedPSI != roomPSI || len(p.ServiceProfiles[0].Criteria) == 0 {
			w.t.Errorf("the profile of a service: %+v", p)
		}
	}
	if l := w.located("served", room); l.Result != cx.ResultSuccess || l.ServerName != scscf || l.WildcardedIMPU != roomPSI {
		w.t.Errorf("served: %+v", l)
	}
	if l := w.located("the other set goes to the same S-CSCF", red); l.ServerName != scscf {
		w.t.Errorf("the other set: %+v", l)
	}
	w.wantSAR("and gives it up", assign(cx.TimeoutDeregistration, "", room), cx.ResultSuccess)
	if l := w.located("given up", room); l.Result != cx.ResultUnregisteredService {
		w.t.Errorf("given up: %+v", l)
	}

	if l := w.located("direct", "sip:lobby-3@"+Home); l.Result != cx.ResultSuccess || l.ServerName != lobbyAS || !l.PSIDirectRouting || l.WildcardedIMPU != lobbyPSI {
		w.t.Errorf("direct: %+v", l)
	}
}
