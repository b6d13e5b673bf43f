package hss

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"imsafe/proto/aka"
	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/cx/cxtest"
	"imsafe/store"
)

var background = context.Background()

func TestMistakesAreNamed(t *testing.T) {
	h := newHouse(t)
	if err := h.Add(background, subscriber()); err != nil {
		t.Fatalf("the sound twin of the cases below: %v", err)
	}
	if err := h.Remove(background, string(aliceIMPI)); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		field  string
		change func(*Subscriber)
	}{
		"no private identity":            {"impi", func(s *Subscriber) { s.IMPI = "" }},
		"trailing dot":                   {"impi", func(s *Subscriber) { s.IMPI += "." }},
		"trailing space":                 {"impi", func(s *Subscriber) { s.IMPI += " " }},
		"leading tab":                    {"impi", func(s *Subscriber) { s.IMPI = "\t" + s.IMPI }},
		"a URI as private identity":      {"impi", func(s *Subscriber) { s.IMPI = "sip:" + s.IMPI }},
		"no realm":                       {"impi", func(s *Subscriber) { s.IMPI = "001010000000001" }},
		"two realms":                     {"impi", func(s *Subscriber) { s.IMPI = "a@b@" + cxtest.Home }},
		"a foreign realm":                {"impi", func(s *Subscriber) { s.IMPI = "a@example.org" }},
		"a realm in capitals":            {"impi", func(s *Subscriber) { s.IMPI = "a@" + strings.ToUpper(cxtest.Home) }},
		"MNC 1 for 001":                  {"impi", func(s *Subscriber) { s.IMPI = "001010000000001@ims.mnc1.mcc001.3gppnetwork.org" }},
		"IMSI of another network":        {"impi", func(s *Subscriber) { s.IMPI = "262010000000001@" + cxtest.Home }},
		"IMSI with a letter":             {"imsi", func(s *Subscriber) { s.IMSI = "00101000000000l" }},
		"a letter beyond ASCII":          {"impi", func(s *Subscriber) { s.IMPI = "älice@" + cxtest.Home }},
		"no public identity":             {"public", func(s *Subscriber) { s.Public = nil }},
		"an empty further set":           {"sets[0]", func(s *Subscriber) { s.Sets = [][]Public{{}} }},
		"only barred identities":         {"public", func(s *Subscriber) { s.Public = s.Public[:1] }},
		"only a number":                  {"public", func(s *Subscriber) { s.Public = s.Public[2:] }},
		"public identity with a dot":     {"public[1].impu", func(s *Subscriber) { s.Public[1].IMPU += "." }},
		"public identity without scheme": {"public[1].impu", func(s *Subscriber) { s.Public[1].IMPU = "alice@" + cxtest.Home }},
		"public identity with port":      {"public[1].impu", func(s *Subscriber) { s.Public[1].IMPU += ":5060" }},
		"public identity with parameter": {"public[1].impu", func(s *Subscriber) { s.Public[1].IMPU += ";user=phone" }},
		"public identity, foreign":       {"public[1].impu", func(s *Subscriber) { s.Public[1].IMPU = "sip:alice@example.org" }},
		"public identity without user":   {"public[1].impu", func(s *Subscriber) { s.Public[1].IMPU = "sip:" + cxtest.Home }},
		"sips":                           {"public[1].impu", func(s *Subscriber) { s.Public[1].IMPU = "sips:alice@" + cxtest.Home }},
		"a number with dashes":           {"public[2].impu", func(s *Subscriber) { s.Public[2].IMPU = "tel:+1-555-0001" }},
		"a local number":                 {"public[2].impu", func(s *Subscriber) { s.Public[2].IMPU = "tel:5550001" }},
		"a number too long":              {"public[2].impu", func(s *Subscriber) { s.Public[2].IMPU = "tel:+1234567890123456" }},
		"a wildcard without an end":      {"public[1].impu", func(s *Subscriber) { s.Public[1].IMPU = "sip:alice!.*@" + cxtest.Home }},
		"a wildcard, not an expression":  {"public[1].impu", func(s *Subscriber) { s.Public[1].IMPU = "sip:alice!(!@" + cxtest.Home }},
		"a wildcard, foreign":            {"public[1].impu", func(s *Subscriber) { s.Public[1].IMPU = "sip:alice!.*!@example.org" }},
		"a wildcard in capitals":         {"public[1].impu", func(s *Subscriber) { s.Public[1].IMPU = "SIP:alice!.*!@" + cxtest.Home }},
		"a wildcard with a parameter":    {"public[1].impu", func(s *Subscriber) { s.Public[1].IMPU = "sip:alice!.*!@" + cxtest.Home + ";x" }},
		"every number":                   {"public[1].impu", func(s *Subscriber) { s.Public[1].IMPU = "tel:+!.*!" }},
		"nothing but a wildcard":         {"public", func(s *Subscriber) { s.Public = []Public{{IMPU: "sip:alice!.*!@" + cxtest.Home}} }},
		"a service with keys":            {"k", func(s *Subscriber) { s.Service = &Service{} }},
		"a service on no server":         {"service.server", func(s *Subscriber) { *s = chatService(); s.Service.Server = "as.example" }},
		"a service with a second card":   {"more_cards[0].impi", func(s *Subscriber) { *s = chatService(); s.MoreCards = []Card{{IMPI: "x@" + cxtest.Home}} }},
		"the same identity twice":        {"public[2].impu", func(s *Subscriber) { s.Public[2].IMPU = s.Public[1].IMPU }},
		"the same in two sets":           {"sets[0][0].impu", func(s *Subscriber) { s.Sets = [][]Public{{s.Public[1]}} }},
		"line break in a display name":   {"public[1].display_name", func(s *Subscriber) { s.Public[1].DisplayName = "Alice\r\nVia: x" }},
		"profile name with a slash":      {"public[1].profile", func(s *Subscriber) { s.Public[1].Profile = "../x" }},
		"a profile that is not there":    {"profile", func(s *Subscriber) { s.Public[1].Profile = "gold" }},
		"a group that is not there":      {"group", func(s *Subscriber) { s.Group = "staff" }},
		"no K":                           {"k", func(s *Subscriber) { s.K = "" }},
		"K too short":                    {"k", func(s *Subscriber) { s.K = s.K[:31] }},
		"K of 256 bits":                  {"k", func(s *Subscriber) { s.K += s.K }},
		"K with a space":                 {"k", func(s *Subscriber) { s.K = " " + s.K[1:] }},
		"K with an O":                    {"k", func(s *Subscriber) { s.K = "O" + s.K[1:] }},
		"K of zeros":                     {"k", func(s *Subscriber) { s.K = Secret(strings.Repeat("0", 32)) }},
		"neither OP nor OPc":             {"opc", func(s *Subscriber) { s.OPc = "" }},
		"both OP and OPc":                {"opc", func(s *Subscriber) { s.OP = s.OPc }},
		"OPc too long":                   {"opc", func(s *Subscriber) { s.OPc += "0" }},
		"OP too short":                   {"op", func(s *Subscriber) { s.OPc, s.OP = "", "12" }},
		"K as OPc":                       {"opc", func(s *Subscriber) { s.OPc = s.K }},
		"AMF of 3 digits":                {"amf", func(s *Subscriber) { s.AMF = "800" }},
		"AMF that is not hexadecimal":    {"amf", func(s *Subscriber) { s.AMF = "80zz" }},
		"an unknown algorithm":           {"algorithm", func(s *Subscriber) { s.Algorithm = "comp128" }},
		"a password scheme":              {"scheme", func(s *Subscriber) { s.Scheme = "MD5" }},
		"a sequence number too large":    {"seq", func(s *Subscriber) { s.SEQ = 1 << 43 }},
		"the second card, no K":          {"more_cards[0].k", func(s *Subscriber) { s.MoreCards = []Card{{IMPI: "x@" + cxtest.Home, OPc: s.OPc}} }},
		"the same card twice":            {"more_cards[0].impi", func(s *Subscriber) { s.MoreCards = []Card{s.Card} }},
		"OP given as OPc":                {"opc", func(s *Subscriber) { s.OPc = "cdc202d5123e20f62b6d676ac72cb318"; s.Check = knownAnswer() }},
		"OPc given as OP":                {"op", func(s *Subscriber) { s.OP, s.OPc, s.Check = s.OPc, "", knownAnswer() }},
		"another K":                      {"check", func(s *Subscriber) { s.K = "00" + s.K[2:]; s.Check = knownAnswer() }},
		"a known answer of odd length":   {"check", func(s *Subscriber) { s.Check = &KnownAnswer{"00", "a54211d5e3ba50bf"} }},
	} {
		s := subscriber()
		c.change(s)
		err := h.Add(background, s)
		h.wantMistake(what, err, c.field)
		if err != nil && (strings.Contains(err.Error(), string(subscriber().K[2:10])) || strings.Contains(err.Error(), string(subscriber().OPc[2:10]))) {
			t.Errorf("%s: the error shows the key: %v", what, err)
		}
	}
	if _, err := h.Show(string(aliceIMPI)); !errors.Is(err, ErrUnknown) {
		t.Errorf("a refused subscriber was stored: %v", err)
	}
	s := subscriber()
	s.Check = knownAnswer()
	if err := h.Add(background, s); err != nil {
		t.Errorf("right known answer: %v", err)
	}
	long := &Subscriber{Card: Card{IMPI: "x", K: "1", OPc: "2", AMF: "3", Scheme: "4"}}
	if err := h.Add(background, long); err == nil || !strings.Contains(err.Error(), "more") {
		t.Errorf("many mistakes in one line: %v", err)
	}
}

