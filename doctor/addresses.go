package doctor

import (
	"errors"
	"net/netip"
	"syscall"

	"imsafe/config"
)

// socket is one that a node of a configuration opens.
type socket struct {
	section, network string
	at               netip.AddrPort
}

// sockets are those of c.
func sockets(c *config.Config) (all []socket) {
	add := func(section, network string, a netip.AddrPort) {
		if a.IsValid() {
			all = append(all, socket{section, network, a})
		}
	}
	for _, a := range c.CI.TLS.Listen {
		add("ci.tls", "tcp", a.AddrPort)
	}
	for _, a := range c.CI.IPsec.Listen {
		add("ci.ipsec", "udp", a.AddrPort)
		add("ci.ipsec", "tcp", a.AddrPort)
		if port := c.CI.IPsec.NATPort; port != 0 {
			add("ci.ipsec nat_port", "udp", netip.AddrPortFrom(a.Addr(), port))
		}
	}
	for _, a := range c.CI.LabUDP.Listen {
		add("ci.lab_udp", "udp", a.AddrPort)
		add("ci.lab_udp", "tcp", a.AddrPort)
	}
	if c.Mw.Clear {
		add("mw", "udp", c.Mw.Listen.AddrPort)
	} else {
		add("mw", "tcp", c.Mw.Listen.AddrPort)
	}
	add("cx", "tcp", c.Cx.Listen.AddrPort)
	add("is", "tcp", c.IS.Listen.AddrPort)
	add("is.enrol", "tcp", c.IS.Enrol.Listen.AddrPort)
	add("https", "tcp", c.HTTPS.Listen.AddrPort)
	add("metrics", "tcp", c.Metrics.Listen.AddrPort)
	return all
}

// mediaPorts tries the ports of the media anchor. A node opens them call by call: one that is taken costs a pair, and is the node's own where one runs.
func (x *examination) mediaPorts() {
	for _, a := range x.Config.CS.Listen {
		taken := 0
		for n := range x.Config.CS.Ports {
			at := netip.AddrPortFrom(a.Addr(), a.Port()+uint16(n))
			err := x.host.Bind("udp", at)
			switch {
			case errors.Is(err, syscall.EADDRNOTAVAIL):
				x.breaks(AddressHere, "[cs] %v: this machine has no address %v", a, a.Addr())
				return
			case errors.Is(err, syscall.EADDRINUSE):
				taken++
			case err != nil:
				x.unchecked(MediaPorts, lookAgain, "[cs] udp %v: %v", at, err)
				return
			}
		}
		last := int(a.Port()) + x.Config.CS.Ports - 1
		switch {
		case taken == 0:
			x.fine(MediaPorts, "[cs] none of the UDP ports %v to %d is taken", a, last)
		case x.Node != nil || x.Blind:
			x.fine(MediaPorts, "[cs] of the UDP ports %v to %d %d are taken", a, last, taken)
		case taken == x.Config.CS.Ports:
			x.breaks(MediaPorts, "[cs] all UDP ports %v to %d are taken, and no node runs here", a, last)
		default:
			x.hint(MediaPorts, "[cs] of the UDP ports %v to %d %d are taken, and no node runs here", a, last, taken)
		}
	}
}

// addresses tries every socket: it must be free, or held where a node runs.
func (x *examination) addresses() {
	good, taken := 0, 0
	missing := map[socket]bool{} // told once for both transports
	for _, s := range sockets(x.Config) {
		err := x.host.Bind(s.network, s.at)
		switch {
		case errors.Is(err, syscall.EADDRNOTAVAIL) && missing[socket{section: s.section, at: s.at}]:
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			missing[socket{section: s.section, at: s.at}] = true
			x.breaks(AddressHere, "[%s] %v: this machine has no address %v", s.section, s.at, s.at.Addr())
		case errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM):
			x.add(PortFree, Breaks, "[%s] %s %v: this user may not open ports below 1024", s.section, s.network, s.at).
				instead("AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit, or a port from 1024 on")
		case errors.Is(err, syscall.EADDRINUSE) && x.Blind:
			taken++
		case errors.Is(err, syscall.EADDRINUSE) && x.Node == nil:
			x.breaks(PortFree, "[%s] %s %v is taken, and no node runs here that could have it", s.section, s.network, s.at)
		case err != nil && !errors.Is(err, syscall.EADDRINUSE):
			x.unchecked(PortFree, lookAgain, "[%s] %s %v: %v", s.section, s.network, s.at, err)
		case err == nil && x.Node != nil:
			x.add(PortFree, Breaks, "[%s] %s %v is free although a node runs: it runs with another configuration", s.section, s.network, s.at).
				instead("restart the node so that it reads the configuration as it is now")
		default:
			good++
		}
	}
	if taken > 0 {
		x.unchecked(PortFree, asTheNode, "%d ports are taken, by the node or by somebody else", taken)
	}
	if good > 0 && x.Node != nil {
		x.fine(PortFree, "the node holds %d ports", good)
	} else if good > 0 {
		x.fine(PortFree, "%d ports are free", good)
	}
}
