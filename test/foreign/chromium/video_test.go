package chromium

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"imsafe/config"
	"imsafe/proto/sip"
	"imsafe/test/live"
)

// pair is two users whose telephones are browsers, behind the anchor.
type pair struct {
	*live.Operator
	browser        *browser
	caller, callee *bridge
	free           int // pairs of ports of the anchor
}

// newPair starts all of it. keylog, if not nil, is told what opens the signalling.
func newPair(t *testing.T, page string, keylog io.Writer) *pair {
	t.Helper()
	p := &pair{browser: open(t, page)}
	p.Operator = live.StartOperated(t, 0, func(c *config.Config) {
		c.CS.Listen, c.CS.Ports = []config.Address{{AddrPort: netip.MustParseAddrPort("127.0.0.1:18400")}}, 400
	})
	users := live.NewUsers("web", 2, live.AKAv2)
	if err := p.Provision(context.Background(), users...); err != nil {
		t.Fatal(err)
	}
	var both [2]*bridge
	for i := range both {
		phone, err := p.Dial("tls", users[i], keylog)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(phone.Close)
		if err := phone.Register(context.Background(), 600); err != nil {
			t.Fatal(err)
		}
		both[i] = &bridge{Phone: phone, t: t}
	}
	p.caller, p.callee, p.free = both[0], both[1], p.Media.Free()
	return p
}

// talk lets one browser call the other, with what the descriptions say, the first one changed, and returns both answers: that which the called browser gives, and that which the
// caller is given.
func (p *pair) talk(t *testing.T, change func(string) string) (given, got string) {
	t.Helper()
	p.caller.invite(p.callee.IMPU, change(p.browser.offer()))
	invite := p.callee.await("INVITE", func(m *sip.Message) bool { return m.IsRequest() && m.Method() == sip.INVITE })
	select {
	case p.browser.called <- string(invite.Body()):
	case <-time.After(patience):
		t.Fatal("nobody is there to be called")
	}
	select {
	case given = <-p.browser.says:
	case <-time.After(patience):
		t.Fatalf("the called browser does not answer\n%s", invite.Body())
	}
	lines := []string{"Contact: " + p.callee.Contact(), "Content-Type: application/sdp"}
	for v := range invite.Values(sip.HdrRecordRoute) {
		lines = append(lines, "Record-Route: "+string(v))
	}
	ok := strings.TrimSuffix(p.callee.Response(invite, 200, lines...), "Content-Length: 0\r\n\r\n")
	p.callee.send(ok + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(given), given))
	got = p.caller.answered()
	p.callee.await("ACK", func(m *sip.Message) bool { return m.IsRequest() && m.Method() == sip.ACK })
	p.browser.answer <- got
	return given, got
}

// see waits until both browsers hear each other and, with video, see each other.
func (p *pair) see(t *testing.T, frames int64) [2]sight {
	t.Helper()
	var now []sight
	until(t, "the two hear and see each other", func() bool {
		p.browser.mu.Lock()
		now = p.browser.both
		p.browser.mu.Unlock()
		for _, s := range now {
			if s.Connection != "connected" || s.Received < 50 || s.Energy == 0 || s.Frames < frames {
				return false
			}
		}
		return len(now) == 2
	})
	return [2]sight(now)
}

var mLine = regexp.MustCompile(`m=(audio|video) (\d+)`)

// ungrouped is what an end without BUNDLE writes: each medium has a transport of its own.
func ungrouped(description string) string {
	return regexp.MustCompile(`a=group:BUNDLE.*\r\n`).ReplaceAllString(description, "")
}

// TestVideo: two browsers call each other through the anchor with voice and video: both insist on one transport for all (max-bundle, RFC 8829 4.1.1), or
// one of them alone does, and calls somebody, or is called by somebody, who knows nothing of that.
func TestVideo(t *testing.T) {
	for name, test := range map[string]struct {
		caller, callee string
		offer          func(string) string
		transports     [2]int
	}{
		"both together": {"max-bundle", "max-bundle", asItIs, [2]int{1, 1}},
		"one apart":     {"balanced", "max-bundle", ungrouped, [2]int{2, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, "video.html?caller="+test.caller+"&callee="+test.callee, nil)
			given, got := p.talk(t, test.offer)
			if lines := mLine.FindAllStringSubmatch(got, -1); len(lines) != 2 || lines[0][2] == "0" || (lines[0][2] == lines[1][2]) != (test.transports[0] == 1) {
				t.Errorf("the caller is given %v", lines)
			}
			if !strings.Contains(given, "a=group:BUNDLE 0 1\r\n") {
				t.Errorf("who is called gives %s", given)
			}
			for i, s := range p.see(t, 10) {
				if s.Transports != test.transports[i] {
					t.Errorf("party %d has %d transports", i, s.Transports)
				}
			}
			if used := p.free - p.Media.Free(); used != 4+test.transports[0]+test.transports[1] {
				t.Errorf("%d pairs of ports for two media of two halves", used)
			}
			p.caller.write("BYE", "")
			p.callee.hungUp()
			until(t, "the anchor has all its ports back", func() bool { return p.Media.Free() == p.free && p.PCSCF.Anchored() == 0 })
		})
	}
}
