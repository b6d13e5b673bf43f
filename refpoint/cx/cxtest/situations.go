package cxtest

import (
	"errors"
	"slices"

	"imsafe/proto/aka"
	"imsafe/refpoint/cx"
)

// TS 29.228 6.1.1.1.
func userAuthorization(w *world) {
	w.wantUARError("unknown private identity", authorize(stranger, aliceSIP), cx.ErrUserUnknown)
	w.wantUARError("unknown public identity", authorize(alice, unknownIMPU), cx.ErrUserUnknown)
	w.wantUARError("the identity of another", authorize(alice, bobSIP), cx.ErrIdentitiesDontMatch)
	w.wantUAR("first registration", authorize(alice, aliceSIP), cx.ResultFirstRegistration, "")
	w.wantUAR("barred, but its set has others", authorize(alice, aliceIMPU), cx.ResultFirstRegistration, "")

	leave := authorize(alice, aliceSIP)
	leave.Type = cx.DeRegistration
	w.wantUARError("de-registration of somebody who is not there", leave, cx.ErrIdentityNotRegistered)

	roam := authorize(alice, aliceSIP)
	roam.VisitedNetworkID = Visited
	w.wantUARError("visited network", roam, cx.ErrRoamingNotAllowed)
	roam.Emergency = true
	w.wantUAR("visited network, emergency", roam, cx.ResultFirstRegistration, "")
	roam.IMPU = aliceIMPU
	w.wantUAR("barred, in a visited network, emergency", roam, cx.ResultFirstRegistration, "")
	roam.IMPU = bobSIP
	w.wantUARError("the identity of another, emergency", roam, cx.ErrIdentitiesDontMatch)

	w.wantVectors("challenge", challenge(alice, aliceSIP))
	w.wantUAR("the second REGISTER finds the S-CSCF of the first", authorize(alice, aliceSIP), cx.ResultSubsequentRegistration, scscf)
	w.wantUAR("de-registration while authentication is pending", leave, cx.ResultSuccess, scscf)
	w.wantUAR("another set of a user who is being authenticated", authorize(alice, aliceWork), cx.ResultSubsequentRegistration, scscf)

	w.wantSAR("registration", assign(cx.AssignRegistration, alice, aliceSIP), cx.ResultSuccess)
	w.wantUAR("registered", authorize(alice, aliceSIP), cx.ResultSubsequentRegistration, scscf)
	w.wantUAR("registered implicitly", authorize(alice, aliceTel), cx.ResultSubsequentRegistration, scscf)
	w.wantUAR("another set of a registered user", authorize(alice, aliceWork), cx.ResultSubsequentRegistration, scscf)
	w.wantUAR("de-registration", leave, cx.ResultSuccess, scscf)
	leave.VisitedNetworkID = Visited
	w.wantUAR("de-registration from anywhere", leave, cx.ResultSuccess, scscf)
	leaveWork := authorize(alice, aliceWork)
	leaveWork.Type = cx.DeRegistration
	w.wantUARError("de-registration of the other set", leaveWork, cx.ErrIdentityNotRegistered)
}

