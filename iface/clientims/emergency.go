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

// answer keeps an association for its emergency call.
func (t *associations) answer(ref secure.Association) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.find(ref); a != nil {
		next := *a
		next.emergency = true
		next.until = max(next.until, t.shard.Now()+emergencyLife)
		t.slots[ref.Slot].a = &next
	}
}
