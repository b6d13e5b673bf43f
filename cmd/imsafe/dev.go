package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"imsafe/ca"
	"imsafe/config"
	"imsafe/iface/clientweb"
	"imsafe/node"
	"imsafe/policy"
	"imsafe/proto/shard"
	"imsafe/store"
	"imsafe/store/seal"
)

type devCmd struct {
	Once    bool   `help:"Let the demo clients register, call and message, then stop; exit 0 only if all of it happened."`
	Dir     string `help:"Keep the system in this directory instead of a temporary one." type:"path"`
	Domain  string `help:"Home domain." default:"ims.mnc001.mcc001.3gppnetwork.org"`
	Verbose bool   `short:"v" help:"Show the log of the node."`
	proofs
}

// devLife is how long the certificates of a dev system are good for.
const devLife = 30 * 24 * time.Hour

// devLadders is how many calls and registrations the page of a dev system shows.
const devLadders = 64

// dev is a whole system with random secrets on loopback.
type dev struct {
	config    *config.Config
	authority *ca.CA
	anchors   *x509.CertPool // that authority's, and the network's
	store     store.Engine
	sockets   *node.Sockets
	node      *node.Node
	page      *livePage
	log       *slog.Logger
	dir       string
	temporary bool
	life      context.Context // of services that have joined
	services  sync.WaitGroup
	pages     net.Listener // of echo
	replaced  []string     // ports that were taken
}

// Run starts the system and its demo clients.
func (v *devCmd) Run(a *app) (err error) {
	d, err := v.start(a)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(a.ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- d.node.Run(ctx) }()
	var end context.CancelFunc
	d.life, end = context.WithCancel(a.ctx)
	defer func() {
		end()
		d.services.Wait()
		stop()
		err = errors.Join(err, <-done, d.close())
	}()
	d.tellReplaced(a)
	report := d.demo(ctx, a)
	if v.Once {
		return report.finish(a)
	}
	if err := report.finish(a); err != nil {
		return err
	}
	if err := d.explain(ctx, a); err != nil {
		return err
	}
	<-a.ctx.Done()
	a.say("stopping")
	return nil
}

// start makes every secret, opens the store and the sockets and assembles the node.
func (v *devCmd) start(a *app) (_ *dev, err error) {
	d := &dev{dir: v.Dir}
	if d.dir == "" {
		if d.dir, err = os.MkdirTemp("", devPrefix); err != nil {
			return nil, err
		}
		d.temporary = true
	} else if err = os.MkdirAll(d.dir, 0o700); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if d.config, err = v.config(a, d.dir); err != nil {
		return nil, err
	}
	clock := shard.RealClock()
	if d.authority, err = ca.New(rand.Reader, clock.Wall, d.config.HomeDomain(), devLife); err != nil {
		return nil, err
	}
	cert, err := d.authority.Server(devLife, []string{"pcscf." + d.config.HomeDomain(), "localhost"},
		[]net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback})
	if err != nil {
		return nil, err
	}
	level := "error"
	if v.Verbose {
		level = "info"
	}
	d.config.Log.Level = level
	if d.log, err = a.logger(d.config); err != nil {
		return nil, err
	}
	keyring, err := devKeyring(d.dir)
	if err != nil {
		return nil, err
	}
	if d.store, err = node.OpenStore(d.config, clock, d.log, ""); err != nil {
		return nil, err
	}
	if d.sockets, err = node.Listen(d.config, node.Shards(d.config), d.instead); err != nil {
		return nil, err
	}
	if d.pages, err = d.listenPages(); err != nil {
		return nil, err
	}
	if err := d.keep(&cert); err != nil {
		return nil, err
	}
	return d, v.assemble(a, d, clock, keyring, &cert)
}

