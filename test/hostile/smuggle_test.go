package hostile

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"imsafe/proto/sip"
	"imsafe/test/live"
)

// pair is an attacker who is registered, as anybody may be, and the one he writes to: his raw socket is what is looked at.
type pair struct {
	n                *live.Node
	attacker, callee *live.Phone
}

func newPair(t *testing.T, network string) *pair {
	t.Helper()
	x := &pair{n: start(t, 2)}
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	defer cancel()
	for i, p := range []**live.Phone{&x.attacker, &x.callee} {
		var err error
		if *p, err = x.n.Dial(network, x.n.Users[i], nil); err != nil {
			t.Fatal(err)
		}
		t.Cleanup((*p).Close)
		if err := (*p).Register(ctx, 600); err != nil {
			t.Fatal(err)
		}
	}
	return x
}

// again connects the attacker once more, after the node has ended his connection.
func (x *pair) again(t *testing.T) {
	t.Helper()
	x.attacker.Close()
	p, err := x.n.Dial("tcp", x.n.Users[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	// A lab client is known by address and name: while its former connection is ending, it may be refused.
	for err = p.Register(ctx, 600); err != nil && ctx.Err() == nil; err = p.Register(ctx, 600) {
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	x.attacker = p
}

// message is a good MESSAGE to the callee with further header lines.
func (x *pair) message(body string, lines ...string) string {
	return x.attacker.Request("MESSAGE", x.callee.IMPU, x.callee.IMPU, body, append(lines, "Content-Type: text/plain")...)
}

// received returns everything that reaches the callee, answering each request so that it is not sent again; last is the body of the
// message that comes behind everything else.
func (x *pair) received(t *testing.T, last string) (raw []string) {
	t.Helper()
	seen := map[string]bool{}
	x.callee.Heard = func(b []byte) {
		if !seen[string(b)] { // else it was sent again
			raw = append(raw, string(b))
		}
		seen[string(b)] = true
	}
	defer func() { x.callee.Heard = nil }()
	for {
		m, err := x.callee.Read(patience)
		if err != nil {
			t.Fatalf("the last message does not come: %v, but %q", err, raw)
		}
		if !m.IsRequest() {
			continue
		}
		if err := x.callee.Answer(m, 200); err != nil {
			t.Fatal(err)
		}
		if string(m.Body()) == last {
			return raw
		}
	}
}

const (
	secret = "smuggled"
	last   = "the end"
)

// TestTwoMessagesInOne sends octets in which a second message hides from one of two readers (CI-23). The node reads one message or
// none and ends the connection: the hidden one reaches nobody.
func TestTwoMessagesInOne(t *testing.T) {
	x := newPair(t, "tcp")
	hidden := func() string { return x.message(secret) }
	// outer is a message whose header ends with lines instead of its own length.
	outer := func(body string, lines ...string) string {
		whole := x.message("", lines...)
		return strings.Replace(whole, "\r\nContent-Length: 0\r\n\r\n", "\r\n\r\n", 1) + body
	}
	for name, octets := range map[string]func() string{
		"two lengths, the first short": func() string {
			h := hidden()
			return outer(h, "Content-Length: 0", fmt.Sprintf("Content-Length: %d", len(h)))
		},
		"two lengths, the second short": func() string {
			h := hidden()
			return outer(h, fmt.Sprintf("Content-Length: %d", len(h)), "Content-Length: 0")
		},
		"a compact length besides": func() string { h := hidden(); return outer(h, "Content-Length: 0", fmt.Sprintf("l: %d", len(h))) },
		"a length with a space": func() string {
			h := hidden()
			return outer(h, fmt.Sprintf("Content-Length : %d", len(h)), "Content-Length: 0")
		},
		"a folded length besides":   func() string { h := hidden(); return outer(h, fmt.Sprintf("Content-Length:\r\n %d", len(h)), "l: 0") },
		"a list of lengths":         func() string { h := hidden(); return outer(h, fmt.Sprintf("Content-Length: 0, %d", len(h))) },
		"a length with a parameter": func() string { h := hidden(); return outer(h, fmt.Sprintf("Content-Length: 0;x=%d", len(h))) },
		"an empty line of LF":       func() string { h := hidden(); return outer(h, "Subject: a\n\n"+h+"x: y", "Content-Length: 0") },
		"an empty line of CR":       func() string { h := hidden(); return outer(h, "Subject: a\r\r"+h+"x: y", "Content-Length: 0") },
		"a length behind an LF": func() string {
			h := hidden()
			return outer(h, fmt.Sprintf("Subject: a\nContent-Length: %d", len(h)), "Content-Length: 0")
		},
		"a length behind a NUL": func() string {
			h := hidden()
			return outer(h, fmt.Sprintf("Subject: a\x00Content-Length: %d", len(h)), "Content-Length: 0")
		},
		"octal, or not":                 func() string { h := hidden(); return outer(h, fmt.Sprintf("Content-Length: 00%o", len(h))) },
		"no length, the end is a guess": func() string { return outer(hidden()) },
	} {
		t.Run(name, func(t *testing.T) {
			x.again(t)
			sent := octets()
			if err := x.attacker.Write(sent); err != nil {
				t.Fatal(err)
			}
			ended := x.ended(t)
			x.again(t)
			if err := x.attacker.Write(x.message(last)); err != nil {
				t.Fatal(err)
			}
			for _, raw := range x.received(t, last) {
				if m := parse(t, raw); string(m.Body()) == secret {
					t.Errorf("the hidden message came:\n%s\nof\n%s", raw, sent)
				}
			}
			if !ended {
				t.Error("the connection stays")
			}
		})
	}
}

// ended reports whether the node ended the attacker's connection when it read what he sent. A datagram has none.
func (x *pair) ended(t *testing.T) bool {
	t.Helper()
	if x.attacker.Proto == "UDP" {
		return false
	}
	err := x.attacker.Ping(patience)
	if errors.Is(err, live.ErrSilence) {
		t.Error("the connection is neither ended nor alive")
	}
	return err != nil
}

func parse(t *testing.T, raw string) *sip.Message {
	t.Helper()
	m, err := sip.NewPool(sip.Limits{}).Parse([]byte(raw))
	if err != nil {
		t.Fatalf("the callee got what is no SIP: %v\n%q", err, raw)
	}
	return m
}

// TestMessageInABody: a whole message in the body of another is a body.
func TestMessageInABody(t *testing.T) {
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			x := newPair(t, network)
			inner := x.message(secret)
			for _, octets := range []string{x.message(inner), x.message(last)} {
				if err := x.attacker.Write(octets); err != nil {
					t.Fatal(err)
				}
			}
			raw := x.received(t, last)
			if len(raw) != 2 || string(parse(t, raw[0]).Body()) != inner {
				t.Errorf("%d messages came: %q", len(raw), raw)
			}
		})
	}
}

