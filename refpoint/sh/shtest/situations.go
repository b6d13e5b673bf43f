package shtest

import (
	"errors"
	"strings"

	"imsafe/proto/shard"
	"imsafe/refpoint/sh"
)

// repositoryData: an application server keeps a document with the HSS (TS 29.328 6.1.1, 6.1.2).
func repositoryData(h *house) {
	h.wantNone("before", mail, alice, document("greetings"))
	h.wantOK("new", h.put(mail, alice, "greetings", 0, `<m:g xmlns:m="urn:m">hello &amp; <!-- as it is --></m:g>`))
	h.wantDocument("new", mail, alice, "greetings", 0, `<m:g xmlns:m="urn:m">hello &amp; <!-- as it is --></m:g>`)
	h.wantDocument("shared by services", tele, alice, "greetings", 0, `<m:g xmlns:m="urn:m">hello &amp; <!-- as it is --></m:g>`)
	h.wantNone("of another identity", mail, aliceTel, document("greetings"))
	h.wantNone("of another name", mail, alice, document("greeting"))
	h.wantOK("changed", h.put(mail, alice, "greetings", 1, "<b/>"))
	h.wantDocument("changed", mail, alice, "greetings", 1, "<b/>")
	h.wantOK("removed", h.put(mail, alice, "greetings", 2, ""))
	h.wantNone("removed", mail, alice, document("greetings"))
	h.wantOK("and new", h.put(mail, alice, "greetings", 0, "<c/>"))

	h.wantError("what stands not on its own", h.put(mail, alice, "x", 0, "<p:a/>"), sh.ErrUserDataNotRecognized)
	h.wantError("what is no XML", h.put(mail, alice, "x", 0, "<a>"), sh.ErrUserDataNotRecognized)
	h.wantError("what ends its element", h.put(mail, alice, "x", 0, "</ServiceData><ServiceData>"), sh.ErrUserDataNotRecognized)
	h.wantError("too much", h.put(mail, alice, "x", 0, "<a>"+strings.Repeat("x", 40<<10)+"</a>"), sh.ErrTooMuchData)
	h.wantNone("of all that", mail, alice, document("x"))
}

// sequenceNumbers keep two writers from overwriting each other (TS 29.328 6.1.2.1).
func sequenceNumbers(h *house) {
	h.wantError("new, but numbered", h.put(mail, alice, "d", 1, "<a/>"), sh.ErrTransparentDataOutOfSync)
	h.wantError("removed before it was there", h.put(mail, alice, "d", 0, ""), sh.ErrOperationNotAllowed)
	h.wantOK("new", h.put(mail, alice, "d", 0, "<a/>"))
	h.wantError("new again", h.put(mail, alice, "d", 0, "<b/>"), sh.ErrTransparentDataOutOfSync)
	h.wantError("too far", h.put(mail, alice, "d", 2, "<b/>"), sh.ErrTransparentDataOutOfSync)
	h.wantOK("next", h.put(mail, alice, "d", 1, "<b/>"))
	h.wantError("the same again", h.put(tele, alice, "d", 1, "<c/>"), sh.ErrTransparentDataOutOfSync)
	h.wantError("removed by who has not seen it", h.put(mail, alice, "d", 1, ""), sh.ErrTransparentDataOutOfSync)
	h.wantDocument("at last", mail, alice, "d", 1, "<b/>")
}

// permissions are per service, data, operation and set of users.
func permissions(h *house) {
	a, err := h.pull(stranger, of(alice), document("d"))
	h.wantError("a service that was granted nothing", err, sh.ErrUserDataCannotBeRead)
	if a != nil {
		h.t.Errorf("an answer with a refusal: %+v", a)
	}
	h.wantError("writing", h.put(stranger, alice, "d", 0, "<a/>"), sh.ErrUserDataCannotBeModified)
	_, err = h.subscribe(wants(stranger, alice, key(sh.RefIMSUserState)))
	h.wantError("subscribing", err, sh.ErrUserDataCannotBeNotified)

	h.wantNone("its own users", mail, alice, document("d"))
	_, err = h.pull(mail, of(bob), document("d"))
	h.wantError("somebody else's", err, sh.ErrUserDataCannotBeRead)
	h.wantError("writing somebody else's", h.put(mail, bob, "d", 0, "<a/>"), sh.ErrUserDataCannotBeModified)
	_, err = h.subscribe(wants(mail, bob, key(sh.RefIMSUserState)))
	h.wantError("subscribing to somebody else's", err, sh.ErrUserDataCannotBeNotified)
	h.wantNone("everybody's, for who may", tele, bob, document("d"))

	for _, ref := range []sh.DataReference{sh.RefLocationInformation, sh.RefMSISDN, sh.RefDSAI} {
		_, err := h.pull(tele, of(alice), sh.Key{Reference: ref, Domain: sh.PSDomain, DSAITag: "mail"})
		h.wantError("all data are not "+ref.String(), err, sh.ErrUserDataCannotBeRead)
	}
	h.wantError("nor to be written", h.update(tele, alice, sh.RefDSAI, &sh.Data{IMS: &sh.IMSData{DSAI: []sh.DSAI{{Tag: "mail"}}}}), sh.ErrUserDataCannotBeModified)
	h.wantError("an operation that the data have not", h.update(tele, alice, sh.RefIMSUserState, &sh.Data{}), sh.ErrUserDataCannotBeModified)
}

