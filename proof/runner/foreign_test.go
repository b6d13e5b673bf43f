package runner

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"imsafe/proof/attack"
	"imsafe/proof/evidence"
	"imsafe/proof/target"
)

// elsewhere is a target that gives what is given.
func elsewhere(change func(*attack.Site)) *target.Target {
	t := &target.Target{Name: "lab", Site: attack.Site{Foreign: true, UDP: netip.MustParseAddrPort("127.0.0.3:5060"), Users: map[string]*attack.User{}},
		Limits: target.Limits{Rate: 200, Packets: 4000, Octets: 20_000_000, Sockets: 700, Time: time.Minute}}
	if change != nil {
		change(&t.Site)
	}
	return t
}

// TestPlan: what can be aimed at a target follows from what it gives; what cannot says why.
func TestPlan(t *testing.T) {
	give := func(change func(*attack.Site)) *target.Target { return elsewhere(change) }
	for _, c := range []struct {
		name, attack, want string // accesses, or the reason
		target             *target.Target
	}{
		{"SIP over whatever there is", "ci.identity.asserted", "udp", give(nil)},
		{"and over all there are", "ci.identity.asserted", "tls udp", give(func(s *attack.Site) { s.TLS = netip.MustParseAddrPort("127.0.0.3:5061") })},
		{"TLS takes TLS", "ci.tls.downgrade", "no way in over tls", give(nil)},
		{"a stream takes a stream", "ci.stream.smuggle", "no way in over tls or tcp", give(nil)},
		{"and TCP is one", "ci.stream.smuggle", "tcp", give(func(s *attack.Site) { s.TCP = s.UDP })},
		{"IPsec is for ours", "ci.esp.replay", "ipsec-3gpp", give(nil)},
		{"a witness that knows imsafe alone", "ci.core.direct", "imsafe's functions", give(nil)},
		{"passwords take one who has one", "ci.digest.lift", "a card, dave", give(nil)},
		{"toll fraud takes a number", "ci.toll.fraud", "number of carol's", give(nil)},
		{"service platforms are enrolled by others", "is.as.rogue", "operator has approved", give(nil)},
		{"media take an anchor", "cs.rtp.bleed", "a media anchor", give(func(s *attack.Site) { s.TLS = s.UDP })},
		{"and data in headers none", "ci.covert.data", "udp", give(nil)},
		{"nobody has an account there", "mgmt.log.rewrite", "takes an account", give(nil)},
		{"less than the row may take", "ci.identity.asserted", "40 packets", func() *target.Target { x := elsewhere(nil); x.Limits.Packets = 10; return x }()},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, known := attack.Find(c.attack)
			if !known {
				t.Fatal("there is no such row")
			}
			var said []string
			for _, row := range Plan(&a, c.target) {
				if row.Variant != a.Variants[0].Name {
					continue
				}
				if row.Outcome == evidence.NotApplicable {
					said = append(said, row.Saw)
				} else {
					said = append(said, row.Access)
				}
			}
			if got := strings.Join(said, " "); got != c.want && (len(c.want) < len("tls udp ") || !strings.Contains(got, c.want)) {
				t.Errorf("%q, not %q", got, c.want)
			}
		})
	}
}

// TestSeen: what may be said of a foreign target follows from the record alone.
func TestSeen(t *testing.T) {
	well := evidence.Baseline{Steps: 5, Done: 5}
	ill := evidence.Baseline{Steps: 5, Done: 1, Reason: "nobody answers"}
	missed := evidence.Oracle{Kind: evidence.KindPeer, Outside: true, Saw: "bob hears nothing"}
	reached := evidence.Oracle{Kind: evidence.KindPeer, Outside: true, Saw: "bob hears it", Reached: true}
	answers := evidence.Oracle{Kind: evidence.KindWire, Outside: true, Saw: "MESSAGE 403 (10)"}
	broken := errors.New("no answer")
	for _, c := range []struct {
		name   string
		record evidence.Record
		failed error
		want   evidence.Verdict
	}{
		{"two witnesses", evidence.Record{Before: well, After: well, Delivered: "10 messages", Oracles: []evidence.Oracle{missed, answers}}, nil, evidence.Blocked},
		{"one, and what shows that it arrived", evidence.Record{Before: well, After: well, Delivered: "10 messages", Oracles: []evidence.Oracle{missed}}, nil, evidence.Blocked},
		{"one alone", evidence.Record{Before: well, After: well, Delivered: missed.Saw, Oracles: []evidence.Oracle{missed}}, nil, evidence.Inconclusive},
		{"none", evidence.Record{Before: well, After: well, Delivered: "10 messages"}, nil, evidence.Inconclusive},
		{"nothing shows that it arrived", evidence.Record{Before: well, After: well, Oracles: []evidence.Oracle{missed, answers}}, nil, evidence.Inconclusive},
		{"somebody saw it", evidence.Record{Before: well, After: well, Delivered: "10 messages", Oracles: []evidence.Oracle{reached, answers}}, nil, evidence.Succeeded},
		{"honest users suffer", evidence.Record{Before: well, After: ill, Delivered: "10 messages", Oracles: []evidence.Oracle{missed, answers}}, nil, evidence.Degraded},
		{"it breaks off, and they suffer", evidence.Record{Before: well, After: ill, Oracles: []evidence.Oracle{}}, broken, evidence.Degraded},
		{"it breaks off", evidence.Record{Before: well, After: well, Oracles: []evidence.Oracle{missed}}, broken, evidence.Inconclusive},
		{"nobody was served before", evidence.Record{Before: ill, After: ill}, nil, evidence.Inconclusive},
		{"the host refuses", evidence.Record{Before: well, After: well}, attack.ErrNotHere, evidence.NotApplicable},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, why := seen(&c.record, c.failed); got != c.want || why == "" {
				t.Errorf("%s: %s", got, why)
			}
		})
	}
}

// TestLimiter_rate: packets leave one after the other, and no pause makes up for a burst.
func TestLimiter_rate(t *testing.T) {
	l := limit(t, attack.Bounds{Packets: 10, Bytes: 100, Conns: 1})
	l.rate = 100
	for i, want := range []time.Duration{0, 10 * time.Millisecond, 20 * time.Millisecond} {
		if wait, err := l.take(1); err != nil || wait != want {
			t.Errorf("packet %d waits %v, %v", i, wait, err)
		}
	}
}

// TestFenced: whatever address a description names, media go nowhere else.
func TestFenced(t *testing.T) {
	f := fenced{pipes{t}, target.Fence{netip.MustParsePrefix("10.7.0.0/16")}}
	outside := netip.MustParseAddrPort("198.51.100.7:4000")
	if _, err := f.Dial(t.Context(), "udp", netip.Addr{}, outside); !errors.Is(err, ErrFence) {
		t.Error(err)
	}
	conn, err := f.ListenPacket(netip.MustParseAddr("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(outside)); !errors.Is(err, ErrFence) {
		t.Error(err)
	}
	if _, err := conn.WriteTo([]byte("x"), conn.LocalAddr()); err != nil {
		t.Error(err)
	}
}