// forged are header lines that a client must not get through to others (CI-24, CI-09, CI-07). Each names the victim.
func forged() (lines []string) {
	const id = "<sip:victim@" + live.Domain + ">"
	for _, name := range []string{"P-Asserted-Identity:", "P-Asserted-Identity :", "P-Asserted-Identity\t:", "P-Asserted-Identity \t :", "p-asserted-identity:",
		"P-ASSERTED-IDENTITY:", "P-Asserted-Identity:\r\n ", "P-Asserted-Identity\r\n :", "P-Asserted-Identity:" + id + "\r\nP-Asserted-Identity:",
		"P-Asserted-Identity: \"a\" <sip:a@b>,", "P-Asserted-Identity\x00:", "P-Asserted-Identity\xc2\xa0:", "P_Asserted_Identity:",
		"Subject: a\nP-Asserted-Identity:", "Subject: a\rP-Asserted-Identity:", "Subject: a\r\n P-Asserted-Identity:", "Subject: a\r\r\nP-Asserted-Identity:",
		"Subject: a\x00\nP-Asserted-Identity:", "Subject: \"a\r\nP-Asserted-Identity:", "Subject: a%0d%0aP-Asserted-Identity:", ":P-Asserted-Identity:",
		"P-Preferred-Identity:", "P-Associated-URI:", "P-Called-Party-ID:", "P-Served-User:", "P-Profile-Key:", "Path:", "Service-Route:", "Remote-Party-ID:"} {
		lines = append(lines, name+" "+id)
	}
	return append(lines, "P-Charging-Vector: icid-value=victim", "P-Visited-Network-ID: victim", "P-Charging-Function-Addresses: ccf=victim",
		"P-Access-Network-Info: 3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=victim;network-provided", "P-User-Database: <aaa://victim>",
		"P-Asserted-Service: urn:urn-7:3gpp-service.victim", "Subject: a\nContact: "+id)
}

