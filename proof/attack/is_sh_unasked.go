package attack

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"imsafe/proto/diameter"
	"imsafe/secure"
)

// shUnasked: an enrolled service is granted data of those who agree, and so many in a second. It takes what it likes.
func shUnasked() Attack {
	read, write := []secure.ControlID{secure.ISConfidentialityShRead}, []secure.ControlID{secure.ISIntegrityShWrite}
	return Attack{
		ID: "is.sh.unasked", Number: "IS-16", Title: "a service reads, follows and changes data of users who have not agreed, and faster than it may",
		Text:     "what a user agrees to would be what the service says that he agrees to; and one service could follow everybody's telephone by the minute",
		Services: []Service{Confidentiality, Integrity}, Stride: Elevation, Threats: []Threat{Disclosure, Corruption}, Module: ApplicationsControl,
		Source: "TS 29.328 6.1.1, 6.1.2, 6.1.3, 6.2", Access: []Access{Sh},
		Bounds: Bounds{Packets: 30, Bytes: 100_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "read", Position: EnrolledPlatform, Controls: read, Run: readsUnasked},
			{Name: "watch", Position: EnrolledPlatform, Controls: read, Run: watchesUnasked},
			{Name: "write", Position: EnrolledPlatform, Controls: write, Run: writesUnasked},
			{Name: "pace", Position: EnrolledPlatform, Controls: read, Run: readsTooFast},
		},
	}
}

// refUserState is whether somebody is registered (TS 29.328 7.6.6).
const refUserState = 11

// unasked are users who have agreed to nothing. Bob has agreed to the asker.
func (f *Field) unasked() (names []string, users []*User) {
	names = []string{Alice, Carol, Mallory}
	for _, name := range names {
		users = append(users, f.Users[name])
	}
	return names, users
}

// readsUnasked pulls the numbers of those who have not agreed.
func readsUnasked(ctx context.Context, f *Field, o *Outcome) error {
	line, err := f.service(ctx, f.attacker, Asker)
	if err != nil {
		return err
	}
	defer func() { _ = line.conn.Close() }()
	own := line.pull(f.Users[Bob].IMPU, refMSISDN)
	answers, err := line.ask(&own)
	if err != nil {
		return err
	}
	if between(answers[0].data, "MSISDN") == "" {
		return errors.New("attack: the service does not get the number of a user who has agreed")
	}
	o.Arrived("the number of a user who has agreed is answered")
	names, users := f.unasked()
	var requests []*diameter.Writer
	for _, u := range users {
		w := line.pull(u.IMPU, refMSISDN)
		requests = append(requests, &w)
	}
	if answers, err = line.ask(requests...); err != nil {
		return err
	}
	for _, a := range answers {
		if between(a.data, "MSISDN") != "" {
			o.Users++
		}
	}
	o.Wire(o.Users > 0, "pulls of the numbers of %s, who have not agreed, are answered %s: %d numbers", strings.Join(names, ", "), answered(answers), o.Users)
	return nil
}

// watchesUnasked subscribes to a document of alice's. Her own service changes it, and bob's behind it.
func watchesUnasked(ctx context.Context, f *Field, o *Outcome) error {
	honest, err := f.service(ctx, f.honest, Archive)
	if err != nil {
		return err
	}
	defer func() { _ = honest.conn.Close() }()
	alice, bob := f.Users[Alice].IMPU, f.Users[Bob].IMPU
	writes := func(sequence int) error {
		first, last := honest.update(alice, refRepository, greeting(sequence)), honest.update(bob, refRepository, greeting(sequence))
		for _, w := range []*diameter.Writer{&first, &last} { // one behind the other
			answers, err := honest.ask(w)
			if err != nil || answers[0].result != uint32(diameter.ResultSuccess) {
				return fmt.Errorf("attack: a document of a user's own service is answered %s: %w", answered(answers), err)
			}
		}
		return nil
	}
	if err := writes(0); err != nil {
		return err
	}
	line, err := f.service(ctx, f.attacker, Asker)
	if err != nil {
		return err
	}
	defer func() { _ = line.conn.Close() }()
	agreed, foreign := line.follow(bob), line.follow(alice)
	answers, err := line.ask(&agreed, &foreign)
	if err != nil {
		return err
	}
	if answers[0].result != uint32(diameter.ResultSuccess) {
		return fmt.Errorf("attack: the service may not follow a user who has agreed: %d", answers[0].result)
	}
	if answers[0].data == "" {
		return errors.New("attack: a subscription is answered without the document")
	}
	o.Arrived("a subscription to bob, who has agreed, is taken; one to alice is answered %d", answers[1].result)
	if err := writes(1); err != nil {
		return err
	}
	heard, err := line.heardBefore(bob)
	if err != nil {
		return err
	}
	shown := answers[1].data != "" // it is in the answer as well (TS 29.328 6.1.3.1)
	if heard > 0 || shown {
		o.Users = 1
	}
	o.Wire(o.Users > 0, "the service is shown alice's document as it is: %v, and told %d times of a change, before it is told of bob's", shown, heard)
	return nil
}

