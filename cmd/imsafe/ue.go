package main

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"imsafe/client/ue"
	"imsafe/proto/esp"
	"imsafe/proto/secagree"
	"imsafe/proto/shard"
	"imsafe/trace"
)

type ueCmd struct {
	Register ueRegisterCmd `cmd:"" help:"Register, say how, and take the registration back."`
	Call     ueCallCmd     `cmd:"" help:"Call somebody, play and record."`
	Answer   ueAnswerCmd   `cmd:"" help:"Wait for calls and answer them."`
	Message  ueMessageCmd  `cmd:"" help:"Send an instant message, or wait for some."`
	Get      ueGetCmd      `cmd:"" help:"Fetch a page of a service or of the home network, with a token for the registration."`
}

// line is how a client finds its network and what it insists on.
type line struct {
	reliable bool // provisional responses, where the caller can

	Card       string        `required:"" help:"Card file with identities and keys, for its owner alone; imsafe user add --card-out writes one. The sequence numbers it has accepted are kept beside it." type:"path" placeholder:"FILE" group:"Card and network:"`
	Proxy      []string      `help:"The P-CSCF, as host:port; several, the preferred one first, of which the next is taken when one is not there. A name without a port may be a domain with NAPTR and SRV records. Without it: what those of the home domain of the card say, else pcscf. and that domain." placeholder:"HOST:PORT" group:"Card and network:"`
	CA         string        `name:"ca" help:"File with the authorities that may sign the P-CSCF's certificate, in PEM. Without it: those of the system." type:"path" placeholder:"FILE" group:"Card and network:"`
	ServerName string        `help:"Name that must stand in that certificate. Without it: pcscf. and the home domain of the card." placeholder:"NAME" group:"Card and network:"`
	Transport  string        `help:"tls, or ipsec as telephones have it; tcp and udp are in clear and need --lab." enum:"tls,ipsec,tcp,udp" default:"tls" group:"Card and network:"`
	Algorithms string        `help:"With ipsec, what to agree on at most: strict (AES-GCM), handset (HMAC-SHA-1 with AES-CBC too) or legacy (no encryption too)." enum:"strict,handset,legacy" default:"strict" group:"Card and network:"`
	ESP        string        `name:"esp" help:"With ipsec, how ESP travels: udp, or ip, which needs CAP_NET_RAW." enum:"udp,ip" default:"udp" group:"Card and network:"`
	NATPort    uint16        `name:"nat-port" help:"With ipsec, where the P-CSCF takes ESP in UDP." default:"4500" group:"Card and network:"`
	Lab        bool          `help:"Allow what only a lab may: signalling in clear and AKAv1-MD5, towards loopback and private addresses." group:"Card and network:"`
	PlainRTP   bool          `name:"plain-rtp" help:"Offer and accept voice without keys; needs --lab." group:"Card and network:"`
	AllowTLS12 bool          `name:"allow-tls12" help:"Accept TLS 1.2 with AEAD beside 1.3." group:"Card and network:"`
	Web        string        `help:"Where the home network is reached by HTTPS, as host:port. Without it: cs. and the home domain of the card, if something needs it. Its root must be in --ca." placeholder:"HOST:PORT" group:"Card and network:"`
	Vouched    bool          `help:"Refuse calls and answers that the home network does not vouch for." group:"Card and network:"`
	IMPU       string        `name:"impu" help:"Public identity to register, instead of the first of the card." placeholder:"URI" group:"Card and network:"`
	Patience   time.Duration `help:"How long registration may take." default:"40s" group:"Card and network:"`
	Verbose    bool          `short:"v" help:"Show the log of the client." group:"Card and network:"`

	fetches   bool   // the verb does
	serviceAt string // where it finds a service, if not by its name
}

// phone is a registered client.
type phone struct {
	a        *app
	ue       *ue.UE
	card     *card
	domain   string
	stop     context.CancelFunc
	done     chan error
	keep     bool // leave the registration in the network
	calls    chan *ue.Call
	messages chan ue.Message
	changes  chan ue.Registration
}

// waiting is how many calls and messages may wait to be looked at.
const waiting = 256

// goodbye bounds what a client does to leave in an orderly way.
const goodbye = 10 * time.Second

