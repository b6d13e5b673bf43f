package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"imsafe/client/isim"
	"imsafe/client/media"
	"imsafe/client/ue"
	"imsafe/iface/clientweb"
	"imsafe/imsbox/hss"
	"imsafe/proto/aka"
	"imsafe/proto/shard"
)

// step is one thing that the demo did.
type step struct {
	What       string  `json:"what"`
	Leg        string  `json:"leg,omitempty"`        // which connection it went over
	Protection string  `json:"protection,omitempty"` // how that was protected
	Detail     string  `json:"detail,omitempty"`
	Seconds    float64 `json:"seconds"`
	Error      string  `json:"error,omitempty"`
}

// report is what happened, in order.
type report struct {
	a        *app
	Replaced []string `json:"replaced,omitempty"` // ports that were taken, so that others are used
	Steps    []step   `json:"steps"`
	Done     bool     `json:"done"`
}

// do runs one step unless an earlier one failed, and tells of it.
func (r *report) do(what, leg string, f func(s *step) error) {
	if len(r.Steps) > 0 && r.Steps[len(r.Steps)-1].Error != "" {
		return
	}
	s := step{What: what, Leg: leg}
	clock := shard.RealClock()
	err := f(&s)
	s.Seconds = clock.Now().Seconds()
	mark := "ok "
	if err != nil {
		s.Error, mark = err.Error(), "NO "
	}
	r.Steps = append(r.Steps, s)
	r.a.say("%s %5.2fs  %-46s %s", mark, s.Seconds, what, s.Detail)
	if s.Protection != "" {
		r.a.say("              %-46s %s", leg, s.Protection)
	}
	if err != nil {
		r.a.say("              %v", err)
	}
}

// finish prints the whole as JSON if asked to, and fails if anything did.
func (r *report) finish(a *app) error {
	r.Done = r.Steps[len(r.Steps)-1].Error == ""
	if a.json {
		a.print(r)
	}
	if !r.Done {
		return errDemo
	}
	return nil
}

// account is a demo subscriber. Its keys are random, live as long as the dev system, and are shown so that a person can
// put them into a client of his own: this is a lab.
type account struct {
	Name   string `json:"name"`
	IMPI   string `json:"impi"`
	IMPU   string `json:"impu"`
	K      string `json:"k"`
	OPc    string `json:"opc"`
	Scheme string `json:"scheme"`
	Card   string `json:"card,omitempty"` // file for imsafe ue

	k   aka.K
	opc aka.OPc
}

// demoLimit bounds the whole demo.
const demoLimit = 60 * time.Second

// actor is a demo subscriber with his client.
type actor struct {
	account
	ue       *ue.UE
	calls    chan *ue.Call
	messages chan ue.Message
}

// demo provisions two subscribers and lets their clients register, call each other, and send a message.
func (d *dev) demo(ctx context.Context, a *app) *report {
	ctx, cancel := context.WithTimeout(ctx, demoLimit)
	defer cancel()
	r := &report{a: a, Replaced: d.replaced}
	var alice, bob *actor
	for _, p := range []struct {
		name  string
		actor **actor
	}{{"alice", &alice}, {"bob", &bob}} {
		r.do(p.name+" is provisioned with a random key", "", func(s *step) (err error) {
			*p.actor, err = d.actor(ctx, p.name, ue.IPsecUDP)
			return err
		})
		r.do(p.name+" registers: network and card prove each other", p.name+" - P-CSCF", func(s *step) error {
			go func(u *ue.UE) { _ = u.Run(ctx) }((*p.actor).ue)
			registration, err := (*p.actor).ue.Register(ctx)
			s.Protection = registration.Protection
			s.Detail = fmt.Sprintf("%s, for %v, as %v", registration.Scheme, registration.Granted, registration.IMPUs)
			return err
		})
	}
	d.call(ctx, r, &alice, &bob)
	r.do("alice sends bob a message", "alice - core - bob", func(s *step) error {
		s.Protection = "as the registrations"
		return exchangeMessage(ctx, alice, bob, s)
	})
	r.do("alice fetches a page that is hers alone", "alice - HTTPS door", func(s *step) error {
		s.Protection = "TLS 1.3, a token for her registration, bound to her key"
		return alice.fetches(ctx, d.home()+"/registration", `"`+alice.IMPU+`"`, s)
	})
	d.echo(ctx, r, &alice)
	for _, p := range []**actor{&alice, &bob} {
		r.do("a client takes its registration back", "", func(s *step) error {
			s.Detail = (*p).Name
			return (*p).ue.Deregister(ctx)
		})
	}
	return r
}