// nobodyAndSomebodyElse get the same answer, or a service could find out who there is.
func nobodyAndSomebodyElse(h *house) {
	for _, impu := range []sh.IMPU{bob, nobody, "sip:" + sh.IMPU(strings.Repeat("x", 300)) + "@" + Home, "not a uri"} {
		_, err := h.pull(mail, of(impu), key(sh.RefIMSUserState))
		h.wantError("reading "+string(impu), err, sh.ErrUserDataCannotBeRead)
		h.wantError("writing "+string(impu), h.put(mail, impu, "d", 0, "<a/>"), sh.ErrUserDataCannotBeModified)
		_, err = h.subscribe(wants(mail, impu, key(sh.RefIMSUserState)))
		h.wantError("subscribing to "+string(impu), err, sh.ErrUserDataCannotBeNotified)
	}
	_, err := h.pull(tele, of(nobody), key(sh.RefIMSUserState))
	h.wantError("nobody, for who may know everybody", err, sh.ErrUserUnknown)
}

// documentsOfOthers: whose documents a service may have is granted by their Service-Indications.
func documentsOfOthers(h *house) {
	if err := errors.Join(h.put(mail, alice, "greeting", 0, "<a/>"), h.put(slow, alice, slow.Service, 0, "<b/>")); err != nil {
		h.t.Fatal(err)
	}
	for _, name := range []string{"greeting", "nothing"} { // whether there is one is not told
		_, err := h.pull(slow, of(alice), document(name))
		h.wantError("pull of "+name, err, sh.ErrUserDataCannotBeRead)
		h.wantError("update of "+name, h.put(slow, alice, name, 1, "<c/>"), sh.ErrUserDataCannotBeModified)
		_, err = h.subscribe(wants(slow, alice, document(name)))
		h.wantError("subscription to "+name, err, sh.ErrUserDataCannotBeNotified)
	}
	if _, err := h.pull(slow, of(alice), document(slow.Service)); err != nil {
		h.t.Error(err)
	}
}

// rate: a budget is spent, and not only by what was granted.
func rate(h *house) {
	for _, impu := range []sh.IMPU{alice, nobody, bob} { // as often at once as the grant allows
		if _, err := h.pull(slow, of(impu), key(sh.RefIMSUserState)); sh.ResultOf(err) == sh.ResultTooBusy {
			h.t.Errorf("%s: too busy within the budget", impu)
		}
	}
	for _, impu := range []sh.IMPU{alice, nobody} {
		_, err := h.pull(slow, of(impu), key(sh.RefIMSUserState))
		h.wantError("beyond the budget", err, sh.ErrTooBusy)
	}
	h.wantData("another service has its own", mail, alice, key(sh.RefIMSUserState))
}

// publicIdentities by set (TS 29.328 7.6.2).
func publicIdentities(h *house) {
	set := func(s sh.IdentitySet) sh.Key { return sh.Key{Reference: sh.RefIMSPublicIdentity, IdentitySet: s} }
	h.wantIMPUs("all that are not barred", h.wantData("all", mail, alice, set(sh.AllIdentities)), alice, aliceTel)
	h.wantIMPUs("of the implicit set", h.wantData("implicit", mail, aliceTel, set(sh.ImplicitIdentities)), alice, aliceTel)
	h.wantNone("registered, before", mail, alice, set(sh.RegisteredIdentities))
	h.Register(aliceIMPI, alice, scscf)
	h.wantIMPUs("registered", h.wantData("registered", mail, alice, set(sh.RegisteredIdentities)), alice, aliceTel)
	h.wantIMPUs("alone in its alias set", h.wantData("alias", mail, alice, set(sh.AliasIdentities)), alice)
	h.wantIMPUs("of a service", h.wantData("service", mail, chat, set(sh.ImplicitIdentities)), chat)
	h.wantNone("of a service, registered", mail, chat, set(sh.RegisteredIdentities))
}

