package rtpport

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v3"

	"imsafe/proto/sdp"
	"imsafe/proto/shard"
)

// check makes a connectivity check (RFC 8445 7.2).
func check(t testing.TB, username, password string, nominate bool) []byte {
	t.Helper()
	setters := []stun.Setter{stun.TransactionID, stun.BindingRequest, stun.NewUsername(username)}
	if nominate {
		setters = append(setters, stun.RawAttribute{Type: stun.AttrUseCandidate})
	}
	m, err := stun.Build(append(setters, stun.NewShortTermIntegrity(password), stun.Fingerprint)...)
	if err != nil {
		t.Fatal(err)
	}
	return m.Raw
}

func TestICE(t *testing.T) {
	clock := shard.NewFake(time.Unix(1_700_000_000, 0))
	var sent []netip.AddrPort
	var answers [][]byte
	leg := newEnd(t, nil, func(c *Config) {
		c.Conn, c.Local, c.Clock, c.AllowPlain = nil, netip.MustParseAddrPort("192.0.2.100:2000"), clock, true
		c.Send = func(b []byte, to netip.AddrPort) error {
			if classify(b) == kindSTUN {
				answers = append(answers, append([]byte(nil), b...))
			} else {
				sent = append(sent, to)
			}
			return nil
		}
		c.Receive, c.Relay = nil, func([]byte, bool) {}
	})
	leg.UseICE(ICE{Ufrag: "ours", Password: "a password of 22 chars", Remote: "theirs"})
	leg.run(t)
	there := netip.MustParseAddrPort(alice)
	if err := leg.Start(sdp.Agreed{Keying: sdp.PlainRTP, Accept: []sdp.Codec{sdp.PCMA()}, RecvPT: 8, Send: true, Receive: true, Remote: there}); err != nil {
		t.Fatal(err)
	}
	<-leg.when.hearing
	say := func(want error) {
		t.Helper()
		if err := leg.Forward(packet(1, uint16(len(sent)+int(leg.Counters().Dropped(DropConsent))), make([]byte, 20)), false); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	say(ErrConsent) // it has shown nothing

	nat, mallory := netip.MustParseAddrPort("203.0.113.7:1024"), netip.MustParseAddrPort(mallory)
	for name, b := range map[string][]byte{
		"another password": check(t, "ours:theirs", "a password of 23 chars", true),
		"another name":     check(t, "ours:mallory", "a password of 22 chars", true),
		"no fingerprint":   check(t, "ours:theirs", "a password of 22 chars", true)[:60],
		"a header":         {0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12},
	} {
		if leg.Deliver(b, mallory); leg.address() != there || len(answers) > 0 {
			t.Errorf("%s: the leg goes to %v and has given %d answers", name, leg.address(), len(answers))
		}
	}
	leg.Deliver(check(t, "ours:theirs", "a password of 22 chars", false), nat)
	say(nil)
	leg.Deliver(check(t, "ours:theirs", "a password of 22 chars", true), there)
	say(nil)
	leg.Deliver(check(t, "ours:theirs", "a password of 22 chars", false), nat) // after a nomination a check alone moves nothing
	say(nil)
	leg.Deliver(check(t, "ours:theirs", "a password of 22 chars", true), nat)
	say(nil)
	if len(sent) != 4 || sent[0] != nat || sent[1] != there || sent[2] != there || sent[3] != nat {
		t.Errorf("sent to %v", sent)
	}
	var m stun.Message
	m.Raw = answers[0]
	var mapped stun.XORMappedAddress
	if err := errors.Join(m.Decode(), mapped.GetFrom(&m), stun.NewShortTermIntegrity("a password of 22 chars").Check(&m), stun.Fingerprint.Check(&m)); err != nil ||
		!mapped.IP.Equal(net.IPv4(203, 0, 113, 7)) || mapped.Port != 1024 {
		t.Errorf("answered %v, %v", mapped, err)
	}

	leg.Deliver(packet(7, 1, make([]byte, 20)), there)
	if leg.Counters().PacketsIn.Load() != 0 {
		t.Error("media from where the peer no longer is")
	}
	clock.AdvanceTo(clock.Now() + consentFor - time.Second)
	leg.Deliver(packet(7, 2, make([]byte, 20)), nat)
	clock.AdvanceTo(clock.Now() + consentFor - time.Second)
	say(nil)
	clock.AdvanceTo(clock.Now() + 2*time.Second)
	say(ErrConsent)
	leg.Deliver(check(t, "ours:theirs", "a password of 22 chars", false), nat)
	say(nil)
}

func TestICE_checks_are_bounded(t *testing.T) {
	leg, _ := keyedLeg(t, AEADAES256GCM)
	leg.UseICE(ICE{Ufrag: "a", Password: "a password of 22 chars", Remote: "b"})
	good := check(t, "a:b", "a password of 22 chars", false)
	for range 500 {
		leg.packet(good, netip.MustParseAddrPort(bob))
	}
	if n := leg.counters.Dropped(DropSTUN); n < 400 {
		t.Errorf("%d of 500 checks at once were dropped", n)
	}
}

func FuzzICE(f *testing.F) {
	f.Add([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
	f.Add(check(f, "a:b", "a password of 22 chars", true))
	f.Add(check(f, "a:c", "a password of 22 chars", true))
	f.Fuzz(func(t *testing.T, b []byte) {
		leg, _ := keyedLeg(t, 0)
		leg.UseICE(ICE{Ufrag: "a", Password: "another password, of course", Remote: "b"})
		if leg.stun(b, netip.MustParseAddrPort(mallory)); leg.ice.path.Load() != nil {
			t.Fatalf("%x was believed", b)
		}
	})
}