// pick makes a client and registers it.
func (l *line) pick(a *app) (_ *phone, err error) {
	p := &phone{a: a, calls: make(chan *ue.Call, waiting), messages: make(chan ue.Message, waiting), changes: make(chan ue.Registration, waiting)}
	if p.card, err = a.openCard(l.Card); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.card.Close())
		}
	}()
	p.domain = p.card.domain()
	cfg, err := l.config(p)
	if err != nil {
		return nil, err
	}
	if p.ue, err = ue.New(*cfg); err != nil {
		return nil, usage{err}
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(a.ctx)) // so that Ctrl-C leaves time to hang up and de-register
	p.stop, p.done = stop, make(chan error, 1)
	told := p.tellsChanges()
	go func() {
		err := p.ue.Run(ctx)
		close(p.changes)
		<-told
		p.done <- err
	}()
	patience, cancel := context.WithTimeout(a.ctx, l.Patience)
	defer cancel()
	r, err := p.registers(patience)
	if err != nil {
		stop()
		return nil, errors.Join(l.unregistered(err), <-p.done)
	}
	a.happened(registeredEvent("registered", &r))
	return p, nil
}

// registers registers, and comes again when the network has too much to do and says when (RFC 3261 21.5.4), until ctx ends.
func (p *phone) registers(ctx context.Context) (r ue.Registration, err error) {
	for {
		var status *ue.StatusError
		if r, err = p.ue.Register(ctx); !errors.As(err, &status) || status.Code != 503 || status.Again == 0 {
			return r, err
		}
		select {
		case <-time.After(status.Again):
		case <-ctx.Done():
			return r, err
		}
	}
}

// registeredEvent tells of a registration.
func registeredEvent(kind string, r *ue.Registration) event {
	return event{Event: kind, IMPUs: r.IMPUs, Scheme: r.Scheme, Leg: "client - P-CSCF", Protection: r.Protection, Proxy: r.Proxy.String(), Seconds: r.Granted.Seconds()}
}

// tellsChanges tells when the P-CSCF is lost, and when the client is registered again: at the same one, or at another. The channel is closed when there is nothing
// more to be told.
func (p *phone) tellsChanges() (told chan struct{}) {
	told = make(chan struct{})
	go func() {
		defer close(told)
		var before ue.Registration // the last that stood
		lost := false
		for r := range p.changes {
			switch {
			case r.State == ue.Registered && lost && r.Proxy != before.Proxy:
				p.a.happened(registeredEvent("moved", &r))
			case r.State == ue.Registered && lost:
				p.a.happened(registeredEvent("registered", &r))
			case r.Err != nil && before.State == ue.Registered && !lost:
				p.a.happened(event{Event: "lost", Proxy: before.Proxy.String(), Reason: r.Err.Error()})
			}
			if lost = r.State != ue.Registered && before.State == ue.Registered; !lost {
				before = r
			}
		}
	}()
	return told
}

// unregistered says what a failed registration may come from.
func (l *line) unregistered(err error) error {
	hint := ""
	var status *ue.StatusError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		hint = "; either the operator has to renew it, or a clock is wrong, here or there: `imsafe doctor` on the node says which"
	case errors.As(err, &name):
		hint = "; --server-name says which name must stand in it"
	case errors.As(err, &authority):
		hint = "; give the authority that signed it with --ca"
	case errors.Is(err, ue.ErrConnect):
		hint = fmt.Sprintf("; does a node listen there for %s? --proxy says where", l.Transport)
	case errors.Is(err, ue.ErrNetwork):
		hint = "; the network does not know this identity, or has other keys than the card: `imsafe user show` says what it has, compare K and OPc, or the password"
	case errors.As(err, &status) && status.Code == 494, errors.Is(err, ue.ErrAgreement):
		hint = "; the network agrees on none of what this client offers: --algorithms and --esp say what that is, and its [ci.ipsec] what it takes"
	case errors.As(err, &status) && status.Code == 421:
		hint = "; the network wants IPsec there: --transport ipsec"
	case errors.As(err, &status) && status.Code == 403:
		hint = "; the network does not know the identity, or has other keys for it: `imsafe user show` says what it has"
	case errors.Is(err, context.DeadlineExceeded):
		hint = fmt.Sprintf("; no answer in %v", l.Patience)
	}
	return fmt.Errorf("not registered: %w%s", err, hint)
}

