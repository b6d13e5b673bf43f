package phone

import (
	"testing"

	"imsafe/test/kernelesp/handset"
	"imsafe/test/kernelesp/machine"
	"imsafe/test/peer"
)

// TestPhone_emulated is a second build of a kernel, which has the drivers and the ciphers of real machines: a registration and a message by each of two
// pairs of algorithms.
func TestPhone_emulated(t *testing.T) {
	if testing.Short() {
		t.Skip("boots another kernel")
	}
	t.Parallel() // each in a namespace and a process of its own
	if !peer.InNamespace(t) {
		return
	}
	b := newBench(t, machine.Emulated(t), "IPv4")
	for _, pair := range []handset.Pair{gcm, cbc} {
		t.Run(pair.Alg+"+"+pair.EAlg, func(t *testing.T) {
			n := b.nodes[legacy]
			friend, p := n.witness(t, pair.EAlg), b.phone(t, n, "IPv4", pair.EAlg, nil, pair)
			set := p.challenge(handset.Clear, "udp")
			p.answer("udp")
			p.writes(friend, set, "udp", 100)
			p.hears(friend, 100, set, "udp")
		})
	}
	b.statistics(t, nil)
}
