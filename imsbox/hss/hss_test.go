package hss

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"imsafe/proto/aka"
	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/cx/cxtest"
	"imsafe/secure"
	"imsafe/store"
)

func TestOwnerCheckIsAControl(t *testing.T) {
	// ci.authorization.impu-owner: on, a foreign identity is refused by name; off (lab), the request goes on.
	bobIMPU := cx.IMPU("sip:bob@" + cxtest.Home)
	for _, on := range []bool{true, false} {
		h := newHouse(t)
		if !on {
			h.ports.Gate = secure.NewGate([]secure.ControlID{secure.CIAuthorizationIMPUOwner}, nil)
			h.crashless()
		}
		bob := subscriber()
		bob.IMPI, bob.Public = "001010000000002@"+cxtest.Home, []Public{{IMPU: string(bobIMPU)}}
		if err := errors.Join(h.Add(background, subscriber()), h.Add(background, bob)); err != nil {
			t.Fatal(err)
		}
		h.run(func(task *shard.Task) {
			_, err1 := h.UserAuthorization(task, &cx.UserAuthorizationRequest{IMPI: aliceIMPI, IMPU: bobIMPU})
			_, err2 := h.MultimediaAuth(task, &cx.MultimediaAuthRequest{IMPI: aliceIMPI, IMPU: bobIMPU, ServerName: scscfName,
				Scheme: cx.SchemeDigestAKA, Items: 1})
			_, err3 := h.ServerAssignment(task, &cx.ServerAssignmentRequest{IMPI: aliceIMPI, IMPUs: []cx.IMPU{bobIMPU},
				ServerName: scscfName, Type: cx.AssignRegistration})
			for _, err := range []error{err1, err2, err3} {
				if on && !errors.Is(err, cx.ErrIdentitiesDontMatch) || !on && err != nil {
					t.Errorf("control on: %v: %v", on, err)
				}
			}
		})
		refused, passed := h.ports.Gate.Counts(secure.CIAuthorizationIMPUOwner)
		if on && (refused != 3 || passed != 0) || !on && (refused != 0 || passed != 3) {
			t.Errorf("control on: %v: refused %d, passed %d", on, refused, passed)
		}
	}
}

func TestConfig(t *testing.T) {
	h := newHouse(t)
	for what, change := range map[string]func(*Config, *Ports){
		"no home domain":    func(c *Config, _ *Ports) { c.HomeDomains = nil },
		"a bad home domain": func(c *Config, _ *Ports) { c.HomeDomains = []string{"ims.mnc01.mcc001.3gppnetwork.org"} },
		"IND 32":            func(c *Config, _ *Ports) { c.IND = 32 },
		"a huge reserve":    func(c *Config, _ *Ports) { c.ReserveSQN = 1 << 30 },
		"no store":          func(_ *Config, p *Ports) { p.Store = nil },
		"no gate":           func(_ *Config, p *Ports) { p.Gate = nil },
		"push, no shard":    func(_ *Config, p *Ports) { p.Shard = nil },
	} {
		c, p := h.cfg, h.ports
		change(&c, &p)
		if _, err := New(c, p); err == nil {
			t.Errorf("%s accepted", what)
		}
	}
}

func TestCounts(t *testing.T) {
	h := newHouse(t)
	if err := h.Add(background, subscriber()); err != nil {
		t.Fatal(err)
	}
	h.register()
	h.run(func(task *shard.Task) {
		if _, err := h.LocationInfo(task, &cx.LocationInfoRequest{IMPU: "sip:nobody@" + cxtest.Home}); err == nil {
			t.Error("nobody is there")
		}
	})
	want := map[Count]bool{{"answers", "server_assignment", 1}: true, {"answers", "multimedia_auth", 1}: true,
		{"refusals", "location_info", 1}: true, {"vectors", "", 1}: true, {"failures", "", 0}: true}
	for _, c := range h.Counts() {
		delete(want, c)
	}
	if len(want) > 0 {
		t.Errorf("missing %v in %v", want, h.Counts())
	}
}

func TestUnregisteredServices(t *testing.T) { // TS 29.228 6.1.4.1
	spt := func(s ...cx.SPT) *cx.TriggerPoint { return &cx.TriggerPoint{SPTs: s} }
	for what, c := range map[string]struct {
		criterion cx.InitialFilterCriteria
		want      bool
	}{
		"every request":                  {cx.InitialFilterCriteria{}, true},
		"registered part only":           {cx.InitialFilterCriteria{Part: cx.PartRegistered}, false},
		"no session case":                {cx.InitialFilterCriteria{Trigger: spt(cx.SPT{Kind: cx.SPTMethod, Pattern: "INVITE"})}, true},
		"terminating registered":         {cx.InitialFilterCriteria{Trigger: spt(cx.SPT{Kind: cx.SPTSessionCase, Case: cx.TerminatingRegistered})}, false},
		"terminating unregistered":       {cx.InitialFilterCriteria{Trigger: spt(cx.SPT{Kind: cx.SPTSessionCase, Case: cx.TerminatingUnregistered})}, true},
		"not terminating unregistered":   {cx.InitialFilterCriteria{Trigger: spt(cx.SPT{Kind: cx.SPTSessionCase, Case: cx.TerminatingUnregistered, Negated: true})}, false},
		"everything but originating":     {cx.InitialFilterCriteria{Trigger: spt(cx.SPT{Kind: cx.SPTSessionCase, Case: cx.OriginatingRegistered, Negated: true})}, true},
		"unregistered part, originating": {cx.InitialFilterCriteria{Part: cx.PartUnregistered, Trigger: spt(cx.SPT{Kind: cx.SPTSessionCase, Case: cx.OriginatingUnregistered})}, false},
	} {
		if got := servesUnregistered(c.criterion); got != c.want {
			t.Errorf("%s: %v", what, got)
		}
	}
}

