package lab

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"net/netip"

	"imsafe/imsbox/hss"
	"imsafe/proto/aka"
	"imsafe/proto/sip"
)

// User says what a subscriber is like. Name is the user part of his identities.
type User struct {
	Name          string
	Scheme        string   // default AKAv1-MD5
	Barred        bool     // the public identity may not be used for sessions
	Unprovisioned bool     // the HSS does not know him
	Also          []string // further identities of the implicit registration set
}

// AddUser makes a client, and its subscriber in the HSS unless told not to.
func (n *Node) AddUser(u User) (*Client, error) {
	var k, op [16]byte
	for _, key := range [][]byte{k[:], op[:]} {
		if _, err := n.w.chacha.Read(key); err != nil {
			return nil, err
		}
	}
	opc := aka.DeriveOPc(k, op)
	c := &Client{Name: u.Name, IMPI: u.Name + "@" + Domain, IMPU: "sip:" + u.Name + "@" + Domain, w: n.w, node: n,
		pool: sip.NewPool(sip.Limits{}), Card: aka.NewMilenage(k, opc)}
	last := byte(10 + len(n.w.endpoints)%200)
	c.Address = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n.number), byte(len(n.w.endpoints) / 200), last}), 5060)
	n.w.Plug(c.Address, c)
	if u.Unprovisioned {
		return c, nil
	}
	public := []hss.Public{{IMPU: c.IMPU, Barred: u.Barred}}
	for _, impu := range u.Also {
		public = append(public, hss.Public{IMPU: impu})
	}
	err := n.Core.HSS.Add(context.Background(), &hss.Subscriber{Card: hss.Card{IMPI: c.IMPI, K: hss.Secret(hex.EncodeToString(k[:])),
		OPc: hss.Secret(hex.EncodeToString(opc[:])), Scheme: cmp.Or(u.Scheme, "AKAv1-MD5")}, Public: public})
	if err != nil {
		return nil, fmt.Errorf("lab: subscriber %s: %w", u.Name, err)
	}
	return c, nil
}
