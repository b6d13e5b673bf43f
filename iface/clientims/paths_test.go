package clientims

import (
	"net/netip"
	"testing"

	"imsafe/proto/siptransport"
	"imsafe/secure"
)

// TestPaths: a path is of one flow and one identity, leads to one association until that is dropped, and costs nothing to find.
func TestPaths(t *testing.T) {
	p := NewPaths()
	flow := func(via siptransport.Sender, peer string) siptransport.Flow {
		return siptransport.Flow{Via: via, Peer: netip.MustParseAddrPort(peer)}
	}
	one, other := &wire{}, &wire{}
	all := []whence{{flow: flow(one, "192.0.2.1:5060")}, {flow: flow(other, "192.0.2.1:5060")}, {flow: flow(one, "192.0.2.1:5061")},
		{flow: flow(nil, "192.0.2.1:0"), user: "sip:alice@ims.example"}, {flow: flow(nil, "192.0.2.1:0"), user: "sip:bob@ims.example"}}
	for i, w := range all {
		if _, known := p.get(p.of(w)); known {
			t.Errorf("%d is known before it was put there", i)
		}
		p.put(p.of(w), secure.Association{Slot: uint32(i)})
	}
	for i, w := range all {
		if a, known := p.get(p.of(w)); !known || a.Slot != uint32(i) {
			t.Errorf("%d leads to %v, %v", i, a, known)
		}
	}
	p.drop(p.of(all[0]), secure.Association{Slot: 1}) // not what it leads to
	if _, known := p.get(p.of(all[0])); !known {
		t.Error("dropped for another")
	}
	p.drop(p.of(all[0]), secure.Association{})
	if _, known := p.get(p.of(all[0])); known {
		t.Error("not dropped")
	}
	if n := testing.AllocsPerRun(100, func() { p.get(p.of(all[3])); p.get(p.of(all[1])) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
