package main

import (
	"net"
	"net/netip"

	"imsafe/refpoint/isc"
	"imsafe/servicebox/as"
	"imsafe/servicebox/media"
)

// mediaFlag says where the media of a service come in.
type mediaFlag struct {
	Media string `help:"Where its media come in: an address of this machine, or ADDRESS:PORT for ports from PORT on. By default the address from which the core is reached, and any ports." placeholder:"ADDRESS" group:"Media:"`
}

// serve gives svc a media server at the address of the flag, or at other if it says none; none if its manifest asks for no media, or nobody could
// be told where to send, of which the log tells.
func (v *mediaFlag) serve(svc *as.Service, other netip.Addr) error {
	m, address := svc.Manifest(), v.Media
	if address == "" && other.IsValid() && !other.IsUnspecified() {
		address = other.String()
	}
	if !m.Asked.Has(isc.MediaSend) && !m.Asked.Has(isc.MediaReceive) && !m.Asked.Has(isc.MediaMix) {
		return nil
	}
	if address == "" {
		svc.Log().Warn("no media: at which address do callers reach this machine? name it with --media", "service", m.Service)
		return nil
	}
	server, err := media.At(address, min(m.Limits.MediaMbps*1000/as.CallKbps, m.Limits.Sessions))
	if err != nil {
		return usage{err}
	}
	svc.UseMedia(server)
	return nil
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