// knownAnswer is f2 of TS 35.208 4.3.1, the keys of subscriber.
func knownAnswer() *KnownAnswer {
	return &KnownAnswer{RAND: "23553cbe9637a89d218ae64dae47bf35", RES: "a54211d5e3ba50bf"}
}

func TestIdentitiesBelongToOne(t *testing.T) {
	h := newHouse(t)
	if err := h.Add(background, subscriber()); err != nil {
		t.Fatal(err)
	}
	h.wantMistake("the same subscriber again", h.Add(background, subscriber()), "impi")
	second := subscriber()
	second.IMPI = "001010000000002@" + cxtest.Home
	err := h.Add(background, second)
	h.wantMistake("another with the same public identities", err, "public")
	if !strings.Contains(err.Error(), string(aliceIMPI)) {
		t.Errorf("%v does not say who has them", err)
	}

	// Many at once: exactly one gets the name.
	var wg sync.WaitGroup
	var mu sync.Mutex
	added := 0
	for i := range 8 {
		wg.Go(func() {
			s := subscriber()
			s.IMPI = fmt.Sprintf("00101000000010%d@%s", i, cxtest.Home)
			s.Public = []Public{{IMPU: "sip:contested@" + cxtest.Home}}
			err := h.Add(background, s)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				added++
			} else {
				h.wantMistake("lost the race", err, "public")
			}
		})
	}
	wg.Wait()
	if added != 1 {
		t.Errorf("%d subscribers have the same identity", added)
	}
}