// registration shows in IMSUserState and S-CSCFName (TS 29.328 7.6.3, 7.6.4).
func registration(h *house) {
	state := func() sh.IMSUserState {
		d := h.wantData("state", mail, alice, key(sh.RefIMSUserState))
		if d.IMS == nil || d.IMS.UserState == nil {
			h.t.Fatalf("no state in %+v", d)
		}
		return *d.IMS.UserState
	}
	if s := state(); s != sh.NotRegistered {
		h.t.Errorf("before: %v", s)
	}
	h.wantNone("nobody serves", mail, alice, key(sh.RefSCSCFName))
	h.Register(aliceIMPI, alice, scscf)
	if s := state(); s != sh.Registered {
		h.t.Errorf("registered: %v", s)
	}
	if d := h.wantData("server", mail, aliceTel, key(sh.RefSCSCFName)); *d.IMS.SCSCFName != scscf {
		h.t.Errorf("served by %q", *d.IMS.SCSCFName)
	}
	h.Deregister(aliceIMPI, alice, scscf)
	if s := state(); s != sh.NotRegistered {
		h.t.Errorf("after: %v", s)
	}
}

// filterCriteria: each application server sees its own (TS 29.328 6.1.1.1).
func filterCriteria(h *house) {
	own := sh.Key{Reference: sh.RefInitialFilterCriteria, ServerName: mailURI}
	d := h.wantData("own", mail, alice, own)
	if list := *d.IMS.Criteria; len(list) != 1 || list[0].Server.ServerName != mailURI || list[0].Priority != 1 {
		h.t.Errorf("%+v", list)
	}
	own.ServerName = teleURI
	_, err := h.pull(mail, of(alice), own)
	h.wantError("another's", err, sh.ErrUserDataCannotBeRead)
	h.wantNone("of a user without", tele, bob, own)
}

// otherData: charging functions and numbers; what other domains know the HSS does not (TS 29.328 6.1.1.1 step 5).
func otherData(h *house) {
	if d := h.wantData("charging", mail, alice, key(sh.RefChargingInformation)); d.IMS.Charging == nil || d.IMS.Charging.PrimaryCCF != "aaa://ccf."+Home {
		h.t.Errorf("charging %+v", d.IMS.Charging)
	}
	if d := h.wantData("MSISDN", mail, alice, key(sh.RefMSISDN)); len(d.Identifiers.MSISDNs) != 1 || d.Identifiers.MSISDNs[0] != "15550001" {
		h.t.Errorf("MSISDN %+v", d.Identifiers)
	}
	h.wantNone("location", mail, alice, sh.Key{Reference: sh.RefLocationInformation, Domain: sh.PSDomain})
	h.wantNone("user state", mail, alice, sh.Key{Reference: sh.RefUserState, Domain: sh.CSDomain})
}

func activate(active bool) *sh.Data { return &sh.Data{IMS: &sh.IMSData{PSIActivation: &active}} }

// psiActivation: a service is switched off and on (TS 29.328 6.1.2.1 step 4).
func psiActivation(h *house) {
	active := func() bool { return *h.wantData("state", mail, chat, key(sh.RefPSIActivation)).IMS.PSIActivation }
	if !active() {
		h.t.Error("not active at first")
	}
	h.wantOK("off", h.update(mail, chat, sh.RefPSIActivation, activate(false)))
	if active() {
		h.t.Error("active when it was switched off")
	}
	h.wantOK("off again", h.update(mail, chat, sh.RefPSIActivation, activate(false)))
	h.wantOK("on", h.update(mail, chat, sh.RefPSIActivation, activate(true)))
	if !active() {
		h.t.Error("not active when it was switched on")
	}
	h.wantError("a user", h.update(mail, alice, sh.RefPSIActivation, activate(false)), sh.ErrOperationNotAllowed)
	h.wantError("a range", h.update(mail, room, sh.RefPSIActivation, activate(false)), sh.ErrOperationNotAllowed)
	h.wantError("without a value", h.update(mail, chat, sh.RefPSIActivation, &sh.Data{}), sh.ErrUserDataNotRecognized)
}