// TS 29.228 6.3.1, TS 33.203 6.1.1.
func multimediaAuth(w *world) {
	refused := func(what string, r cx.MultimediaAuthRequest, want *cx.ResultError) {
		w.t.Helper()
		a, err := w.mar(r)
		w.wantError(what, err, want)
		if a != nil {
			w.t.Errorf("%s: vectors with an error", what)
		}
	}
	refused("unknown private identity", challenge(stranger, aliceSIP), cx.ErrUserUnknown)
	refused("unknown public identity", challenge(alice, unknownIMPU), cx.ErrUserUnknown)
	refused("the identity of another", challenge(alice, bobSIP), cx.ErrIdentitiesDontMatch)
	for _, scheme := range []cx.AuthScheme{cx.SchemeUnknown, cx.SchemeDigest} {
		r := challenge(alice, aliceSIP)
		r.Scheme = scheme
		refused("scheme "+scheme.String(), r, cx.ErrAuthSchemeNotSupported)
	}

	for range 3 * aka.INDCount { // longer than any reservation the tests use
		w.wantVectors("one by one", challenge(alice, aliceSIP))
	}
	many := challenge(alice, aliceSIP)
	many.Items = 3
	if got := len(w.wantVectors("three at once", many)); got > 3 {
		w.t.Errorf("%d vectors, asked for 3", got)
	}
	many.Items = 1 << 30
	if got := len(w.wantVectors("very many", many)); got > cx.MaxAuthItems {
		w.t.Errorf("%d vectors", got)
	}

	for impi, want := range map[cx.IMPI]aka.DigestAlgorithm{alice: aka.AKAv1MD5, bob: aka.AKAv2SHA256, phone: aka.AKAv2MD5} {
		impu := map[cx.IMPI]cx.IMPU{alice: aliceSIP, bob: bobSIP, phone: sharedSIP}[impi]
		if got := w.wantVectors("algorithm", challenge(impi, impu))[0].Algorithm; got != want {
			w.t.Errorf("%s: %v, want %v: it belongs to the subscriber", impi, got, want)
		}
	}
	v := w.wantVectors("AMF", challenge(bob, bobSIP))[0].Vector
	if o, err := aka.Open(w.cards[bob].algorithm, v.RAND, v.AUTN); err != nil || o.AMF != (aka.AMF{0x80, 0}) {
		w.t.Errorf("AMF %x, %v", o.AMF, err)
	}
}

// TS 33.102 6.3.5, TS 33.203 6.1.3.
func resynchronisation(w *world) {
	c := w.cards[alice]
	lost := challenge(alice, aliceSIP)
	sent := w.wantVectors("challenge", lost)[0].Vector
	before := c.window.Highest()

	token := func(seen aka.SQN) *cx.Resync {
		return &cx.Resync{RAND: sent.RAND, AUTS: aka.MakeAUTS(c.algorithm, sent.RAND, seen)}
	}
	far := aka.MakeSQN(before.SEQ()+1_000_000, before.IND())
	for name, change := range map[string]func(*cx.Resync){
		"MAC-S changed": func(r *cx.Resync) { r.AUTS[13] ^= 1 },
		"SQN changed":   func(r *cx.Resync) { r.AUTS[0] ^= 1 },
		"another RAND":  func(r *cx.Resync) { r.RAND[0] ^= 1 },
		"another card": func(r *cx.Resync) {
			r.AUTS = aka.MakeAUTS(w.cards[bob].algorithm, sent.RAND, far)
		},
	} {
		lost.Resync = token(far)
		change(lost.Resync)
		if a, err := w.mar(lost); !errors.Is(err, cx.ErrUnableToComply) || a != nil {
			w.t.Errorf("%s: %v, %v", name, a, err)
		}
	}
	v := w.wantVectors("after forged tokens", challenge(alice, aliceSIP))[0].Vector
	if o, _ := aka.Open(c.algorithm, v.RAND, v.AUTN); o.SQN.SEQ() > before.SEQ()+1000 {
		w.t.Errorf("a forged token moved SEQ from %d to %d", before.SEQ(), o.SQN.SEQ())
	}

	for c.window.Accept(far) != nil { // the card was used elsewhere
		w.t.Fatal("far is not far")
	}
	lost.Resync = token(far)
	v = w.wantVectors("after the card's token", lost)[0].Vector
	if o, _ := aka.Open(c.algorithm, v.RAND, v.AUTN); o.SQN.SEQ() != far.SEQ()+1 {
		w.t.Errorf("SEQ %d, want one more than the card's %d", o.SQN.SEQ(), far.SEQ())
	}

	lost.Resync = token(aka.MakeSQN(before.SEQ(), before.IND()))
	w.wantVectors("an old token does not turn the numbers back", lost)

	other := challenge(alice, aliceSIP)
	other.ServerName, other.Resync = otherCSCF, token(far)
	if _, err := w.mar(other); !errors.Is(err, cx.ErrUnableToComply) {
		w.t.Errorf("a token brought by another S-CSCF: %v", err)
	}
}

