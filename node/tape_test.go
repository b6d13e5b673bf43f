package node

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"imsafe/hop"
	"imsafe/iface/clientims"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/gm"
	"imsafe/secure"
	"imsafe/secure/mint"
	"imsafe/trace/ladder"
)

const taped = "INVITE sip:bob@example.org SIP/2.0\r\nVia: SIP/2.0/TLS 192.0.2.1;branch=z9hG4bKsecretbranch\r\nMax-Forwards: 70\r\n" +
	"From: <sip:alice@example.org>;tag=secrettag\r\nTo: <sip:bob@example.org>\r\nCall-ID: the-call\r\nCSeq: 1 INVITE\r\n" +
	"Contact: <sip:secretcontact@192.0.2.1>\r\nRoute: <sip:secretroute@scscf.example.org;lr>\r\n" +
	"Authorization: Digest username=\"alice@example.org\",realm=\"example.org\",nonce=\"secretnonce\",uri=\"sip:example.org\",response=\"5ec2e7\"\r\n" +
	"P-Asserted-Identity: <sip:alice@example.org>\r\nContent-Type: application/sdp\r\nContent-Length: 10\r\n\r\nv=0 secret"

// tapeOf is a tape, a message and a task that it may come on.
func tapeOf(t testing.TB) (*Tape, *sip.Message, *shard.Task) {
	t.Helper()
	m, err := sip.NewPool(sip.Limits{}).Parse([]byte(taped))
	if err != nil {
		t.Fatal(err)
	}
	return NewTape(ladder.NewRing(8), shard.RealClock(), "example.org", "", AllRoles, ladder.MTLS, func() *clientims.Door { return nil }), m, new(shard.Task)
}

// TestTape_secrets: nothing is on a ladder with which somebody could do something.
func TestTape_secrets(t *testing.T) {
	tape, m, task := tapeOf(t)
	tape.Sent(task, gm.Name, "pcscf.example.org", hop.Inbound{Msg: m})
	s := tape.ring.All()[0]
	shown := s.Text() + strings.Join(s.Arrows[0].Lines, "\n")
	if strings.Contains(shown, "secret") || strings.Contains(shown, "5ec2e7") {
		t.Errorf("secrets are shown:\n%s", shown)
	}
	for _, want := range []string{"Request-URI: sip:bob@example.org", "P-Asserted-Identity: <sip:alice@example.org>", "alice@example.org, response [redacted]", "application/sdp, 10 octets"} {
		if !strings.Contains(shown, want) {
			t.Errorf("%q is not shown:\n%s", want, shown)
		}
	}
}

// TestTape_refusals: a refusal stands at the message that it is about: by the name in the event, or because there is no other; and at the one that follows
// where the door speaks first. One that fits nothing stands nowhere.
func TestTape_refusals(t *testing.T) {
	tape, m, task := tapeOf(t)
	other, err := sip.NewPool(sip.Limits{}).Parse([]byte(strings.ReplaceAll(taped, "the-call", "other-call")))
	if err != nil {
		t.Fatal(err)
	}
	alice := mint.Access(mint.Client{Peer: "192.0.2.1", IMPI: "alice@example.org", Profile: "tls"})
	checks := func(call string) (all []string) {
		for _, a := range tape.ring.Find(call)[0].Arrows {
			for _, c := range a.Checks {
				if c.Did != ladder.Passed {
					all = append(all, a.What+" "+c.Control+" "+string(c.Did))
				}
			}
		}
		return all
	}
	tape.Refused(secure.Event{Control: secure.CIIntegrityHeaderEdge, Reason: "claimed", Enforced: true})
	in := tape.Sent(task, gm.Name, "pcscf.example.org", hop.Inbound{Msg: m, Proof: alice})
	tape.Refused(secure.Event{Control: secure.CIAuthenticationFromCheck, Reason: "not-his", Subject: "alice@example.org", Enforced: true})
	inner := tape.Sent(task, "pcscf.example.org", "scscf.example.org", hop.Inbound{Msg: m, Proof: alice})
	tape.Refused(secure.Event{Control: secure.CIAuthorizationRoutePolicy, Reason: "barred"})
	tape.Sent(new(shard.Task), gm.Name, "pcscf.example.org", hop.Inbound{Msg: other})
	tape.Refused(secure.Event{Control: secure.CSIntegritySRTPVerify, Reason: "of nobody", Enforced: true})
	want := "INVITE ci.integrity.header-edge refused|INVITE ci.authentication.from-check refused|INVITE ci.authorization.route-policy let pass"
	if got := strings.Join(checks("the-call"), "|"); got != want || checks("other-call") != nil {
		t.Errorf("%s, and of the other %v", got, checks("other-call"))
	}
	tape.Answered(task, inner, nil)
	tape.Answered(task, in, nil)
	if len(tape.under) != 1 {
		t.Errorf("%d procedures are under way", len(tape.under))
	}
}

