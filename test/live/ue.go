package live

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"time"

	"imsafe/client/isim"
	"imsafe/client/ue"
	"imsafe/proto/shard"
)

// UE is a client of ours at a node.
type UE struct {
	*ue.UE
	User     *User
	Calls    chan *ue.Call
	Messages chan ue.Message
}

// UE starts a client of u over a transport; change, if not nil, may change what it is made of. It ends with the test.
func (n *Node) UE(u *User, transport ue.Transport, change func(*ue.Config)) (*UE, error) {
	x, end, err := n.Visitor(u, transport, change)
	if err != nil {
		return nil, err
	}
	n.t.Cleanup(func() {
		if err := end(); err != nil {
			n.t.Errorf("live: %s ended with: %v", u.Name, err)
		}
	})
	return x, nil
}

// Visitor is UE for a client that ends before the test does: by end, which must be called once.
func (n *Node) Visitor(u *User, transport ue.Transport, change func(*ue.Config)) (x *UE, end func() error, err error) {
	card, err := isim.New(isim.Config{Identity: isim.Identity{IMPI: u.IMPI, HomeDomain: Domain, IMPUs: []string{u.IMPU}}, K: u.K, OPc: u.OPc,
		State: isim.Volatile{}})
	if err != nil {
		return nil, nil, err
	}
	x = &UE{User: u, Calls: make(chan *ue.Call, 8), Messages: make(chan ue.Message, 8)}
	c := ue.Config{Card: card, Transport: transport, Clock: shard.RealClock(), Rand: rand.Reader, ListenPacket: listenPacket,
		OnCall: func(c *ue.Call) { x.Calls <- c }, OnMessage: func(m ue.Message) { x.Messages <- m }}
	switch transport {
	case ue.IPsecUDP, ue.IPsecTCP:
		c.Proxy, c.IPsec.NATPort = n.Gm, n.NAT
	case ue.TLS:
		c.Proxy, c.RootCAs, c.ServerName = n.TLS, n.CA, "pcscf."+Domain
	}
	if change != nil {
		change(&c)
	}
	if x.UE, err = ue.New(c); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	return x, func() error { cancel(); return <-done }, nil
}

func listenPacket(local netip.Addr) (net.PacketConn, error) {
	return net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0)))
}

var errSilent = errors.New("live: nothing came")

// Next waits for a message, which must come.
func (x *UE) Next() (ue.Message, error) {
	select {
	case m := <-x.Messages:
		return m, nil
	case <-time.After(Patience):
		return ue.Message{}, errSilent
	}
}
