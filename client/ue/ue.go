// Package ue is the client: a real user equipment of the IMS with a soft ISIM, scriptable from Go.
//
// Standards: registration with AKA and its upkeep (TS 24.229 5.1.1, TS 33.203 6.1 and Annex X, RFC 3310, RFC 4169), calls and
// messages over the registered path (TS 24.229 5.1.2A, 5.1.3; RFC 3261, RFC 3264, RFC 3428), voice end to end under DTLS-SRTP
// (RFC 5763). It offers New, Run, Register, Deregister, Call, SendMessage, and hands in what arrives through Config.OnCall and
// Config.OnMessage.
//
// It trusts nobody: the P-CSCF proves itself by certificate, the home network by AUTN (where a password stands in the place of
// a card, by rspauth), the other end by the fingerprint of its description; a path, a scheme or a keying weaker than configured
// is an error, never a fallback. It shares nothing with the core but proto, so that it can serve as an honest witness against it.
//
// It does not do ICE, early media, the reg event, redirection (a 3xx ends a call: nobody else decides whom a
// user calls), session timers, video. client/media is its voice, proto/rtpport its media leg.
//
// Concurrency: everything of a UE happens on one shard of its own. Methods of UE and Call may be called from any goroutine
// that is not one of its call-backs; the methods of Call that return nothing may be called from call-backs too. Call-backs
// come on the shard and must not block.
package ue

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"imsafe/client/isim"
	"imsafe/proto/aka"
	"imsafe/proto/sdp"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptxn"
)

// Transport is how signalling travels.
type Transport uint8

// Transports. The zero value is the safe one; the others are for Config.Lab alone.
const (
	TLS Transport = iota
	TCP
	UDP
	IPsecUDP // UDP inside security associations (TS 33.203 7), TCP for what is large: for clients with a card, without Lab
	IPsecTCP // TCP inside them, once there are some
)

// sealed reports whether t is inside security associations.
func (t Transport) sealed() bool { return t == IPsecUDP || t == IPsecTCP }

// String returns the transport parameter of a SIP URI (RFC 3261 19.1.1).
func (t Transport) String() string {
	switch t {
	case TCP, IPsecTCP:
		return "tcp"
	case UDP, IPsecUDP:
		return "udp"
	}
	return "tls"
}

