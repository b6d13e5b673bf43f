package esp

import (
	"crypto/rand"
	"net/netip"
	"testing"

	"imsafe/proto/aka"
	"imsafe/proto/shard"
)

var (
	ueAddr, pAddr   = netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("198.51.100.1")
	ueAddr6, pAddr6 = netip.MustParseAddr("2001:db8::10"), netip.MustParseAddr("2001:db8:1::1")
	testCK          = aka.CK{0x10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	testIK          = aka.IK{0x20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
)

var transforms = []Transform{
	{NoIntegrity, AESGCM}, {AESGMAC, NoEncryption}, {HMACSHA1, AESCBC}, {HMACSHA1, NoEncryption},
	{HMACMD5, NoEncryption}, {HMACMD5, DESEDE3CBC},
}

// rig is a UE and a P-CSCF that agreed.
type rig struct {
	t       testing.TB
	ue, p   *Engine
	ueRef   Ref
	pRef    Ref
	ueG, pG Agreement
	notices []Notice // of both
}

// wire carries a packet from one end to the other and back. In tunnel mode the NAT gives it this port.
const natPort = 40001

func newRig(t testing.TB, tr Transform, v6, tunnel bool) *rig {
	t.Helper()
	r := &rig{t: t}
	notify := func(_ Ref, _ shard.Place, n Notice) { r.notices = append(r.notices, n) }
	r.ue = New(Config{Random: rand.Reader, Notify: notify})
	r.p = New(Config{Random: rand.Reader, Notify: notify})
	r.agree(tr, v6, tunnel, 38001)
	return r
}

// agree installs a further agreement; the last one is the rig's.
func (r *rig) agree(tr Transform, v6, tunnel bool, uc uint16) {
	r.t.Helper()
	ue, p := ueAddr, pAddr
	if v6 {
		ue, p = ueAddr6, pAddr6
	}
	ueSPI, err := r.ue.Reserve(ue)
	if err != nil {
		r.t.Fatal(err)
	}
	pSPI, err := r.p.Reserve(p, ueSPI[0], ueSPI[1])
	if err != nil {
		r.t.Fatal(err)
	}
	ueEnds := Ends{Port: [2]uint16{uc, 39001}, SPI: ueSPI}
	pEnds := Ends{Port: [2]uint16{6000 + uc - 38001, 5999}, SPI: pSPI}
	r.ueG = Agreement{Role: UE, Local: ue, Peer: p, Here: ueEnds, There: pEnds, Transform: tr, CK: testCK, IK: testIK, AllowWithdrawn: true, Tunnel: tunnel}
	r.pG = Agreement{Role: PCSCF, Owner: shard.Place{Node: 1, Slot: 7, Gen: 1}, Local: p, Peer: ue, Here: pEnds, There: ueEnds, Transform: tr, CK: testCK, IK: testIK, AllowWithdrawn: true, Tunnel: tunnel}
	if tunnel {
		r.ueG.PeerPort = 4500
		r.ueG.Local = netip.MustParseAddr("10.0.0.5") // private; the NAT shows ueAddr
		if v6 {
			r.ueG.Local = netip.MustParseAddr("fd00::5")
		}
		r.ueG.Inner = ue
		if ueSPI, err = r.ue.Reserve(r.ueG.Local); err != nil {
			r.t.Fatal(err)
		}
		r.ueG.Here.SPI, r.pG.There.SPI = ueSPI, ueSPI
	}
	if r.ueRef, err = r.ue.Install(&r.ueG); err != nil {
		r.t.Fatal(err)
	}
	if r.pRef, err = r.p.Install(&r.pG); err != nil {
		r.t.Fatal(err)
	}
}

// up seals at the UE from its client port.
func (r *rig) up(payload string) []byte {
	r.t.Helper()
	pkt, _, err := r.ue.SealUDP(nil, r.ueRef, Client, []byte(payload))
	if err != nil {
		r.t.Fatal(err)
	}
	return pkt
}

// atP opens at the P-CSCF what comes from the UE's address.
func (r *rig) atP(pkt []byte) (Datagram, Drop) {
	from := netip.AddrPortFrom(r.pG.Peer, 0)
	if r.pG.Tunnel {
		from = netip.AddrPortFrom(r.pG.Peer, natPort)
	}
	var d Datagram
	drop := r.p.Open(pkt, from, r.pG.Local, &d)
	return d, drop
}

func (r *rig) atUE(pkt []byte) (Datagram, Drop) {
	from := netip.AddrPortFrom(r.ueG.Peer, 0)
	if r.ueG.Tunnel {
		from = netip.AddrPortFrom(r.ueG.Peer, 4500)
	}
	var d Datagram
	drop := r.ue.Open(pkt, from, r.ueG.Local, &d)
	return d, drop
}

// counts are all drop counters of an engine, to see that one moved and nothing else.
func counts(e *Engine) (c [dropCount]uint64) {
	for i := range c {
		c[i] = e.n.dropped[i].Load()
	}
	return c
}

// onlyOne reports whether d went up by one since before and no other did.
func onlyOne(e *Engine, before [dropCount]uint64, d Drop) bool {
	before[d]++
	return counts(e) == before
}