// call is the voice part of the demo: each end plays a tone of its own and must hear the other's.
func (d *dev) call(ctx context.Context, r *report, alice, bob **actor) {
	const aliceHz, bobHz = 440, 620
	var out, in *ue.Call
	r.do("alice calls bob, it rings", "alice - core - bob", func(s *step) (err error) {
		s.Protection = "as the registrations"
		if out, err = (*alice).ue.Call(ctx, (*bob).IMPU, ue.Voice{Play: media.NewTone(aliceHz, -10)}); err != nil {
			return err
		}
		select {
		case in = <-(*bob).calls:
		case <-ctx.Done():
			return ctx.Err()
		}
		peer, asserted := in.Peer()
		s.Detail = fmt.Sprintf("bob sees %s, asserted by the network: %v", peer, asserted)
		if !asserted {
			return fmt.Errorf("the caller's identity is not asserted")
		}
		in.Ring()
		_, err = out.Until(ctx, ue.Ringing)
		return err
	})
	r.do("bob answers, each agrees on keys with the anchor", "alice - anchor - bob, voice", func(s *step) error {
		in.Answer(ue.Voice{Play: media.NewTone(bobHz, -10)})
		s.Detail = "to bob " + in.Vouched().String()
		for _, c := range []*ue.Call{out, in} {
			if _, err := c.Until(ctx, ue.Secured); err != nil {
				return err
			}
		}
		s.Protection = out.Media().Protection
		return nil
	})
	r.do("each hears the other's tone", "alice - anchor - bob, voice", func(s *step) error {
		s.Protection = in.Media().Protection
		if err := hears(ctx, in, aliceHz); err != nil {
			return err
		}
		if err := hears(ctx, out, bobHz); err != nil {
			return err
		}
		toBob, toAlice := in.Media().Heard, out.Media().Heard
		s.Detail = fmt.Sprintf("bob %.0f Hz at %.1f dBm0, alice %.0f Hz at %.1f dBm0", toBob.Hz, toBob.Level, toAlice.Hz, toAlice.Level)
		return nil
	})
	r.do("alice hangs up", "", func(s *step) error {
		out.Hangup()
		for _, c := range []*ue.Call{out, in} {
			select {
			case <-c.Done():
			case <-ctx.Done():
				return ctx.Err()
			}
			if end := c.Result(); end.Err != nil {
				return end.Err
			}
		}
		return nil
	})
}

// hears waits until the tone of hz stands clean in what a call hears.
func hears(ctx context.Context, c *ue.Call, hz float64) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if c.Media().Heard.Tone(hz) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("a tone of %.0f Hz is not heard, but %+v", hz, c.Media().Heard)
		}
	}
}

