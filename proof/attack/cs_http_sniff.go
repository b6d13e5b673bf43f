package attack

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"time"

	"imsafe/client/ue"
	"imsafe/secure"
)

// sealedWeb are the layers of the wire on which clients fetch: it is under TLS, for either reason.
func sealedWeb() []secure.ControlID {
	return []secure.ControlID{secure.CSConfidentialityHTTPS, secure.CSIntegrityHTTPS}
}

// notOnNodes is why what clients fetch is not tried over two nodes.
func notOnNodes() map[Access]string {
	return map[Access]string{ISC: "clients fetch at the node that has the authority of the network, and a P-CSCF on a node of its own gives no codes for it"}
}

// httpSniff: somebody in the path reads what a client fetches.
func httpSniff() Attack {
	return Attack{
		ID: "cs.http.sniff", Number: "CS-12", Title: "a reader on the wire on which a client fetches",
		Text:     "a client that is not made with care, and a door that takes it without TLS, show everybody on the way what services know of its user",
		Services: []Service{Confidentiality}, Stride: Disclosing, Threats: []Threat{Disclosure}, Module: ServicesUser,
		Source: "TS 33.222 5.3; RFC 9449 2", Access: []Access{ISC},
		Approved: []Approved{{Name: tap, Manifest: rights("session.proxy", "page.serve")}},
		Bounds:   Bounds{Packets: 60, Bytes: 80_000, Conns: 8, Time: 3 * time.Second},
		Variants: []Variant{{Name: "clear", Position: OnPath, Controls: sealedWeb(), NotWire: notOnNodes(), Run: sniffPage},
			{Name: "downgraded", Position: OnPath, Controls: sealedWeb(), NotWire: notOnNodes(), Run: offerOldWeb}},
	}
}

// careless is the way of a client to the door, through the attacker: without TLS first, as one that is not made with care, and with it where the door
// does not take that.
type careless struct {
	plain, secured *http.Transport
	sealed         bool // it had to be TLS
}

// carelessWeb makes one; edit may change what goes to the core.
func (f *Field) carelessWeb(heard *eavesdropped, edit func([]byte) []byte) *careless {
	path := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return f.inThePath(ctx, f.HTTPS, heard, edit)
	}
	return &careless{plain: &http.Transport{DisableKeepAlives: true, DialTLSContext: path},
		secured: &http.Transport{DisableKeepAlives: true, DialContext: path,
			TLSClientConfig: &tls.Config{RootCAs: f.EnrolRoots, MinVersion: tls.VersionTLS13, Time: f.Clock.Wall}}}
}

// RoundTrip implements http.RoundTripper, for one request at a time.
func (c *careless) RoundTrip(r *http.Request) (*http.Response, error) {
	if !c.sealed {
		answer, err := c.plain.RoundTrip(r)
		if err == nil || r.Context().Err() != nil {
			return answer, err
		}
		c.sealed = true
		if r.GetBody != nil {
			if r.Body, err = r.GetBody(); err != nil {
				return nil, err
			}
		}
	}
	return c.secured.RoundTrip(r)
}

// over makes carol's telephone fetch over c, registered.
func (f *Field) over(ctx context.Context, c *careless) (*Party, error) {
	p, err := f.party(ctx, Carol, func(u *ue.Config) { u.Web = c })
	if err != nil {
		return nil, err
	}
	_, err = p.UE.Register(ctx)
	return p, err
}

// sniffPage lets carol fetch her page.
func sniffPage(ctx context.Context, f *Field, o *Outcome) error {
	var heard eavesdropped
	way := f.carelessWeb(&heard, nil)
	carol, err := f.over(ctx, way)
	if err != nil {
		return err
	}
	page, err := carol.UE.Get(ctx, f.origin()+"/registration")
	if err != nil {
		return err
	}
	if page.Status != http.StatusOK {
		return errors.New("attack: carol does not get her own page")
	}
	read, octets := heard.has(carol.IMPU)
	o.Arrived("carol fetches over the attacker, under TLS: %v; %d octets", way.sealed, octets)
	if read {
		o.Users = 1
	}
	o.Wire(read, "of %d octets between carol and the core the attacker reads her page: %v", octets, read)
	o.Peer(!way.sealed, "carol has her page, answered %d; it went under TLS: %v", page.Status, way.sealed)
	return nil
}

// offerOldWeb: what was agreed on by weak means can be read by whoever relays it.
func offerOldWeb(ctx context.Context, f *Field, o *Outcome) error {
	return offersOld(o, "door", func(old *tls.Config) (net.Conn, error) {
		conn, err := f.attacker.Dial(ctx, "tcp", netip.Addr{}, f.HTTPS)
		if err != nil {
			return nil, err
		}
		old.RootCAs, old.ServerName, old.Time = f.EnrolRoots, "cs."+f.Domain, f.Clock.Wall
		secured := tls.Client(conn, old)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		return secured, nil
	})
}
