package main

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"imsafe/config"
	"imsafe/doctor"
	"imsafe/doctor/host"
	"imsafe/iface/management"
	"imsafe/imsbox/hss"
	"imsafe/node"
	"imsafe/proto/dns"
	"imsafe/store/sqlite"
)

type doctorCmd struct {
	Node doctorNodeCmd `cmd:"" default:"withargs" help:"Examine the installation, or a running dev system where nothing is installed: configuration, clock, names, ports, certificates, rights, ESP, buffers, MTU, NAT, store, and what a running node has met. Exit status 1 if something is broken."`
	User doctorUserCmd `cmd:"" help:"Examine one subscriber: identities, scheme, keys, sequence numbers, and its last registrations. Exit status 1 if something is broken."`
}

// examined is what an examination prints with --json.
type examined struct {
	Broken   bool             `json:"broken"`
	Findings []doctor.Finding `json:"findings"`
}

type doctorNodeCmd struct {
	operator
	All bool `help:"Print what is fine, too." short:"a"`
}

// errBroken ends an examination that has found something; what, has been printed.
var errBroken = errors.New("something is broken: see above")

// Run examines.
func (v *doctorNodeCmd) Run(a *app) error {
	p := v.patient(a)
	defer a.progress("examining")()
	h := host.Host{}
	return a.report(doctor.Examine(a.ctx, h, resolver(h), p), v.All)
}

// report prints findings.
func (a *app) report(found []doctor.Finding, all bool) error {
	broken := doctor.Broken(found)
	if a.json {
		a.print(examined{broken, found})
	}
	fine := 0
	for _, f := range found {
		if f.Level == doctor.Fine && !all {
			fine++
			continue
		}
		a.say("%-9s %-16s %s", mark(f.Level), f.Code, f.What)
		if f.Why != "" {
			a.say("%27s%s", "why: ", f.Why)
		}
		if f.Do != "" {
			a.say("%27s%s", "do: ", f.Do)
		}
	}
	if fine > 0 {
		a.say("%-9s %d looks; --all prints them", mark(doctor.Fine), fine)
	}
	if broken {
		if a.json {
			return quiet{errBroken}
		}
		a.say("`imsafe explain CODE` and docs/doctor.md say more about each")
		return errBroken
	}
	return nil
}

// mark is what a level looks like.
func mark(l doctor.Level) string {
	if l == doctor.Breaks {
		return "BREAKS"
	}
	return string(l)
}

// patient finds the configuration, the node and the store.
func (v *doctorNodeCmd) patient(a *app) *doctor.Patient {
	path := v.ConfigPath
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && path == defaultConfig {
		path = a.orDev(path)
	}
	p := &doctor.Patient{Path: path, Credentials: a.credentials()}
	if p.Config, p.ConfigErr = readConfig(path); p.ConfigErr != nil {
		return p
	}
	socket := v.Socket
	if socket == "" {
		socket = p.Config.ManagementSocket()
	}
	err := knock(a.ctx, socket)
	switch {
	case err == nil:
		p.Node = a.askNode(socket, p)
		return p
	case errors.Is(err, fs.ErrPermission):
		p.Blind = true
		return p
	}
	p.KernelErr, p.DropErr = node.ProbeKernel(p.Config), node.ProbeDrop(p.Config)
	if _, err := os.Stat(filepath.Join(p.Config.Node.DataDir, sqlite.FileName)); errors.Is(err, fs.ErrNotExist) && !p.Config.Store.Shared() {
		p.NoStore = true
		_, p.KeysErr = node.LoadKeyring(p.Config, p.Credentials)
		return p
	}
	house, err := openStore(a, p.Config, need{store: true, keys: true})
	if err != nil {
		p.StoreErr = err
		return p
	}
	p.Cards, p.KeysErr = checkKeys(a.ctx, house)
	p.Authority = askAuthority(a.ctx, house)
	p.StoreErr = house.Close()
	return p
}

// orDev returns the configuration of the dev system of this user, where there is one, in the place of that which an installation would have.
func (a *app) orDev(none string) string {
	switch running := devSystems(a.ctx); len(running) {
	case 0:
		return none
	case 1:
		a.say("nothing is installed here (%s); looking at the system of imsafe dev: %s", none, running[0])
		return running[0]
	default:
		a.say("several systems of imsafe dev run here: name one by --config, as %s", strings.Join(running, " or "))
		return none
	}
}

// readConfig reads a configuration; what is wrong is an error for people.
func readConfig(path string) (*config.Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return config.Parse(path, data)
}

// askNode asks a running node.
func (a *app) askNode(socket string, p *doctor.Patient) *doctor.Running {
	house := remote{management.NewClient(socket)}
	defer house.Close()
	r := &doctor.Running{}
	var status node.Status
	if house.Call(a.ctx, "status", node.None{}, &status) == nil {
		r.Status = &status
	}
	var health node.Health
	if house.Call(a.ctx, "health", node.None{}, &health) == nil {
		r.Health = &health
	}
	var policy node.PolicyReport
	if house.Call(a.ctx, "policy", node.None{}, &policy) == nil {
		r.Policy = &policy
	}
	if p.Config.HasRole("hss") {
		p.Cards, p.KeysErr = checkKeys(a.ctx, house)
	}
	p.Authority = askAuthority(a.ctx, house)
	return r
}