// assemble makes the node, and what shows it.
func (v *devCmd) assemble(a *app, d *dev, clock shard.Clock, keyring *seal.Keyring, certificate *tls.Certificate) error {
	kept, err := node.DecisionsDir(d.config)
	if err != nil {
		return err
	}
	d.page = v.page(a, d.config.HomeDomain())
	d.node, err = node.New(node.Options{Config: d.config, Decisions: kept, Clock: clock, Random: rand.Reader, Log: d.log, Store: d.store, Keyring: keyring,
		Reload: func() (*seal.Keyring, error) { return devKeyring(d.dir) }, Certificate: certificate, Sockets: d.sockets, Policy: policy.Default(), Page: d.page, PageCode: d.page.Login.Code, Ladders: d.config.Page.Ladders})
	if err != nil {
		return err
	}
	d.page.show(d.node)
	if err := d.establish(); err != nil {
		return err
	}
	return d.trust()
}

// config is the configuration of a dev system: a lab on loopback.
func (v *devCmd) config(a *app, dir string) (*config.Config, error) {
	c := config.Default()
	c.Node.Lab, c.Node.DataDir = true, filepath.Join(dir, "store")
	c.IMS.Domain = v.Domain
	loopback := func(port uint16) config.Address {
		return config.Address{AddrPort: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)}
	}
	c.CI.TLS.Listen = []config.Address{loopback(5061)}
	c.CI.TLS.CertificateFile, c.CI.TLS.KeyFile = filepath.Join(dir, certificate), config.SecretFile(filepath.Join(dir, certificateKey))
	c.CI.LabUDP.Listen = []config.Address{loopback(5060)}
	c.CI.IPsec.Listen, c.CI.IPsec.ESP = []config.Address{loopback(5062)}, "off" // in UDP: no privilege
	c.CS.Listen = []config.Address{loopback(20000)}
	c.HSS.SealingKeyFile = config.SecretFile(filepath.Join(dir, "sealing.key"))
	c.Metrics.Listen = loopback(9464)
	c.Page.Ladders = devLadders
	c.IS.Enrol.Listen, c.IS.Listen, c.HTTPS.Listen = loopback(8443), loopback(5063), loopback(8444)
	approver, err := a.devApprover(dir)
	if err != nil {
		return nil, err
	}
	c.IS.ApprovalKeys = []string{approver}
	if problems := c.Validate(); len(problems) > 0 {
		return nil, usage{problems}
	}
	return &c, nil
}

// devKeyring loads the sealing keys of the directory, or makes them.
func devKeyring(dir string) (*seal.Keyring, error) {
	path := filepath.Join(dir, "sealing.key")
	keyring, err := seal.Load(path)
	if errors.Is(err, seal.ErrNotFound) {
		if keyring, err = seal.Generate(rand.Reader); err == nil {
			err = keyring.Save(path)
		}
	}
	return keyring, err
}

// instead replaces a port that is taken by any that is free, and notes it.
func (d *dev) instead(taken netip.AddrPort) (netip.AddrPort, bool) {
	d.replaced = append(d.replaced, taken.String())
	return netip.AddrPortFrom(taken.Addr(), 0), true
}

func (d *dev) close() (err error) {
	if d.sockets != nil {
		d.sockets.Close()
	}
	if d.pages != nil {
		_ = d.pages.Close() // once more, if echo has served them
	}
	if d.store != nil {
		err = d.store.Close()
	}
	if d.temporary {
		err = errors.Join(err, os.RemoveAll(d.dir))
	}
	return err
}

// tellReplaced says which ports were taken, and what stands in their place.
func (d *dev) tellReplaced(a *app) {
	if len(d.replaced) == 0 {
		return
	}
	clients, lab := d.sockets.Addresses()
	a.say("taken by another process: %s", strings.Join(d.replaced, ", "))
	a.say("used instead: SIP over TLS %v, lab %v, metrics %v, enrolment %v, I-S %v, HTTPS %v\n", clients[0], lab[0], d.sockets.Metrics.Addr(), d.sockets.Enrol.Addr(), d.sockets.ISC.Addr(), d.sockets.HTTPS.Addr())
}

