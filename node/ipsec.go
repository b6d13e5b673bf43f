package node

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"imsafe/config"
	"imsafe/iface/clientims"
	"imsafe/proto/esp"
	"imsafe/proto/espnet"
	"imsafe/proto/secagree"
	"imsafe/proto/shard"
	"imsafe/proto/siptransport"
	"imsafe/proto/siptxn"
	"imsafe/proto/xfrm"
)

// IPsecSockets are those of ipsec-3gpp at one address: the unprotected port, and what carries ESP. No socket listens on a protected
// port.
type IPsecSockets struct {
	Clear  []*net.UDPConn // one for each shard
	Stream net.Listener   // beside it
	ESP    *net.IPConn    // nil: not on IP
	NAT    *net.UDPConn   // nil: not in UDP
	Kernel *KernelPorts   // nil: this process does ESP on IP itself
}

// listenIPsec opens them.
func (s *Sockets) listenIPsec(c *config.Config, shards int, instead func(netip.AddrPort) (netip.AddrPort, bool)) (err error) {
	if s.XFRM, err = chooseBackEnd(c); err != nil {
		return err
	}
	for _, a := range c.CI.IPsec.Listen {
		conns, stream, err := listenBoth("ipsec", a.AddrPort, shards, instead)
		if err != nil {
			return err
		}
		open := &IPsecSockets{Clear: conns, Stream: stream}
		s.IPsec = append(s.IPsec, open)
		if s.XFRM.carries() {
			open.Kernel, err = s.XFRM.listen(a.Addr(), c.CI.IPsec)
		} else {
			err = open.listenESP(a.Addr(), c.CI.IPsec.ESP)
		}
		if err != nil {
			return err
		}
		if port := c.CI.IPsec.NATPort; port != 0 {
			if err := open.listenNAT(netip.AddrPortFrom(a.Addr(), port), instead); err != nil {
				return err
			}
		}
	}
	return nil
}

// listenESP opens the raw socket, if the process may.
func (s *IPsecSockets) listenESP(local netip.Addr, how string) error {
	if how == "off" {
		return nil
	}
	network := esp.Network4
	if local.Is6() {
		network = esp.Network6
	}
	lc := net.ListenConfig{Control: esp.SocketOptions}
	conn, err := lc.ListenPacket(context.Background(), network, local.String())
	switch {
	case err == nil:
		s.ESP = conn.(*net.IPConn)
	case errors.Is(err, os.ErrPermission) && how == "auto":
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("node: ipsec: a raw socket for ESP needs CAP_NET_RAW: grant it (setcap cap_net_raw+ep, or AmbientCapabilities of systemd), "+
			"or set esp = \"off\" in [ci.ipsec] and let clients use ESP in UDP: %w", err)
	default:
		return fmt.Errorf("node: ipsec: raw socket for ESP at %v: %w", local, err)
	}
	return nil
}

func (s *IPsecSockets) listenNAT(a netip.AddrPort, instead func(netip.AddrPort) (netip.AddrPort, bool)) error {
	lc := net.ListenConfig{Control: esp.SocketOptions}
	conn, err := lc.ListenPacket(context.Background(), "udp", a.String())
	if next, other := another(a, err, instead); other {
		conn, err = lc.ListenPacket(context.Background(), "udp", next.String())
	}
	if err != nil {
		return taken("ipsec, ESP in UDP", a, err)
	}
	s.NAT = conn.(*net.UDPConn)
	return nil
}

// Close closes what is open.
func (s *IPsecSockets) Close() {
	for _, c := range s.Clear {
		_ = c.Close()
	}
	_ = s.Stream.Close()
	if s.ESP != nil {
		_ = s.ESP.Close()
	}
	if s.NAT != nil {
		_ = s.NAT.Close()
	}
	s.Kernel.Close()
}

// gmAccess is an access profile ipsec-3gpp that is open.
type gmAccess struct {
	*clientims.Gm
	fronts    []*esp.Front
	listeners []net.Listener // of the protected server port, one for each shard and back end
	streams   *siptransport.Streams
	kernel    *xfrm.Ports // nil: this process does ESP on IP itself
}