// forgedName finds, in any of the ways in which a reader may see lines, a header of the core.
var forgedName = regexp.MustCompile(`(?im)^[ \t]*(p-(asserted-identity|associated-uri|called-party-id|served-user|profile-key|charging-[a-z-]+|visited-network-id|` +
	`user-database|asserted-service|preferred-identity|access-network-info)|path|service-route|remote-party-id|contact)[ \t\x00]*:.*victim`)

// TestForgedHeaders sends messages with headers that only the core may write, in every spelling. The callee sees none of them: at
// most he gets a message without it, from the identity that the network knows.
func TestForgedHeaders(t *testing.T) {
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			x := newPair(t, network)
			arrived := 0
			for _, line := range forged() {
				if err := x.attacker.Write(x.message(secret, line)); err != nil {
					t.Fatal(err)
				}
				if x.ended(t) {
					x.again(t)
				}
				if err := x.attacker.Write(x.message(last)); err != nil {
					t.Fatal(err)
				}
				for _, raw := range x.received(t, last) {
					if seen := forgedName.FindString(strings.ReplaceAll(raw, "\r", "\n")); seen != "" {
						t.Errorf("%q reached the callee as %q in\n%s", line, seen, raw)
					}
					m := parse(t, raw)
					if string(m.Body()) != secret {
						continue
					}
					arrived++
					if got := string(m.Get(sip.HdrPAssertedIdentity)); m.Count(sip.HdrPAssertedIdentity) != 1 || got != "<"+x.attacker.IMPU+">" {
						t.Errorf("after %q the callee sees %q, %d times", line, got, m.Count(sip.HdrPAssertedIdentity))
					}
				}
			}
			t.Logf("%d of %d messages arrived, without what was forged", arrived, len(forged()))
			if arrived == 0 {
				t.Error("not one message arrived")
			}
		})
	}
}

// TestForgedHeadersInResponses lets the callee be the attacker: what he writes into his answer does not reach the caller.
func TestForgedHeadersInResponses(t *testing.T) {
	x := newPair(t, "udp")
	caller, callee := x.attacker, x.callee
	arrived := 0
	for i, line := range forged() {
		if strings.HasPrefix(line, "Subject: a\nContact:") {
			continue // a Contact is his to choose
		}
		body := fmt.Sprintf("%s %d", secret, i) // one of before may come once more
		if err := caller.Write(x.message(body)); err != nil {
			t.Fatal(err)
		}
		m, err := callee.Read(patience)
		for err == nil && (!m.IsRequest() || string(m.Body()) != body) {
			m, err = callee.Read(patience)
		}
		if err != nil {
			t.Fatal(err)
		}
		answer := callee.Response(m, 200)
		if err := callee.Write(strings.Replace(answer, "Content-Length:", line+"\r\nContent-Length:", 1)); err != nil {
			t.Fatal(err)
		}
		// If the node takes none of it, a good answer comes behind.
		if err := callee.Write(answer); err != nil {
			t.Fatal(err)
		}
		raw := ""
		caller.Heard = func(b []byte) { raw = string(b) }
		for r, err := caller.Read(patience); err != nil || r.IsRequest() || r.Status() < 200; r, err = caller.Read(patience) {
			if err != nil {
				t.Fatalf("after %q no answer comes: %v", line, err)
			}
		}
		arrived++
		if seen := forgedName.FindString(strings.ReplaceAll(raw, "\r", "\n")); seen != "" {
			t.Errorf("%q reached the caller as %q in\n%s", line, seen, raw)
		}
		if got := string(parse(t, raw).Get(sip.HdrPAssertedIdentity)); got != "" && got != "<"+callee.IMPU+">" {
			t.Errorf("after %q the caller sees %q", line, got)
		}
	}
	t.Logf("%d answers arrived, without what was forged", arrived)
}