// explain says how the running system is used.
func (d *dev) explain(ctx context.Context, a *app) error {
	tlsAddresses, lab := d.sockets.Addresses()
	accounts, err := d.accounts(ctx)
	if err != nil {
		return err
	}
	code, err := d.page.Login.Code()
	if err != nil {
		return err
	}
	if a.json {
		a.print(map[string]any{"tls": tlsAddresses, "lab_udp": lab, "ipsec": d.sockets.IPsec[0].Clear[0].LocalAddr().String(), "esp_in_udp": d.sockets.IPsec[0].NAT.LocalAddr().String(), "ca": filepath.Join(d.dir, "ca.pem"), "domain": d.config.HomeDomain(),
			"config": filepath.Join(d.dir, configName), "management": d.config.ManagementSocket(), "enrol": d.sockets.Enrol.Addr().String(), "isc": d.sockets.ISC.Addr().String(), "https": d.sockets.HTTPS.Addr().String(), "approver": filepath.Join(d.dir, devApprover), "metrics": d.sockets.Metrics.Addr().String(), "page": pageURL(d.sockets.Metrics.Addr().String(), code), "accounts": accounts})
		return nil
	}
	a.say("\nThe system stays up until Ctrl-C.")
	a.say("  home domain     %s", d.config.HomeDomain())
	a.say("  SIP over TLS    %v   name pcscf.%s, authority %s", tlsAddresses[0], d.config.HomeDomain(), filepath.Join(d.dir, "ca.pem"))
	gm := d.sockets.IPsec[0]
	a.say("  IPsec           %v   first REGISTER; ESP in UDP at %v", gm.Clear[0].LocalAddr(), gm.NAT.LocalAddr())
	a.say("  lab, in clear   %v   UDP and TCP, for test clients with AKAv1-MD5", lab[0])
	a.say("  media           %v   the anchor's ports, %d from there on", d.config.CS.Listen[0], d.config.CS.Ports)
	a.say("  I-S             %v   service platforms, over mutual TLS; name %s", d.sockets.ISC.Addr(), node.ISCHost(d.config.HomeDomain()))
	a.say("  HTTPS           %v   name %s", d.sockets.HTTPS.Addr(), clientweb.Host(d.config.HomeDomain()))
	a.say("  management      %s", d.config.ManagementSocket())
	a.say("  page            %s", pageURL(d.sockets.Metrics.Addr().String(), code))
	a.say("                  the twelve cells and the ladder of each call, live; that address lets you in once, imsafe page --socket %s prints another", d.config.ManagementSocket())
	a.say("  metrics         http://%s/metrics", d.sockets.Metrics.Addr())
	a.say("  accounts")
	for _, account := range accounts {
		a.say("    %-8s %s   K %s   OPc %s   %s", account.Name, account.IMPU, account.K, account.OPc, account.Scheme)
	}
	trusting := fmt.Sprintf("--ca %s --web %v", filepath.Join(d.dir, "ca.pem"), d.sockets.HTTPS.Addr())
	overTLS := fmt.Sprintf("--proxy %v %s", tlsAddresses[0], trusting)
	inIPsec := fmt.Sprintf("--transport ipsec --proxy %v --nat-port %d %s", gm.Clear[0].LocalAddr(), netip.MustParseAddrPort(gm.NAT.LocalAddr().String()).Port(), trusting)
	a.say("\nLet them talk, in two terminals, one over TLS and one inside IPsec:")
	a.say("  imsafe ue answer --card %s %s --tone 620 --hear 440", accounts[0].Card, overTLS)
	a.say("  imsafe ue call %s --card %s %s --tone 440 --hear 620 --for 5s", accounts[0].Name, accounts[1].Card, inIPsec)
	a.say("\nWho are you to the network, and to a service? Each page is for a token of yours:")
	a.say("  imsafe ue get /registration --card %s %s", accounts[1].Card, inIPsec)
	a.say("  imsafe ue get %s --connect %v --card %s %s", d.echoPage(), d.pages.Addr(), accounts[1].Card, inIPsec)
	d.tellServices(a)
	a.say("\nWhy did somebody not register? imsafe explain registration NAME@%s --socket %s", d.config.HomeDomain(), d.config.ManagementSocket())
	a.say("Is this machine fit for it? imsafe doctor --config %s", filepath.Join(d.dir, configName))
	a.say("Add somebody: imsafe user add NAME --random --card-out NAME.card --socket %s", d.config.ManagementSocket())
	a.say("A softphone needs AKA with the K and OPc above, TLS to the address above, and the authority's certificate.")
	return nil
}

var errDemo = fmt.Errorf("the demo did not do everything it should")