func TestShowHasNoKeys(t *testing.T) {
	h := newHouse(t)
	s := subscriber()
	s.SEQ = 5000
	if err := h.Add(background, s); err != nil {
		t.Fatal(err)
	}
	h.scscf.name = scscfName
	h.register()
	for _, name := range []string{string(aliceIMPI), string(aliceIMPU), "tel:+15550001"} {
		v, err := h.Show(name)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{string(s.K), string(s.OPc), `"k"`, "opc"} {
			if strings.Contains(strings.ToLower(string(text)), secret) {
				t.Errorf("Show(%s) has %q", name, secret)
			}
		}
		if v.ID != string(aliceIMPI) || v.ServerName != scscfName || v.Sets[0].State != "registered" ||
			v.Sets[0].Default != string(aliceIMPU) || v.Cards[0].Scheme != "AKAv2-SHA-256" || v.Cards[0].AMF != "0000" ||
			v.Cards[0].ReservedSEQ <= 5000 || !v.Cards[0].KeyCurrent || len(v.Sets[0].Public) != 3 || v.Group != "default" {
			t.Errorf("%s", text)
		}
	}
	text, err := json.Marshal(s)
	if err != nil || strings.Contains(string(text), string(s.K)) {
		t.Errorf("a subscriber encodes with keys: %s, %v", text, err)
	}
	if text := fmt.Sprintf("%v %+v %#v %s %x", s, s, s.K, s.OPc, s.K); strings.Contains(text, string(s.K)) {
		t.Errorf("a subscriber prints with keys: %s", text)
	}
}

