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
	"imsafe/refpoint/cx"
)

// User says what a subscriber is like. Name is the user part of his identities.
type User struct {
	Name          string
	Scheme        string   // default AKAv1-MD5; SHA-256 or MD5 gives him a password in the place of a card
	Algorithm     string   // of his card: milenage, which is the default, or tuak, with K of 256 bits
	Barred        bool     // the public identity may not be used for sessions
	Unprovisioned bool     // the HSS does not know him
	Also          []string // further identities of the implicit registration set
	Second        []string // identities of a second implicit registration set
	Service       bool     // a public service and no user, with services for who calls it but nobody who does them
	Cards         []string // names of further private identities, each a client of its own with the same public ones
}

// AddUser makes a client, and its subscriber in the HSS unless told not to.
func (n *Node) AddUser(u User) (*Client, error) {
	c, card, err := n.newCard(u, u.Name)
	if err != nil || u.Unprovisioned {
		return c, err
	}
	if u.Service {
		card = hss.Card{IMPI: c.IMPI}
		if err := n.HSS().PutProfile(context.Background(), "service", service()); err != nil {
			return nil, err
		}
	}
	subscriber := hss.Subscriber{Card: card, Public: []hss.Public{{IMPU: c.IMPU, Barred: u.Barred}}}
	for _, impu := range u.Also {
		subscriber.Public = append(subscriber.Public, hss.Public{IMPU: impu})
	}
	if u.Service {
		subscriber.Service = &hss.Service{}
		for i := range subscriber.Public {
			subscriber.Public[i].Profile = "service"
		}
	}
	if len(u.Second) > 0 {
		set := []hss.Public{}
		for _, impu := range u.Second {
			set = append(set, hss.Public{IMPU: impu})
		}
		subscriber.Sets = [][]hss.Public{set}
	}
	for _, name := range u.Cards {
		sibling, card, err := n.newCard(u, name)
		if err != nil {
			return nil, err
		}
		c.Siblings = append(c.Siblings, sibling)
		subscriber.MoreCards = append(subscriber.MoreCards, card)
	}
	if err := n.HSS().Add(context.Background(), &subscriber); err != nil {
		return nil, fmt.Errorf("lab: subscriber %s: %w", u.Name, err)
	}
	return c, nil
}

// service is a service profile for whoever is called and not registered.
func service() *cx.ServiceProfile {
	return &cx.ServiceProfile{SubscribedMediaProfile: -1, Criteria: []cx.InitialFilterCriteria{{Priority: 1,
		Trigger: &cx.TriggerPoint{CNF: true, SPTs: []cx.SPT{{Groups: []int{0}, Kind: cx.SPTSessionCase, Case: cx.TerminatingUnregistered}}},
		Server:  cx.ApplicationServer{ServerName: "sip:as." + Domain}}}}
}

// newCard makes a client of u with a private identity and keys of its own.
func (n *Node) newCard(u User, name string) (*Client, hss.Card, error) {
	var k, op [16]byte
	for _, key := range [][]byte{k[:], op[:]} {
		if _, err := n.w.chacha.Read(key); err != nil {
			return nil, hss.Card{}, err
		}
	}
	opc := aka.DeriveOPc(k, op)
	switch {
	case u.Scheme == "SHA-256" || u.Scheme == "MD5":
		return n.newPassword(u, name)
	case u.Algorithm == "tuak":
		return n.newTUAK(u, name)
	}
	c := &Client{Name: name, IMPI: name + "@" + Domain, IMPU: "sip:" + u.Name + "@" + Domain, Card: aka.NewMilenage(k, opc)}
	n.house(c)
	return c, hss.Card{IMPI: c.IMPI, K: hss.Secret(hex.EncodeToString(k[:])), OPc: hss.Secret(hex.EncodeToString(opc[:])),
		Scheme: cmp.Or(u.Scheme, "AKAv1-MD5")}, nil
}

// newTUAK makes a client of u whose card computes with TUAK.
func (n *Node) newTUAK(u User, name string) (*Client, hss.Card, error) {
	var k, top [32]byte
	for _, key := range [][]byte{k[:], top[:]} {
		if _, err := n.w.chacha.Read(key); err != nil {
			return nil, hss.Card{}, err
		}
	}
	card, err := aka.NewTUAK256(k, aka.DeriveTOPc256(k, top), aka.TUAKOptions{})
	if err != nil {
		return nil, hss.Card{}, err
	}
	c := &Client{Name: name, IMPI: name + "@" + Domain, IMPU: "sip:" + u.Name + "@" + Domain, Card: card}
	n.house(c)
	return c, hss.Card{IMPI: c.IMPI, Algorithm: u.Algorithm, K: hss.Secret(hex.EncodeToString(k[:])), TOP: hss.Secret(hex.EncodeToString(top[:])),
		Scheme: cmp.Or(u.Scheme, "AKAv1-MD5")}, nil
}

// newPassword makes a client of u without a card.
func (n *Node) newPassword(u User, name string) (*Client, hss.Card, error) {
	c := &Client{Name: name, IMPI: name + "@" + Domain, IMPU: "sip:" + u.Name + "@" + Domain, Password: "a good long secret"}
	n.house(c)
	return c, hss.Card{IMPI: c.IMPI, Scheme: u.Scheme, Password: hss.Secret(c.Password)}, nil
}

// AddDevice makes another client with the identities and the card of a user.
func (n *Node) AddDevice(name string, of *Client) *Client {
	c := &Client{Name: name, IMPI: of.IMPI, IMPU: of.IMPU, Card: of.Card, Password: of.Password}
	n.house(c)
	return c
}

// house gives a client an address of its own.
func (n *Node) house(c *Client) {
	c.w, c.node, c.pool = n.w, n, sip.NewPool(sip.Limits{})
	last := byte(10 + len(n.w.endpoints)%200)
	c.Address = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n.number), byte(len(n.w.endpoints) / 200), last}), 5060)
	n.w.Plug(c.Address, c)
}
