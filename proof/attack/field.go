package attack

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"imsafe/client/isim"
	"imsafe/proto/aka"
	"imsafe/proto/shard"
)

// The cast: the lab subscribers of every target.
const (
	Alice   = "alice"   // the victim
	Bob     = "bob"     // who talks with her
	Carol   = "carol"   // honest, with a client that shows every octet
	Mallory = "mallory" // the attacker's own subscription
	Dave    = "dave"    // honest; without a card where the target admits that
)

// User is a lab subscriber.
type User struct {
	Name, IMPI, IMPU string
	K                aka.K
	OPc              aka.OPc
	Password         string // in the place of a card
}

// Site is a target from outside: where it is, what it proves itself by, and who its lab subscribers are.
type Site struct {
	Domain     string // home domain
	TLS        netip.AddrPort
	Clear      netip.AddrPort // UDP and TCP of the lab profile
	Gm         netip.AddrPort // the unprotected port of ipsec-3gpp
	NAT        netip.AddrPort // where it receives ESP in UDP
	Cx         netip.AddrPort // where the HSS takes Diameter peers
	Sh         netip.AddrPort // where it takes application servers
	Media      netip.AddrPort // the first port of its media anchor, of MediaPorts
	MediaPorts int
	Enrol      netip.AddrPort  // where service platforms ask to be approved
	ISC        netip.AddrPort  // where approved service platforms connect
	HTTPS      netip.AddrPort  // where clients fetch
	Mw         netip.AddrPort  // where the node with I-CSCF and S-CSCF takes the one with the P-CSCF
	Edge       ServicePlatform // that one
	Node       tls.Certificate // of a node that is neither HSS nor CSCF
	ICSCF      ServicePlatform // a node that has the I-CSCF and no other function
	SCSCF      ServicePlatform // a node that has an S-CSCF of its own, which serves nobody
	Roots      *x509.CertPool
	// EnrolRoots are what the doors for service platforms prove themselves by; Tokens are invitations to enrol.
	EnrolRoots *x509.CertPool
	Tokens     []string
	// Platforms are those of services by their names, and under Unapproved and AnotherKey what comes near one.
	Platforms map[string]ServicePlatform
	Users     map[string]*User
	// Premium is a number, as a URI, that pays whoever owns it: Carol.
	Premium string
	// Page is where the operator's page is, Codes let him in there, each once.
	Page  netip.AddrPort
	Codes []string
	// Management is the path of the operator's socket.
	Management string
	// Foreign targets are none that the runner has started. Hands do towards them what telephones do: they are reached where they are, and their
	// requests take the Service-Route (TS 24.229 5.1.2A).
	Foreign  bool
	UDP, TCP netip.AddrPort      // of a foreign target
	Name     string              // of a foreign target's P-CSCF in its certificate; the default is pcscf of the domain
	Scheme   aka.DigestAlgorithm // of challenges in clear, of a foreign target
	// Certificate is what everybody shows to a foreign target that asks clients for one (RFC 8446 4.3.2): who has none is not heard at all. nil: there is none.
	Certificate *tls.Certificate
}

// At is where an access begins; the zero AddrPort if the target has no such door.
func (s *Site) At(a Access) netip.AddrPort {
	switch a {
	case TLS:
		return s.TLS
	case IPsec:
		return s.Gm
	case Clear:
		return s.Clear
	case UDP:
		return s.UDP
	case TCP:
		return s.TCP
	case Cx:
		return s.Cx
	case Sh:
		return s.Sh
	case Mw:
		return s.Mw
	case ISC:
		return s.ISC
	case Enrol:
		return s.Enrol
	case Page:
		return s.Page
	}
	return netip.AddrPort{}
}

// The services of a target that is attacked on Sh: the attacker's, whose only user is bob; an honest one, which may read the documents of everybody; and
// another of the attacker's, whose users are those who have agreed to it. That is bob. It may ask of everybody whether he is registered, not too often.
const (
	Rogue   = "rogue"
	Archive = "archive"
	Asker   = "asker"
)

// Diary is what another service keeps of the users of Rogue, which may read it and not write it.
const Diary = "diary"

// How often the asker may ask for that: so many at once, and in a second.
const (
	AskerBurst = 10
	AskerRate  = 5
)

// ServicePlatform is an enrolled service, or a node: the name of its instance, and the certificate with it.
type ServicePlatform struct {
	Host        string
	Certificate tls.Certificate
}

// Who returns the name of the subscriber with a public identity, for people; the identity itself if there is none.
func (s *Site) Who(impu string) string {
	for _, u := range s.Users {
		if u.IMPU == impu {
			return u.Name
		}
	}
	return impu
}

