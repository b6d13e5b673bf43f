package diameter

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"imsafe/proto/shard"
)

// Peers that come and go while the Node runs: application servers that an operator approves and suspends.

// ErrPeer is wrapped by the errors of Admit that are about the peer: it is there already, or cannot be one.
var ErrPeer = errors.New("diameter: peer")

// Admit adds a peer. A peer with Dial is dialled at once. It waits for the Node's shard, so it is not for that; the error wraps ErrPeer, or is
// shard.ErrFull.
func (n *Node) Admit(c PeerConfig) error {
	host := strings.ToLower(c.Host)
	switch {
	case !isIdentity([]byte(c.Host)) || !isIdentity([]byte(c.Realm)):
		return fmt.Errorf("%w: it needs host and realm, as domain names", ErrPeer)
	case strings.EqualFold(c.Host, n.cfg.Host):
		return fmt.Errorf("%w: %s is this node", ErrPeer, c.Host)
	case n.cfg.TLS == nil && !c.Cleartext:
		return fmt.Errorf("%w: %s needs TLS, and there is no TLS configuration", ErrPeer, c.Host)
	}
	return n.change(func() error {
		if n.byHost[host] != nil {
			return fmt.Errorf("%w: %s is there already", ErrPeer, c.Host)
		}
		p := &peer{n: n, cfg: &c}
		n.peers = append(n.peers, p)
		n.byHost[host] = p
		if !n.leaving {
			p.dial()
		}
		return nil
	})
}

// Dismiss takes a peer out and closes its connection at once, without a farewell: what it still sends is not read any more, and when it comes
// again it is nobody. One that is not there is no error. It waits for the Node's shard, so it is not for that.
func (n *Node) Dismiss(host string) error {
	host = strings.ToLower(host)
	return n.change(func() error {
		p := n.byHost[host]
		if p == nil {
			return nil
		}
		delete(n.byHost, host)
		n.peers = slices.DeleteFunc(n.peers, func(x *peer) bool { return x == p })
		p.gone = true
		n.sh.Disarm(&p.timer)
		for _, c := range []*conn{p.dialled, p.conn} {
			if c != nil {
				c.kill(&n.n.ClosedLocal)
			}
		}
		return nil
	})
}

// change runs a change of the peers on the shard.
func (n *Node) change(change func() error) error {
	done := make(chan error, 1)
	if !n.enter(shard.EventFunc(func(*shard.Shard) { done <- change() })) {
		return shard.ErrFull
	}
	return <-done
}
