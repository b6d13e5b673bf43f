package load

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"imsafe/config"
	"imsafe/imsbox/hss"
	"imsafe/test/live"
)

// against starts a node, and UEs of its subscribers.
func against(t *testing.T, count int, scheme string, adapt func(n *live.Node, target *Target), configure ...func(*config.Config)) (*live.Node, *Generator) {
	t.Helper()
	n := live.Start(t, live.Options{Shards: 1, Configure: func(c *config.Config) {
		for _, set := range configure {
			set(c)
		}
	}})
	target, err := ParseTarget(fmt.Appendf(nil, `{"domain":%q,"proxies":[%q],"subscribers":{"range":{"count":%d,"scheme":%q,"seed":"00112233445566778899aabbccddeeff"}}}`,
		live.Domain, n.Lab, count, scheme))
	if err != nil {
		t.Fatal(err)
	}
	// A /20 of loopback and ports of its own for each test process, below those that Linux gives to connections by itself.
	target.Clients.Addresses = netip.MustParsePrefix("127.2.0.0/20")
	target.Clients.FirstPort = uint16(20000 + os.Getpid()%12000)
	target.Clients.MediaPort = target.Clients.FirstPort + 1
	if adapt != nil {
		adapt(n, target)
	}
	all, err := target.Users.Range.Subscribers(target.Domain)
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		s := &all[i]
		err := n.HSS.Add(t.Context(), &hss.Subscriber{Card: hss.Card{IMPI: s.IMPI, K: hss.Secret(hex.EncodeToString(s.K[:])), OPc: hss.Secret(hex.EncodeToString(s.OPc[:])),
			Scheme: s.Scheme.String()}, Public: []hss.Public{{IMPU: s.IMPU}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	g, err := Open(target, all, 1, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return n, g
}

// offer runs a load and wants every scenario to succeed.
func offer(t *testing.T, g *Generator, s Settings) *Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute) // 300 UEs under the race detector, where others have the processors too
	defer cancel()
	if _, err := g.Prepare(ctx, &s); err != nil {
		t.Fatal(err)
	}
	r, err := g.Run(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	_ = r.WriteText(&text)
	if r.Failed > 0 || r.Offered == 0 || r.Network["malformed"] > 0 {
		t.Errorf("%d of %d failed: %v\n%s", r.Failed, r.Offered, r.Failures, &text)
	}
	for _, sc := range r.Scenarios {
		if sc.Succeeded != sc.Offered {
			t.Errorf("%s: %d of %d", sc.Name, sc.Succeeded, sc.Offered)
		}
	}
	t.Logf("\n%s", &text)
	return r
}

// quick is a short load. A machine that others use is no reason to fail: patience is long.
func quick(mix Mix) Settings {
	return Settings{Mix: mix, Rate: 100, Time: time.Second, Warm: 100 * time.Millisecond, Hold: 200 * time.Millisecond, Ring: 20 * time.Millisecond, Patience: time.Minute, Seed: 1}
}

// TestNode lets UEs do everything at a node over UDP, AKA included, and counts at the node what they say.
func TestNode(t *testing.T) {
	n, g := against(t, 300, "AKAv1-MD5", nil)
	r := offer(t, g, quick(Mix{Registration: 1, Reregistration: 1, Deregistration: 1, Call: 2, Message: 2}))
	if len(r.Scenarios) != int(scenarios) {
		t.Errorf("only %d of the scenarios were played", len(r.Scenarios))
	}
	c, err := n.Counters()
	if err != nil {
		t.Fatal(err)
	}
	if c["hss_vectors"] < float64(r.Registered) {
		t.Errorf("%v vectors for %d registrations", c["hss_vectors"], r.Registered)
	}
	for kind := range scenarios {
		mix := Mix{}
		mix[kind] = 1
		if kind == Deregistration || kind == Registration {
			continue // each alone uses up its UEs
		}
		offer(t, g, quick(mix))
	}
}

// TestStreams does the same over TCP and TLS; a registration over an open TLS connection is refreshed without a challenge.
func TestStreams(t *testing.T) {
	t.Run("tcp", func(t *testing.T) {
		_, g := against(t, 100, "AKAv1-MD5", func(_ *live.Node, target *Target) { target.Transport = TCP })
		offer(t, g, quick(Mix{Registration: 1, Reregistration: 1, Deregistration: 1, Call: 2, Message: 2}))
	})
	t.Run("tls", func(t *testing.T) {
		_, g := against(t, 100, "AKAv2-SHA-256", overTLS(t))
		offer(t, g, quick(Mix{Registration: 1, Reregistration: 1, Deregistration: 1, Call: 2, Message: 2}))
		if r := offer(t, g, quick(Mix{Reregistration: 1})); r.Network["challenges"] > 0 {
			t.Errorf("%d of %d refreshes were challenged", r.Network["challenges"], r.Offered)
		}
	})
}

// overTLS lets the UEs of a target use TLS.
func overTLS(t *testing.T) func(n *live.Node, target *Target) {
	return func(n *live.Node, target *Target) {
		target.Transport, target.Proxies = TLS, []netip.AddrPort{n.TLS}
		target.TLS = TLSTarget{Authority: filepath.Join(t.TempDir(), "ca.pem"), Name: "pcscf." + live.Domain}
		if err := os.WriteFile(target.TLS.Authority, n.CAPEM, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMedia: both sides of each call hear the other, straight and through the anchor of the network; where one hears nothing the call has failed.
func TestMedia(t *testing.T) {
	talks := quick(Mix{Call: 1})
	talks.Rate, talks.Hold, talks.Warm = 10, 500*time.Millisecond, 500*time.Millisecond
	heard := func(t *testing.T, r *Report) {
		t.Helper()
		m := r.Media
		if m == nil || m.Astray > 0 {
			t.Fatalf("%+v", m)
		}
		if figures := r.Verdict != Limited.String(); figures && (m.Sent == 0 || m.Lost > m.Sent/10) { // else whether calls hear has been judged all the same
			t.Errorf("%+v", m)
		}
	}
	t.Run("straight", func(t *testing.T) {
		_, g := against(t, 60, "AKAv1-MD5", nil)
		s := talks
		s.Media = RTP
		heard(t, offer(t, g, s))
		if s.Media = SRTP; g.workers[0].openVoice(s.Media, 1) == nil {
			t.Error("one generator has two kinds of media")
		}
	})
	t.Run("anchored", func(t *testing.T) {
		n, g := against(t, 60, "AKAv2-SHA-256", overTLS(t), func(c *config.Config) {
			c.CS.Listen = []config.Address{{AddrPort: netip.MustParseAddrPort("127.0.0.1:18800")}}
			c.CS.Ports = 2000
		})
		s := talks
		s.Media = SRTP
		r := offer(t, g, s)
		heard(t, r)
		c, err := n.Counters()
		if err != nil {
			t.Fatal(err)
		}
		relayed := 0.0
		for name, value := range c {
			if strings.Contains(name, "relayed") {
				relayed += value
			}
		}
		if relayed < float64(r.Media.Sent-r.Media.Lost) {
			t.Errorf("the anchor relayed %v of %d packets", relayed, r.Media.Sent)
		}
	})
	t.Run("unheard", func(t *testing.T) {
		_, g := against(t, 60, "AKAv1-MD5", nil)
		s := talks
		s.Media = RTP
		s.defaults()
		if err := g.workers[0].openVoice(RTP, 1); err != nil {
			t.Fatal(err)
		}
		g.workers[0].voice.base++ // every packet is taken for that of somebody else
		if _, err := g.Prepare(t.Context(), &s); err != nil {
			t.Fatal(err)
		}
		r, err := g.Run(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if r.Failed == 0 || r.Failures[0].Cause != "one side heard nothing" || r.Media.Astray == 0 {
			t.Errorf("%d failed, %v, %+v", r.Failed, r.Failures, r.Media)
		}
	})
}

// TestESP does the same inside security associations.
func TestESP(t *testing.T) {
	_, g := against(t, 300, "AKAv1-MD5", func(n *live.Node, target *Target) {
		target.Transport, target.Proxies, target.ESP.Port = ESP, []netip.AddrPort{n.Gm}, n.NAT
	})
	r := offer(t, g, quick(Mix{Registration: 1, Reregistration: 1, Deregistration: 1, Call: 2, Message: 2}))
	for _, l := range r.Latencies {
		if l.Name == "ring" && l.P50 > 4_000_000 {
			t.Errorf("INVITEs wait for a connection that nobody takes: %+v", l)
		}
	}
	w := g.workers[0]
	sets := 0
	for i := range w.ues {
		if i%uesOfEngine == 0 {
			sets += w.ues[i].security.engine.Len()
		}
	}
	if sets != len(w.registered.members) {
		t.Errorf("%d sets of associations of %d UEs", sets, len(w.registered.members))
	}
}

// TestWrongKey: who has another K than the HSS does not take the network for his own.
func TestWrongKey(t *testing.T) {
	_, g := against(t, 20, "AKAv1-MD5", nil)
	for i := range g.workers[0].ues {
		g.workers[0].ues[i].sub.K[0] ^= 1
	}
	s := quick(Mix{Registration: 1})
	s.Time = 100 * time.Millisecond
	s.defaults()
	r, err := g.Run(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if r.Failed != r.Offered || r.Failed == 0 || !strings.Contains(r.Failures[0].Cause, "AUTN") {
		t.Errorf("%d of %d failed: %v", r.Failed, r.Offered, r.Failures)
	}
	if _, err := g.Prepare(t.Context(), &Settings{Mix: Mix{Call: 1}}); err == nil || !strings.Contains(err.Error(), "AUTN") || !strings.Contains(err.Error(), "registration: REGISTER") {
		t.Errorf("everybody is prepared: %v", err)
	}
}

// TestStarved: a load that has more calls than UEs is no measurement.
func TestStarved(t *testing.T) {
	_, g := against(t, 4, "AKAv1-MD5", nil)
	s := quick(Mix{Call: 1})
	s.Hold = 10 * time.Second
	if _, err := g.Prepare(t.Context(), &s); err != nil {
		t.Fatal(err)
	}
	r, err := g.Run(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if r.verdict() != Limited || r.Generator.Starved == 0 {
		t.Errorf("%s, %v", r.Verdict, r.Limits)
	}
}

// TestOnce: nobody is called twice, and the generator says so when it has run out of UEs.
func TestOnce(t *testing.T) {
	n, g := against(t, 60, "AKAv1-MD5", nil)
	s := quick(Mix{Call: 1})
	s.Once, s.Rate, s.Time = true, 20, 500*time.Millisecond
	for range 2 {
		offer(t, g, s)
	}
	spent := len(g.workers[0].spent.members)
	if c, err := n.Counters(); err != nil || spent == 0 || len(g.workers[0].registered.members) != 60-spent {
		t.Errorf("%d were called, %d wait: %v, %v", spent, len(g.workers[0].registered.members), c["scscf_calls"], err)
	}
	s.Rate = 1000
	if _, err := g.Prepare(t.Context(), &s); err != nil {
		t.Fatal(err)
	}
	if r, err := g.Run(t.Context(), s); err != nil || r.verdict() != Limited || r.Generator.Starved == 0 {
		t.Errorf("%+v, %v", r, err)
	}
}