// ServerName is the name of the P-CSCF in its certificate.
func (s *Site) ServerName() string { return cmp.Or(s.Name, "pcscf."+s.Domain) }

// Network opens sockets. The attacker's is limited by the runner.
type Network interface {
	// Dial opens a connection from an address of this host; the zero address is any.
	Dial(ctx context.Context, network string, from netip.Addr, to netip.AddrPort) (net.Conn, error)
	ListenPacket(local netip.Addr) (net.PacketConn, error)
}

// Field is what one run has: the site, the honest parties and the attacker's means.
type Field struct {
	Site
	Clock  shard.Clock
	Random io.Reader // unpredictable
	Alice  *Party
	Bob    *Party

	operate  func(ctx context.Context, verb, service string) error
	files    Files // nil unless the position is that of a local account
	log      func() string
	access   Access
	position Position
	honest   Network
	attacker Network
	hands    []*Hand
	parties  []*Party
	answers  answers
}

// Means are what a Field is made of.
type Means struct {
	Site     Site
	Clock    shard.Clock
	Random   io.Reader
	Honest   Network // of the honest parties
	Attacker Network // of the attacker, limited
	// Operate is the operator of the target: one of Suspend, Revoke and RevokeCertificate with the name of a service, VerifyLog, or LoseSignalling.
	Operate func(ctx context.Context, verb, service string) error
	Files   Files         // of the log of decisions; nil without one
	Log     func() string // what the target has written to its own log, or the end of it
}

// What the operator of a target does with a service when a driver asks him to.
const (
	Suspend           = "suspend"
	Revoke            = "revoke"
	RevokeCertificate = "revoke-certificate" // that of its instance
	VerifyLog         = "verify-log"         // of decisions: an error if it is not whole
	// LoseSignalling takes the media anchor's P-CSCF from it, as when that dies.
	LoseSignalling = "lose-signalling"
)

// NewField makes the field of a variant over an access. The parties are made, and run until ctx ends; they have not registered yet.
func NewField(ctx context.Context, v *Variant, access Access, m Means) (*Field, error) {
	f := &Field{Site: m.Site, Clock: m.Clock, Random: m.Random, access: access, position: v.Position, honest: m.Honest, attacker: m.Attacker,
		operate: m.Operate, log: m.Log}
	if v.Position == LocalAccount {
		f.files = m.Files
	}
	var err error
	if f.Alice, err = f.party(ctx, Alice, nil); err != nil {
		return nil, err
	}
	f.Bob, err = f.party(ctx, Bob, nil)
	return f, err
}

// Close ends the sockets of the attacker and the witnesses. The parties end with their context; Wait waits for them.
func (f *Field) Close() {
	for _, h := range f.hands {
		h.Close()
	}
}

// Wait waits until all parties have ended, after their context has. One that does not is given up: a target that is broken must not keep the others of the
// catalogue from their turn.
func (f *Field) Wait() error { return f.wait(30 * time.Second) }

func (f *Field) wait(patience time.Duration) error {
	ctx, cancel := Bounded(context.Background(), patience)
	defer cancel()
	for _, p := range f.parties {
		select {
		case <-p.ended:
		case <-ctx.Done():
			return fmt.Errorf("attack: %s does not end", p.Name)
		}
	}
	return nil
}

// errPosition is a defect of a driver: it asks for more than its position has.
var errPosition = errors.New("attack: this position has no subscription")

// Stranger is the attacker's hand without any credentials.
func (f *Field) Stranger(ctx context.Context) (*Hand, error) {
	return f.hand(ctx, f.attacker, nil, nil)
}

// Elsewhere is the number of an address of loopback that no honest party has, each in a network of its own.
func Elsewhere(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, byte(100 + n/200), byte(n%200 + 1), 1})
}

// StrangerAt is Stranger from an address of his own. Beyond loopback he has none but this host's.
func (f *Field) StrangerAt(ctx context.Context, from netip.Addr) (*Hand, error) {
	if !f.edge().Addr().IsLoopback() {
		from = netip.Addr{}
	}
	return f.handAt(ctx, f.attacker, from, nil, nil)
}

// Mallory is the attacker's hand with his own subscription, registered.
func (f *Field) Mallory(ctx context.Context) (*Hand, error) {
	h, err := f.MalloryInClear(ctx)
	if err != nil {
		return nil, err
	}
	return h, h.Register(ctx)
}

// Accomplice is the name of one of the attacker's accomplices, from 0 on.
func Accomplice(i int) string { return fmt.Sprintf("accomplice%d", i+1) }

// Neighbour is the name of an honest subscriber without a card, from 0 on.
func Neighbour(i int) string { return fmt.Sprintf("neighbour%d", i+1) }

