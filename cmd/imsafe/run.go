package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"runtime"

	"imsafe/config"
	"imsafe/node"
	"imsafe/policy"
	"imsafe/proto/shard"
	"imsafe/servicebox/as"
	"imsafe/store/seal"
	"imsafe/trace"
)

// defaultConfig is where the configuration of an installation is.
const defaultConfig = "/etc/imsafe/imsafe.toml"

// configFile is the flag that names the configuration.
type configFile struct {
	ConfigPath string `name:"config" short:"c" help:"Configuration file." default:"${config}" type:"path" group:"Where the node is:"`
}

// load reads and checks the configuration. A mistake in it is told with its line.
func (f configFile) load(a *app) (*config.Config, error) {
	data, err := os.ReadFile(f.ConfigPath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usage{fmt.Errorf("there is no configuration at %s: name it with -c; `imsafe quickstart` writes one, `imsafe config print` an example", f.ConfigPath)}
	}
	if err != nil {
		return nil, usage{err}
	}
	c, err := config.Parse(f.ConfigPath, data)
	if err != nil {
		return nil, usage{err}
	}
	return c, nil
}

// credentials is the directory of the system's credentials (systemd's LoadCredential), "" without one.
func (a *app) credentials() string { return a.getenv("CREDENTIALS_DIRECTORY") }

type runCmd struct {
	configFile
	proofs
	Service  []string `help:"Run this service inside the node, instead of as a program of its own: echo.service.toml or telephony.service.toml. It is asked when it is approved. May be repeated." type:"existingfile" placeholder:"FILE" group:"Services:"`
	Settings string   `help:"telephony: the file with its users' settings." type:"path" placeholder:"FILE" group:"Services:"`
	mediaFlag
}

// Run runs a node until the process is told to stop.
func (v *runCmd) Run(a *app) error {
	c, err := v.load(a)
	if err != nil {
		return err
	}
	if err := c.CheckFiles(os.Stat, a.credentials()); err != nil {
		return usage{err}
	}
	log, err := a.logger(c)
	if err != nil {
		return err
	}
	services, err := v.services(a, c, log)
	if err != nil {
		return err
	}
	return runNode(a, c, log, v.page(a, c.HomeDomain()), services...)
}

// services makes those that run inside.
func (v *runCmd) services(a *app, c *config.Config, log *slog.Logger) (list []*as.Service, err error) {
	for _, path := range v.Service {
		text, err := a.readText(path)
		if err != nil {
			return nil, err
		}
		svc, err := as.InProcess(as.Parts{Manifest: text, Clock: shard.RealClock(), Rand: rand.Reader, Log: log})
		if err != nil {
			return nil, usage{fmt.Errorf("%s: %w", path, err)}
		}
		setup, err := (&serviceRunCmd{Settings: v.Settings}).setup(svc.Name(), log)
		if err != nil {
			return nil, err
		}
		var anchor netip.Addr // where the media anchor is
		if len(c.CS.Listen) > 0 {
			anchor = c.CS.Listen[0].Addr()
		}
		if err := v.serve(svc, anchor); err != nil {
			return nil, err
		}
		setup(svc)
		list = append(list, svc)
	}
	return list, nil
}

func runNode(a *app, c *config.Config, log *slog.Logger, page *livePage, services ...*as.Service) (err error) {
	load := func() (*seal.Keyring, error) { return node.LoadKeyring(c, a.credentials()) }
	keyring, err := load()
	if err != nil {
		return err
	}
	certificate, err := node.LoadCertificate(c, a.credentials())
	if err != nil {
		return err
	}
	identity, err := node.LoadIdentity(c, a.credentials())
	if err != nil {
		return err
	}
	clock := shard.RealClock()
	c.Node.Shards = node.Shards(c) // one for each processor there is, before spareThread
	spareThread(a.getenv)
	if a.getenv("GOGC") == "" && c.Node.Heap > 0 {
		go node.PaceCollector(a.ctx, uint64(c.Node.Heap))
	}
	st, err := node.OpenStore(c, clock, log, a.credentials())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	sockets, err := node.Listen(c, c.Node.Shards, nil)
	if err != nil {
		return err
	}
	defer sockets.Close()
	kept, err := node.DecisionsDir(c)
	if err != nil {
		return err
	}
	anchor, err := a.anchor(c, clock, log)
	if err != nil {
		return err
	}
	defer anchor.Close()
	n, err := node.New(node.Options{Config: c, Anchor: anchor, Decisions: kept, Clock: clock, Random: rand.Reader, Log: log, Store: st, Keyring: keyring, Reload: load,
		Certificate: certificate, Identity: identity, Sockets: sockets, Policy: policy.Default(), Services: services, Page: page, PageCode: page.Login.Code,
		Ladders: c.Page.Ladders})
	if err != nil {
		return err
	}
	page.show(n)
	tls, lab := sockets.Addresses()
	log.Info("node runs", "node", c.Node.Name, "domain", c.HomeDomain(), "tls", tls, "lab_udp", lab, "lab", c.Node.Lab)
	if sockets.Metrics != nil {
		a.tellPage(page, sockets.Metrics.Addr().String())
	}
	defer log.Info("node has stopped", "node", c.Node.Name)
	return n.Run(a.ctx)
}

// logger makes the log of c on standard error.
func (a *app) logger(c *config.Config) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Log.Level)); err != nil {
		return nil, usage{err}
	}
	return a.loggerAt(c, level)
}

// loggerAt makes it at another level.
func (a *app) loggerAt(c *config.Config, level slog.Level) (*slog.Logger, error) {
	var key [32]byte // of the pseudonyms of this run
	if _, err := rand.Read(key[:]); err != nil {
		return nil, err
	}
	return trace.NewLogger(a.stderr, level, c.Log.Format == "json", key[:]), nil
}

type configCmd struct {
	Print configPrintCmd `cmd:"" help:"Print a commented example."`
	Check configCheckCmd `cmd:"" help:"Check a configuration and the files it names."`
}

type configPrintCmd struct{}

// Run prints the example.
func (*configPrintCmd) Run(a *app) error {
	c := config.Example()
	if a.json {
		a.print(c.Keys())
		return nil
	}
	return c.Write(a.stdout)
}

type configCheckCmd struct{ configFile }

// Run checks a configuration.
func (v *configCheckCmd) Run(a *app) error {
	c, err := v.load(a)
	if err != nil {
		return err
	}
	if err := c.CheckFiles(os.Stat, a.credentials()); err != nil {
		return usage{err}
	}
	weakenings := []string{}
	for _, w := range c.Weakenings() {
		weakenings = append(weakenings, w.Name)
	}
	if a.json {
		a.print(map[string]any{"valid": true, "domain": c.HomeDomain(), "weakenings": weakenings})
	}
	a.say("%s is valid; the home domain is %s", v.ConfigPath, c.HomeDomain())
	for _, w := range c.Weakenings() {
		a.say("weaker than the default: %s: %s", w.Name, w.Meaning)
	}
	return nil
}

// spareThread lets a node on one processor run Go on two threads: a write to the disk keeps the thread that waits for it, and with only one
// nobody answers meanwhile. On one processor, 2,000 registrations a second waited 190 ms and more for their answer (median), and some for
// ever; with a second thread 3 ms. Who sets GOMAXPROCS has his way.
func spareThread(getenv func(string) string) {
	if getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) == 1 {
		runtime.GOMAXPROCS(2)
	}
}
