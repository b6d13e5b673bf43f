package node

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"syscall"

	"imsafe/config"
	"imsafe/proto/nftdrop"
	"imsafe/proto/siptransport"
)

// Sockets are the open sockets of a node.
type Sockets struct {
	TLS        []net.Listener
	LabUDP     [][]*net.UDPConn // by address, one for each shard
	LabTCP     []net.Listener   // beside each of LabUDP
	IPsec      []*IPsecSockets
	XFRM       *XFRM          // the kernel's half of IPsec; nil without it
	MwClear    []*net.UDPConn // the wire in clear, one for each shard
	MwTLS      net.Listener   // the wire
	Cx         net.Listener   // of the HSS
	Sh         net.Listener   // the same, for application servers
	ISC        net.Listener   // where service platforms connect
	HTTPS      net.Listener   // where clients fetch
	Enrol      net.Listener   // where service platforms ask to be approved
	Drop       *nftdrop.Rules // sources that the kernel drops; nil without [ci.drop]
	Management *net.UnixListener
	Metrics    net.Listener
}

// Listen opens the sockets that c names. instead, if not nil, may name another address for one that is taken; else
// a taken address is an error. After an error nothing is left open.
func Listen(c *config.Config, shards int, instead func(taken netip.AddrPort) (netip.AddrPort, bool)) (*Sockets, error) {
	s := &Sockets{}
	err := s.listen(c, shards, instead)
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Sockets) listen(c *config.Config, shards int, instead func(netip.AddrPort) (netip.AddrPort, bool)) error {
	for _, a := range c.CI.TLS.Listen {
		ln, err := tcp(a.AddrPort, instead)
		if err != nil {
			return err
		}
		s.TLS = append(s.TLS, ln)
	}
	for _, a := range c.CI.LabUDP.Listen {
		if err := s.listenLab(a.AddrPort, shards, instead); err != nil {
			return err
		}
	}
	if err := s.listenIPsec(c, shards, instead); err != nil {
		return err
	}
	if err := s.listenMw(c, shards); err != nil {
		return err
	}
	for _, wire := range []struct {
		at config.Address
		to *net.Listener
	}{{c.Cx.Listen, &s.Cx}, {c.Sh.Listen, &s.Sh}} { // their peers know the address: another one would not do
		if !wire.at.IsValid() {
			continue
		}
		ln, err := tcp(wire.at.AddrPort, nil)
		if err != nil {
			return err
		}
		*wire.to = ln
	}
	for _, door := range []struct {
		at config.Address
		to *net.Listener
	}{{c.IS.Listen, &s.ISC}, {c.IS.Enrol.Listen, &s.Enrol}, {c.HTTPS.Listen, &s.HTTPS}, {c.Metrics.Listen, &s.Metrics}} {
		if !door.at.IsValid() {
			continue
		}
		ln, err := tcp(door.at.AddrPort, instead)
		if err != nil {
			return err
		}
		*door.to = ln
	}
	if err := s.listenDrop(c); err != nil {
		return err
	}
	var err error
	s.Management, err = unixSocket(c.ManagementSocket())
	return err
}

// listenMw opens the wire's sockets. Other nodes know its address: another one would not do.
func (s *Sockets) listenMw(c *config.Config, shards int) (err error) {
	switch a := c.Mw.Listen.AddrPort; {
	case !a.IsValid():
		return nil
	case c.Mw.Clear:
		s.MwClear, err = siptransport.ListenUDP(a, shards)
	default:
		s.MwTLS, err = net.Listen("tcp", a.String())
	}
	if err != nil {
		return taken("mw", c.Mw.Listen.AddrPort, err)
	}
	return nil
}

func (s *Sockets) listenLab(a netip.AddrPort, shards int, instead func(netip.AddrPort) (netip.AddrPort, bool)) error {
	conns, ln, err := listenBoth("lab-udp", a, shards, instead)
	if err == nil {
		s.LabUDP, s.LabTCP = append(s.LabUDP, conns), append(s.LabTCP, ln)
	}
	return err
}

// listenBoth opens UDP and TCP on the same port (RFC 3261 18.1.1: what is too large for one takes the other).
func listenBoth(what string, a netip.AddrPort, shards int, instead func(netip.AddrPort) (netip.AddrPort, bool)) ([]*net.UDPConn, net.Listener, error) {
	for {
		conns, err := siptransport.ListenUDP(a, shards)
		if err == nil {
			bound := netip.MustParseAddrPort(conns[0].LocalAddr().String())
			var ln net.Listener
			if ln, err = net.Listen("tcp", bound.String()); err == nil {
				return conns, ln, nil
			}
			for _, c := range conns {
				err = errors.Join(err, c.Close())
			}
		}
		next, other := another(a, err, instead)
		if !other {
			return nil, nil, taken(what, a, err)
		}
		a = next
	}
}

func tcp(a netip.AddrPort, instead func(netip.AddrPort) (netip.AddrPort, bool)) (net.Listener, error) {
	ln, err := net.Listen("tcp", a.String())
	if next, other := another(a, err, instead); other {
		return net.Listen("tcp", next.String())
	}
	if err != nil {
		return nil, taken("listen", a, err)
	}
	return ln, nil
}

func another(a netip.AddrPort, err error, instead func(netip.AddrPort) (netip.AddrPort, bool)) (netip.AddrPort, bool) {
	if !errors.Is(err, syscall.EADDRINUSE) || instead == nil {
		return a, false
	}
	return instead(a)
}

func taken(what string, a netip.AddrPort, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("node: %s: %v is taken by another process: stop that one, or choose another port", what, a)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("node: %s: this machine has no address %v: give it the address, or correct the configuration", what, a.Addr())
	}
	return fmt.Errorf("node: %s: %v: %w", what, a, err)
}

// unixSocket opens the operator's socket. One that nobody answers on is a leftover of a killed node and replaced; the
// store's lock has shown already that no other node runs here.
func unixSocket(path string) (*net.UnixListener, error) {
	address := &net.UnixAddr{Name: path, Net: "unix"}
	ln, err := net.ListenUnix("unix", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("node: management socket: %w", err)
		}
		ln, err = net.ListenUnix("unix", address)
	}
	if err != nil {
		return nil, fmt.Errorf("node: management socket: %w", err)
	}
	// Everybody may knock: who may call is decided by the kernel's word and the roles.
	if err := os.Chmod(path, 0o666); err != nil {
		return nil, errors.Join(fmt.Errorf("node: management socket: %w", err), ln.Close())
	}
	return ln, nil
}

// Close closes what is open. Closing twice is no error.
func (s *Sockets) Close() {
	for _, ln := range append(append(s.TLS, s.LabTCP...), s.Metrics, s.MwTLS, s.Cx, s.Sh, s.ISC, s.Enrol, s.HTTPS) {
		if ln != nil {
			_ = ln.Close()
		}
	}
	for _, conns := range append(s.LabUDP, s.MwClear) {
		for _, c := range conns {
			_ = c.Close()
		}
	}
	for _, i := range s.IPsec {
		i.Close()
	}
	s.XFRM.Close()
	_ = s.Drop.Close() // who closes after an error has told of that one
	if s.Management != nil {
		_ = s.Management.Close()
	}
}

// Addresses returns where clients over TLS and lab clients find the node.
func (s *Sockets) Addresses() (tls, lab []netip.AddrPort) {
	for _, ln := range s.TLS {
		tls = append(tls, netip.MustParseAddrPort(ln.Addr().String()))
	}
	for _, conns := range s.LabUDP {
		lab = append(lab, netip.MustParseAddrPort(conns[0].LocalAddr().String()))
	}
	return tls, lab
}