// TS 29.228 6.1.2.1, 6.5.1, 6.6.
func registration(w *world) {
	set := subscribers()[0].Sets[0]
	a := w.register(alice, aliceTel)
	w.wantProfile("registration", a, alice, set)
	if a.IMPI != alice || len(a.AssociatedIdentities) != 0 {
		w.t.Errorf("answer names %s and %v", a.IMPI, a.AssociatedIdentities)
	}

	again := assign(cx.AssignReRegistration, alice, aliceSIP)
	b := w.wantSAR("re-registration", again, cx.ResultSuccess)
	w.wantProfile("re-registration", b, alice, set)
	if a.Epoch != b.Epoch || a.ProfileVersion != b.ProfileVersion {
		w.t.Errorf("nothing changed, but epoch %d, %d, profile version %d, %d", a.Epoch, b.Epoch, a.ProfileVersion, b.ProfileVersion)
	}
	again.UserDataAvailable = true
	if b := w.wantSAR("re-registration with the profile at hand", again, cx.ResultSuccess); b.Profile != nil {
		w.t.Error("the profile was sent although the S-CSCF has it")
	}

	steal := assign(cx.AssignRegistration, alice, aliceSIP)
	steal.ServerName = otherCSCF
	c, err := w.sar(steal)
	w.wantError("another S-CSCF", err, cx.ErrIdentityAlreadyRegistered)
	if c == nil || c.ServerName != scscf || c.Profile != nil {
		w.t.Errorf("another S-CSCF: %+v, want the name of the first", c)
	}
	w.wantLIR("still with the first", cx.LocationInfoRequest{IMPU: aliceTel}, cx.ResultSuccess, scscf)

	for what, r := range map[string]struct {
		r    cx.ServerAssignmentRequest
		want *cx.ResultError
	}{
		"unknown private identity": {assign(cx.AssignRegistration, stranger, aliceSIP), cx.ErrUserUnknown},
		"unknown public identity":  {assign(cx.AssignRegistration, alice, unknownIMPU), cx.ErrUserUnknown},
		"the identity of another":  {assign(cx.AssignRegistration, alice, bobSIP), cx.ErrIdentitiesDontMatch},
		"two public identities":    {assign(cx.AssignRegistration, alice, aliceSIP, aliceTel), cx.ErrAVPOccursTooManyTimes},
	} {
		if _, err := w.sar(r.r); !errors.Is(err, r.want) {
			w.t.Errorf("%s: %v", what, err)
		}
	}

	w.wantVectors("challenge of a registered user", challenge(alice, aliceSIP))
	for _, kind := range []cx.ServerAssignmentType{cx.AuthenticationFailure, cx.AuthenticationTimeout} {
		w.wantSAR(kind.String(), assign(kind, alice, aliceSIP), cx.ResultSuccess)
		w.wantLIR("a failed authentication leaves a registration alone", cx.LocationInfoRequest{IMPU: aliceSIP}, cx.ResultSuccess, scscf)
	}
	w.wantVectors("challenge", challenge(bob, bobSIP))
	w.wantSAR("failure of a first registration", assign(cx.AuthenticationFailure, bob, bobSIP), cx.ResultSuccess)
	w.wantUAR("after it", authorize(bob, bobSIP), cx.ResultFirstRegistration, "")
}

