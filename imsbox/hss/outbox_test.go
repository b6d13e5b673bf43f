package hss

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"imsafe/refpoint/cx"
)

// owing is a house with a registered subscriber whose S-CSCF can't be reached.
func owing(t *testing.T) *house {
	h := newHouse(t)
	if err := h.PutProfile(background, "gold", voicemail()); err != nil {
		t.Fatal(err)
	}
	if err := h.PutGroup(background, &Group{Name: "staff", Profile: "gold"}); err != nil {
		t.Fatal(err)
	}
	s := subscriber()
	s.Group = "staff"
	if err := h.Add(background, s); err != nil {
		t.Fatal(err)
	}
	h.register()
	return h
}

func (h *house) wantPushError(what string, err error) {
	h.t.Helper()
	var push *PushError
	if !errors.As(err, &push) {
		h.t.Errorf("%s: %v, want PushError", what, err)
	}
}

// deliver wants so many letters left.
func (h *house) deliver(left int) (ended []cx.RegistrationTerminationRequest, told []cx.PushProfileRequest) {
	h.t.Helper()
	got, err := h.Deliver(background)
	if err != nil || got != left {
		h.t.Errorf("%d letters left, %v; want %d", got, err, left)
	}
	return h.scscf.take()
}

func TestOutbox(t *testing.T) {
	for what, c := range map[string]struct {
		change    func(h *house) error
		ends, ppr int
	}{
		"removed":      {func(h *house) error { return h.Remove(background, string(aliceIMPI)) }, 1, 0},
		"other keys":   {func(h *house) error { return h.Update(background, subscriber()) }, 1, 0},
		"another name": {func(h *house) error { s := renamed(); return h.Update(background, s) }, 0, 1},
		"another profile": {func(h *house) error {
			return h.PutProfile(background, "gold", &cx.ServiceProfile{SubscribedMediaProfile: 3})
		}, 0, 1},
		"a changed group":   {func(h *house) error { return h.PutGroup(background, &Group{Name: "staff"}) }, 0, 1},
		"nobody's business": {func(h *house) error { return h.PutProfile(background, "silver", voicemail()) }, 0, 0},
	} {
		t.Run(what, func(t *testing.T) {
			h := owing(t)
			err := c.change(h)
			owed := c.ends + c.ppr
			if owed > 0 {
				h.wantPushError(what, err)
			} else if err != nil {
				t.Error(err)
			}
			h.deliver(owed)
			h.crash() // the power is cut: what is owed is still there
			h.deliver(owed)
			h.scscf.name = scscfName
			ended, told := h.deliver(0)
			if len(ended) != c.ends || len(told) != c.ppr {
				t.Fatalf("terminations %+v, profiles %+v", ended, told)
			}
			if c.ends > 0 && (ended[0].IMPI != aliceIMPI || len(ended[0].IMPUs) != 3 || ended[0].Epoch == 0 || ended[0].ServerName != scscfName) {
				t.Errorf("%+v", ended[0])
			}
			if ended, told = h.deliver(0); len(ended)+len(told) > 0 {
				t.Errorf("once more: %+v, %+v", ended, told)
			}
		})
	}
}

func renamed() *Subscriber {
	s := subscriber()
	s.K, s.OPc, s.Group = "", "", "staff"
	s.Public[1].DisplayName = "Somebody else"
	return s
}

// The process dies when the S-CSCF has heard and before that is written down: it hears it again.
func TestOutbox_at_least_once(t *testing.T) {
	h := owing(t)
	h.scscf.name = scscfName
	h.scscf.heard = func() { h.db.Abandon() }
	if err := h.Remove(background, string(aliceIMPI)); err == nil {
		t.Error("a removal on a store that has gone")
	}
	h.scscf.heard = nil
	if ended, _ := h.scscf.take(); len(ended) != 1 {
		t.Fatalf("%+v", ended)
	}
	h.disk = h.disk.Crash()
	h.start()
	if ended, _ := h.deliver(0); len(ended) != 1 {
		t.Errorf("after the restart: %+v", ended)
	}
}

// What is owed for a registration does not end the next one.
func TestOutbox_of_a_registration_before(t *testing.T) {
	h := owing(t)
	h.wantPushError("removed", h.Remove(background, string(aliceIMPI)))
	if err := h.Add(background, subscriber()); err != nil {
		t.Fatal(err)
	}
	h.register()
	h.scscf.name = scscfName
	if ended, _ := h.deliver(0); len(ended) > 0 {
		t.Errorf("%+v", ended)
	}
}

func TestOutbox_gives_up(t *testing.T) {
	t.Run("when it is refused", func(t *testing.T) {
		h := owing(t)
		h.scscf.name, h.scscf.answer = scscfName, cx.ErrUserUnknown
		h.wantPushError("refused", h.Update(background, renamed()))
		h.scscf.take()
		if _, told := h.deliver(0); len(told) > 0 {
			t.Errorf("%+v", told)
		}
	})
	t.Run("not when it could not be done", func(t *testing.T) {
		h := owing(t)
		h.scscf.name, h.scscf.answer = scscfName, cx.ErrUnableToComply
		h.wantPushError("unable", h.Update(background, renamed()))
		h.deliver(1)
	})
	t.Run("after a day", func(t *testing.T) {
		h := owing(t)
		h.wantPushError("removed", h.Remove(background, string(aliceIMPI)))
		h.clock.move(letterLife + time.Minute)
		h.scscf.name = scscfName
		if ended, _ := h.deliver(0); len(ended) > 0 {
			t.Errorf("%+v", ended)
		}
	})
}

func FuzzLetter(f *testing.F) {
	for _, l := range []*letter{{kind: letterProfile, name: "gold", written: 7}, {kind: letterGroup, name: "staff", server: "sip:s", written: 7}, {kind: letterTermination, name: "a@b",
		request: cx.RegistrationTerminationRequest{IMPI: "a@b", IMPUs: []cx.IMPU{"sip:a@b"}, AssociatedIdentities: []cx.IMPI{"c@b"}, ServerName: "sip:s",
			Reason: cx.ServerChange, ReasonInfo: "x", Epoch: 300}}} {
		f.Add(l.encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := decodeLetter([]byte("key"), b)
		if err != nil {
			return
		}
		back, err := decodeLetter([]byte("key"), l.encode())
		if err != nil || !reflect.DeepEqual(back, l) {
			t.Errorf("%+v, %v; want %+v", back, err, l)
		}
	})
}

// Of a service, or a user who is not registered, an S-CSCF keeps no profile: that it knows nobody of that name is no failure to tell it.
func TestPush_of_one_who_is_not_kept(t *testing.T) {
	h := newHouse(t)
	h.scscf.name, h.scscf.answer = scscfName, cx.ErrUserUnknown
	if err := h.PutProfile(background, "silver", voicemail()); err != nil {
		t.Fatal(err)
	}
	const chat = "sip:chat@ims.mnc001.mcc001.3gppnetwork.org"
	if err := h.Add(background, &Subscriber{Card: Card{IMPI: "chat@ims.mnc001.mcc001.3gppnetwork.org"}, Service: &Service{}, Public: []Public{{IMPU: chat, Profile: "silver"}}}); err != nil {
		t.Fatal(err)
	}
	h.assigns(cx.UnregisteredUser)("", chat, scscfName)
	if err := h.PutProfile(background, "silver", &cx.ServiceProfile{SubscribedMediaProfile: 3}); err != nil {
		t.Error(err)
	}
	if _, told := h.scscf.take(); len(told) != 1 {
		t.Errorf("told %d times", len(told))
	}
}