// askAuthority asks for the network's authority; nil if nobody tells.
func askAuthority(ctx context.Context, house operations) *node.AuthorityView {
	var view node.AuthorityView
	if house.Call(ctx, "ca.show", node.None{}, &view) != nil {
		return nil
	}
	return &view
}

// checkKeys opens every sealed key once. A viewer may not: then nothing is said.
func checkKeys(ctx context.Context, house operations) (int, error) {
	var checked node.CheckedKeys
	err := house.Call(ctx, "key.check", node.None{}, &checked)
	var refusal *management.Error
	if errors.As(err, &refusal) && refusal.Code == "management.forbidden" {
		return 0, nil
	}
	return checked.Cards, err
}

// resolver asks the name servers of this machine.
func resolver(h host.Host) doctor.Resolver {
	text, err := h.ReadFile("/etc/resolv.conf")
	if err != nil {
		text = nil // then there is nobody to ask, which is told
	}
	return names{nameServers(text)}
}

// names gives the doctor the answers of a client of the DNS.
type names struct{ *dns.Client }

// Addresses implements doctor.Resolver.
func (n names) Addresses(ctx context.Context, name string) ([]netip.Addr, error) {
	return n.LookupAddresses(ctx, name)
}

// Services implements doctor.Resolver.
func (n names) Services(ctx context.Context, name string) (all []doctor.Service, err error) {
	records, err := n.LookupSRV(ctx, name)
	for _, r := range records {
		all = append(all, doctor.Service{Target: r.Target, Port: r.Port})
	}
	return all, err
}

// NamingAuthority implements doctor.Resolver.
func (n names) NamingAuthority(ctx context.Context, name string) (all []doctor.NamingAuthority, err error) {
	records, err := n.LookupNAPTR(ctx, name)
	for _, r := range records {
		all = append(all, doctor.NamingAuthority{Service: strings.ToUpper(r.Service), Replacement: r.Replacement})
	}
	return all, err
}

type doctorUserCmd struct {
	operator
	Name    string `arg:"" help:"Private or public identity, or +number; without a domain it is in the home domain."`
	KFile   string `name:"k-file" help:"Compare K with the one that is sealed: a file with it in hexadecimal, for its owner alone; - is standard input. No key is ever printed." type:"path" placeholder:"FILE"`
	OPcFile string `name:"opc-file" help:"Compare OPc (TOPc of a card with TUAK) too, the same way." type:"path" placeholder:"FILE" xor:"opc"`
	OPFile  string `name:"op-file" help:"Compare OP (TOP) instead, from which OPc is made." type:"path" placeholder:"FILE" xor:"opc"`
	All     bool   `help:"Print what is fine, too." short:"a"`
}

// Run examines one subscriber.
func (v *doctorUserCmd) Run(a *app) error {
	if v.KFile == "" && (v.OPcFile != "" || v.OPFile != "") {
		return usage{errors.New("--opc-file and --op-file are compared together with K: give --k-file too")}
	}
	c, err := v.load(a)
	if err != nil {
		return err
	}
	return v.with(a, need{store: true, keys: true}, func(house operations) error {
		s := &doctor.Subscriber{Name: v.Name, Config: c}
		if err := v.ask(a, house, s); err != nil {
			return err
		}
		return a.report(doctor.ExamineUser(s), v.All)
	})
}

// ask gathers what is known of the subscriber.
func (v *doctorUserCmd) ask(a *app, house operations, s *doctor.Subscriber) error {
	name := inDomain(strings.TrimRight(strings.TrimSpace(v.Name), "."), s.Config.HomeDomain())
	var view hss.View
	var refusal *management.Error
	err := house.Call(a.ctx, "user.show", node.UserName{Name: name}, &view)
	switch {
	case err == nil:
		s.View = &view
	case !errors.As(err, &refusal) || refusal.Code != "not-found":
		return err
	}
	_, s.Running = house.(remote)
	if s.Running {
		if s.View != nil {
			name = s.View.Cards[0].IMPI
		}
		var r node.Registration
		if house.Call(a.ctx, "registration.explain", node.UserName{Name: name}, &r) == nil {
			s.Registration = &r
		}
	}
	if v.KFile == "" || s.View == nil {
		return nil
	}
	return v.compare(a, house, s)
}

// givenKeys is hss.Given with keys that can be read.
type givenKeys struct {
	K        keyText `json:"k"`
	Bound    keyText `json:"bound,omitempty"`
	Operator keyText `json:"operator,omitempty"`
}

// compareUser is node.CompareUser with them.
type compareUser struct {
	Name string    `json:"name"`
	Keys givenKeys `json:"keys"`
}

// compare lets the HSS hold the keys against those that it has sealed.
func (v *doctorUserCmd) compare(a *app, house operations, s *doctor.Subscriber) error {
	request := compareUser{Name: s.View.Cards[0].IMPI}
	var err error
	for _, f := range []struct {
		path string
		key  *keyText
	}{{v.KFile, &request.Keys.K}, {v.OPcFile, &request.Keys.Bound}, {v.OPFile, &request.Keys.Operator}} {
		if *f.key, err = a.readKey(f.path); err != nil {
			return err
		}
	}
	var c hss.Comparison
	if err := house.Call(a.ctx, "user.compare", request, &c); err != nil {
		if len(node.Mistakes(err)) > 0 {
			return err
		}
		s.CompareErr = err
		return nil
	}
	s.Comparison = &c
	return nil
}
