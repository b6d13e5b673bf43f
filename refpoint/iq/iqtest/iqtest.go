// Package iqtest is the contract suite of refpoint/iq, what every media anchor must do for a P-CSCF, and an anchor without sockets for tests
// in virtual time.
//
// It is imported by tests only.
package iqtest

import (
	"errors"
	"net/netip"
	"testing"

	"imsafe/proto/sdp"
	"imsafe/refpoint/iq"
)

// Harness is one anchor under test. It has addresses of IPv4 only, and lets a user hold three sessions.
type Harness struct {
	Gateway iq.Gateway
	Free    func() int // pairs of ports that are left
}

// PerUser is how many sessions one user may hold in a harness.
const PerUser = 3

// Run runs the suite on fresh anchors.
func Run(t *testing.T, fresh func(t *testing.T) Harness) {
	for name, test := range map[string]func(*testing.T, Harness){
		"Reserve/ends_of_their_own":        testReserve,
		"Reserve/several_streams":          testStreams,
		"Reserve/bounds":                   testBounds,
		"Release/gives_all_back":           testRelease,
		"Configure/keying":                 testKeying,
		"Configure/addresses":              testAddresses,
		"Configure/again_changes_nothing":  testAgain,
		"Configure/on_one_transport":       testShared,
		"Renew/new_end_old_one_until_used": testRenew,
		"gone":                             testGone,
	} {
		t.Run(name, func(t *testing.T) { test(t, fresh(t)) })
	}
}

// Voice is a medium of a user.
func Voice(user string) iq.Medium {
	return iq.Medium{User: user, Kind: "audio", Suites: []sdp.Suite{sdp.AEADAES256GCM, sdp.AESCM128SHA1}}
}

// Peer is a far end with a certificate, at a port where nobody is.
func Peer(port uint16) iq.Remote {
	a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
	r := iq.Remote{Media: a, Control: a, Keying: sdp.DTLSSRTP, Role: sdp.DTLSServer, Fingerprints: []sdp.Fingerprint{sdp.NewFingerprint([]byte{byte(port)})}}
	r.Types.Add(8)
	return r
}