func sampleSubscription() *subscription {
	return &subscription{group: "staff", created: 1_700_000_000,
		privates: []private{{impi: "a@b", imsi: "001010000000001", algorithm: algorithmMilenage, scheme: aka.AKAv2SHA256,
			amf: aka.AMF{0x80, 1}, sealed: []byte("sealed")}},
		sets: []implicitSet{{services: []service{{"gold", []identity{{"sip:a@b", true, ""}, {"tel:+1", false, "Á"}}}}}}}
}

func sampleAssignment() *assignment {
	return &assignment{server: "sip:s", epoch: 9, updated: 5, sets: []setState{{registered, 3}, {unregistered, 0}},
		restore: []restoration{{1, cx.RestorationInfo{IMPI: "a@b", RegistrationTimeOut: 4, AuthScheme: "x",
			Contacts: []cx.RestorationContact{{Path: "p", Contact: "c", InitialCSeq: 2, CallID: "i",
				Subscription: &cx.SubscriptionInfo{CallID: "1", From: "2", To: "3", RecordRoute: "4", Contact: "5"}}}}}}}
}

func TestRecordsSurvive(t *testing.T) {
	same := func(what string, got, want any, err error) {
		t.Helper()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", what, got, err, want)
		}
	}
	sub, err := decodeSubscription(sampleSubscription().encode())
	same("subscription", sub, sampleSubscription(), err)
	a, err := decodeAssignment(sampleAssignment().encode())
	same("assignment", a, sampleAssignment(), err)
	seq, err := decodeSequence(sequence{1 << 42, 7, 8}.encode())
	same("sequence", seq, sequence{1 << 42, 7, 8}, err)
	group := &Group{"g", "p", []string{"n"}, &cx.ServerCapabilities{Mandatory: []uint32{1}, ServerNames: []string{"sip:x"}}, &cx.ChargingInformation{PrimaryECF: "e"}}
	g, err := decodeGroup("g", group.encode())
	same("group", g, group, err)
	profile := *voicemail()
	profile.AllowedServiceIDs, profile.SharedIFCSetIDs = []string{}, []int{4, 1 << 30}
	p, err := decodeServiceProfile(encodeServiceProfile(&profile))
	same("profile", p, profile, err)

	whole := sampleSubscription().encode()
	for n := range len(whole) {
		if _, err := decodeSubscription(whole[:n]); err == nil {
			t.Errorf("cut to %d octets it still decodes", n)
		}
	}
	if _, err := decodeSubscription(append(bytes.Clone(whole), 0)); !errors.Is(err, errRecord) {
		t.Error("with an octet more it still decodes")
	}
}

// What decodes must encode to the same octets: then no two records mean one thing, and nothing is lost when
// a record is rewritten.
func FuzzRecords(f *testing.F) {
	f.Add(byte(0), sampleSubscription().encode())
	f.Add(byte(1), sampleAssignment().encode())
	f.Add(byte(2), sequence{5, 6, 7}.encode())
	f.Add(byte(3), (&Group{Profile: "p"}).encode())
	f.Add(byte(4), encodeServiceProfile(voicemail()))
	f.Add(byte(5), encodeShared([]sharedEntry{{1000, true, ""}, {1001, false, "voicemail"}}))
	f.Add(byte(5), []byte{1, 1, 2, 0})
	f.Add(byte(6), (&consents{services: []string{"echo", "voicemail"}}).encode())
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		var again []byte
		var err error
		switch kind % 7 {
		case 0:
			var s *subscription
			if s, err = decodeSubscription(b); err == nil {
				if again = s.encode(); b[0] == userVersion {
					return // it is written in the present form from now on
				}
			}
		case 1:
			var a *assignment
			if a, err = decodeAssignment(b); err == nil {
				again = a.encode()
			}
		case 2:
			var s sequence
			if s, err = decodeSequence(b); err == nil {
				again = s.encode()
			}
		case 3:
			var g *Group
			if g, err = decodeGroup("x", b); err == nil {
				again = g.encode()
			}
		case 4:
			var s cx.ServiceProfile
			if s, err = decodeServiceProfile(b); err == nil {
				if again = encodeServiceProfile(&s); b[0] != again[0] {
					return // it is written in the present form from now on
				}
			}
		case 5:
			var list []sharedEntry
			if list, err = decodeShared(b); err == nil {
				if again = encodeShared(list); b[0] == 1 {
					return // it is written in the present form from now on
				}
			}
		case 6:
			var c *consents
			if c, err = decodeConsents(store.Record{Value: b, Version: 1}); err == nil {
				again = c.encode()
			}
		}
		if err == nil && !bytes.Equal(again, b) {
			t.Errorf("kind %d: %x becomes %x", kind%7, b, again)
		}
	})
}
