package node

import (
	"context"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"imsafe/iface/clientservice"
	"imsafe/imsbox/pcscf"
	"imsafe/proto/sip"
)

// makeMedia makes the media anchor, if there is to be one and w names no other.
func (c *Core) makeMedia(w *World) (err error) {
	if w.Iq != nil || len(w.CS.Listen) == 0 {
		return nil
	}
	s := w.CS
	m := clientservice.Config{Ports: s.Ports, PerUser: s.SessionsPerUser, Audio: s.Audio, Video: s.Video, Silence: s.Silence.Std(),
		Outlives: s.Outlives.Std(), OrphanSilence: s.OutlivesSilence.Std()}
	for _, a := range s.Listen {
		m.Listen = append(m.Listen, a.AddrPort)
	}
	c.Media, err = clientservice.New(m, clientservice.Ports{Clock: w.Clock, Random: w.Random, Gate: c.Gate, Listen: w.ListenMedia, Log: w.Log})
	w.Iq = c.Media
	return err
}

// waiver says whose media may go in clear. Validate has seen that the days can be read.
func waiver(w World) pcscf.Waiver {
	all := pcscf.Waiver{Lab: w.Lab && w.CS.LabPlain, Wall: w.Clock.Wall, Ends: map[string]time.Time{}}
	for i := range w.CS.Waivers {
		ends, err := w.CS.Waivers[i].Ends()
		if err != nil {
			continue
		}
		if w.CS.Waivers[i].IPsec && ends.After(all.Associated) {
			all.Associated = ends
		}
		for _, text := range w.CS.Waivers[i].Identities {
			if identity, ok := sip.PublicIdentity([]byte(text)); ok {
				all.Ends[identity] = ends
			}
		}
	}
	return all
}

// listenMedia opens a port of the media anchor.
func listenMedia(at netip.AddrPort) (net.PacketConn, error) {
	return net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
}

// serveMedia looks for calls that have fallen silent.
func (n *Node) serveMedia(ctx context.Context, group *errgroup.Group) {
	if n.o.Anchor != nil {
		group.Go(func() error { return n.o.Anchor.run(ctx) })
	}
	if n.Media == nil {
		return
	}
	group.Go(func() error {
		return n.every(ctx, anchorSweeps, nil, func(context.Context) error { n.Media.Sweep(); return nil })
	})
}
