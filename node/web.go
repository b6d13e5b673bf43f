package node

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"strconv"

	"golang.org/x/sync/errgroup"

	"imsafe/ca"
	"imsafe/config"
	"imsafe/iface/clientweb"
	"imsafe/imsbox/pcscf"
	"imsafe/refpoint/isc"
)

// httpsOrigin is the origin by which clients reach the door where they fetch; "" without one.
func httpsOrigin(c *config.Config, s *Sockets) string {
	if s.HTTPS == nil {
		return ""
	}
	if c.HTTPS.Origin != "" {
		return c.HTTPS.Origin
	}
	origin := "https://" + clientweb.Host(c.HomeDomain())
	if at, ok := s.HTTPS.Addr().(*net.TCPAddr); ok && at.Port != 443 {
		origin += ":" + strconv.Itoa(at.Port)
	}
	return origin
}

// makeWeb makes the door where clients fetch, and what signs for the network: both stand on its authority.
func (c *Core) makeWeb(w World) (err error) {
	if w.HTTPS == "" {
		return nil
	}
	host := clientweb.Host(w.Domain)
	if c.voucher, err = newVoucher(c.Authority, w.Domain, host, clientweb.Certificates(w.HTTPS), w.Clock.Wall); err != nil {
		return err
	}
	c.Web, err = clientweb.New(clientweb.Config{Origin: w.HTTPS, Connections: w.Budgets.Connection}, clientweb.Ports{Gate: c.Gate, Clock: w.Clock, Random: w.Random, Log: w.Log,
		Certificate: c.Authority.Own(host, ca.MaxServiceLife).Certificate, Chain: c.voucher.Chain,
		Platform: func(host []byte) func(string) string {
			p := c.Registry.ByServer(host)
			if p == nil || !p.May(isc.PageServe) {
				return nil
			}
			return func(user string) string { return c.Pseudonyms.As(p, user) }
		}})
	return err
}

// vouches is who signs for the network; nil where nobody does.
func (c *Core) vouches(w World) pcscf.Voucher {
	if w.Voucher == nil && c.voucher != nil {
		return c.voucher
	}
	return w.Voucher
}

// codes is the door as the P-CSCF asks it; nil without one.
func (c *Core) codes() pcscf.Codes {
	if c.Web == nil {
		return nil
	}
	return c.Web
}

// serveWeb opens the door.
func (n *Node) serveWeb(ctx context.Context, group *errgroup.Group) {
	if n.Web != nil && n.o.Sockets.HTTPS != nil {
		group.Go(func() error { return n.Web.Serve(ctx, n.o.Sockets.HTTPS) })
	}
}

// Anchors returns the certificates that clients of this network trust, in PEM: the root of its authority. fs.ErrNotExist while it has none.
func (n *Node) Anchors() ([]byte, error) {
	if n.Authority == nil {
		return nil, fs.ErrNotExist
	}
	root, err := n.Authority.Root()
	if errors.Is(err, ca.ErrNone) {
		err = fs.ErrNotExist
	}
	return root, err
}
