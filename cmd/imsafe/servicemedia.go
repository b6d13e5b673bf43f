package main

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"

	"imsafe/proto/shard"
	"imsafe/refpoint/isc"
	"imsafe/servicebox/as"
	"imsafe/servicebox/media"
)

// mediaFlag says where the media of a service come in.
type mediaFlag struct {
	Media string `help:"Where its media come in: an address of this machine, or ADDRESS:PORT for ports from PORT on. By default the address from which the core is reached, and any ports." placeholder:"ADDRESS" group:"Media:"`
}

// serve gives svc a media server at the address of the flag, or at other if it says none; none if its manifest asks for no media.
func (v *mediaFlag) serve(svc *as.Service, other netip.Addr) error {
	m := svc.Manifest()
	if m.Limits.MediaMbps == 0 || !m.Asked.Has(isc.MediaSend) && !m.Asked.Has(isc.MediaReceive) && !m.Asked.Has(isc.MediaMix) {
		return nil
	}
	c := media.Config{Address: other, Calls: min(m.Limits.MediaMbps*1000/as.CallKbps, m.Limits.Sessions), Clock: shard.RealClock(), Rand: rand.Reader, Listen: mediaAt}
	if v.Media != "" {
		at, err := netip.ParseAddrPort(v.Media)
		if err != nil {
			if c.Address, err = netip.ParseAddr(v.Media); err != nil {
				return usage{fmt.Errorf("--media %q is neither an address nor an address with a port", v.Media)}
			}
		} else {
			c.Address, c.First = at.Addr(), at.Port()
		}
	}
	if !c.Address.IsValid() || c.Address.IsUnspecified() {
		return nil // nobody could be told where to send
	}
	server, err := media.New(c)
	if err != nil {
		return err
	}
	svc.UseMedia(server)
	return nil
}

// mediaAt opens a UDP port for the media of one call, for that call alone: no SO_REUSEPORT.
func mediaAt(at netip.AddrPort) (net.PacketConn, error) {
	return net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
}

// towards is the address of this machine that a HOST:PORT is reached from; the zero value if it is not known. Nothing is sent.
func towards(hostPort string) netip.Addr {
	c, err := net.Dial("udp", hostPort)
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	at, err := netip.ParseAddrPort(c.LocalAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap()
}
