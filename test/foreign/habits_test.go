package foreign

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"imsafe/proto/sip"
	"imsafe/test/live"
)

// The habits of handsets in live networks, played by SIPp.

// TestHandsetsCall: three reliable provisional responses, preconditions, UPDATE, compact header forms.
func TestHandsetsCall(t *testing.T) {
	for name, transport := range transports {
		t.Run(name, func(t *testing.T) {
			callers, callees := sippUsers("caller", 4), sippUsers("callee", 2)
			n := start(t, callers, callees)
			present(t, n, transport, "handset_callee", callees, func() {
				must(t, n, run{scenario: "handset_caller", transport: transport, users: inject(t, callers, callees), calls: len(callers), rate: 20, hold: 50 * time.Millisecond})
			})
		})
	}
}

// TestHandsetsGiveUpTooLate: a CANCEL that comes after the 200 is answered and does not end the call; BYE does.
func TestHandsetsGiveUpTooLate(t *testing.T) {
	for name, transport := range transports {
		t.Run(name, func(t *testing.T) {
			callers, callees := sippUsers("caller", 4), sippUsers("callee", 2)
			n := start(t, callers, callees)
			present(t, n, transport, "callee", callees, func() {
				must(t, n, run{scenario: "late_cancel", transport: transport, users: inject(t, callers, callees), calls: len(callers), rate: 20, hold: 50 * time.Millisecond})
			})
		})
	}
}

// rpData is what sms.xml sends.
const rpData = "00010006911326040000f01a2113000b911326880736f40000a70de8329bfd0699e5ef7699ec02000dff0a"

// TestHandsetsMixTransportsAndPorts: one registration by UDP, and then short messages over TCP and UDP, registrations again from new
// ports, and at last a message that must find the newest port.
func TestHandsetsMixTransportsAndPorts(t *testing.T) {
	user, reader := sippUsers("mixed", 1), live.NewUsers("reader", 1, live.AKAv1)
	n := start(t, user, reader)
	phone := registered(t, n, reader[0])
	users := inject(t, user, reader)
	for range 2 { // each run of SIPp takes a new port
		must(t, n, run{scenario: "register", transport: "u1", users: users, calls: 1, rate: 50, expires: 600})
		for _, transport := range []string{"t1", "u1"} {
			shortMessage(t, n, transport, users, phone)
		}
	}
	assigned := counter(t, n, "hss_server_assignment_answers")
	leave := stay(t, n, run{transport: "u1", users: users, calls: 1, rate: 50, ooc: "reader"})
	defer leave()
	waitFor(t, "the third registration", func() bool { return counter(t, n, "hss_server_assignment_answers") > assigned })
	if err := ask(phone, user[0]); err != nil {
		t.Errorf("the newest port is not reached: %v", err)
	}
}

// TestHandsetsRegisterByTCPAndWriteByUDP: as iOS does. The registration holds as long as its connection.
func TestHandsetsRegisterByTCPAndWriteByUDP(t *testing.T) {
	user, reader := sippUsers("mixed", 1), live.NewUsers("reader", 1, live.AKAv1)
	n := start(t, user, reader)
	phone := registered(t, n, reader[0])
	present(t, n, "t1", "reader", user, func() {
		shortMessage(t, n, "u1", inject(t, user, reader), phone)
		if err := ask(phone, user[0]); err != nil {
			t.Errorf("nothing comes over the connection: %v", err)
		}
	})
}

// shortMessage lets SIPp send one to phone.
func shortMessage(t *testing.T, n *live.Node, transport, users string, phone *live.Phone) {
	t.Helper()
	heard := make(chan error, 1)
	go func() { heard <- hear(phone) }()
	must(t, n, run{scenario: "sms", transport: transport, users: users, calls: 1, rate: 50})
	if err := <-heard; err != nil {
		t.Fatalf("over %s: %v", transport, err)
	}
}

// registered is a phone of u over UDP.
func registered(t *testing.T, n *live.Node, u *live.User) *live.Phone {
	t.Helper()
	p, err := n.Dial("udp", u, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	ctx, cancel := context.WithTimeout(context.Background(), live.Patience)
	defer cancel()
	if err := p.Register(ctx, 600); err != nil {
		t.Fatal(err)
	}
	return p
}

// hear takes the short message, octet by octet, and answers as an IP-SM-GW does (TS 24.341 5.3.2.4).
func hear(p *live.Phone) error {
	want, err := hex.DecodeString(rpData)
	if err != nil {
		return err
	}
	for {
		m, err := p.Read(live.Patience)
		if err != nil {
			return err
		}
		if m.Method() != sip.MESSAGE {
			continue
		}
		if !bytes.Equal(m.Body(), want) || string(m.Get(sip.HdrContentType)) != "application/vnd.3gpp.sms" {
			return fmt.Errorf("heard %x of type %q", m.Body(), m.Get(sip.HdrContentType))
		}
		return p.Answer(m, 202)
	}
}

// ask sends a message to u and wants 200.
func ask(p *live.Phone, u *live.User) error {
	ctx, cancel := context.WithTimeout(context.Background(), live.Patience)
	defer cancel()
	m, err := p.Ask(ctx, p.Request("MESSAGE", u.IMPU, u.IMPU, "hello", "Content-Type: text/plain"))
	if err == nil && m.Status() != 200 {
		err = fmt.Errorf("answered %d", m.Status())
	}
	return err
}

// counter reads one of the node's metrics.
func counter(t *testing.T, n *live.Node, name string) float64 {
	t.Helper()
	all, err := n.Counters()
	if err != nil {
		t.Fatal(err)
	}
	return all[name]
}

// waitFor waits until something is so.
func waitFor(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(live.Patience); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s does not come", what)
		}
	}
}