func exchangeMessage(ctx context.Context, from, to *actor, s *step) error {
	const text = "does it hold?"
	if err := from.ue.SendMessage(ctx, to.IMPU, "text/plain", []byte(text)); err != nil {
		return err
	}
	select {
	case m := <-to.messages:
		s.Detail = fmt.Sprintf("bob reads %q from %s", m.Body, m.From)
		if string(m.Body) != text || m.From != from.IMPU || !m.Asserted {
			return fmt.Errorf("the message that arrived is another one: %+v", m)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// home is the https origin of the dev system, as its clients reach it.
func (d *dev) home() string {
	l := line{Web: d.sockets.HTTPS.Addr().String()}
	return l.home(d.config.HomeDomain())
}

// fetches gets a page that says who its reader is, in these words.
func (x *actor) fetches(ctx context.Context, at, says string, s *step) error {
	page, err := x.ue.Get(ctx, at)
	if err != nil {
		return err
	}
	s.Detail = strings.TrimSpace(string(page.Body))
	if page.Status != http.StatusOK || !strings.Contains(s.Detail, says) {
		return fmt.Errorf("answered %d: %s", page.Status, s.Detail)
	}
	return nil
}

// actor provisions a subscriber and makes his client.
func (d *dev) actor(ctx context.Context, name string, transport ue.Transport) (*actor, error) {
	x := &actor{calls: make(chan *ue.Call, 1), messages: make(chan ue.Message, 1)}
	domain := d.config.HomeDomain()
	scheme := aka.AKAv2SHA256
	if transport == ue.IPsecUDP {
		scheme = aka.AKAv1MD5 // as telephones have it: inside IPsec
	}
	x.account = account{Name: name, IMPI: name + "@" + domain, IMPU: "sip:" + name + "@" + domain, Scheme: scheme.String()}
	var op aka.OP
	for _, key := range [][]byte{x.k[:], op[:]} {
		if _, err := rand.Read(key); err != nil {
			return nil, err
		}
	}
	x.opc = aka.DeriveOPc(x.k, op)
	x.K, x.OPc = hex.EncodeToString(x.k[:]), hex.EncodeToString(x.opc[:])
	subscriber := &hss.Subscriber{Card: hss.Card{IMPI: x.IMPI, K: hss.Secret(x.K), OPc: hss.Secret(x.OPc), Scheme: x.Scheme},
		Public: []hss.Public{{IMPU: x.IMPU}}}
	// A dev system that was kept in a directory knows the demo subscribers from before: they get new keys.
	if _, err := d.node.HSS.Show(x.IMPI); err == nil {
		if err := d.node.HSS.Remove(ctx, x.IMPI); err != nil {
			return nil, err
		}
	}
	if err := d.node.HSS.Add(ctx, subscriber); err != nil {
		return nil, err
	}
	card, err := isim.New(isim.Config{Identity: isim.Identity{IMPI: x.IMPI, HomeDomain: domain, IMPUs: []string{x.IMPU}}, K: x.k, OPc: x.opc,
		State: isim.Volatile{}})
	if err != nil {
		return nil, err
	}
	addresses, _ := d.sockets.Addresses()
	c := ue.Config{Proxy: addresses[0], RootCAs: d.authority.Pool(), ServerName: "pcscf." + domain}
	if transport == ue.IPsecUDP {
		sockets := d.sockets.IPsec[0]
		c = ue.Config{Proxy: netip.MustParseAddrPort(sockets.Clear[0].LocalAddr().String()),
			IPsec: ue.IPsec{NATPort: netip.MustParseAddrPort(sockets.NAT.LocalAddr().String()).Port()}}
	}
	web := webTransport(d.anchors, clientweb.Host(domain), d.sockets.HTTPS.Addr().String(), d.pages.Addr().String())
	x.ue, err = ue.New(ue.Config{Web: web, Vouching: &ue.Vouching{Roots: d.anchors, Fetch: ue.Fetch(web), Required: true}, Card: card, Proxy: c.Proxy, Transport: transport, RootCAs: c.RootCAs, ServerName: c.ServerName, IPsec: c.IPsec,
		Clock: shard.RealClock(), Rand: rand.Reader, Log: d.log.With("ue", name), ListenPacket: mediaPort,
		OnCall:    func(c *ue.Call) { x.calls <- c },
		OnMessage: func(m ue.Message) { x.messages <- m }})
	return x, err
}

// mediaPort opens a free UDP port for the media of one call, for that call alone: no SO_REUSEPORT.
func mediaPort(local netip.Addr) (net.PacketConn, error) {
	return net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0)))
}

// accounts provisions two subscribers for a person's own clients, and writes their cards.
func (d *dev) accounts(ctx context.Context) ([]account, error) {
	var all []account
	for _, who := range []struct {
		name      string
		transport ue.Transport
	}{{"carol", ue.TLS}, {"dave", ue.IPsecUDP}} {
		x, err := d.actor(ctx, who.name, who.transport)
		if err != nil {
			return nil, err
		}
		x.Card = filepath.Join(d.dir, who.name+".card")
		for _, old := range []string{x.Card, x.Card + ".seq"} { // of an earlier run in the same directory, with other keys
			if err := os.Remove(old); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
		}
		if err := writeCard(x.Card, &newSubscriber{IMPI: x.IMPI, K: keyText(x.K), OPc: keyText(x.OPc), Scheme: x.Scheme,
			Public: []hss.Public{{IMPU: x.IMPU}}}); err != nil {
			return nil, err
		}
		all = append(all, x.account)
	}
	return all, nil
}