func deregistration(w *world) {
	for _, kind := range []cx.ServerAssignmentType{cx.UserDeregistration, cx.TimeoutDeregistration,
		cx.AdministrativeDeregistration, cx.DeregistrationTooMuchData} {
		first := w.register(alice, aliceSIP)
		w.wantSAR("the other set", assign(cx.AssignRegistration, alice, aliceWork), cx.ResultSuccess)

		other := assign(kind, alice, aliceSIP)
		other.ServerName = otherCSCF
		if _, err := w.sar(other); !errors.Is(err, cx.ErrUnableToComply) {
			w.t.Errorf("%v by another S-CSCF: %v", kind, err)
		}
		a := w.wantSAR(kind.String(), assign(kind, alice, aliceTel), cx.ResultSuccess)
		if a.Profile != nil {
			w.t.Errorf("%v: a profile", kind)
		}
		w.wantLIRError("the set is gone", cx.LocationInfoRequest{IMPU: aliceSIP}, cx.ErrIdentityNotRegistered)
		w.wantLIR("the other is not", cx.LocationInfoRequest{IMPU: aliceWork}, cx.ResultSuccess, scscf)
		w.wantUAR("the S-CSCF stays while a set needs it", authorize(alice, aliceSIP), cx.ResultSubsequentRegistration, scscf)

		w.wantSAR("all that the private identity has", assign(kind, alice), cx.ResultSuccess)
		w.wantLIRError("nothing is left", cx.LocationInfoRequest{IMPU: aliceWork}, cx.ErrIdentityNotRegistered)
		w.wantUAR("nothing is left", authorize(alice, aliceSIP), cx.ResultFirstRegistration, "")
		w.wantSAR("once more", assign(kind, alice, aliceSIP), cx.ResultSuccess)

		if second := w.register(alice, aliceSIP); first.Epoch != 0 && second.Epoch <= first.Epoch {
			w.t.Errorf("epoch %d after %d: a late write of the first assignment would pass", second.Epoch, first.Epoch)
		}
		w.wantSAR("end", assign(kind, alice), cx.ResultSuccess)
	}

	w.register(bob, bobSIP)
	store := assign(cx.UserDeregistrationStoreServerName, bob, bobSIP)
	a, err := w.sar(store)
	if err != nil {
		w.t.Fatal(err)
	}
	switch a.Result {
	case cx.ResultSuccess:
		w.wantLIR("server name kept", cx.LocationInfoRequest{IMPU: bobSIP}, cx.ResultSuccess, scscf)
	case cx.ResultSuccessServerNameNotStored:
		w.wantLIR("server name not kept", cx.LocationInfoRequest{IMPU: bobSIP}, cx.ResultUnregisteredService, "")
	default:
		w.t.Errorf("result %v", a.Result)
	}
}

// A public identity of two private ones: TS 29.228 6.1.2.1.
func sharedIdentity(w *world) {
	a := w.register(phone, sharedSIP)
	w.wantProfile("phone", a, phone, subscribers()[2].Sets[0])
	if !slices.Contains(a.AssociatedIdentities, tablet) || !slices.Contains(a.AssociatedIdentities, phone) {
		w.t.Errorf("associated identities %v", a.AssociatedIdentities)
	}
	b := w.register(tablet, sharedSIP)
	w.wantProfile("tablet", b, tablet, subscribers()[2].Sets[0])
	if !slices.Contains(b.AssociatedRegistered, phone) {
		w.t.Errorf("registered with %v, want the phone too", b.AssociatedRegistered)
	}

	if _, err := w.sar(assign(cx.TimeoutDeregistration, "", sharedSIP)); !errors.Is(err, cx.ErrMissingAVP) {
		w.t.Errorf("de-registration that does not say of whom: %v", err)
	}
	w.wantSAR("the phone leaves", assign(cx.UserDeregistration, phone, sharedSIP), cx.ResultSuccess)
	w.wantLIR("the tablet stays", cx.LocationInfoRequest{IMPU: sharedSIP}, cx.ResultSuccess, scscf)
	w.wantSAR("the tablet leaves", assign(cx.UserDeregistration, tablet, sharedSIP), cx.ResultSuccess)
	w.wantLIRError("nobody is left", cx.LocationInfoRequest{IMPU: sharedSIP}, cx.ErrIdentityNotRegistered)
}