// Config is what a UE is made of. Card or Password, Proxy, Clock, Rand, ListenPacket and, with TLS, ServerName are required. IPsec
// proves the network by AUTN alone: whoever has not the keys of the card has no associations with it.
type Config struct {
	Card     *isim.Card
	Password *Password // of a subscriber without a card
	IMPU     string    // public identity to register; "" is the first of the card
	Proxy    netip.AddrPort
	// Proxies are further P-CSCFs of the home network, of the same transport and name, in the order in which they are tried when the one before is not there.
	Proxies []netip.AddrPort
	// Discover finds the P-CSCFs anew, the preferred one first, when none of those that are known is there; nil: nobody else is looked for. It may wait.
	Discover  func(ctx context.Context) ([]netip.AddrPort, error)
	Transport Transport

	// IPsec is for IPsecUDP and IPsecTCP.
	IPsec IPsec

	// RootCAs sign the P-CSCF's certificate; nil means those of the system. ServerName must stand in it.
	RootCAs    *x509.CertPool
	ServerName string
	// Certificate is shown to a server that asks for the client's (RFC 8446 4.3.2); nil: there is none. An IMS knows its clients otherwise.
	Certificate *tls.Certificate
	// AllowTLS12 accepts TLS 1.2 with ECDHE and AEAD beside 1.3. Nothing older, ever.
	AllowTLS12 bool
	// Scheme is the one authentication scheme that a challenge may name: the scheme is the subscriber's and no network element
	// picks it (TS 33.203 P.3). The zero value is AKAv2-SHA-256, with Password SHA-256. AKAv1-MD5 outside IPsec needs Lab.
	Scheme aka.DigestAlgorithm
	// Lab is the profile lab-udp: clear UDP and TCP, AKAv1-MD5 and plain RTP, towards loopback and private addresses only.
	Lab bool
	// Local is the address to send UDP signalling from; the zero value is the loopback address of Proxy's family.
	Local netip.Addr
	// PlainRTP offers and accepts media without keys; needs Lab.
	PlainRTP bool
	// ContactInMessages writes Contact into instant messages too, as handsets do and RFC 3428 9 does not want: some P-CSCFs know a client by
	// nothing else. It needs Lab.
	ContactInMessages bool

	// Reliable sends the answer of a call that rings here in a 183, and that and the 180 reliably, to callers who can acknowledge them (RFC 3262; TS 24.229
	// 5.1.4.1). To those who require it they are in any case.
	Reliable bool

	// Vouching is how the other ends of calls are checked; nil: they are not.
	Vouching *Vouching

	// Web is how services and the home network are reached by HTTPS, with their certificates checked; nil: the client fetches nothing, and asks
	// for no codes.
	Web http.RoundTripper

	// Expires is the registration asked for; 0 means 600,000 s (TS 24.229 5.1.1.2.1). The network grants less.
	Expires time.Duration
	// InstanceID is the urn of this device (RFC 5626 4.1); "" makes a random one.
	InstanceID string
	UserAgent  string
	// Codecs of calls, best first; nil means PCMA, PCMU.
	Codecs []sdp.Codec
	// MaxCalls at the same moment; 0 means 8. Further ones get 486.
	MaxCalls int
	// Timers of SIP; nil means those of Gm (TS 24.229 7.7).
	Timers *siptxn.Timers

	Clock shard.Clock
	// Rand gives tags, Call-IDs, nonces of ours and media identities. It must be unpredictable.
	Rand io.Reader
	Log  *slog.Logger // nil: no log

	// Dial opens the stream to the P-CSCF; nil means the system's TCP.
	Dial func(ctx context.Context, peer netip.AddrPort) (net.Conn, error)
	// ListenPacket opens a free UDP port on a local address, for one call's media (and for signalling over UDP). It must not set
	// SO_REUSEPORT: Linux then gives one free port to several sockets of a user, and two calls would share their packets.
	ListenPacket func(local netip.Addr) (net.PacketConn, error)

	// OnCall brings an incoming call: Ring, Answer or Reject it. nil rejects all with 480.
	OnCall func(*Call)
	// OnMessage brings an instant message, which has been accepted already. nil answers 405.
	OnMessage func(Message)
	// OnRegistration is told about every change of the registration.
	OnRegistration func(Registration)
}

// Errors of New and of all procedures. A *StatusError says that somebody answered with a failure.
var (
	ErrConfig        = errors.New("ue: configuration refused")
	ErrNotRegistered = errors.New("ue: not registered")
	ErrBusy          = errors.New("ue: too many calls")
	ErrURI           = errors.New("ue: not a SIP or tel URI")
	ErrConnect       = errors.New("ue: no connection to the P-CSCF")
	ErrTooLarge      = errors.New("ue: request too large for UDP, use tcp (RFC 3261 18.1.1)")
	ErrNotRunning    = errors.New("ue: Run is not running")
)

// StatusError is a failure response.
type StatusError struct {
	Code   int
	Reason string
	// Again is when to try again, as the network says (Retry-After); 0 if it does not.
	Again time.Duration
}

// Error says code and reason phrase.
func (e *StatusError) Error() string { return fmt.Sprintf("ue: answered %d %s", e.Code, e.Reason) }

func statusError(m *sip.Message) error {
	seconds := string(m.Get(sip.HdrRetryAfter)) // with a comment or parameters behind (RFC 3261 20.33)
	if end := strings.IndexAny(seconds, ";( \t"); end >= 0 {
		seconds = seconds[:end]
	}
	again, _ := strconv.ParseUint(seconds, 10, 16) // no number is none
	return &StatusError{Code: m.Status(), Reason: string(m.Reason()), Again: time.Duration(again) * time.Second}
}

// UE is one client. Make it with New; drive it with Run.
type UE struct {
	cfg      Config
	identity isim.Identity
	impu     string
	log      *slog.Logger

	shard *shard.Shard
	pool  *sip.Pool
	layer *siptxn.Layer
	wg    sync.WaitGroup // media legs and the datagram reader
	ctx   context.Context
	stop  context.CancelFunc

	// On the shard.
	path  path
	reg   registrar
	calls map[string]*Call // by Call-ID and our tag

	vouchers vouchers
	web      *web // nil without Config.Web

	refusals Refusals
}