// accomplice is the hand of one of them, registered.
func (f *Field) accomplice(ctx context.Context, i int) (*Hand, error) {
	if f.position != Subscriber || f.Users[Accomplice(i)] == nil {
		return nil, errPosition
	}
	h, err := f.hand(ctx, f.attacker, f.Users[Accomplice(i)], nil)
	if err != nil {
		return nil, err
	}
	return h, h.Register(ctx)
}

// MalloryInClear is the same, not registered yet.
func (f *Field) MalloryInClear(ctx context.Context) (*Hand, error) {
	if f.position != Subscriber && f.position != EnrolledPlatform {
		return nil, errPosition
	}
	return f.hand(ctx, f.attacker, f.Users[Mallory], nil)
}

// Carol is the honest witness, registered. Her client answers 200 to every request and shows what came.
func (f *Field) Carol(ctx context.Context) (*Hand, error) {
	h, err := f.witness(ctx, Carol, nil)
	if err != nil {
		return nil, err
	}
	return h, h.Register(ctx)
}

// witness is an honest hand, not registered yet. What comes to it stands in heard after Close, if that is not nil.
func (f *Field) witness(ctx context.Context, name string, heard *bytes.Buffer) (*Hand, error) {
	h, err := f.hand(ctx, f.honest, f.Users[name], heard)
	if err != nil {
		return nil, err
	}
	h.answers.Store(true)
	return h, nil
}

// Dave is an honest subscriber, without a card where the target admits that, registered.
func (f *Field) Dave(ctx context.Context) (*Hand, error) {
	h, err := f.witness(ctx, Dave, nil)
	if err != nil {
		return nil, err
	}
	return h, h.Register(ctx)
}

// soon bounds a wait for what must not come; a driver that can sends an honest message behind its attack instead.
const soon = 300 * time.Millisecond

// within runs wait with a bound of its own.
func within(ctx context.Context, d time.Duration, wait func(context.Context) error) error {
	ctx, cancel := Bounded(ctx, d)
	defer cancel()
	return wait(ctx)
}

// settle waits until what is under way has arrived, wherever it goes.
func settle(ctx context.Context) error {
	_ = within(ctx, soon, func(ctx context.Context) error {
		<-ctx.Done()
		return nil
	})
	return ctx.Err()
}

// hand connects over the access of the attack.
func (f *Field) hand(ctx context.Context, n Network, u *User, heard *bytes.Buffer) (*Hand, error) {
	return f.handAt(ctx, n, netip.Addr{}, u, heard)
}

// handAt is hand from an address.
func (f *Field) handAt(ctx context.Context, n Network, from netip.Addr, u *User, heard *bytes.Buffer) (*Hand, error) {
	conn, proto, err := f.connect(ctx, n, from, nil)
	if err != nil {
		return nil, fmt.Errorf("attack: no connection to the target: %w", err)
	}
	h := makeHand(f, conn, proto)
	h.User, h.heard, h.hostile = u, heard, n == f.attacker
	f.hands = append(f.hands, h)
	go h.read()
	return h, nil
}

// edge is where the access of the run begins.
func (f *Field) edge() netip.AddrPort { return f.At(f.access) }

// connect opens the access. c may ask for another TLS than the best.
func (f *Field) connect(ctx context.Context, n Network, from netip.Addr, c *tls.Config) (net.Conn, string, error) {
	switch f.access {
	case Clear, UDP:
		conn, err := n.Dial(ctx, "udp", from, f.edge())
		return conn, "UDP", err
	case TCP:
		conn, err := n.Dial(ctx, "tcp", from, f.TCP)
		return conn, "TCP", err
	case IPsec:
		conn, err := f.dialSealed(ctx, n, from)
		return conn, "UDP", err
	}
	conn, err := n.Dial(ctx, "tcp", from, f.TLS)
	if err != nil {
		return nil, "", err
	}
	if c == nil {
		c = &tls.Config{MinVersion: tls.VersionTLS13}
	}
	if f.Certificate != nil {
		c.Certificates = []tls.Certificate{*f.Certificate}
	}
	c.RootCAs, c.ServerName, c.Time = f.Roots, f.ServerName(), f.Clock.Wall
	secured := tls.Client(conn, c)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, "", errors.Join(err, conn.Close())
	}
	return secured, "TLS", nil
}

// card makes the soft ISIM of u.
func (f *Field) card(u *User) (*isim.Card, error) {
	return isim.New(isim.Config{Identity: isim.Identity{IMPI: u.IMPI, HomeDomain: f.Domain, IMPUs: []string{u.IMPU}}, K: u.K, OPc: u.OPc,
		State: isim.Volatile{}})
}