func unregisteredUser(w *world) {
	request := assign(cx.UnregisteredUser, "", bobSIP)
	a := w.wantSAR("services for the unregistered", request, cx.ResultSuccess)
	w.wantProfile("services for the unregistered", a, bob, subscribers()[1].Sets[0])
	if a.IMPI != bob {
		w.t.Errorf("the private identity is %q", a.IMPI)
	}
	w.wantLIR("has an S-CSCF now", cx.LocationInfoRequest{IMPU: bobSIP}, cx.ResultSuccess, scscf)
	w.wantUAR("registration goes there", authorize(bob, bobSIP), cx.ResultSubsequentRegistration, scscf)
	leave := authorize(bob, bobSIP)
	leave.Type = cx.DeRegistration
	w.wantUAR("de-registration of an unregistered user", leave, cx.ResultSuccess, scscf)

	other := request
	other.ServerName = otherCSCF
	b, err := w.sar(other)
	w.wantError("another S-CSCF", err, cx.ErrIdentityAlreadyRegistered)
	if b == nil || b.ServerName != scscf {
		w.t.Errorf("another S-CSCF: %+v", b)
	}
	w.wantSAR("end of services", assign(cx.TimeoutDeregistration, "", bobSIP), cx.ResultSuccess)
	w.wantLIR("nobody has him", cx.LocationInfoRequest{IMPU: bobSIP}, cx.ResultUnregisteredService, "")
	if _, err := w.sar(assign(cx.UnregisteredUser, "", unknownIMPU)); !errors.Is(err, cx.ErrUserUnknown) {
		w.t.Errorf("unknown: %v", err)
	}
}

// TS 29.228 6.1.4.1.
func locationInfo(w *world) {
	w.wantLIRError("unknown", cx.LocationInfoRequest{IMPU: unknownIMPU}, cx.ErrUserUnknown)
	w.wantLIRError("a private identity is no public one", cx.LocationInfoRequest{IMPU: cx.IMPU(alice)}, cx.ErrUserUnknown)
	w.wantLIRError("not registered, no services", cx.LocationInfoRequest{IMPU: aliceSIP}, cx.ErrIdentityNotRegistered)
	w.wantLIR("not registered, services", cx.LocationInfoRequest{IMPU: bobSIP}, cx.ResultUnregisteredService, "")
	w.wantLIR("not registered, an AS acts for him", cx.LocationInfoRequest{IMPU: aliceSIP, Originating: true}, cx.ResultUnregisteredService, "")
	w.wantVectors("challenge", challenge(alice, aliceSIP))
	w.wantLIRError("being authenticated is not registered", cx.LocationInfoRequest{IMPU: aliceSIP}, cx.ErrIdentityNotRegistered)
	w.wantSAR("registration", assign(cx.AssignRegistration, alice, aliceSIP), cx.ResultSuccess)
	for _, id := range subscribers()[0].Sets[0] {
		w.wantLIR("registered: "+string(id.IMPU), cx.LocationInfoRequest{IMPU: id.IMPU}, cx.ResultSuccess, scscf)
	}
	w.wantLIRError("the other set", cx.LocationInfoRequest{IMPU: aliceWork}, cx.ErrIdentityNotRegistered)
	w.wantLIR("the other set, originating", cx.LocationInfoRequest{IMPU: aliceWork, Originating: true}, cx.ResultSuccess, scscf)
}