// config makes the configuration of the client.
func (l *line) config(p *phone) (*ue.Config, error) {
	c := &ue.Config{Card: p.card.Card, Password: p.card.password, IMPU: l.IMPU, Scheme: p.card.scheme, Lab: l.Lab, PlainRTP: l.PlainRTP, AllowTLS12: l.AllowTLS12,
		ServerName: l.ServerName, Clock: shard.RealClock(), Rand: rand.Reader, ListenPacket: mediaPort, UserAgent: "imsafe-ue",
		Reliable: l.reliable}
	host := "pcscf." + p.domain
	if c.ServerName == "" {
		c.ServerName = host
	}
	port := "5060"
	switch l.Transport {
	case "tls":
		c.Transport, port = ue.TLS, "5061"
	case "tcp":
		c.Transport = ue.TCP
	case "udp":
		c.Transport = ue.UDP
	case "ipsec":
		c.Transport = ue.IPsecUDP
	}
	if err := l.find(p.a, c, host, port, p.domain); err != nil {
		return nil, err
	}
	if err := l.overDatagrams(c); err != nil {
		return nil, err
	}
	if l.CA != "" {
		roots, err := authorities(l.CA)
		if err != nil {
			return nil, err
		}
		c.RootCAs = roots
	}
	l.web(c, p.domain)
	if l.Verbose {
		c.Log = trace.NewLogger(p.a.stderr, slog.LevelDebug, false, make([]byte, 32))
	}
	c.OnCall = func(call *ue.Call) {
		select {
		case p.calls <- call:
		default:
			call.Reject(486)
		}
	}
	c.OnRegistration = func(r ue.Registration) {
		select {
		case p.changes <- r:
		default: // nobody reads what we print
		}
	}
	c.OnMessage = func(m ue.Message) {
		select {
		case p.messages <- m:
		default: // it has been accepted; who sends so many does not wait for us to read
		}
	}
	return c, nil
}

// overDatagrams says what a client needs that has no connection: its address, and with ipsec how it is protected.
func (l *line) overDatagrams(c *ue.Config) (err error) {
	if l.Transport != "ipsec" && l.Transport != "udp" {
		return nil
	}
	if c.Local, err = sourceTowards(c.Proxy); err != nil || l.Transport == "udp" {
		return err
	}
	c.IPsec.NATPort = l.NATPort
	c.IPsec.Profile, _ = secagree.ProfileNamed(l.Algorithms)
	if l.ESP == "ip" {
		c.IPsec.Raw, c.IPsec.RawOnly = rawESP, true
	}
	return nil
}

// sourceTowards is the address of ours that packets to peer have. No packet is sent.
func sourceTowards(peer netip.AddrPort) (netip.Addr, error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(peer))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("there is no way to the P-CSCF: %w", err)
	}
	defer conn.Close()
	return netip.MustParseAddrPort(conn.LocalAddr().String()).Addr().Unmap(), nil
}

// rawESP opens ESP on IP.
func rawESP(local netip.Addr) (esp.Wire, error) {
	network := esp.Network4
	if local.Is6() {
		network = esp.Network6
	}
	lc := net.ListenConfig{Control: esp.SocketOptions}
	conn, err := lc.ListenPacket(context.Background(), network, local.String())
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("a raw socket for ESP needs CAP_NET_RAW; --esp udp needs nothing: %w", err)
	}
	if err != nil {
		return nil, err
	}
	return esp.Raw(conn.(*net.IPConn)), nil
}

// authorities reads certificates.
func authorities(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", path)
	}
	return pool, nil
}

// target completes whom to call: alice is sip:alice@<home domain>, +49... a tel URI.
func (p *phone) target(name string) string {
	switch {
	case strings.HasPrefix(name, "sip:"), strings.HasPrefix(name, "sips:"), strings.HasPrefix(name, "tel:"):
		return name
	case strings.HasPrefix(name, "+"):
		return "tel:" + name
	case strings.Contains(name, "@"):
		return "sip:" + name
	}
	return "sip:" + name + "@" + p.domain
}

// hangUp de-registers, unless the registration is to stay, and ends the client.
func (p *phone) hangUp() error {
	var err error
	if !p.keep {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(p.a.ctx), goodbye)
		if err = p.ue.Deregister(ctx); err == nil {
			p.a.happened(event{Event: "deregistered"})
		}
		cancel()
	}
	p.stop()
	return errors.Join(err, <-p.done, p.card.Close())
}

// with registers a client, lets f use it, and de-registers it.
func (l *line) with(a *app, f func(*phone) error) error {
	p, err := l.pick(a)
	if err != nil {
		return err
	}
	return errors.Join(f(p), p.hangUp())
}

type ueRegisterCmd struct {
	line
	For  time.Duration `help:"Stay registered for this long, then take it back; refreshing as needed."`
	Keep bool          `help:"Leave the registration in the network. Nobody can be reached by it over TLS once this process has gone."`
}

// Run registers.
func (v *ueRegisterCmd) Run(a *app) error {
	return v.with(a, func(p *phone) error {
		p.keep = v.Keep
		if v.For == 0 {
			return nil
		}
		select {
		case <-time.After(v.For):
		case <-a.ctx.Done():
		}
		now, err := p.ue.Registration(context.WithoutCancel(a.ctx))
		if err == nil && now.State != ue.Registered {
			err = errors.Join(fmt.Errorf("the registration was lost"), now.Err)
		}
		return err
	})
}