// New checks the configuration and makes a UE. Nothing is sent before Register. Errors wrap ErrConfig and say what is wrong.
func New(c Config) (*UE, error) {
	if err := c.fill(); err != nil {
		return nil, err
	}
	u := &UE{cfg: c, identity: c.who(), log: c.Log, calls: make(map[string]*Call)}
	u.impu = c.IMPU
	if u.impu == "" {
		u.impu = u.identity.IMPUs[0]
	}
	if _, err := sip.ParseURI([]byte(u.impu)); err != nil {
		return nil, fmt.Errorf("%w: IMPU %q: %w", ErrConfig, u.impu, err)
	}
	u.shard = shard.New(shard.Config{Clock: c.Clock, OnPanic: func(v any, stack []byte) {
		u.log.Error("defect", "panic", v, "stack", string(stack))
	}})
	u.pool = sip.NewPool(sip.Limits{})
	var key shard.SealingKey
	if _, err := io.ReadFull(c.Rand, key[:]); err != nil {
		return nil, fmt.Errorf("%w: randomness: %w", ErrConfig, err)
	}
	u.layer = siptxn.New(siptxn.Config{Shard: u.shard, Pool: u.pool, Sealer: shard.NewSealer(key), Kind: 'u', Timers: *c.Timers, Handler: u})
	u.ctx, u.stop = context.WithCancel(context.Background())
	var err error
	if u.web, err = newWeb(u); err != nil {
		return nil, err
	}
	u.reg.init(u)
	u.path.init(u)
	return u, nil
}

// fill sets defaults and refuses what is unsafe or missing.
func (c *Config) fill() error {
	no := func(why string) error { return fmt.Errorf("%w: %s", ErrConfig, why) }
	if c.Scheme == 0 {
		c.Scheme = aka.AKAv2SHA256
		switch {
		case c.Password != nil:
			c.Scheme = aka.SHA256
		case c.Transport.sealed():
			c.Scheme = aka.AKAv1MD5
		}
	}
	if why := c.unsafe(); why != "" {
		return no(why)
	}
	if (c.Transport == UDP || c.Transport.sealed()) && !c.Local.IsValid() {
		if !c.Proxy.Addr().Unmap().IsLoopback() {
			return no("UDP towards another host needs Local")
		}
		c.Local = netip.IPv6Loopback()
		if c.Proxy.Addr().Unmap().Is4() {
			c.Local = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
	}
	if c.Expires == 0 {
		c.Expires = 600000 * time.Second
	}
	if c.MaxCalls == 0 {
		c.MaxCalls = 8
	}
	if c.Codecs == nil {
		c.Codecs = []sdp.Codec{sdp.PCMA(), sdp.PCMU()}
	}
	if c.Timers == nil {
		t := siptxn.GmTimers()
		c.Timers = &t
	}
	if c.UserAgent == "" {
		c.UserAgent = "imsafe-ue"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// unsafe says what is missing or weaker than anybody should ask for; "" if nothing is.
func (c *Config) unsafe() string {
	switch {
	case c.Card == nil && c.Password == nil || c.Clock == nil || c.Rand == nil || c.ListenPacket == nil || !c.Proxy.IsValid():
		return "Card or Password, Clock, Rand, ListenPacket and Proxy are required"
	case c.Transport > IPsecTCP || c.Password == nil && !c.Scheme.AKA():
		return "unknown transport, or a scheme without AKA"
	case c.Transport == TLS && c.ServerName == "":
		return "TLS without the name of the server proves nothing"
	case slices.ContainsFunc(c.Proxies, func(p netip.AddrPort) bool { return !p.IsValid() }):
		return "one of Proxies is no address"
	case !c.admits(c.Proxies) || !c.admits([]netip.AddrPort{c.Proxy}):
		return "the lab profile is for loopback and private addresses"
	case !c.Lab && (c.Transport == UDP || c.Transport == TCP || c.PlainRTP || c.ContactInMessages):
		return "clear signalling or media need Lab"
	case c.Transport.sealed() && c.Card == nil:
		return "IPsec without a card has no keys"
	case !c.Lab && !c.Transport.sealed() && c.Scheme == aka.AKAv1MD5:
		return "AKAv1-MD5 outside IPsec needs Lab (RFC 4169 1: RES is bound to nothing)"
	case c.Vouching != nil && (c.Vouching.Roots == nil || c.Vouching.Fetch == nil):
		return "Vouching without Roots and Fetch believes nobody"
	case c.Password != nil:
		return c.Password.unsafe(c)
	}
	return ""
}

// admits reports whether P-CSCFs are where they may be asked: those of a lab not in the open.
func (c *Config) admits(proxies []netip.AddrPort) bool {
	return !c.Lab || !slices.ContainsFunc(proxies, isPublic)
}

// isPublic reports whether an address is neither of this host nor of a private network.
func isPublic(p netip.AddrPort) bool {
	a := p.Addr().Unmap()
	return !a.IsLoopback() && !a.IsPrivate()
}

// tlsConfig pins the floor: TLS 1.3, or 1.2 with ECDHE and AEAD where that is allowed (TS 33.203 O.1.1: a client that is not pinned
// is bidden down to nothing).
func (u *UE) tlsConfig() *tls.Config {
	c := &tls.Config{
		RootCAs: u.cfg.RootCAs, ServerName: u.cfg.ServerName, MinVersion: tls.VersionTLS13, Time: u.cfg.Clock.Wall,
		SessionTicketsDisabled: true, // each registration begins with the certificate (TS 33.203 O.2.1)
	}
	if u.cfg.Certificate != nil {
		c.Certificates = []tls.Certificate{*u.cfg.Certificate}
	}
	if u.cfg.AllowTLS12 {
		c.MinVersion = tls.VersionTLS12
		c.CipherSuites = []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		}
	}
	return c
}

// Run drives the UE until ctx ends: timers, sockets, media. It returns when all of them have stopped. Nothing is de-registered by
// it: call Deregister before, if the network should know. Call it once.
func (u *UE) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, u.stop)
	defer stop()
	err := u.shard.Run(u.ctx)
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	u.stop()
	u.path.close()
	u.shard.Close()
	u.wg.Wait()
	return err
}

