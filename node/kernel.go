package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"imsafe/config"
	"imsafe/iface/clientims"
	"imsafe/proto/esp"
	"imsafe/proto/secagree"
	"imsafe/proto/shard"
	"imsafe/proto/xfrm"
)

// XFRM is the kernel's half of ipsec-3gpp, if it has one, and why or why not.
type XFRM struct {
	Why    string
	talk   *xfrm.Kernel // nil: this process does it all
	watch  *xfrm.Kernel
	locals []netip.Addr
	swept  xfrm.Swept // what a process before us had left
}

// carries reports whether the kernel does ESP on IP.
func (x *XFRM) carries() bool { return x != nil && x.talk != nil }

// chooseBackEnd decides who does ESP on IP, and what a start without it says.
func chooseBackEnd(c *config.Config) (*XFRM, error) {
	i := c.CI.IPsec
	if len(i.Listen) == 0 || i.Backend == "user" || i.ESP == "off" {
		return nil, nil
	}
	talk, err := xfrm.OpenKernel()
	var watch *xfrm.Kernel
	if err == nil {
		watch, err = xfrm.OpenKernel()
	}
	if err == nil {
		err = lacks(talk, i)
	}
	if err == nil {
		return &XFRM{Why: "it passed every pair that is configured", talk: talk, watch: watch}, nil
	}
	for _, k := range []*xfrm.Kernel{talk, watch} {
		if k != nil {
			_ = k.Close()
		}
	}
	if i.Backend == "kernel" {
		return nil, fmt.Errorf("node: ipsec: the kernel cannot carry what [ci.ipsec] wants; grant or load what is missing, "+
			"or write backend = \"user\": %w", err)
	}
	return &XFRM{Why: err.Error()}, nil
}

// ProbeKernel says what the kernel of this machine lacks to do ESP as [ci.ipsec] wants it; nil if it can, or if nobody asks it to. It leaves nothing behind.
func ProbeKernel(c *config.Config) error {
	x, err := chooseBackEnd(c)
	switch {
	case err != nil || x == nil:
		return err
	case !x.carries():
		return errors.New(x.Why)
	}
	x.Close()
	return nil
}

// lacks asks the kernel for each pair of algorithms that a client may agree on, in each family that we listen in.
func lacks(k *xfrm.Kernel, i config.CIIPsec) error {
	profile, _ := secagree.ProfileNamed(i.Profile)
	suites := profile.Suites
	for n := range i.Exceptions {
		if x, err := i.Exceptions[n].Agreed(); err == nil {
			suites = append(suites[:len(suites):len(suites)], x.Suites...)
		}
	}
	var pairs []esp.Transform
	for _, s := range suites {
		if t, ok := esp.TransformOf(s.Alg, s.EAlg); ok {
			pairs = append(pairs, t)
		}
	}
	var ipv4, ipv6 bool
	for _, a := range i.Listen {
		ipv4, ipv6 = ipv4 || a.Addr().Is4(), ipv6 || a.Addr().Is6()
	}
	var all []error
	for _, l := range k.Probe(pairs, ipv4, ipv6) {
		all = append(all, l)
	}
	return errors.Join(all...)
}

// KernelPorts are the protected ports of one address as sockets of the kernel.
type KernelPorts struct {
	udp    []*net.UDPConn
	server net.Listener
}

// listen opens them: first goes what a process before us has left, then come the policies, then the sockets. So nothing comes in clear.
func (x *XFRM) listen(local netip.Addr, c config.CIIPsec) (*KernelPorts, error) {
	swept, err := x.talk.Sweep(local)
	x.swept.Associations += swept.Associations
	x.swept.Policies += swept.Policies
	ports := append([]uint16{c.ServerPort}, c.ClientPorts...)
	if err == nil {
		err = x.talk.Protect(local, ports...)
	}
	if err != nil {
		return nil, fmt.Errorf("node: ipsec: policies of the protected ports at %v: %w", local, err)
	}
	x.locals = append(x.locals, local)
	open := &KernelPorts{}
	for _, port := range ports {
		at := netip.AddrPortFrom(local, port)
		lc := net.ListenConfig{Control: xfrm.Require(at)}
		conn, err := lc.ListenPacket(context.Background(), "udp", at.String())
		if err == nil {
			open.udp = append(open.udp, conn.(*net.UDPConn))
			if port == c.ServerPort {
				open.server, err = lc.Listen(context.Background(), "tcp", at.String())
			}
		}
		if err != nil {
			open.Close()
			return nil, taken("ipsec, protected port", at, err)
		}
	}
	return open, nil
}

// Close closes the sockets.
func (p *KernelPorts) Close() {
	if p == nil {
		return
	}
	for _, c := range p.udp {
		_ = c.Close()
	}
	if p.server != nil {
		_ = p.server.Close()
	}
}

// config hands the sockets to proto/xfrm.
func (p *KernelPorts) config(to func(*esp.Datagram), shards int) xfrm.PortsConfig {
	return xfrm.PortsConfig{UDP: p.udp, Server: p.server, Datagram: to, Shards: shards, Pause: pause,
		Dial: func(ctx context.Context, here, there netip.AddrPort) (net.Conn, error) {
			d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(here), Timeout: kernelHandshake, Control: xfrm.Require(here)}
			return d.DialContext(ctx, "tcp", there.String())
		}}
}

// kernelHandshake is how long a client has to take a connection.
const kernelHandshake = 10 * time.Second

// pause waits a little.
func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(50 * time.Millisecond):
	}
}

// Close takes back what the kernel was told. Closing twice is no error.
func (x *XFRM) Close() {
	if !x.carries() {
		return
	}
	for _, local := range x.locals {
		_, _ = x.talk.Sweep(local) // the next start does what this one could not
	}
	_, _ = x.talk.Close(), x.watch.Close()
	x.talk = nil
}

// espEngine is the engine of the access profiles.
func (n *Node) espEngine() clientims.Engine {
	if n.xfrm != nil {
		return n.xfrm
	}
	return n.esp
}

// notice takes word of proto/esp about an agreement.
func (n *Node) notice(ref esp.Ref, owner shard.Place, what esp.Notice) {
	if n.xfrm != nil {
		n.xfrm.Notice(ref, owner, what)
		return
	}
	n.Door.Notice(ref, owner, what)
}

// serveKernel talks to the kernel until ctx ends: longer than the sockets live, for what is under way may wait for it.
func (n *Node) serveKernel(ctx context.Context, group *errgroup.Group) {
	x := n.o.Sockets.XFRM
	if x != nil {
		n.o.Log.Info("who does ESP on IP", "setting", "ci.ipsec.backend", "state", map[bool]string{true: "kernel", false: "user"}[x.carries()], "reason", x.Why)
	}
	if n.xfrm == nil {
		return
	}
	if x.swept != (xfrm.Swept{}) {
		n.o.Log.Warn("a process before this one had left security associations and policies in the kernel; they are deleted",
			"count", x.swept.Associations+x.swept.Policies)
	}
	group.Go(func() error { return n.xfrm.Run(ctx, x.talk) })
	group.Go(func() error { return n.xfrm.Watch(ctx, x.watch) })
}
