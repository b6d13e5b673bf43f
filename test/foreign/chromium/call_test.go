package chromium

import (
	"context"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"imsafe/client/media"
	"imsafe/client/ue"
	"imsafe/config"
	"imsafe/test/live"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const browserHz, bobHz = 440, 620

// house is a node whose media are anchored, with a client of ours that believes nobody but the network, and a browser.
type house struct {
	*live.Operator
	bob     *live.UE
	bridge  *bridge
	browser *browser
	free    int // pairs of ports of the anchor
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{browser: open(t, "page.html")}
	h.Operator = live.StartOperated(t, 0, func(c *config.Config) {
		c.HTTPS.Listen = live.AnyPort()
		c.CS.Listen, c.CS.Ports = []config.Address{{AddrPort: netip.MustParseAddrPort("127.0.0.1:18000")}}, 400
	})
	users := live.NewUsers("web", 2, live.AKAv2)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := context.Background()
	must(h.Provision(ctx, users...))
	var err error
	h.bob, err = h.UE(users[0], ue.TLS, func(c *ue.Config) { c.Web, c.Vouching = h.Web(), h.Vouching(true) })
	must(err)
	_, err = h.bob.Register(ctx)
	must(err)
	phone, err := h.Dial("tls", users[1], nil)
	must(err)
	t.Cleanup(phone.Close)
	must(phone.Register(ctx, 600))
	h.bridge, h.free = &bridge{Phone: phone, t: t}, h.Media.Free()
	return h
}

// calls brings the browser's offer to Bob, who answers, and the answer back; each is changed on its way.
func (h *house) calls(t *testing.T, offer, answer func(string) string) *ue.Call {
	t.Helper()
	h.bridge.invite(h.bob.User.IMPU, offer(h.browser.offer()))
	in := <-h.bob.Calls
	in.Answer(ue.Voice{Play: media.NewTone(bobHz, -10)})
	h.browser.answer <- answer(h.bridge.answered())
	return in
}

func (h *house) idle(t *testing.T) {
	t.Helper()
	until(t, "the anchor has all its ports back", func() bool { return h.Media.Free() == h.free && h.PCSCF.Anchored() == 0 })
}

func asItIs(description string) string { return description }

// nowhere is what a browser writes that hides its addresses or does not know them yet: candidates come by no other way (RFC 8839 4.2.5), and the
// anchor learns where it is by its checks.
func nowhere(offer string) string {
	offer = regexp.MustCompile(`a=candidate:.*\r\n`).ReplaceAllString(offer, "")
	offer = regexp.MustCompile(`m=audio \d+`).ReplaceAllString(offer, "m=audio 9")
	return regexp.MustCompile(`c=IN .*\r\n`).ReplaceAllString(offer, "c=IN IP4 0.0.0.0\r\n")
}

// forged has another fingerprint: the first digit is one more.
func forged(description string) string {
	const name = "a=fingerprint:sha-256 "
	at := strings.Index(description, name) + len(name)
	digit := byte('0')
	if description[at] == digit {
		digit = '1'
	}
	return description[:at] + string(digit) + description[at+1:]
}

// hear waits until both ends hear the other.
func (h *house) hear(t *testing.T, in *ue.Call) {
	t.Helper()
	before := h.browser.sees()
	until(t, "the browser hears Bob", func() bool {
		s := h.browser.sees()
		return s.Received > before.Received+20 && s.Energy > before.Energy
	})
	until(t, "Bob hears the browser", func() bool { return in.Media().Heard.Tone(browserHz) })
}

// TestCall: the browser calls a client of ours through the anchor, with authenticated encryption, and both hear each other.
func TestCall(t *testing.T) {
	for name, offer := range map[string]func(string) string{"with candidates": asItIs, "without any": nowhere} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			in := h.calls(t, offer, asItIs)
			h.hear(t, in)
			s := h.browser.sees()
			if s.Connection != "connected" || s.DTLS != "connected" || s.TLSVersion != "FEFD" || s.Cipher != "SRTP_AEAD_AES_256_GCM" {
				t.Errorf("the browser: %+v", s)
			}
			if who := in.Vouched().String(); who != "IMS vouches: "+h.bridge.IMPU {
				t.Errorf("Bob is told: %s", who)
			}
			h.holds(t, in)
			in.Hangup()
			h.bridge.hungUp()
			h.idle(t)
		})
	}
}

// holds lets the browser hold the call and resume it: with the keys that it has, and no new handshake.
func (h *house) holds(t *testing.T, in *ue.Call) {
	t.Helper()
	for _, step := range [][2]string{{"inactive", "held"}, {"sendrecv", "resumed"}} {
		h.browser.wishes <- step[0]
		h.bridge.invite("", h.browser.offer())
		h.browser.answer <- h.bridge.answered()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		e, err := in.Until(ctx, ue.Held)
		cancel()
		if err != nil || e.Reason != step[1] {
			t.Fatalf("Bob is told %+v, %v", e, err)
		}
	}
	h.hear(t, in)
}

// TestCall_another_certificate: whichever of the two is told another fingerprint than that of the certificate it is shown, nothing is heard.
func TestCall_another_certificate(t *testing.T) {
	t.Run("the anchor is", func(t *testing.T) {
		h := newHouse(t)
		in := h.calls(t, forged, asItIs)
		h.bridge.hungUp()
		if !strings.Contains(h.bridge.ended, "Media lost") {
			t.Errorf("BYE says %q", h.bridge.ended)
		}
		<-in.Done()
		h.deaf(t, in)
		if log := string(h.Log()); !strings.Contains(log, "does not match the fingerprint") {
			t.Errorf("the log does not name it: %s", log)
		}
		h.idle(t)
	})
	t.Run("the browser is", func(t *testing.T) {
		h := newHouse(t)
		in := h.calls(t, asItIs, forged)
		until(t, "the browser refuses", func() bool { return h.browser.sees().DTLS == "failed" })
		in.Hangup()
		h.bridge.hungUp()
		h.deaf(t, in)
		h.idle(t)
	})
}

// deaf checks that nobody has heard anything.
func (h *house) deaf(t *testing.T, in *ue.Call) {
	t.Helper()
	if s, m := h.browser.sees(), in.Media(); s.Received > 0 || s.Energy > 0 || m.PacketsIn > 0 || m.Windows > 0 {
		t.Errorf("the browser has heard %+v, Bob %+v", s, m)
	}
}