func reserve(t *testing.T, h Harness, s iq.Session, m iq.Medium) iq.Stream {
	t.Helper()
	st, err := h.Gateway.Reserve(s, m)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func testReserve(t *testing.T, h Harness) {
	m := Voice("alice")
	m.Separate[iq.Access] = true
	a, b := reserve(t, h, 0, m), reserve(t, h, 0, m)
	if a.Session == b.Session || a.Session == 0 {
		t.Error("two sessions have one name, or none")
	}
	ports, prints, keys, ids := map[netip.AddrPort]bool{}, map[sdp.Fingerprint]bool{}, map[sdp.Crypto]bool{}, map[string]bool{}
	for _, st := range []iq.Stream{a, b} {
		for side, e := range st.Ends {
			ports[e.Media] = true
			ids[e.TLSID] = true
			for _, f := range e.Fingerprints {
				prints[f] = true
			}
			for _, k := range e.Crypto {
				keys[k] = true
			}
			if separate := e.Control != e.Media; separate != (iq.Side(side) == iq.Access) || separate && e.Control.Port() != e.Media.Port()+1 {
				t.Errorf("RTCP of the %v side is at %v beside %v", iq.Side(side), e.Control, e.Media)
			}
		}
		if a, c := st.Ends[iq.Access], st.Ends[iq.Core]; len(a.Ufrag) < 4 || len(a.Password) < 22 || c.Ufrag+c.Password != "" {
			t.Errorf("ICE: %q for the client, %q for the core", a.Ufrag, c.Ufrag) // RFC 8839 5.4
		}
		if len(st.Ends[iq.Access].Crypto) != 2 || len(st.Ends[iq.Core].Crypto) != 0 {
			t.Errorf("%d keys for the client, %d for the core", len(st.Ends[iq.Access].Crypto), len(st.Ends[iq.Core].Crypto))
		}
	}
	if len(ports) != 4 || len(prints) != 4 || len(ids) != 4 || len(keys) != 4 {
		t.Errorf("of four ends there are %d ports, %d certificates, %d associations, and %d keys of four", len(ports), len(prints), len(ids), len(keys))
	}
}

func testStreams(t *testing.T, h Harness) {
	a := reserve(t, h, 0, Voice("alice"))
	b := reserve(t, h, a.Session, iq.Medium{User: "alice", Kind: "video"})
	if b.Session != a.Session || a.Number != 0 || b.Number != 1 {
		t.Errorf("streams %d and %d of sessions %d and %d", a.Number, b.Number, a.Session, b.Session)
	}
	before, err := h.Free(), error(nil)
	for range 10 {
		if _, err = h.Gateway.Reserve(a.Session, Voice("alice")); err != nil {
			break
		}
	}
	if used := before - h.Free(); !errors.Is(err, iq.ErrUser) || used > 8 {
		t.Errorf("%d pairs of ports for the media of one session, %v", used, err)
	}
}

func testBounds(t *testing.T, h Harness) {
	before := h.Free()
	for range PerUser {
		reserve(t, h, 0, Voice("alice"))
	}
	if _, err := h.Gateway.Reserve(0, Voice("alice")); !errors.Is(err, iq.ErrUser) {
		t.Errorf("one session more than a user may hold: %v", err)
	}
	reserve(t, h, 0, Voice("bob"))
	if used := before - h.Free(); used != 2*(PerUser+1) {
		t.Errorf("%d pairs of ports are in use, want %d: a refusal costs none", used, 2*(PerUser+1))
	}
	six := Voice("bob")
	six.Families[iq.Access] = iq.IPv6
	if _, err := h.Gateway.Reserve(0, six); !errors.Is(err, iq.ErrFamily) {
		t.Errorf("a family without address: %v", err)
	}
	if used := before - h.Free(); used != 2*(PerUser+1) {
		t.Errorf("%d pairs of ports are in use after that", used)
	}
}

func testRelease(t *testing.T, h Harness) {
	before := h.Free()
	for range 4 * PerUser {
		a := reserve(t, h, 0, Voice("alice"))
		reserve(t, h, a.Session, Voice("alice"))
		if err := h.Gateway.Configure(a.Session, 0, iq.Access, 0, Peer(9)); err != nil {
			t.Error(err)
		}
		h.Gateway.Release(a.Session)
		h.Gateway.Release(a.Session)
	}
	if h.Free() != before {
		t.Errorf("%d pairs of ports are left, %d before", h.Free(), before)
	}
}

func testKeying(t *testing.T, h Harness) {
	plain, sdes := Peer(9), Peer(9)
	plain.Keying, sdes.Keying = sdp.PlainRTP, sdp.SDES
	waived, confidential, reused := plain, sdes, sdes
	waived.Waived = true
	confidential.Confidential, reused.Confidential = true, true
	nobody := Peer(9)
	nobody.Fingerprints = nil
	st := reserve(t, h, 0, Voice("alice"))
	confidential.Local, reused.Local = st.Ends[iq.Access].Crypto[0], st.Ends[iq.Access].Crypto[0]
	confidential.Peer = reserve(t, h, 0, Voice("bob")).Ends[iq.Access].Crypto[0] // a fresh key, from wherever
	reused.Peer, reused.Media = confidential.Peer, netip.AddrPortFrom(reused.Media.Addr(), 11)
	for _, c := range []struct {
		name string
		side iq.Side
		r    iq.Remote
		want error
	}{
		{"RTP in clear", iq.Access, plain, iq.ErrKeying},
		{"RTP in clear by a waiver", iq.Access, waived, nil},
		{"RTP in clear towards the core", iq.Core, waived, iq.ErrKeying},
		{"keys in descriptions that anybody reads", iq.Access, sdes, iq.ErrKeying},
		{"keys in confidential descriptions", iq.Access, confidential, nil},
		{"the same key for another end", iq.Access, reused, iq.ErrKeying},
		{"keys in descriptions towards the core", iq.Core, confidential, iq.ErrKeying},
		{"DTLS with nobody", iq.Core, nobody, iq.ErrKeying},
	} {
		if err := h.Gateway.Configure(st.Session, 0, c.side, 0, c.r); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func testAddresses(t *testing.T, h Harness) {
	a, b := reserve(t, h, 0, Voice("alice")), reserve(t, h, 0, Voice("bob"))
	at := func(p netip.AddrPort, e *iq.End) iq.Remote {
		r := Peer(9)
		r.Media, r.Control = p, p
		if e != nil {
			r.Fingerprints = e.Fingerprints
		}
		return r
	}
	core := b.Ends[iq.Core]
	hidden := at(netip.MustParseAddrPort("0.0.0.0:9"), nil)
	hidden.ICE = "abcd"
	for _, c := range []struct {
		name string
		side iq.Side
		r    iq.Remote
		want error
	}{
		{"any address, where checks will tell", iq.Access, hidden, nil},
		{"any address towards the core", iq.Core, hidden, iq.ErrAddress},
		{"no address", iq.Access, at(netip.AddrPort{}, nil), iq.ErrAddress},
		{"any address", iq.Access, at(netip.MustParseAddrPort("0.0.0.0:9"), nil), iq.ErrAddress},
		{"port 0", iq.Access, at(netip.MustParseAddrPort("127.0.0.1:0"), nil), iq.ErrAddress},
		{"a client at a port of the anchor", iq.Access, at(core.Media, &core), iq.ErrAddress},
		{"a port of the anchor with another certificate", iq.Core, at(core.Media, nil), iq.ErrAddress},
		{"itself", iq.Core, at(a.Ends[iq.Core].Media, &a.Ends[iq.Core]), iq.ErrAddress},
		{"another session's access", iq.Core, at(b.Ends[iq.Access].Media, &b.Ends[iq.Access]), iq.ErrAddress},
		{"another session", iq.Core, at(core.Media, &core), nil},
	} {
		if err := h.Gateway.Configure(a.Session, 0, c.side, 7, c.r); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func testAgain(t *testing.T, h Harness) {
	st := reserve(t, h, 0, Voice("alice"))
	for range 3 {
		for b := range iq.Branch(3) {
			if err := h.Gateway.Configure(st.Session, 0, iq.Core, b, Peer(20+uint16(b))); err != nil {
				t.Error(err)
			}
		}
		h.Gateway.Through(st.Session, 0, [2]bool{true, true})
	}
	h.Gateway.Confirm(st.Session, 1)
	h.Gateway.Confirm(st.Session, 1)
}

func testRenew(t *testing.T, h Harness) {
	before := h.Free()
	st := reserve(t, h, 0, Voice("alice"))
	if err := h.Gateway.Configure(st.Session, 0, iq.Access, 0, Peer(9)); err != nil {
		t.Fatal(err)
	}
	for range 3 { // who moves again before he was told of the first
		if _, err := h.Gateway.Renew(st.Session, 0, iq.Access, Voice("alice")); err != nil {
			t.Fatal(err)
		}
	}
	if used := before - h.Free(); used != 3 {
		t.Errorf("%d pairs of ports for one who moves again and again", used)
	}
	for range 5 {
		e, err := h.Gateway.Renew(st.Session, 0, iq.Access, Voice("alice"))
		if err != nil {
			t.Fatal(err)
		}
		if e.Media == st.Ends[iq.Access].Media || e.Fingerprints[0] == st.Ends[iq.Access].Fingerprints[0] || e.Crypto[0] == st.Ends[iq.Access].Crypto[0] {
			t.Error("the new end has port, certificate or key of the old one")
		}
		if used := before - h.Free(); used != 3 {
			t.Errorf("%d pairs of ports while both are there", used)
		}
		if err := h.Gateway.Configure(st.Session, 0, iq.Access, 0, Peer(10)); err != nil {
			t.Fatal(err)
		}
		if used := before - h.Free(); used != 2 {
			t.Errorf("%d pairs of ports when the old end is no longer used", used)
		}
	}
	h.Gateway.Release(st.Session)
	if h.Free() != before {
		t.Errorf("%d pairs of ports are left, %d before", h.Free(), before)
	}
}

// testShared: several media on the transport of one (RFC 9143). Each gives its own port back, and gets another when it leaves.
func testShared(t *testing.T, h Harness) {
	before := h.Free()
	first := reserve(t, h, 0, Voice("alice"))
	second := reserve(t, h, first.Session, iq.Medium{User: "alice", Kind: "video"})
	tell := func(number, within int, side iq.Side, change func(*iq.Remote)) error {
		r := Peer(9)
		r.Within, r.MID = within, string(rune('a'+number))
		if change != nil {
			change(&r)
		}
		return h.Gateway.Configure(first.Session, number, side, 0, r)
	}
	for _, c := range []struct {
		name    string
		got     error
		refused error
	}{
		{"a carrier that was not told", tell(1, 1, iq.Access, nil), iq.ErrAddress},
		{"the carrier", tell(0, 0, iq.Access, nil), nil},
		{"towards the core", tell(1, 1, iq.Core, nil), iq.ErrAddress},
		{"a carrier that is not there", tell(1, 7, iq.Access, nil), iq.ErrAddress},
		{"itself", tell(1, 2, iq.Access, nil), iq.ErrAddress},
		{"the other", tell(1, 1, iq.Access, nil), nil},
		{"the other again", tell(1, 1, iq.Access, func(r *iq.Remote) { r.Types.Add(96) }), nil},
		{"the carrier again", tell(0, 0, iq.Access, func(r *iq.Remote) { r.Types.Add(9) }), nil},
		{"one that is carried carries none", tell(0, 2, iq.Access, nil), iq.ErrAddress},
		{"on a transport of its own, which it has not", tell(1, 0, iq.Access, nil), iq.ErrAddress},
	} {
		if !errors.Is(c.got, c.refused) {
			t.Errorf("%s: %v, want %v", c.name, c.got, c.refused)
		}
	}
	if used := before - h.Free(); used != 3 {
		t.Errorf("%d pairs of ports for two media on one transport", used)
	}
	e, err := h.Gateway.Renew(first.Session, 1, iq.Access, iq.Medium{User: "alice", Kind: "video"})
	if err != nil || e.Media == second.Ends[iq.Access].Media || before-h.Free() != 4 {
		t.Errorf("a port for one that leaves: %v, %v, %d pairs", e.Media, err, before-h.Free())
	}
	if err := tell(1, 0, iq.Access, func(r *iq.Remote) { r.Media, r.Control = Peer(11).Media, Peer(11).Media }); err != nil {
		t.Errorf("one that has left: %v", err)
	}
	h.Gateway.Release(first.Session)
	if h.Free() != before {
		t.Errorf("%d pairs of ports are left, %d before", h.Free(), before)
	}
}

func testGone(t *testing.T, h Harness) {
	st := reserve(t, h, 0, Voice("alice"))
	for _, s := range []iq.Session{0, st.Session + 99} {
		if err := h.Gateway.Configure(s, 0, iq.Access, 0, Peer(9)); !errors.Is(err, iq.ErrGone) {
			t.Errorf("Configure: %v", err)
		}
		if _, err := h.Gateway.Renew(s, 0, iq.Access, Voice("alice")); !errors.Is(err, iq.ErrGone) {
			t.Errorf("Renew: %v", err)
		}
		h.Gateway.Through(s, 0, [2]bool{true, true})
		h.Gateway.Confirm(s, 0)
		h.Gateway.Release(s)
	}
	if _, err := h.Gateway.Reserve(st.Session+99, Voice("alice")); !errors.Is(err, iq.ErrGone) {
		t.Errorf("Reserve: %v", err)
	}
	if err := h.Gateway.Configure(st.Session, 1, iq.Access, 0, Peer(9)); !errors.Is(err, iq.ErrGone) {
		t.Errorf("a stream that is not there: %v", err)
	}
}