// dsai: an application server masks its own criteria (TS 29.328 7.6.11).
func dsai(h *house) {
	tag := sh.Key{Reference: sh.RefDSAI, DSAITag: "mail"}
	own := sh.Key{Reference: sh.RefInitialFilterCriteria, ServerName: mailURI}
	set := func(tag string, active bool) *sh.Data {
		return &sh.Data{IMS: &sh.IMSData{DSAI: []sh.DSAI{{Tag: tag, Active: active}}}}
	}
	active := func() bool { return h.wantData("state", mail, alice, tag).IMS.DSAI[0].Active }
	if !active() {
		h.t.Error("not active at first")
	}
	h.wantOK("off", h.update(mail, alice, sh.RefDSAI, set("mail", false)))
	if active() {
		h.t.Error("active when it was switched off")
	}
	h.wantNone("masked", mail, alice, own)
	h.wantData("not of another identity", mail, aliceTel, own)
	h.wantOK("on", h.update(mail, alice, sh.RefDSAI, set("mail", true)))
	h.wantData("unmasked", mail, alice, own)
	h.wantError("a tag that is not there", h.update(mail, alice, sh.RefDSAI, set("fax", false)), sh.ErrDSAINotAvailable)
	h.wantNone("reading it", mail, alice, sh.Key{Reference: sh.RefDSAI, DSAITag: "fax"})
	_, err := h.subscribe(wants(mail, alice, sh.Key{Reference: sh.RefDSAI, DSAITag: "fax"}))
	h.wantError("subscribing to it", err, sh.ErrDSAINotAvailable)
}

// accessKeys: what leads to what, and what is missing (TS 29.328 table 7.6.1).
func accessKeys(h *house) {
	number := sh.UserIdentity{MSISDN: "15550001"}
	if a, err := h.pull(mail, number, key(sh.RefIMSPublicIdentity)); err != nil || a.Data == nil {
		h.t.Errorf("identities by MSISDN: %+v, %v", a, err)
	} else {
		h.wantIMPUs("by MSISDN", a.Data, alice, aliceTel)
	}
	_, err := h.pull(mail, number, document("d"))
	h.wantError("a document by MSISDN", err, sh.ErrOperationNotAllowed)
	_, err = h.pull(mail, of(chat), key(sh.RefIMSUserState))
	h.wantError("the state of a service", err, sh.ErrOperationNotAllowed)
	_, err = h.pull(mail, of(alice), key(sh.RefRepositoryData))
	h.wantError("a document without a name", err, sh.ErrMissingAVP)
	_, err = h.pull(mail, of(alice), key(sh.RefInitialFilterCriteria))
	h.wantError("criteria without a server", err, sh.ErrMissingAVP)
	_, err = h.pull(mail, of(alice), key(sh.RefDSAI))
	h.wantError("DSAI without a tag", err, sh.ErrMissingAVP)
	_, err = h.pull(mail, of(alice), key(sh.RefLocationInformation))
	h.wantError("location without a domain", err, sh.ErrMissingAVP)
	_, err = h.pull(mail, sh.UserIdentity{}, document("d"))
	h.wantError("of nobody", err, sh.ErrMissingAVP)

	var withIMPI error
	h.Run(func(t *shard.Task) {
		_, withIMPI = h.As(mail).UserData(t, &sh.UserDataRequest{AS: mail, User: of(alice), IMPI: bobIMPI, Key: key(sh.RefMSISDN)})
	})
	h.wantError("another's private identity", withIMPI, sh.ErrIdentitiesDontMatch)
}

// ranges: what falls into a range has the data of the range (TS 29.328 table 7.6.1 note 1, 7.4).
func ranges(h *house) {
	const red, blue sh.IMPU = "sip:room-red@" + Home, "sip:room-blue@" + Home
	h.wantOK("in one", h.put(mail, red, "d", 0, "<a/>"))
	h.wantDocument("seen in the other", mail, blue, "d", 0, "<a/>")
	h.wantDocument("and in the range", mail, room, "d", 0, "<a/>")
	a, err := h.pull(mail, of(red), document("d"))
	if err != nil || a.WildcardedPSI != room || a.WildcardedIMPU != "" {
		h.t.Errorf("the range of %s: %+v, %v", red, a, err)
	}
}
