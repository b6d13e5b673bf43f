package clientims

import (
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// emergencyLife is how long an association of a client that is not registered lives for the sake of its emergency call.
const emergencyLife = 4 * time.Hour

// isEmergency reports whether a request begins an emergency call. A door that turns everybody else away lets it in
// (TS 24.229 5.2.10).
func (d *Door) isEmergency(m *sip.Message) bool {
	return m.Method() != sip.REGISTER && len(m.ToTag()) == 0 && d.cfg.Emergency.Is(m.RequestURI())
}

// maySpeak reports whether a client may send m without being registered: an emergency call, and what belongs to one.
func (d *Door) maySpeak(a association, m *sip.Message) bool {
	return a.emergency && len(m.ToTag()) > 0 || d.isEmergency(m)
}

// maxHelping bounds the emergency requests of all who are not registered that wait for their answers. Nobody knows how many of them come from where they say: without
// a bound they would take the room of everybody who wants to register.
const maxHelping = 10_000

// hasRoomToHelp reports whether there are fewer.
func (d *Door) hasRoomToHelp() bool { return d.helping.Load() < maxHelping }

// helps counts an emergency request of a client that is not registered until it has its answer. It returns what is told of that.
func (d *Door) helps() (answered func()) {
	d.helping.Add(1)
	return d.helped
}

// answer keeps an association for its emergency call. What is no call needs it for its answer alone: who asks from ever other places would fill the
// table with those.
func (t *associations) answer(ref secure.Association, m sip.Method) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.find(ref); a != nil {
		next := *a
		next.emergency = true
		if m == sip.INVITE {
			next.until = max(next.until, t.shard.Now()+emergencyLife)
		}
		t.slots[ref.Slot].a = &next
	}
}