// heardBefore reads notifications until one is about a user, and counts the others.
func (l *shLine) heardBefore(impu string) (others int, err error) {
	for {
		m, err := l.read()
		if err != nil {
			return others, err
		}
		if !m.IsRequest() || m.Command() != diameter.PNR {
			continue
		}
		identity, _ := m.Find(diameter.UserIdentity)
		if err := l.takes(m); err != nil || identity.Group().Text(diameter.PublicIdentity) == impu {
			return others, err
		}
		others++
	}
}

// Notice is the Service-Indication of documents that the asker may read of everybody, and write of nobody.
const Notice = "notice"

// writesUnasked puts a document of its own making among those of alice, who has not agreed, and one in the place of what it may only read.
func writesUnasked(ctx context.Context, f *Field, o *Outcome) error {
	line, err := f.service(ctx, f.attacker, Asker)
	if err != nil {
		return err
	}
	defer func() { _ = line.conn.Close() }()
	alice := f.Users[Alice].IMPU
	agreed, look := line.update(f.Users[Bob].IMPU, refRepository, document("greeting")), line.pullOf(alice, refRepository, Notice)
	foreign, readable := line.update(alice, refRepository, document("greeting")), line.update(alice, refRepository, document(Notice))
	answers, err := line.ask(&agreed, &look, &foreign, &readable)
	if err != nil {
		return err
	}
	if !taken(answers[0]) || !taken(answers[1]) {
		return fmt.Errorf("attack: the service may not write for a user who has agreed, or read what everybody shows: %d, %d", answers[0].result, answers[1].result)
	}
	o.Arrived("a document of a user who has agreed is taken, and one that everybody shows may be read")
	o.Wire(taken(answers[2]) || taken(answers[3]), "one of alice's, who has not, is answered %d, one that may be read %d", answers[2].result, answers[3].result)
	honest, err := f.service(ctx, f.honest, Archive)
	if err != nil {
		return err
	}
	defer func() { _ = honest.conn.Close() }()
	greeting, read := honest.pull(alice, refRepository), honest.pullOf(alice, refRepository, Notice)
	seen, err := honest.ask(&greeting, &read)
	if err != nil {
		return err
	}
	forged := 0
	for _, a := range seen {
		if strings.Contains(a.data, "forged") {
			forged++
		}
	}
	o.Users = min(forged, 1)
	o.Peer(forged > 0, "her own service reads %d of 2 documents of hers that she has not left", forged)
	return nil
}

func taken(a shAnswer) bool { return a.result == uint32(diameter.ResultSuccess) }

// readsTooFast asks who of the cast is registered, far more often than granted.
func readsTooFast(ctx context.Context, f *Field, o *Outcome) error {
	line, err := f.service(ctx, f.attacker, Asker)
	if err != nil {
		return err
	}
	defer func() { _ = line.conn.Close() }()
	const rounds = 15
	var requests []*diameter.Writer
	for range rounds {
		for _, name := range []string{Alice, Bob, Carol, Mallory} {
			w := line.pull(f.Users[name].IMPU, refUserState)
			requests = append(requests, &w)
		}
	}
	begun := f.Clock.Now()
	answers, err := line.ask(requests...)
	if err != nil {
		return err
	}
	granted := AskerBurst + AskerRate*(1+int((f.Clock.Now()-begun)/time.Second)) // what came back meanwhile
	told := 0
	for _, a := range answers {
		if a.result == uint32(diameter.ResultSuccess) {
			told++
		}
	}
	o.Arrived("%d of %d pulls are answered with the state of a user", told, len(requests))
	if told > granted {
		o.Users = 4
	}
	o.Wire(told > granted, "%d pulls are answered %s; %d were granted", len(requests), answered(answers), granted)
	return nil
}

// follow makes a SNR for the greeting of a user (TS 29.329 6.1.5).
func (l *shLine) follow(impu string) diameter.Writer {
	w := l.request(diameter.SNR, impu, refRepository)
	w.Enumerated(diameter.SubsReqType, 0)
	w.Enumerated(diameter.SendDataIndication, 1)
	w.Text(diameter.ServiceIndication, "greeting")
	return w
}

// takes answers a PNR (TS 29.329 6.1.8).
func (l *shLine) takes(m diameter.Message) error {
	w := diameter.Begin(nil, diameter.Header{Flags: diameter.FlagProxiable, Command: m.Command(), Application: diameter.AppSh, HopByHop: m.HopByHop(), EndToEnd: m.EndToEnd()})
	w.Text(diameter.SessionID, m.AVPs().Text(diameter.SessionID))
	l.vendorApplication(&w)
	w.Enumerated(diameter.AuthSessionState, 1)
	w.Unsigned32(diameter.ResultCode, uint32(diameter.ResultSuccess))
	w.Text(diameter.OriginHost, l.host)
	w.Text(diameter.OriginRealm, l.f.Domain)
	b, err := w.End()
	if err == nil {
		_, err = l.conn.Write(b)
	}
	return err
}

// greeting is a set of transparent data as it is at a sequence number.
func greeting(sequence int) string {
	return fmt.Sprintf("<RepositoryData><ServiceIndication>greeting</ServiceIndication><SequenceNumber>%d</SequenceNumber><ServiceData><hello n=\"%d\"/></ServiceData></RepositoryData>",
		sequence, sequence)
}
