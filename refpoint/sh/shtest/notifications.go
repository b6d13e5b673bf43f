package shtest

import (
	"time"

	"imsafe/refpoint/sh"
)

// notification: who has subscribed hears of changes that others make (TS 29.328 6.1.3, 6.1.4).
func notification(h *house) {
	_, err := h.subscribe(wants(mail, alice, document("d")))
	h.wantError("to what is not there", err, sh.ErrSubsDataAbsent)
	h.wantOK("new", h.put(mail, alice, "d", 0, "<a/>"))
	r := wants(mail, alice, document("d"))
	r.SendData, r.ExpiryTime = true, h.Now().Add(time.Hour).Unix()
	a, err := h.subscribe(r)
	if err != nil || a.Data == nil || a.ExpiryTime != r.ExpiryTime {
		h.t.Fatalf("%+v, %v", a, err)
	}
	h.isDocument("with the answer", a.Data, "d", 0, "<a/>")

	h.wantOK("changed by itself", h.put(mail, alice, "d", 1, "<b/>"))
	h.wantOK("changed by another", h.put(tele, alice, "d", 2, "<c/>"))
	told := h.wantTold("changed by another", mail)
	h.isDocument("told", told.Data, "d", 2, "<c/>") // and not of its own change
	if told.User.Public != alice {
		h.t.Errorf("told of %+v", told.User)
	}

	h.wantOK("another document", h.put(tele, alice, "e", 0, "<x/>"))
	h.wantOK("of another user", h.put(tele, bob, "d", 0, "<x/>"))
	h.wantOK("removed", h.put(tele, alice, "d", 3, ""))
	h.isDocument("the last news", h.wantTold("removed", mail).Data, "d", 3, "")
	h.wantOK("and new", h.put(tele, alice, "d", 0, "<z/>"))
	h.wantOK("subscribed again", h.wants(mail, alice, document("d")))
	h.wantOK("changed", h.put(tele, alice, "d", 1, "<y/>"))
	h.isDocument("nothing between", h.wantTold("changed", mail).Data, "d", 1, "<y/>")
}

// wants subscribes.
func (h *house) wants(as sh.AS, impu sh.IMPU, k sh.Key) error {
	_, err := h.subscribe(wants(as, impu, k))
	return err
}

// notificationEnds: by the application server, by its word, by itself.
func notificationEnds(h *house) {
	for _, name := range []string{"once", "over", "gone", "kept"} {
		h.wantOK(name, h.put(tele, alice, name, 0, "<a/>"))
	}
	once := wants(mail, alice, document("once"))
	once.OneTime = true
	if _, err := h.subscribe(once); err != nil {
		h.t.Fatal(err)
	}
	h.wantOK("over", h.wants(mail, alice, document("over")))
	off := wants(mail, alice, document("over"))
	off.Unsubscribe = true
	for range 2 { // the second time there is nothing to end, which is no error
		if _, err := h.subscribe(off); err != nil {
			h.t.Error(err)
		}
	}
	h.wantOK("kept", h.wants(mail, alice, document("kept")))

	h.wantOK("changed", h.put(tele, alice, "once", 1, "<b/>"))
	h.isDocument("once", h.wantTold("once", mail).Data, "once", 1, "<b/>")
	h.barrier(1)
	h.wantOK("changed", h.put(tele, alice, "once", 2, "<c/>"))
	h.wantOK("changed", h.put(tele, alice, "over", 1, "<b/>"))
	h.barrier(2)

	h.wantOK("gone", h.wants(mail, alice, document("gone")))
	h.heard[mail.Service].answers(sh.ErrNoSubscriptionToData)
	h.wantOK("changed", h.put(tele, alice, "gone", 1, "<b/>"))
	h.isDocument("refused", h.wantTold("refused", mail).Data, "gone", 1, "<b/>")
	h.heard[mail.Service].answers(nil)
	h.barrier(3)
	h.wantOK("changed", h.put(tele, alice, "gone", 2, "<c/>"))
	h.barrier(4)
}

// barrier changes what is subscribed to and wants to hear of that next: of nothing before it.
func (h *house) barrier(sequence uint16) {
	h.t.Helper()
	h.wantOK("barrier", h.put(tele, alice, "kept", sequence, "<n/>"))
	h.isDocument("barrier", h.wantTold("barrier", mail).Data, "kept", sequence, "<n/>")
}

// notificationOfRegistration: what an S-CSCF does is news too.
func notificationOfRegistration(h *house) {
	h.wantOK("state", h.wants(mail, alice, key(sh.RefIMSUserState)))
	h.Register(aliceIMPI, alice, scscf)
	if d := h.wantTold("registered", mail).Data; *d.IMS.UserState != sh.Registered {
		h.t.Errorf("told %v", *d.IMS.UserState)
	}
	h.Register(aliceIMPI, alice, scscf) // changes nothing
	h.Deregister(aliceIMPI, alice, scscf)
	if d := h.wantTold("de-registered", mail).Data; *d.IMS.UserState != sh.NotRegistered {
		h.t.Errorf("told %v", *d.IMS.UserState)
	}
	h.wantOK("server", h.wants(mail, aliceTel, key(sh.RefSCSCFName)))
	off := wants(mail, alice, key(sh.RefIMSUserState))
	off.Unsubscribe = true
	if _, err := h.subscribe(off); err != nil {
		h.t.Error(err)
	}
	h.Register(aliceIMPI, alice, scscf)
	if d := h.wantTold("served", mail).Data; d.IMS.SCSCFName == nil || *d.IMS.SCSCFName != scscf {
		h.t.Errorf("told %+v", d.IMS)
	}
	h.Deregister(aliceIMPI, alice, scscf)
	if d := h.wantTold("not served", mail).Data; d.IMS.SCSCFName == nil || *d.IMS.SCSCFName != "" {
		h.t.Errorf("told %+v", d.IMS)
	}
}

// removal of a user takes his data, and is told.
func removal(h *house) {
	h.wantOK("new", h.put(tele, alice, "d", 0, "<secret/>"))
	h.wantOK("subscribed", h.wants(mail, alice, document("d")))
	h.Remove(alice)
	if d := h.wantTold("removed", mail).Data; len(d.Deleted) != 1 || d.Deleted[0] != alice {
		h.t.Errorf("told %+v", d)
	}
	_, err := h.pull(mail, of(alice), document("d"))
	h.wantError("afterwards", err, sh.ErrUserDataCannotBeRead)
}

// crash: what was answered is there afterwards, subscriptions and what they are owed too.
func crash(h *house) {
	if h.Crash == nil {
		h.t.Skip("this implementation cannot crash in a test")
	}
	h.wantOK("new", h.put(tele, alice, "d", 0, "<a/>"))
	h.wantOK("subscribed", h.wants(mail, alice, document("d")))
	h.wantOK("off", h.update(mail, chat, sh.RefPSIActivation, activate(false)))
	h.Crash()
	h.wantDocument("afterwards", mail, alice, "d", 0, "<a/>")
	if *h.wantData("state", mail, chat, key(sh.RefPSIActivation)).IMS.PSIActivation {
		h.t.Error("what was switched off is on")
	}
	h.wantOK("changed", h.put(tele, alice, "d", 1, "<b/>"))
	h.isDocument("told", h.wantTold("changed", mail).Data, "d", 1, "<b/>")
}