// do runs a procedure on the shard and waits for it.
func (u *UE) do(ctx context.Context, procedure func(t *shard.Task) error) error {
	var err error
	if u.ctx.Err() != nil {
		return ErrNotRunning
	}
	if e := u.shard.Call(ctx, func(t *shard.Task) { err = procedure(t) }); e != nil {
		return fmt.Errorf("ue: %w", e)
	}
	return err
}

// ask is do for a procedure with a result. The procedure goes on when ctx ends, so what it finds comes by a channel.
func ask[T any](ctx context.Context, u *UE, procedure func(t *shard.Task) (T, error)) (found T, err error) {
	result := make(chan T, 1)
	err = u.do(ctx, func(t *shard.Task) error {
		found, err := procedure(t)
		result <- found
		return err
	})
	select {
	case found = <-result:
	default:
	}
	return found, err
}

// post runs f on the shard soon. It is for methods that call-backs may use.
func (u *UE) post(f func()) { u.shard.Post(shard.EventFunc(func(*shard.Shard) { f() })) }

// token returns a random SIP token of 5/8 of n octets of entropy: 16 characters are 80 bits, more than RFC 3261 19.3 asks of a tag,
// because whoever guesses one can end a call.
func (u *UE) token(n int) string {
	b := make([]byte, (n*5+7)/8)
	if _, err := io.ReadFull(u.cfg.Rand, b); err != nil {
		panic("ue: no randomness: " + err.Error()) // the shard reports it; going on with a known tag is worse
	}
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))[:n]
}

// Refusals count what reached this UE and was not let in.
type Refusals struct {
	ForeignSource uint64 // datagrams of others than the P-CSCF
	InClear       uint64 // datagrams in clear, with IPsec
	// WrongAssociation counts datagrams over associations that prove nothing yet, or nothing any more.
	WrongAssociation uint64
	NoDialog         uint64 // requests that name a call which is not there, or not theirs
}

// Refusals returns the counters.
func (u *UE) Refusals(ctx context.Context) (Refusals, error) {
	return ask(ctx, u, func(*shard.Task) (Refusals, error) { return u.refusals, nil })
}

// Message is a received instant message (RFC 3428).
type Message struct {
	From        string // asserted by the network if it did, else what the sender claims
	Asserted    bool
	To          string
	ContentType string
	Body        []byte // the receiver's own
}
