package iqwire

import (
	"bytes"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"imsafe/proto/sdp"
	"imsafe/refpoint/iq"
)

// samples is one message of each kind, with everything in it that may be there.
func samples(t testing.TB) (all []*message) {
	key := func(suite sdp.Suite) sdp.Crypto {
		made, err := sdp.NewCrypto(strings.NewReader(strings.Repeat("no secret ", 10)), 7, suite)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	four, six := netip.MustParseAddrPort("192.0.2.1:20000"), netip.MustParseAddrPort("[2001:db8::1]:20001")
	medium := iq.Medium{User: "alice@ims.example", Kind: "audio", Families: [2]iq.Family{iq.IPv4, iq.IPv6}, Suites: sdp.Suites(), Separate: [2]bool{true, false}}
	end := iq.End{Media: four, Control: six, Fingerprints: []sdp.Fingerprint{sdp.NewFingerprint([]byte("a"))}, TLSID: "t", Crypto: []sdp.Crypto{key(sdp.AEADAES256GCM), key(sdp.AESCM128SHA1)},
		Ufrag: "u", Password: "p"}
	remote := iq.Remote{Media: six, Control: four, Keying: sdp.SDES, Role: sdp.DTLSServer, Fingerprints: end.Fingerprints, Local: key(sdp.AEADAES128GCM), Peer: key(sdp.AESCM128SHA1), ICE: "i",
		Waived: true, Confidential: true, Kilobits: 64}
	remote.Types.Add(8)
	remote.Types.Add(127)
	remote.Beside = iq.Beside{Extensions: [4]uint64{2, 0, 0, 1 << 63}, Transport: 1 << 15, Payload: 1 << 1, Extended: true}
	return []*message{
		{kind: kindSetup, number: 1, setup: []byte("{}")},
		{kind: kindReserve, number: 2, session: 3, medium: medium},
		{kind: kindRenew, number: 2, session: 3, stream: 1, side: iq.Core, medium: medium},
		{kind: kindConfigure, number: 4, session: 3, stream: 2, side: iq.Access, branch: 9, remote: remote},
		{kind: kindCounters, number: 5}, {kind: kindEnd, number: 6},
		{kind: kindThrough, session: 3, stream: 1, through: [2]bool{true, false}},
		{kind: kindConfirm, session: 3, branch: 9}, {kind: kindRelease, session: 3},
		{kind: kindWelcome, number: 1, welcome: Welcome{PID: 9, Orphans: 2}}, {kind: kindWelcome, number: 1, answer: refusalOf(ErrSetup)},
		{kind: kindStream, number: 2, reserved: iq.Stream{Session: 3, Number: 1, Ends: [2]iq.End{end, {Media: four, Control: four}}}},
		{kind: kindRenewed, number: 2, end: end}, {kind: kindDone, number: 4}, {kind: kindDone, number: 4, answer: refusalOf(iq.ErrKeying)},
		{kind: kindCounted, number: 5, values: []uint64{1, 1 << 63}},
		{kind: kindLost, session: 3, line: Line{Reason: "silence"}},
		{kind: kindRefused, event: Event{Control: "cs.integrity.srtp-verify", Reason: "tag", Subject: "alice", Enforced: true}},
		{kind: kindSaid, line: Line{Message: "m", Reason: "r", Error: "e"}},
	}
}

func TestEachKindComesBack(t *testing.T) {
	for _, m := range samples(t) {
		b, err := m.append([]byte("before"))
		if err != nil {
			t.Fatalf("kind %d: %v", m.kind, err)
		}
		b = b[len("before"):]
		got, err := parse(b[header:])
		if err != nil {
			t.Fatalf("kind %d: %v", m.kind, err)
		}
		if !reflect.DeepEqual(got, m) {
			t.Errorf("kind %d: %+v, want %+v", m.kind, got, m)
		}
		for n := header; n < len(b); n++ {
			if _, err := parse(b[header:n]); err == nil {
				t.Errorf("kind %d is complete after %d octets of %d", m.kind, n, len(b))
			}
		}
		if _, err := parse(append(b[header:], 0)); err == nil {
			t.Errorf("kind %d has room for more", m.kind)
		}
	}
}

func TestBounds(t *testing.T) {
	long := strings.Repeat("x", maxText+1)
	for name, m := range map[string]*message{
		"a long user":         {kind: kindReserve, number: 1, medium: iq.Medium{User: long}},
		"many suites":         {kind: kindReserve, number: 1, medium: iq.Medium{Suites: make([]sdp.Suite, maxSuites+1)}},
		"a family of its own": {kind: kindReserve, number: 1, medium: iq.Medium{Families: [2]iq.Family{9}}},
		"many certificates":   {kind: kindConfigure, number: 1, remote: iq.Remote{Fingerprints: make([]sdp.Fingerprint, 300)}},
		"no hash":             {kind: kindConfigure, number: 1, remote: iq.Remote{Fingerprints: make([]sdp.Fingerprint, 1)}},
		"a zone":              {kind: kindConfigure, number: 1, remote: iq.Remote{Media: netip.MustParseAddrPort("[fe80::1%eth0]:9")}},
		"a long setup":        {kind: kindSetup, number: 1, setup: make([]byte, 1<<17)},
		"no kind":             {kind: 99},
		"many values":         {kind: kindCounted, number: 1, values: make([]uint64, maxValues+1)},
	} {
		if b, err := m.append(nil); err == nil {
			t.Errorf("%s is written in %d octets", name, len(b))
		}
	}
}

// FuzzFrame: what is read is what a writer writes, octet by octet.
func FuzzFrame(f *testing.F) {
	for _, m := range samples(f) {
		b, err := m.append(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[header:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parse(b)
		if err != nil {
			return
		}
		again, err := m.append(nil)
		if err != nil || !bytes.Equal(again[header:], b) {
			t.Fatalf("%x is read as %+v, which is written %x, %v", b, m, again, err)
		}
	})
}