// TestTape_turned: what the door turns away ends there, with what the door said.
func TestTape_turned(t *testing.T) {
	tape, m, _ := tapeOf(t)
	from := netip.MustParseAddr("192.0.2.1")
	tape.Refused(secure.Event{Control: secure.CIAvailabilityBudgetSource, Reason: "other", Source: netip.MustParseAddr("192.0.2.9"), Enforced: true})
	tape.Refused(secure.Event{Control: secure.CIAuthorizationProtectedPort, Reason: "not-registered", Source: from, Enforced: true})
	tape.Turned("tls", false, from, m, 403)
	s := tape.ring.All()[0]
	if len(s.Arrows) != 2 || len(s.Arrows[0].Checks) != 1 || s.Arrows[0].Worst() != ladder.Refused || s.Arrows[1].What != "403 Forbidden" || s.Arrows[1].Cover != ladder.TLS {
		t.Errorf("%s", s.Text())
	}
}

// TestTape_names: the checks that pass are controls of the house.
func TestTape_names(t *testing.T) {
	for _, name := range []string{passedAKA, passedESP, passedPort, passedService, passedNode} {
		if _, known := secure.ControlByName(name); !known {
			t.Errorf("there is no control %s", name)
		}
	}
}

// BenchmarkTape is what a hop costs that is drawn, with its answer. A node without a tape pays for one comparison: see hop.
func BenchmarkTape(b *testing.B) {
	tape, m, task := tapeOf(b)
	b.ReportAllocs()
	for b.Loop() {
		tape.Answered(task, tape.Sent(task, gm.Name, "pcscf.example.org", hop.Inbound{Msg: m}), nil)
	}
}

// silentHSS answers every SAR with the same error.
type silentHSS struct{ cx.Server }

func (silentHSS) ServerAssignment(*shard.Task, *cx.ServerAssignmentRequest) (*cx.ServerAssignmentAnswer, error) {
	return nil, cx.ErrUnableToComply
}

// TestTape_assignment: of what is asked of an HSS a ladder says for what, since a SAR may be many things (TS 29.229 6.3.15).
func TestTape_assignment(t *testing.T) {
	tape, m, task := tapeOf(t)
	tape.Sent(task, gm.Name, "scscf.example.org", hop.Inbound{Msg: m})
	if _, err := tape.cx(silentHSS{}, ladder.SCSCF, false).ServerAssignment(task, &cx.ServerAssignmentRequest{Type: cx.UnregisteredUser}); err == nil {
		t.Fatal("answered")
	}
	arrows := tape.ring.All()[0].Arrows
	if n := len(arrows); n != 3 || arrows[1].What != "Server-Assignment-Request" || !slices.Equal(arrows[1].Lines, []string{"Server-Assignment-Type: UNREGISTERED_USER"}) ||
		arrows[2].What != "unable to comply" {
		t.Errorf("%+v", arrows)
	}
}