// openIPsec opens the access profile at one address.
func (n *Node) openIPsec(s *IPsecSockets) (err error) {
	c := n.o.Config.CI.IPsec
	profile, _ := secagree.ProfileNamed(c.Profile)
	local := netip.MustParseAddrPort(s.Clear[0].LocalAddr().String())
	if err := n.makeEngine(); err != nil {
		return err
	}
	access := clientims.IPsec{Engine: n.espEngine(), Local: local.Addr(), ServerPort: c.ServerPort, ClientPorts: c.ClientPorts, Profile: profile,
		SentBy: local.String(), Timers: timers(n.o.Config.Timers.Gm)}
	for i := range c.Exceptions {
		x, err := c.Exceptions[i].Agreed()
		if err != nil {
			return err
		}
		access.Exceptions = append(access.Exceptions, x)
	}
	g := &gmAccess{Gm: n.Door.OpenIPsec(access)}
	var carriers [2]clientims.Carrier
	for i, wire := range s.wires(local.Addr()) {
		if wire != nil {
			front := n.espTCP.NewFront(wire, esp.FrontConfig{UDP: g.Datagram})
			g.fronts, carriers[i] = append(g.fronts, front), front
		}
	}
	if s.Kernel != nil {
		if g.kernel, err = n.xfrm.Open(s.Kernel.config(g.Datagram, len(n.Shards))); err != nil {
			return err
		}
		carriers[0] = g.kernel
	}
	g.CarryBy(carriers[0], carriers[1])
	n.gms = append(n.gms, g)

	clear := n.track(g.Clear())
	clear.listener = s.Stream
	for i, conn := range s.Clear {
		clear.sockets = append(clear.sockets, n.datagrams(i, conn, clear.options))
	}
	return n.listenSealed(g, n.track(g.Sealed()))
}

// asks is for how long a client is asked whether it takes a connection for what is too large for a datagram. T1 is what an answer takes
// (TS 24.229 7.7): one that has not come by then, as from a client without TCP, is waited for in vain, and the request goes as a datagram
// (RFC 3261 18.1.1). There must be time left for that before its transaction is over.
func asks(t siptxn.Timers) time.Duration {
	const atLeast = 2 * time.Second
	return min(max(t.T1, atLeast), t.F/2)
}

// listenSealed opens TCP on the protected server port, and the way to those of clients.
func (n *Node) listenSealed(g *gmAccess, a *access) (err error) {
	a.options.MaxPerSource, a.options.Admit = math.MaxInt, nil // the source is a client that proved its keys; two connections are all its ports allow
	a.options.Dialing = asks(timers(n.o.Config.Timers.Gm))
	g.streams = siptransport.NewStreams(a.options)
	all, err := n.espTCP.ListenEach(netip.AddrPortFrom(g.Local, g.ServerPort), len(n.Shards))
	for _, l := range all {
		g.listeners = append(g.listeners, l)
	}
	if g.kernel != nil {
		g.listeners = append(g.listeners, g.kernel.Listeners()...)
	}
	g.DialBy(func(ref esp.Ref, client netip.AddrPort, to *clientims.Port) siptransport.Flow {
		return g.streams.DialBy(context.Background(), to.Shard(), client, to, func(ctx context.Context) (net.Conn, error) {
			if g.kernel != nil && n.xfrm.Carries(ref) {
				return g.kernel.Dial(ctx, ref)
			}
			return n.espTCP.Dial(ctx, ref)
		})
	})
	return err
}

// wires are what carries ESP: on IP, and in UDP.
func (s *IPsecSockets) wires(local netip.Addr) (w [2]esp.Wire) {
	if s.ESP != nil {
		w[0] = esp.Raw(s.ESP)
	}
	if s.NAT != nil {
		w[1] = esp.Encapsulation(s.NAT, local)
	}
	return w
}

// makeEngine makes the node's one engine, if there is none yet: its SPIs and nonces are of one space. TCP over its associations is one
// stack.
func (n *Node) makeEngine() (err error) {
	if n.esp != nil {
		return nil
	}
	n.esp = esp.New(esp.Config{Random: n.o.Random, Clock: n.o.Clock, Notify: n.notice, Refuse: n.Door.Refuse,
		KeepForged: len(n.o.Policy.Off()) > 0})
	if n.o.Sockets.XFRM.carries() {
		n.xfrm = xfrm.New(xfrm.Config{Book: n.esp, Clock: n.o.Clock, Notify: n.Door.Notice})
	}
	n.espTCP, err = espnet.New(n.esp, espnet.Config{Random: n.o.Random})
	return err
}

// serveIPsec runs the fronts.
func (n *Node) serveIPsec(ctx context.Context, group *errgroup.Group) {
	for i, g := range n.gms {
		for _, front := range g.fronts {
			group.Go(func() error { return front.Run(ctx) })
		}
		for i, ln := range g.listeners {
			group.Go(func() error {
				at := i % len(n.Shards)
				return g.streams.Serve(ctx, n.Shards[at:at+1], ln, func(sh *shard.Shard) siptransport.Receiver { return g.Sealed()[sh.ID()] })
			})
		}
		if g.kernel != nil {
			group.Go(func() error { return g.kernel.Run(ctx) })
		}
		how := "ESP on IP"
		if g.kernel != nil {
			how = "ESP on IP by the kernel"
		} else if n.o.Sockets.IPsec[i].ESP == nil {
			how = "ESP in UDP only: this process has no raw socket for ESP (CAP_NET_RAW), or shall have none"
		}
		n.o.Log.Info("clients with a SIM card are served", "listen", g.SentBy, "transport", how, "profile", g.Profile.Name)
	}
}