// The S-CSCF of a user cannot be reached: TS 23.380 4.3, TS 29.228 6.1.1.1 step 5.
func reassignment(w *world) {
	first := w.register(alice, aliceSIP)
	take := assign(cx.AssignRegistration, alice, aliceSIP)
	take.ServerName = otherCSCF
	fetch := assign(cx.NoAssignment, alice, aliceSIP)
	fetch.ServerName = otherCSCF
	if _, err := w.sar(fetch); !errors.Is(err, cx.ErrUnableToComply) {
		w.t.Errorf("NO_ASSIGNMENT by another S-CSCF: %v", err)
	}
	mine := w.wantSAR("NO_ASSIGNMENT", assign(cx.NoAssignment, alice, aliceSIP), cx.ResultSuccess)
	w.wantProfile("NO_ASSIGNMENT", mine, alice, subscribers()[0].Sets[0])

	select2 := authorize(alice, aliceSIP)
	select2.Type = cx.RegistrationAndCapabilities
	w.wantUAR("capabilities asked for", select2, cx.ResultSuccess, "")
	w.wantSAR("NO_ASSIGNMENT by the new one", fetch, cx.ResultSuccess)
	second := w.wantSAR("the new one takes over", take, cx.ResultSuccess)
	if first.Epoch != 0 && second.Epoch <= first.Epoch {
		w.t.Errorf("epoch %d after %d", second.Epoch, first.Epoch)
	}
	w.wantLIR("the new one has him", cx.LocationInfoRequest{IMPU: aliceSIP}, cx.ResultSuccess, otherCSCF)
	if _, err := w.sar(assign(cx.AssignReRegistration, alice, aliceSIP)); !errors.Is(err, cx.ErrIdentityAlreadyRegistered) {
		w.t.Errorf("the old one comes back: %v", err)
	}

	// Another S-CSCF that authenticated the user may have him (TS 29.228 6.3.1 step 5).
	w.wantVectors("challenge by the first", challenge(alice, aliceSIP))
	w.wantUAR("while it authenticates", authorize(alice, aliceSIP), cx.ResultSubsequentRegistration, scscf)
	w.wantSAR("back to the first", assign(cx.AssignRegistration, alice, aliceSIP), cx.ResultSuccess)
	w.wantLIR("back to the first", cx.LocationInfoRequest{IMPU: aliceSIP}, cx.ResultSuccess, scscf)
}

// TS 23.380 4.3, TS 29.228 6.1.2.1.
func restoration(w *world) {
	info := cx.RestorationInfo{IMPI: alice, Contacts: []cx.RestorationContact{{Path: "<sip:term@pcscf;lr>",
		Contact: "<sip:alice@192.0.2.1>;+sip.instance=\"<urn:gsma:imei:x>\"", InitialCSeq: 7, CallID: "abc",
		Subscription: &cx.SubscriptionInfo{CallID: "def", From: "<sip:a>;tag=1", To: "<sip:a>;tag=2", Contact: "<sip:a>"}}}}
	w.wantVectors("challenge", challenge(alice, aliceSIP))
	r := assign(cx.AssignRegistration, alice, aliceSIP)
	r.Restoration = &info
	w.wantSAR("registration", r, cx.ResultSuccess)

	same := func(what string, got []cx.RestorationInfo) {
		w.t.Helper()
		if len(got) != 1 || len(got[0].Contacts) != 1 || got[0].IMPI != alice || got[0].Contacts[0].Path != info.Contacts[0].Path ||
			got[0].Contacts[0].Subscription == nil || *got[0].Contacts[0].Subscription != *info.Contacts[0].Subscription {
			w.t.Errorf("%s: %+v", what, got)
		}
	}
	same("NO_ASSIGNMENT", w.wantSAR("NO_ASSIGNMENT", assign(cx.NoAssignment, alice, aliceSIP), cx.ResultSuccess).Restoration)
	a, err := w.sar(assign(cx.UnregisteredUser, alice, aliceSIP))
	w.wantError("a session for a registered user whom the S-CSCF forgot", err, cx.ErrInAssignmentType)
	if a != nil {
		same("UNREGISTERED_USER", a.Restoration)
	}
	multiple := assign(cx.AssignRegistration, alice, aliceSIP)
	multiple.MultipleRegistration = true
	a, err = w.sar(multiple)
	w.wantError("a further contact at an S-CSCF that forgot the first", err, cx.ErrInAssignmentType)
	if a != nil {
		same("multiple registration", a.Restoration)
	}
	w.wantSAR("de-registration", assign(cx.UserDeregistration, alice, aliceSIP), cx.ResultSuccess)
	w.register(alice, aliceSIP)
	if got := w.wantSAR("NO_ASSIGNMENT", assign(cx.NoAssignment, alice, aliceSIP), cx.ResultSuccess).Restoration; len(got) != 0 {
		w.t.Errorf("restoration information outlived its registration: %+v", got)
	}
}