func TestList(t *testing.T) {
	h := newHouse(t)
	for i := range 5 {
		s := subscriber()
		s.IMPI = fmt.Sprintf("00101000000000%d@%s", i, cxtest.Home)
		s.Public = []Public{{IMPU: fmt.Sprintf("sip:user%d@%s", i, cxtest.Home)}}
		if err := h.Add(background, s); err != nil {
			t.Fatal(err)
		}
	}
	var ids []string
	for after, more := "", true; more; more = after != "" {
		page, next, err := h.List(background, after, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range page {
			ids = append(ids, v.ID)
		}
		after = next
	}
	if len(ids) != 5 || ids[0] >= ids[4] {
		t.Errorf("%v", ids)
	}
}

func TestUpdate(t *testing.T) {
	h := newHouse(t)
	h.scscf.name = scscfName
	if err := h.Add(background, subscriber()); err != nil {
		t.Fatal(err)
	}
	before := h.register()
	change := func() *Subscriber {
		s := subscriber()
		s.K, s.OPc = "", ""
		return s
	}

	s := change()
	s.Public[1].DisplayName = "Alice B"
	s.Public = append(s.Public, Public{IMPU: "sip:alice.b@" + cxtest.Home})
	if err := h.Update(background, s); err != nil {
		t.Fatal(err)
	}
	ended, told := h.scscf.take()
	if len(ended) != 0 || len(told) != 1 || told[0].IMPI != aliceIMPI || told[0].ProfileVersion == before.ProfileVersion ||
		len(told[0].Profile.ServiceProfiles[0].PublicIdentities) != 4 ||
		told[0].Profile.ServiceProfiles[0].PublicIdentities[1].DisplayName != "Alice B" {
		t.Errorf("a changed name: terminations %v, profiles %+v", ended, told)
	}
	h.seq() // the keys were kept

	t.Run("a removed identity is unknown", func(t *testing.T) {
		if err := h.Update(background, change()); err != nil {
			t.Fatal(err)
		}
		h.run(func(task *shard.Task) {
			if _, err := h.LocationInfo(task, &cx.LocationInfoRequest{IMPU: "sip:alice.b@" + cxtest.Home}); !errors.Is(err, cx.ErrUserUnknown) {
				t.Error(err)
			}
		})
		h.scscf.take()
	})
	for what, f := range map[string]func(*Subscriber){
		"another scheme":           func(s *Subscriber) { s.Scheme = "AKAv1-MD5" },
		"another default identity": func(s *Subscriber) { s.Public[1].Barred = true; s.Public[0].Barred = false },
		"a new card":               func(s *Subscriber) { s.K, s.OPc = subscriber().K, subscriber().OPc },
		"another set":              func(s *Subscriber) { s.Sets = [][]Public{{{IMPU: "sip:work@" + cxtest.Home}}} },
	} {
		t.Run(what, func(t *testing.T) {
			if err := h.Update(background, change()); err != nil {
				t.Fatal(err)
			}
			h.register()
			h.scscf.take()
			s := change()
			f(s)
			if err := h.Update(background, s); err != nil {
				t.Fatal(err)
			}
			ended, _ := h.scscf.take()
			if len(ended) != 1 || ended[0].IMPI != aliceIMPI || ended[0].Reason != cx.PermanentTermination {
				t.Errorf("terminations %+v", ended)
			}
			if v, err := h.Show(string(aliceIMPI)); err != nil || v.ServerName != "" || v.Sets[0].State != "not registered" {
				t.Errorf("still registered: %+v, %v", v, err)
			}
		})
	}

	t.Run("mistakes", func(t *testing.T) {
		s := change()
		s.MoreCards = []Card{{IMPI: "new@" + cxtest.Home}}
		h.wantMistake("a new card without keys", h.Update(background, s), "k")
		s = change()
		s.IMPI = "001010000000077@" + cxtest.Home
		if err := h.Update(background, s); !errors.Is(err, ErrUnknown) {
			t.Error(err)
		}
	})
	t.Run("the S-CSCF cannot be reached", func(t *testing.T) {
		h.register()
		h.scscf.name = "sip:elsewhere"
		s := change()
		s.Public[1].DisplayName = "Alice C"
		var push *PushError
		if err := h.Update(background, s); !errors.As(err, &push) || push.ServerName != scscfName {
			t.Error(err)
		}
		if v, err := h.Show(string(aliceIMPI)); err != nil || v.Sets[0].Public[1].DisplayName != "Alice C" {
			t.Errorf("the change does not stand: %+v, %v", v, err)
		}
	})
}

func TestRemove(t *testing.T) {
	h := newHouse(t)
	h.scscf.name = scscfName
	if err := h.Add(background, subscriber()); err != nil {
		t.Fatal(err)
	}
	first := h.register()
	drawn := h.seq()
	if err := h.Remove(background, "tel:+15550001"); err != nil {
		t.Fatal(err)
	}
	if ended, _ := h.scscf.take(); len(ended) != 1 || ended[0].IMPI != aliceIMPI || ended[0].ServerName != scscfName || !slices.Contains(ended[0].IMPUs, aliceIMPU) {
		t.Errorf("terminations %+v", ended)
	}
	h.run(func(task *shard.Task) {
		_, err1 := h.UserAuthorization(task, &cx.UserAuthorizationRequest{IMPI: aliceIMPI, IMPU: aliceIMPU})
		_, err2 := h.LocationInfo(task, &cx.LocationInfoRequest{IMPU: aliceIMPU})
		if !errors.Is(err1, cx.ErrUserUnknown) || !errors.Is(err2, cx.ErrUserUnknown) {
			t.Errorf("after the removal: %v, %v", err1, err2)
		}
	})
	if err := h.Remove(background, string(aliceIMPI)); !errors.Is(err, ErrUnknown) {
		t.Errorf("removed twice: %v", err)
	}
	if err := h.Add(background, subscriber()); err != nil {
		t.Fatal(err)
	}
	if again := h.seq(); again <= drawn {
		t.Errorf("SEQ %d after %d: removal and return turned the numbers back", again, drawn)
	}
	if second := h.register(); second.Epoch <= first.Epoch {
		t.Errorf("epoch %d after %d", second.Epoch, first.Epoch)
	}
}

func TestProfilesAndGroups(t *testing.T) {
	h := newHouse(t)
	h.scscf.name = scscfName
	h.wantMistake("a group with an unknown profile", h.PutGroup(background, &Group{Name: "staff", Profile: "gold"}), "profile")
	if err := h.PutProfile(background, "gold", voicemail()); err != nil {
		t.Fatal(err)
	}
	group := &Group{Name: "staff", Profile: "gold", VisitedNetworks: []string{cxtest.Visited},
		Capabilities: &cx.ServerCapabilities{Mandatory: []uint32{7}, Optional: []uint32{8}},
		Charging:     &cx.ChargingInformation{PrimaryCCF: "aaa://ccf.example.org"}}
	if err := h.PutGroup(background, group); err != nil {
		t.Fatal(err)
	}
	s := subscriber()
	s.Group = "staff"
	if err := h.Add(background, s); err != nil {
		t.Fatal(err)
	}
	h.run(func(task *shard.Task) {
		a, err := h.UserAuthorization(task, &cx.UserAuthorizationRequest{IMPI: aliceIMPI, IMPU: aliceIMPU, VisitedNetworkID: cxtest.Visited})
		if err != nil || a.Capabilities == nil || a.Capabilities.Mandatory[0] != 7 {
			t.Errorf("members may roam: %+v, %v", a, err)
		}
	})
	a := h.register()
	if len(a.Profile.ServiceProfiles[0].Criteria) != 1 || a.Charging.PrimaryCCF != "aaa://ccf.example.org" {
		t.Errorf("%+v", a)
	}

	if err := h.RemoveProfile(background, "gold"); !errors.Is(err, ErrInUse) {
		t.Errorf("profile in use by a group: %v", err)
	}
	if err := h.RemoveGroup(background, "staff"); !errors.Is(err, ErrInUse) {
		t.Errorf("group with members: %v", err)
	}
	better := voicemail()
	better.Criteria[0].Priority = 3
	if err := h.PutProfile(background, "gold", better); err != nil {
		t.Fatal(err)
	}
	if _, told := h.scscf.take(); len(told) != 1 || told[0].Profile.ServiceProfiles[0].Criteria[0].Priority != 3 {
		t.Errorf("a changed profile was not pushed: %+v", told)
	}
	h.scscf.answer = cx.ErrTooMuchData
	var push *PushError
	if err := h.PutProfile(background, "gold", voicemail()); !errors.As(err, &push) || !errors.Is(err, cx.ErrTooMuchData) {
		t.Errorf("%v", err)
	}
	if ended, _ := h.scscf.take(); len(ended) != 1 || ended[0].Reason != cx.ServerChange {
		t.Errorf("an S-CSCF that cannot take the profile keeps the user: %+v", ended)
	}
	if v, err := h.Show(string(aliceIMPI)); err != nil || v.ServerName != "" {
		t.Errorf("%+v, %v", v, err)
	}
	if err := h.Remove(background, string(aliceIMPI)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(h.RemoveGroup(background, "staff"), h.RemoveProfile(background, "gold")); err != nil {
		t.Error(err)
	}
	if _, err := h.Profile("gold"); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	twice := voicemail()
	twice.Criteria = append(twice.Criteria, twice.Criteria[0])
	h.wantMistake("two criteria of one priority", h.PutProfile(background, "x", twice), "criteria[1].priority")
	noExpression := voicemail()
	noExpression.Criteria[0].Trigger = &cx.TriggerPoint{SPTs: []cx.SPT{{Kind: cx.SPTRequestURI, Pattern: "a(", Groups: []int{0}}}}
	h.wantMistake("an expression that does not compile", h.PutProfile(background, "x", noExpression), "criteria[0].trigger[0]")
	noServer := voicemail()
	noServer.Criteria[0].Server.ServerName = "voicemail"
	h.wantMistake("a server that is no URI", h.PutProfile(background, "x", noServer), "criteria[0].server")
}

func TestReseal(t *testing.T) {
	h := newHouse(t)
	if err := h.Add(background, subscriber()); err != nil {
		t.Fatal(err)
	}
	h.seq()
	next, err := h.keys.Rotate(h.ports.Random)
	if err != nil {
		t.Fatal(err)
	}
	h.keys = next
	h.seq()
	if v, err := h.Show(string(aliceIMPI)); err != nil || v.Cards[0].KeyCurrent {
		t.Errorf("rotation shows as %+v, %v", v.Cards, err)
	}
	if n, err := h.Reseal(background); n != 1 || err != nil {
		t.Fatalf("resealed %d, %v", n, err)
	}
	if n, err := h.Reseal(background); n != 0 || err != nil {
		t.Errorf("again: %d, %v", n, err)
	}
	h.keys = h.keys.Retire()
	h.crashless()
	h.seq()
}

func TestRemovalDuringRegistration(t *testing.T) {
	// The S-CSCF has its answer but has not committed when the subscriber is removed: the commit must fail, or
	// somebody who does not exist would be registered.
	h := newHouse(t)
	if err := h.Add(background, subscriber()); err != nil {
		t.Fatal(err)
	}
	var b cx.Batch
	h.run(func(task *shard.Task) {
		if _, err := h.ServerAssignment(task, &cx.ServerAssignmentRequest{IMPI: aliceIMPI, IMPUs: []cx.IMPU{aliceIMPU},
			ServerName: scscfName, Type: cx.AssignRegistration, Batch: &b}); err != nil {
			t.Error(err)
		}
	})
	if err := h.Remove(background, string(aliceIMPI)); err != nil {
		t.Fatal(err)
	}
	if err := h.commit(&b); !errors.Is(err, store.ErrConflict) {
		t.Errorf("the registration of a removed subscriber: %v", err)
	}
	if err := h.Add(background, subscriber()); err != nil {
		t.Fatal(err)
	}
	h.register()
}

// chatService is a sound public service.
func chatService() Subscriber {
	return Subscriber{Card: Card{IMPI: "chat@" + cxtest.Home}, Service: &Service{},
		Public: []Public{{IMPU: "sip:chat@" + cxtest.Home}, {IMPU: "sip:room-!.*!@" + cxtest.Home, DisplayName: "Rooms"}}}
}

// found asks for the identity that the HSS has for another.
func (h *house) found(impu cx.IMPU) (answer cx.IMPU, err error) {
	h.run(func(t *shard.Task) {
		_, _, id, e := h.byPublic(t, impu)
		if err = e; e == nil {
			answer = cx.IMPU(id.impu)
		}
	})
	return answer, err
}

// TestReloadWildcards: a range that another HSS on the same store has got, or lost, is known here once the table is read anew.
func TestReloadWildcards(t *testing.T) {
	h := newHouse(t)
	other, err := New(h.cfg, h.ports)
	if err != nil {
		t.Fatal(err)
	}
	room, s := cx.IMPU("sip:room-red-1@"+cxtest.Home), chatService()
	for _, step := range []struct {
		what string
		do   func() error
		want cx.IMPU
	}{
		{"added", func() error { return other.Add(background, &s) }, "sip:room-!.*!@" + cxtest.Home},
		{"removed", func() error { return other.Remove(background, "sip:room-!.*!@"+cxtest.Home) }, ""},
	} {
		if err := errors.Join(step.do(), h.ReloadWildcards(), h.ReloadWatches()); err != nil {
			t.Fatal(err)
		}
		if got, err := h.found(room); got != step.want || step.want == "" && !errors.Is(err, cx.ErrUserUnknown) {
			t.Errorf("%s at the other one: %q, %v; want %q", step.what, got, err, step.want)
		}
	}
}

// TestWildcards_come_and_go: what provisioning does to a range holds at once, and after a restart.
func TestWildcards_come_and_go(t *testing.T) {
	h := newHouse(t)
	want := func(what string, impu, want cx.IMPU) {
		t.Helper()
		for _, again := range []bool{false, true} {
			if again {
				h.crashless()
			}
			got, err := h.found(impu)
			if got != want || want == "" && !errors.Is(err, cx.ErrUserUnknown) {
				t.Errorf("%s (started anew: %v): %q, %v; want %q", what, again, got, err, want)
			}
		}
	}
	room := cx.IMPU("sip:room-red-1@" + cxtest.Home)
	s := chatService()
	ctx := background
	if err := h.Add(ctx, &s); err != nil {
		t.Fatal(err)
	}
	want("added", room, "sip:room-!.*!@"+cxtest.Home)
	other := chatService()
	other.IMPI, other.Public = "red@"+cxtest.Home, []Public{{IMPU: "sip:room-red!.*!@" + cxtest.Home}}
	if err := h.Add(ctx, &other); err != nil {
		t.Fatal(err)
	}
	want("a more specific one", room, "sip:room-red!.*!@"+cxtest.Home)
	user := subscriber()
	user.Public = append(user.Public, Public{IMPU: string(room)})
	if err := h.Add(ctx, user); err != nil {
		t.Fatal(err)
	}
	want("a distinct one", room, room)
	if err := h.Remove(ctx, user.IMPI); err != nil {
		t.Fatal(err)
	}
	other.Public[0].IMPU = "sip:room-blue!.*!@" + cxtest.Home
	if err := h.Update(ctx, &other); err != nil {
		t.Fatal(err)
	}
	want("the specific one became another", room, "sip:room-!.*!@"+cxtest.Home)
	s.IMPI = "second@" + cxtest.Home
	h.wantMistake("the same range twice", h.Add(ctx, &s), "public")
	if err := h.Remove(ctx, "sip:room-!.*!@"+cxtest.Home); err != nil {
		t.Fatal(err)
	}
	want("removed", room, "")
	line, err := json.Marshal(map[string]any{"impi": "third@" + cxtest.Home, "service": map[string]any{}, "public": []Public{{IMPU: "sip:room-!.*!@" + cxtest.Home}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Import(ctx, strings.NewReader(string(line)), false, nil); err != nil {
		t.Fatal(err)
	}
	want("imported", room, "sip:room-!.*!@"+cxtest.Home)

	user = subscriber()
	user.Service = nil
	user.IMPI = "third@" + cxtest.Home
	h.wantMistake("a service becomes a user", h.Update(ctx, user), "service")
	if n, err := h.Reseal(ctx); n != 0 || err != nil {
		t.Errorf("%d records resealed, %v: a service has no keys", n, err)
	}
	if n, err := h.CheckKeys(ctx); n != 0 || err != nil {
		t.Errorf("%d cards, %v", n, err)
	}
}

// TestVersion1 reads a subscription as it was written before there were services.
func TestVersion1(t *testing.T) {
	s := &subscription{group: "g", privates: []private{{impi: "a@b", algorithm: algorithmMilenage, scheme: aka.AKAv1MD5, sealed: []byte{1}}},
		sets: []implicitSet{{services: []service{{identities: []identity{{impu: "sip:a@b"}}}}}}}
	now := s.encode()
	old := append([]byte{userVersion}, now[1:]...)
	at := 1 + 1 + len("g") + 1 // version, group, created
	old = append(old[:at:at], old[at+1:]...)
	back, err := decodeSubscription(old)
	if err != nil || back.service != nil || len(back.sets) != 1 {
		t.Errorf("%+v, %v", back, err)
	}
}

// TestServiceProfileOf: the profile of an identity is its own, else that of the group, else none.
func TestServiceProfileOf(t *testing.T) {
	h := newHouse(t)
	for _, name := range []string{"gold", "staff"} {
		if err := h.PutProfile(background, name, voicemail()); err != nil {
			t.Fatal(err)
		}
	}
	s := subscriber()
	s.Public[2].Profile = "gold"
	if err := h.Add(background, s); err != nil {
		t.Fatal(err)
	}
	want := func(name, impu, profile string, criteria int) {
		t.Helper()
		gotIMPU, gotProfile, s, err := h.ServiceProfileOf(name)
		if err != nil || gotIMPU != impu || gotProfile != profile || len(s.Criteria) != criteria {
			t.Errorf("%s: %s, %q, %+v, %v", name, gotIMPU, gotProfile, s, err)
		}
	}
	want(string(aliceIMPU), string(aliceIMPU), "", 0)
	want("tel:+15550001", "tel:+15550001", "gold", 1)
	if err := h.PutGroup(background, &Group{Name: "default", Profile: "staff"}); err != nil {
		t.Fatal(err)
	}
	want(string(aliceIMPU), string(aliceIMPU), "staff", 1)
	want(string(aliceIMPI), string(aliceIMPU), "staff", 1)
	want("tel:+15550001", "tel:+15550001", "gold", 1)
	if err := errors.Join(h.Share(background, SharedSet{Number: 4, Groups: []string{"default", "other"}}), h.Share(background, SharedSet{Number: 5, All: true}),
		h.Share(background, SharedSet{Number: 6, Groups: []string{"other"}})); err != nil {
		t.Fatal(err)
	}
	if _, _, s, err := h.ServiceProfileOf(string(aliceIMPI)); err != nil || !slices.Equal(s.SharedIFCSetIDs, []int{4, 5}) {
		t.Errorf("shared sets %v, %v", s, err)
	}
	if _, _, _, err := h.ServiceProfileOf("nobody@ims.example"); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
}

// TestGroupThatChanges: what a group may no longer do is refused at once, whichever HSS of the store has changed it; one that is gone is empty.
func TestGroupThatChanges(t *testing.T) {
	h := newHouse(t)
	s := subscriber()
	s.Group = "staff"
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	roams := func(want error) {
		t.Helper()
		h.run(func(task *shard.Task) {
			_, err := h.UserAuthorization(task, &cx.UserAuthorizationRequest{IMPI: aliceIMPI, IMPU: aliceIMPU, VisitedNetworkID: cxtest.Visited})
			if !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
		})
	}
	abroad := &Group{Name: "staff", VisitedNetworks: []string{cxtest.Visited}}
	must(h.PutGroup(background, abroad))
	must(h.Add(background, s))
	roams(nil)
	roams(nil) // from memory
	must(h.PutGroup(background, &Group{Name: "staff"}))
	roams(cx.ErrRoamingNotAllowed)
	other, err := New(h.cfg, h.ports)
	must(err)
	must(other.PutGroup(background, abroad))
	roams(nil)
	must(h.db.Apply("x", store.Op{Table: TableGroup, Key: []byte("staff")}))
	roams(cx.ErrRoamingNotAllowed)
}
