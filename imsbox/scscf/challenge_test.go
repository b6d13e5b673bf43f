package scscf

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"imsafe/hop"
	"imsafe/proto/budget"
	"imsafe/proto/sip"
	"imsafe/secure"
	"imsafe/secure/mint"
)

// TestChallenges: a new challenge kills the older one of the same path and of no other (TS 33.203 6.1.2.3); few wait in one name, and an
// answer finds its own, once.
func TestChallenges(t *testing.T) {
	cs := newChallenges(time.Minute, func(string) bool { return true })
	put := func(path, nonce string, now time.Duration) {
		cs.put("alice", &pendingChallenge{nonce: []byte(nonce), of: tie{path: path}}, now)
	}
	take := func(nonce string, now time.Duration) bool {
		_, found := cs.take("alice", []byte(nonce), now)
		return found
	}
	put("hers", "1", 0)
	put("hers", "2", 0)
	for i := range maxPending - 1 {
		put(fmt.Sprintf("a stranger's %d", i), fmt.Sprintf("s%d", i), time.Second)
	}
	if take("1", time.Second) || !take("2", time.Second) || take("2", time.Second) {
		t.Error("the older of one path lives, or the newer was killed by others', or is taken twice")
	}
	put("one more", "x", time.Second)
	put("and one", "y", time.Second)
	if take("s0", time.Second) || !take("s1", time.Second) {
		t.Error("the oldest does not make room, where all are of one crowd")
	}
	if take("y", time.Minute+2*time.Second) {
		t.Error("a challenge outlives its time")
	}
	cs.put("bob", &pendingChallenge{nonce: []byte("b"), of: tie{association: secure.Association{Node: 1}}}, 3*time.Minute)
	if len(cs.pending) != 1 || cs.first != cs.last || string(cs.first.nonce) != "b" {
		t.Errorf("%d names are kept and the oldest is not the newest; want one", len(cs.pending))
	}
	cs.put("carol", &pendingChallenge{nonce: []byte("c")}, 3*time.Minute)
	cs.put("dan", &pendingChallenge{nonce: []byte("d")}, 3*time.Minute)
	for _, name := range []string{"carol", "dan", "bob"} { // between, last, alone
		if _, found := cs.take(name, []byte(name[:1]), 3*time.Minute); !found {
			t.Errorf("the challenge of %s is lost", name)
		}
	}
	if len(cs.pending) != 0 || cs.first != nil || cs.last != nil {
		t.Errorf("%d names are kept when all have answered", len(cs.pending))
	}
}

// TestChallenges_crowd: a crowd that begins to register in her name does not push out the challenge that she is about to answer; without the control it
// does.
func TestChallenges_crowd(t *testing.T) {
	for _, on := range []bool{true, false} {
		refused := 0
		cs := newChallenges(time.Minute, func(string) bool { refused++; return on })
		put := func(i int, nonce string, from budget.Waiting) {
			cs.put("alice", &pendingChallenge{nonce: []byte(nonce), from: from, of: tie{association: secure.Association{Slot: uint32(i), Gen: 1}}}, 0)
		}
		put(0, "hers", budget.Waiting{Network: 1, Address: 1})
		for i := range 10 * maxPending {
			put(1+i, fmt.Sprint(i), budget.Waiting{Network: budget.Key(2 + i%(maxPending-1)), Address: budget.Key(1000 + i)})
		}
		if n := len(cs.pending["alice"]); n != maxPending {
			t.Errorf("%d challenges wait in one name", n)
		}
		if _, waits := cs.take("alice", []byte("hers"), 0); waits != on || refused == 0 {
			t.Errorf("control %v: her challenge waits: %v; %d refusals named", on, waits, refused)
		}
	}
}

// TestClient: where a client is, as the door or the P-CSCF of another process has seen it, and not as he writes.
func TestClient(t *testing.T) {
	o := newOrigins([]netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:5062"), netip.MustParseAddrPort("192.0.2.2:5062"), netip.MustParseAddrPort("[2001:db8::2]:5062")})
	pool := sip.NewPool(sip.Limits{})
	m := pool.NewRequest(sip.REGISTER, "sip:ims.example")
	for _, via := range []string{"SIP/2.0/TLS edge.example;branch=z9hG4bK1;received=192.0.2.1", "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK2;received=198.51.100.7",
		"SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK3;received=203.0.113.9"} {
		m.AppendString(sip.HdrVia, via)
	}
	wire := hop.Inbound{Msg: m, Proof: mint.Node("edge.example")}
	if got := o.client(wire).String(); got != "198.51.100.7" {
		t.Errorf("over a wire he is at %s", got)
	}
	for via, want := range map[string]string{
		"SIP/2.0/TLS 192.0.2.2:5062;branch=z9hG4bK0;received=192.0.2.2":            "198.51.100.7", // a P-CSCF behind an I-CSCF
		"SIP/2.0/TLS [2001:db8::2]:5062;branch=z9hG4bK0;received=2001:db8::2":      "198.51.100.7",
		"SIP/2.0/TLS 192.0.2.2:5062;branch=z9hG4bK0;received=198.51.100.9":         "198.51.100.9", // who writes that he is one
		"SIP/2.0/TLS 192.0.2.2:5063;branch=z9hG4bK0;received=192.0.2.2":            "192.0.2.2",    // a client on its machine
		"SIP/2.0/TLS 192.0.2.2:5062;branch=z9hG4bK0":                               "invalid IP",   // nobody has said where he is
		"SIP/2.0/TLS pcscf.ims.example;branch=z9hG4bK0;received=pcscf.ims.example": "invalid IP",
	} {
		far := m.Clone()
		far.Remove(sip.HdrVia)
		far.AppendString(sip.HdrVia, "SIP/2.0/TLS 192.0.2.1:5062;branch=z9hG4bK;received=192.0.2.1")
		far.AppendString(sip.HdrVia, via)
		far.AppendString(sip.HdrVia, "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK2;received=198.51.100.7")
		if got := o.client(hop.Inbound{Msg: far, Proof: mint.Node("icscf.example")}).String(); got != want {
			t.Errorf("below %s he is at %s", via, got)
		}
	}
	direct := hop.Inbound{Msg: m, Proof: mint.Access(mint.Client{Peer: "198.51.100.8:5060", Profile: "tls"})}
	if got := o.client(direct).String(); got != "198.51.100.8" {
		t.Errorf("by the door's word he is at %s", got)
	}
}

// TestOrigins: a name is known where it was proven, for a day, and nowhere else.
func TestOrigins(t *testing.T) {
	o := newOrigins(nil)
	at := func(peer string) hop.Inbound {
		return hop.Inbound{Proof: mint.Access(mint.Client{Peer: peer, Profile: "tls"})}
	}
	o.prove(at("198.51.100.8:5060"), "alice", 0)
	for _, x := range []struct {
		peer, name string
		at         time.Duration
		known      bool
	}{{"198.51.100.8:9999", "alice", time.Hour, true}, {"198.51.100.9:5060", "alice", time.Hour, false}, {"198.51.100.8:5060", "bob", time.Hour, false},
		{"198.51.100.8:5060", "alice", 25 * time.Hour, false}} {
		if w := o.of(at(x.peer), x.name, x.at); w.Known != x.known || w.Network == w.Address {
			t.Errorf("%+v: %+v", x, w)
		}
	}
}
