package phone

import (
	"sync"
	"testing"

	"imsafe/proto/secagree"
	"imsafe/test/kernelesp/handset"
	"imsafe/test/kernelesp/machine"
	"imsafe/test/peer"
)

// Pairs that cases have whose subject is something else.
var (
	gcm = handset.Pair{Alg: "null", EAlg: "aes-gcm"}
	cbc = handset.Pair{Alg: "hmac-sha-1-96", EAlg: "aes-cbc"}
)

// TestPhone is the judge of IPsec at the door: telephones whose ESP is another kernel's.
func TestPhone(t *testing.T) {
	if testing.Short() {
		t.Skip("boots another kernel")
	}
	t.Parallel() // each in a namespace and a process of its own
	if !peer.InNamespace(t) {
		return
	}
	families := []string{"IPv4", "IPv6"}
	b := newBench(t, machine.UserMode(t), families...)
	b.all(t, families)
	// (*bench).drops: what comes by associations that are gone, and what the guest's TCP would still say by them while they go, the policies at last.
	b.statistics(t, map[string]int{"XfrmInNoStates": 40, "XfrmOutNoStates": 10})
}

// all runs the lives and the cases side by side: most of their time they wait.
func (b *bench) all(t *testing.T, families []string) {
	var all sync.WaitGroup
	defer all.Wait()
	for _, family := range families {
		for _, c := range cases {
			all.Go(func() { t.Run(c.name+" "+family, func(t *testing.T) { c.run(b, t, family) }) })
		}
		all.Go(func() {
			for _, suite := range secagree.Legacy().Suites {
				p := handset.Pair{Alg: suite.Alg, EAlg: suite.EAlg}
				t.Run("life "+family+" "+p.Alg+"+"+p.EAlg, func(t *testing.T) { b.life(t, family, p.Alg+p.EAlg, p) })
				t.Run("takes no connections "+family+" "+p.Alg+"+"+p.EAlg, func(t *testing.T) { b.deaf(t, family, "deaf-"+p.Alg+p.EAlg, p) })
			}
			for name, p := range exempt {
				t.Run("life "+family+" "+p.Alg+"+"+p.EAlg, func(t *testing.T) { b.life(t, family, name, p) })
				t.Run("takes no connections "+family+" "+p.Alg+"+"+p.EAlg, func(t *testing.T) { b.deaf(t, family, "deaf-"+name, p) })
			}
		})
	}
}

// cases are the habits of telephones, one each.
var cases = []struct {
	name string
	run  func(b *bench, t *testing.T, family string)
}{
	{"all over TCP", (*bench).overTCP},
	{"refreshes", (*bench).refreshes},
	{"offers everything", (*bench).offersEverything},
	{"keeps the former associations half a minute", (*bench).keeps},
	{"drops the former associations at the challenge", (*bench).drops},
	{"goes on over associations that have ended", (*bench).outlives},
	{"calls", (*bench).calls},
	{"behind a NAT", (*bench).behindNAT},
	{"in clear", (*bench).inClear},
}

// statistics holds that the guest's kernel has refused nothing but what a case names: neither what our side sent in clear, by the wrong associations, twice
// or with a wrong ICV, nor what it sent itself. Named is how much at most.
func (b *bench) statistics(t *testing.T, named map[string]int) {
	t.Helper()
	p := b.phone(t, b.nodes[legacy], "IPv4", "auditor", nil, gcm)
	got := map[string]int{}
	p.do("Statistics", handset.Nothing{}, &got)
	for name, n := range got {
		if n > named[name] {
			t.Errorf("the guest's xfrm_stat: %s is %d, and %d are named", name, n, named[name])
		}
	}
}

// life is a telephone's from its first registration to its last, over three generations of associations, each with a client port of its own.
func (b *bench) life(t *testing.T, family, name string, pair handset.Pair) {
	n := b.nodes[legacy]
	friend, p := n.witness(t, name+family), b.phone(t, n, family, name, nil, pair)

	// In clear, then inside.
	first := p.challenge(handset.Clear, "udp")
	p.answer("udp")
	for _, size := range []int{10, 3000} { // ESP in fragments
		p.writes(friend, first, "udp", size)
	}
	p.hears(friend, 10, first, "udp")
	p.hears(friend, 3000, first, "tcp") // pc -> us

	// Again: what is under way goes on over the associations that stand.
	second := p.challenge(first, "udp")
	p.writes(friend, first, "udp", 100)
	p.hears(friend, 100, first, "udp")
	p.answer("tcp")
	p.writes(friend, first, "udp", 100) // the former are good still
	p.writes(friend, second, "udp", 3000)
	p.hears(friend, 3000, second, "tcp")

	// And again: there are three.
	third := p.challenge(second, "tcp")
	p.writes(friend, first, "udp", 100)
	p.writes(friend, second, "tcp", 3000)
	p.hears(friend, 100, second, "tcp") // its last REGISTER came by TCP
	p.answer("udp")
	p.writes(friend, second, "udp", 100)
	p.writes(friend, third, "udp", 100)
	p.hears(friend, 100, third, "udp")
	p.leaves(third, "udp")
	p.gone(friend)
}

// deaf is a telephone that takes no TCP connections: what is large comes as a datagram all the same, in fragments.
func (b *bench) deaf(t *testing.T, family, name string, pair handset.Pair) {
	n := b.nodes[legacy]
	friend, p := n.witness(t, name+family), b.phone(t, n, family, name, func(c *handset.Config) { c.Deaf = true }, pair)
	set := p.challenge(handset.Clear, "udp")
	p.answer("udp")
	for range 2 { // the second time the network does not try
		p.hears(friend, 3000, set, "udp")
		p.writes(friend, set, "udp", 3000)
	}
}