func missingElements(w *world) {
	for what, r := range map[string]cx.ServerAssignmentRequest{
		"no identity at all":             assign(cx.UserDeregistration, ""),
		"no public identity":             assign(cx.AssignRegistration, alice),
		"no private identity":            assign(cx.AssignRegistration, "", aliceSIP),
		"no private identity, failure":   assign(cx.AuthenticationFailure, "", aliceSIP),
		"no server name, de-registering": {IMPI: alice, IMPUs: []cx.IMPU{aliceSIP}, Type: cx.UserDeregistration},
	} {
		if _, err := w.sar(r); !errors.Is(err, cx.ErrMissingAVP) {
			w.t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := w.sar(assign(cx.PGWUpdate, alice, aliceSIP)); err == nil {
		w.t.Error("an assignment type of another reference point")
	}
	nameless := challenge(alice, aliceSIP)
	nameless.ServerName = ""
	if _, err := w.mar(nameless); !errors.Is(err, cx.ErrMissingAVP) {
		w.t.Errorf("MAR without server name: %v", err)
	}
	if _, err := w.uar(authorize("", "")); !errors.Is(err, cx.ErrUserUnknown) {
		w.t.Errorf("empty identities: %v", err)
	}
}

// One REGISTER is one commit.
func batch(w *world) {
	if w.Commit == nil {
		w.t.Skip("takes no batches")
	}
	w.wantVectors("challenge", challenge(alice, aliceSIP))
	var b cx.Batch
	r := assign(cx.AssignRegistration, alice, aliceSIP)
	r.Batch = &b
	a := w.wantSAR("registration", r, cx.ResultSuccess)
	w.wantProfile("registration", a, alice, subscribers()[0].Sets[0])
	if len(b.Changes) == 0 || b.Partition == "" {
		w.t.Fatal("nothing in the batch")
	}
	w.wantLIRError("before the commit", cx.LocationInfoRequest{IMPU: aliceSIP}, cx.ErrIdentityNotRegistered)

	t2 := w.wantSAR("a competitor commits first", assign(cx.AssignRegistration, alice, aliceWork), cx.ResultSuccess)
	if err := w.Commit(&b); err == nil {
		w.t.Fatal("a batch that was overtaken went through")
	}
	w.wantLIRError("after the failed commit", cx.LocationInfoRequest{IMPU: aliceSIP}, cx.ErrIdentityNotRegistered)

	b = cx.Batch{}
	a = w.wantSAR("again", r, cx.ResultSuccess)
	if err := w.Commit(&b); err != nil {
		w.t.Fatal(err)
	}
	if a.Epoch != t2.Epoch {
		w.t.Errorf("epoch %d and %d for one S-CSCF", t2.Epoch, a.Epoch)
	}
	w.wantLIR("after the commit", cx.LocationInfoRequest{IMPU: aliceSIP}, cx.ResultSuccess, scscf)

	b = cx.Batch{}
	r = assign(cx.AssignReRegistration, alice, aliceSIP)
	r.Batch = &b
	w.wantSAR("re-registration", r, cx.ResultSuccess)
	if len(b.Changes) != 0 {
		w.t.Errorf("a re-registration changes %d records of the HSS", len(b.Changes))
	}
	b.Settle(nil)
}

// What was answered survives; what was drawn is never drawn again.
func crash(w *world) {
	if w.Crash == nil {
		w.t.Skip("cannot crash")
	}
	a := w.register(alice, aliceSIP)
	for range 3 {
		w.wantVectors("before", challenge(alice, aliceSIP))
		w.Crash()
		w.wantLIR("registered", cx.LocationInfoRequest{IMPU: aliceTel}, cx.ResultSuccess, scscf)
		w.wantVectors("after", challenge(alice, aliceSIP))
	}
	b := w.wantSAR("re-registration", assign(cx.AssignReRegistration, alice, aliceSIP), cx.ResultSuccess)
	if a.Epoch != b.Epoch {
		w.t.Errorf("epoch %d, then %d", a.Epoch, b.Epoch)
	}
	w.wantSAR("de-registration", assign(cx.UserDeregistration, alice, aliceSIP), cx.ResultSuccess)
	w.Crash()
	w.wantLIRError("a de-registration survives too", cx.LocationInfoRequest{IMPU: aliceSIP}, cx.ErrIdentityNotRegistered)
}
