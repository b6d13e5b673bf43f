package load

import (
	"math/rand/v2"
	"net/netip"

	"imsafe/proto/aka"
)

// ue is one UE: who it is, where it is, and what it knows of the network.
type ue struct {
	sub   *Subscriber
	addr  netip.AddrPort // its own
	proxy netip.AddrPort // its P-CSCF
	play  int32          // what it takes part in, -1 nothing: a UE does one thing at a time
	set   *crew          // where it waits, nil if it takes part in something
	place int32          // in that
	cseq  uint32         // of REGISTER: all of a UE have one Call-ID (RFC 3261 10.2)
	route []byte         // Service-Route as a line of Route, empty if there is none
	card  *card          // with AKA, from the first challenge on

	security *security // with ESP
}

// card is the UE's half of AKA.
type card struct {
	functions *aka.Milenage
	window    aka.Window
	used      bool // it has accepted a challenge: before the first one nothing is known of the network's numbers
}

// open answers a challenge as a card does (TS 33.102 6.3.3). With ErrSQNOutOfRange there is an AUTS.
func (c *card) open(n *aka.Nonce) (o aka.Opened, auts aka.AUTS, err error) {
	if o, err = aka.Open(c.functions, n.RAND, n.AUTN); err != nil {
		return o, auts, err
	}
	if !c.used { // what was accepted in runs before is not kept
		c.used = true
		c.window[o.SQN.IND()] = o.SQN.SEQ()
		return o, auts, nil
	}
	if err = c.window.Accept(o.SQN); err != nil {
		auts = aka.MakeAUTS(c.functions, n.RAND, c.window.Highest())
	}
	return o, auts, err
}

// crew is a set of UEs that wait for something to do, from which any may be taken at random.
type crew struct{ members []int32 }

func (c *crew) put(all []ue, i int32) {
	all[i].set, all[i].place = c, int32(len(c.members))
	c.members = append(c.members, i)
}

func (c *crew) take(all []ue, random *rand.Rand) (int32, bool) {
	if len(c.members) == 0 {
		return 0, false
	}
	i := c.members[random.IntN(len(c.members))]
	c.drop(all, i)
	return i, true
}

func (c *crew) drop(all []ue, i int32) {
	last := c.members[len(c.members)-1]
	c.members[all[i].place] = last
	all[last].place = all[i].place
	c.members = c.members[:len(c.members)-1]
	all[i].set = nil
}
