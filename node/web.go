package node

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"io/fs"
	"net"
	"strconv"

	"golang.org/x/sync/errgroup"

	"imsafe/ca"
	"imsafe/config"
	"imsafe/iface/clientweb"
	"imsafe/imsbox/pcscf"
	"imsafe/proto/passport"
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
	vouches, err := c.signs(w, passport.SignerURI(w.Domain))
	if err != nil {
		return err
	}
	issues, err := c.signs(w, "spiffe://"+w.Domain+"/core/tokens")
	if err != nil {
		return err
	}
	c.voucher = newVoucher(vouches, clientweb.Certificates(w.HTTPS))
	c.Web, err = clientweb.New(clientweb.Config{Origin: w.HTTPS, Connections: w.Budgets.Connection}, clientweb.Ports{Gate: c.Gate, Clock: w.Clock, Random: w.Random, Log: w.Log,
		Certificate: c.Authority.Own(host, ca.MaxServiceLife).Certificate, Chain: c.voucher.Chain,
		Tokens: tokenKeys{issues}, CodeKeys: codeKeys(w),
		Platform: func(host []byte) func(string) string {
			p := c.Registry.ByServer(host)
			if p == nil || !p.May(isc.PageServe) {
				return nil
			}
			return func(user string) string { return c.Pseudonyms.As(p, user) }
		}})
	return err
}

// signs opens the keys by which this node, and those that it shares a store with, sign what identity says.
func (c *Core) signs(w World, identity string) (*ca.Signers, error) {
	s, err := c.Authority.Signers(identity, clientweb.Host(w.Domain), ca.MaxServiceLife, w.Name != "")
	if err != nil {
		return nil, err
	}
	c.signers = append(c.signers, s)
	return s, s.Keep()
}

// keepSigners reads the keys that nodes share, and makes the next ones. It waits for the store.
func (c *Core) keepSigners() (err error) {
	for _, s := range c.signers {
		err = errors.Join(err, s.Keep())
	}
	return err
}

// Signs are the names of all keys by which, as this node knows, the network signs, those of calls first.
func (c *Core) Signs() (names []string) {
	for _, s := range c.signers {
		for _, k := range s.Known() {
			names = append(names, k.Name)
		}
	}
	return names
}

// tokenKeys are the keys of access tokens.
type tokenKeys struct{ *ca.Signers }

// Signing implements oauth.Keys.
func (k tokenKeys) Signing() (string, *ecdsa.PrivateKey, error) {
	s, err := k.Now()
	if err != nil {
		return "", nil, err
	}
	return s.Name, s.Key, nil
}

// Verifying implements oauth.Keys.
func (k tokenKeys) Verifying() map[string]*ecdsa.PublicKey {
	_, _ = k.Now() // one node makes its key when it is asked for it; without an authority there is none
	all := map[string]*ecdsa.PublicKey{}
	for _, s := range k.Known() {
		all[s.Name] = s.Public()
	}
	return all
}

// codeKeys seal one-time codes: a code of one node is good at the others. nil where there is one node: there they are of its run.
func codeKeys(w World) func() [][]byte {
	if w.Name == "" {
		return nil
	}
	return func() [][]byte { return w.Keys().Derive("one-time codes of registrations") }
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
