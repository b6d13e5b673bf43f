package main

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"imsafe/imsbox/hss"
	"imsafe/node"
	"imsafe/proto/aka"
)

type userCmd struct {
	Add    userAddCmd    `cmd:"" help:"Make a subscriber."`
	Show   userShowCmd   `cmd:"" help:"Show a subscriber: everything but the keys, which nobody can read."`
	List   userListCmd   `cmd:"" help:"List subscribers; with --json one object per line."`
	Import userImportCmd `cmd:"" help:"Make many subscribers from a file: one JSON object per line, or CSV."`
	Remove userRemoveCmd `cmd:"" help:"Remove a subscriber and end its registrations."`

	Consent userConsentCmd `cmd:"" help:"Take down that a subscriber agrees to a service platform, where its manifest asks for that, or does not any more."`
}

// newSubscriber is hss.Subscriber as it goes to the HSS: with keys that can be read, which hss.Secret does not let out.
type newSubscriber struct {
	IMPI string  `json:"impi"`
	IMSI string  `json:"imsi,omitempty"`
	K    keyText `json:"k,omitempty"`
	OPc  keyText `json:"opc,omitempty"`
	OP   keyText `json:"op,omitempty"`
	TOPc keyText `json:"topc,omitempty"`
	TOP  keyText `json:"top,omitempty"`
	AMF  string  `json:"amf,omitempty"`
	// Algorithm is empty for Milenage.
	Algorithm string `json:"algorithm,omitempty"`
	Scheme    string `json:"scheme,omitempty"`
	SEQ       uint64 `json:"seq,omitempty"`
	Group     string `json:"group,omitempty"`
	// Password is that of a subscriber without a card.
	Password keyText      `json:"password,omitempty"`
	Public   []hss.Public `json:"public"`
	Service  *hss.Service `json:"service,omitempty"`
}

// addUser is node.AddUser with a subscriber whose keys can be read.
type addUser struct {
	Subscriber newSubscriber `json:"subscriber"`
	DryRun     bool          `json:"dry_run"`
}

type userAddCmd struct {
	operator
	Name    string   `arg:"" help:"Private identity, user@realm; without @ it is in the home domain."`
	IMPU    []string `name:"impu" sep:"none" placeholder:"URI" help:"Public identity, sip:user@domain or tel:+number, or a range with a regular expression between exclamation marks, sip:room-!.*!@domain. Repeat it for more; the first that is no range is the default one. Without it: sip:NAME."`
	IMSI    string   `name:"imsi" help:"IMSI of the card." placeholder:"DIGITS"`
	Group   string   `help:"Group of the subscriber; it must be there." placeholder:"NAME"`
	Profile string   `help:"Service profile of the public identities, instead of that of the group." placeholder:"NAME"`
	Scheme  string   `help:"How the card authenticates: AKAv2-SHA-256, AKAv2-MD5 or AKAv1-MD5; without a card, by a password, SHA-256 ([ci.digest]) or MD5 ([ci.digest_md5]). It is fixed; no client picks it. Without it AKAv1-MD5 where [ci.ipsec] is the only access, as telephones do it, else AKAv2-SHA-256." placeholder:"NAME"`
	AMF     string   `name:"amf" help:"Authentication management field, 4 hexadecimal digits." placeholder:"HEX"`
	SEQ     uint64   `name:"seq" help:"Where the sequence numbers of a card begin that was used elsewhere."`

	KFile        string `name:"k-file" help:"File with K in hexadecimal, for its owner alone; - is standard input. Keys are never taken from the command line, which other users can see." type:"path" placeholder:"FILE" xor:"k"`
	OPcFile      string `name:"opc-file" help:"File with OPc, the same way." type:"path" placeholder:"FILE" xor:"opc"`
	OPFile       string `name:"op-file" help:"File with OP instead of OPc: the operator's value, from which OPc is computed." type:"path" placeholder:"FILE" xor:"opc"`
	Algorithm    string `help:"What the card computes with: milenage, or tuak, with K of 128 or 256 bits and TOPc in the place of OPc." enum:"milenage,tuak" default:"milenage"`
	TOPcFile     string `name:"topc-file" help:"File with TOPc of a card with TUAK, the same way." type:"path" placeholder:"FILE" xor:"opc"`
	TOPFile      string `name:"top-file" help:"File with TOP instead of TOPc." type:"path" placeholder:"FILE" xor:"opc"`
	PasswordFile string `help:"File with the password of a subscriber without a card, the same way; a line end after it is not part of it." type:"path" placeholder:"FILE" xor:"k"`
	Prompt       bool   `help:"Ask for K and OPc (TOPc), or the password, at the terminal, without showing them." xor:"k"`
	Random       bool   `help:"Make random keys for a soft card, or a random password; they are written once, to --card-out." xor:"k"`
	CardOut      string `help:"Write a card file for imsafe ue, with the keys in it, for its owner alone." type:"path" placeholder:"FILE"`

	Service bool   `help:"A public service and no user: it has no card and never registers; its identities are public service identities."`
	Server  string `help:"Application server of the service, where requests go to it without an S-CSCF." placeholder:"SIP-URI"`

	DryRun bool `help:"Only check; change nothing."`
}

// Run makes the subscriber.
func (v *userAddCmd) Run(a *app) error {
	if v.Random && v.CardOut == "" && !v.DryRun {
		return usage{errors.New("--random needs --card-out FILE: the keys are written there once and can never be shown again")}
	}
	return v.with(a, need{keys: true}, func(house operations) error {
		status, err := statusOf(a, house)
		if err != nil {
			return err
		}
		v.Scheme = cmp.Or(v.Scheme, status.CardScheme, aka.AKAv2SHA256.String()) // a node of before says none
		s, err := v.subscriber(a, status.Domain)
		if err != nil {
			return err
		}
		keep := v.CardOut != "" && !v.DryRun
		if keep { // before the change: keys that are in use must be somewhere
			if err := writeCard(v.CardOut, s); err != nil {
				return err
			}
		}
		var done node.Changed
		if err := house.Call(a.ctx, "user.add", addUser{*s, v.DryRun}, &done); err != nil {
			if keep {
				err = errors.Join(err, os.Remove(v.CardOut))
			}
			return err
		}
		v.tell(a, s, &done)
		return nil
	})
}

func (v *userAddCmd) tell(a *app, s *newSubscriber, done *node.Changed) {
	if a.json {
		card := v.CardOut
		if done.DryRun {
			card = "" // it was not written
		}
		a.print(struct {
			*node.Changed
			Card string `json:"card,omitempty"`
		}{done, card})
		return
	}
	if done.DryRun {
		a.say("%s can be added; nothing was changed", s.IMPI)
		return
	}
	a.say("%s is added, reachable as %s", s.IMPI, cmp.Or(done.User.Sets[0].Default, s.Public[0].IMPU))
	if v.CardOut != "" {
		a.say("the card is in %s: whoever has that file is this user", v.CardOut)
	}
}

// statusOf asks for the home domain, and for how cards authenticate there.
func statusOf(a *app, house operations) (s node.Status, err error) {
	err = house.Call(a.ctx, "status", node.None{}, &s)
	return s, err
}

// domainOf asks for the home domain.
func domainOf(a *app, house operations) (string, error) {
	s, err := statusOf(a, house)
	return s.Domain, err
}

// subscriber gathers what the flags say and reads the keys.
func (v *userAddCmd) subscriber(a *app, domain string) (*newSubscriber, error) {
	s := &newSubscriber{IMPI: inDomain(v.Name, domain), IMSI: v.IMSI, AMF: v.AMF, Scheme: v.Scheme, SEQ: v.SEQ, Group: v.Group}
	if v.Algorithm == tuak {
		s.Algorithm = tuak
	}
	impus := v.IMPU
	if len(impus) == 0 {
		impus = []string{"sip:" + s.IMPI}
	}
	for _, impu := range impus {
		s.Public = append(s.Public, hss.Public{IMPU: impu, Profile: v.Profile})
	}
	switch {
	case v.Service:
		s.Scheme, s.Service = "", &hss.Service{Server: v.Server}
		if v.Random || v.Prompt || v.KFile != "" || v.PasswordFile != "" {
			return nil, usage{errors.New("a service has no card and no password")}
		}
		return s, nil
	case v.Server != "":
		return nil, usage{errors.New("--server is for a service: give --service too")}
	}
	return s, v.keys(a, s)
}

// inDomain completes the name of a user; an identity stays as it is.
func inDomain(name, domain string) string {
	switch {
	case strings.HasPrefix(name, "+"):
		return "tel:" + name
	case strings.ContainsAny(name, "@:"):
		return name
	}
	return name + "@" + domain
}

// keys reads K and OPc or OP from where the flags say.
func (v *userAddCmd) keys(a *app, s *newSubscriber) (err error) {
	scheme, _ := aka.ParseDigestAlgorithm([]byte(v.Scheme)) // an unknown one is for the HSS to word
	switch {
	case scheme == aka.SHA256 || scheme == aka.MD5:
		s.Password, err = v.password(a)
		return err
	case v.Algorithm == tuak:
		return v.tuakKeys(a, s)
	case v.Random:
		s.K, s.OPc, err = randomKeys()
		return err
	case v.Prompt:
		if s.K, err = a.ask("K"); err == nil {
			s.OPc, err = a.ask("OPc")
		}
		return err
	case v.KFile == "" || v.OPcFile == "" && v.OPFile == "":
		return usage{errors.New("the card's keys are missing: --k-file and --opc-file (or --op-file), --prompt, or --random for a soft card")}
	case v.KFile == "-" && (v.OPcFile == "-" || v.OPFile == "-"):
		return usage{errors.New("standard input can carry one key; put the other into a file")}
	}
	if s.K, err = a.readKey(v.KFile); err != nil {
		return err
	}
	if s.OPc, err = a.readKey(v.OPcFile); err != nil {
		return err
	}
	s.OP, err = a.readKey(v.OPFile)
	return err
}

// password reads the password of a subscriber without a card.
func (v *userAddCmd) password(a *app) (keyText, error) {
	switch {
	case v.Random:
		return keyText(rand.Text()), nil
	case v.Prompt:
		return a.ask("password")
	case v.PasswordFile == "":
		return "", usage{fmt.Errorf("the password is missing: %s is for a subscriber without a card, who has --password-file, --prompt, or --random with --card-out", v.Scheme)}
	}
	data, err := a.readSecret(v.PasswordFile, 4096)
	return keyText(bytes.TrimRight(data, "\r\n")), err
}

// randomKeys makes K and, with an OP that nobody keeps, OPc.
func randomKeys() (k, opc keyText, err error) {
	var key aka.K
	var op aka.OP
	for _, b := range [][]byte{key[:], op[:]} {
		if _, err := rand.Read(b); err != nil {
			return "", "", err
		}
	}
	derived := aka.DeriveOPc(key, op)
	return keyText(hex.EncodeToString(key[:])), keyText(hex.EncodeToString(derived[:])), nil
}

type userShowCmd struct {
	operator
	Name string `arg:"" help:"Private or public identity; without a domain it is in the home domain."`
}

// Run shows the subscriber.
func (v *userShowCmd) Run(a *app) error {
	return v.with(a, need{store: true, keys: true}, func(house operations) error {
		domain, err := domainOf(a, house)
		if err != nil {
			return err
		}
		var view hss.View
		if err := house.Call(a.ctx, "user.show", node.UserName{Name: inDomain(v.Name, domain)}, &view); err != nil {
			return err
		}
		a.show(&view)
		return nil
	})
}

type userListCmd struct {
	operator
	After string `help:"Only those after this private identity." placeholder:"IMPI"`
	Limit int    `help:"At most so many; 0 is all." placeholder:"N"`
}

// Run lists page by page, so that a list of a million begins at once.
func (v *userListCmd) Run(a *app) error {
	return v.with(a, need{store: true, keys: true}, func(house operations) error {
		request := node.ListUsers{After: v.After}
		shown := 0
		for {
			if v.Limit > 0 {
				request.Limit = v.Limit - shown
			}
			var page node.UserPage
			if err := house.Call(a.ctx, "user.list", request, &page); err != nil {
				return err
			}
			a.listed(page.Users)
			shown += len(page.Users)
			if page.Next == "" || v.Limit > 0 && shown >= v.Limit {
				break
			}
			request.After = page.Next
		}
		a.say("%d subscribers", shown)
		return nil
	})
}

// listed prints one line for each registration set, in columns as wide as this page needs them.
func (a *app) listed(users []*hss.View) {
	if a.json {
		for _, view := range users {
			_ = json.NewEncoder(a.stdout).Encode(view) // a closed pipe needs no answer
		}
		return
	}
	id, set := 0, 0
	for _, view := range users {
		id = max(id, len(view.ID))
		for _, s := range view.Sets {
			set = max(set, len(s.Default))
		}
	}
	for _, view := range users {
		name := view.ID
		for _, s := range view.Sets {
			a.say("%-*s  %-*s  %-14s  %s", id, name, set, s.Default, s.State, view.Group)
			name = ""
		}
	}
}

// show prints a subscriber.
func (a *app) show(view *hss.View) {
	if a.json {
		a.print(view)
		return
	}
	a.say("%s   group %s, since %s", view.ID, view.Group, utc(view.Created))
	for _, c := range view.Cards {
		a.say("  %s", describeCard(&c))
	}
	if view.Service != nil {
		a.say("  service at %s", cmp.Or(view.Service.Server, "whom its filter criteria name"))
	}
	for _, set := range view.Sets {
		by := ""
		if len(set.RegisteredBy) > 0 {
			by = " by " + strings.Join(set.RegisteredBy, ", ")
		}
		a.say("  set     %s%s", set.State, by)
		for _, p := range set.Public {
			a.say("          %s", describePublic(p, set.Default))
		}
	}
	if len(view.Agreed) > 0 {
		a.say("  agreed  to %s", strings.Join(view.Agreed, ", "))
	}
	if view.ServerName != "" {
		a.say("  S-CSCF  %s, assignment %d", view.ServerName, view.Epoch)
	}
}

func describeCard(c *hss.CardView) string {
	key := "key sealed"
	if !c.KeyCurrent {
		key = "key sealed under an older sealing key"
	}
	imsi := ""
	if c.IMSI != "" {
		imsi = ", IMSI " + c.IMSI
	}
	switch c.Algorithm {
	case "none":
		return "private service identity " + c.IMPI
	case "digest":
		return fmt.Sprintf("password of %s, %s, %s", c.IMPI, c.Scheme, strings.Replace(key, "key", "H(A1)", 1))
	}
	return fmt.Sprintf("card    %s%s, %s, %s, AMF %s, %s, numbers below %d may be used", c.IMPI, imsi, c.Algorithm, c.Scheme, c.AMF, key, c.ReservedSEQ)
}

func describePublic(p hss.Public, first string) string {
	text := p.IMPU
	if p.DisplayName != "" {
		text += fmt.Sprintf(" %q", p.DisplayName)
	}
	if p.Profile != "" {
		text += ", profile " + p.Profile
	}
	if p.Barred {
		text += ", barred"
	}
	if p.IMPU == first {
		text += ", default"
	}
	return text
}

type userConsentCmd struct {
	operator
	Name     string `arg:"" help:"Private or public identity; without a domain it is in the home domain."`
	Service  string `arg:"" help:"Name of the service."`
	Withdraw bool   `help:"The subscriber does not agree any more."`
}

// Run takes it down; a registered subscriber is served accordingly at once.
func (v *userConsentCmd) Run(a *app) error {
	return v.with(a, need{store: true, keys: true}, func(house operations) error {
		domain, err := domainOf(a, house)
		if err != nil {
			return err
		}
		var done node.Changed
		in := node.ConsentUser{Name: inDomain(v.Name, domain), Service: v.Service, Withdraw: v.Withdraw}
		if err := house.Call(a.ctx, "user.consent", in, &done); err != nil {
			return err
		}
		if a.json {
			a.print(done)
		} else {
			a.say("%s agrees to: %s", done.User.ID, cmp.Or(strings.Join(done.User.Agreed, ", "), "nothing"))
		}
		return warned(done.Warning)
	})
}

type userRemoveCmd struct {
	operator
	Name   string `arg:"" help:"Private or public identity; without a domain it is in the home domain."`
	DryRun bool   `help:"Only show who would be removed."`
}

// Run removes the subscriber.
func (v *userRemoveCmd) Run(a *app) error {
	return v.with(a, need{store: true, keys: true}, func(house operations) error {
		domain, err := domainOf(a, house)
		if err != nil {
			return err
		}
		var done node.Changed
		if err := house.Call(a.ctx, "user.remove", node.UserName{Name: inDomain(v.Name, domain), DryRun: v.DryRun}, &done); err != nil {
			return err
		}
		if a.json {
			a.print(done)
		}
		if v.DryRun {
			a.say("%s would be removed (%s); nothing was changed", done.User.ID, done.User.Sets[0].State)
			return nil
		}
		a.say("%s is removed", done.User.ID)
		return warned(done.Warning)
	})
}

// warned is the error for a change that stands but is not known everywhere.
func warned(warning string) error {
	if warning == "" {
		return nil
	}
	return unverified{errors.New(warning)}
}
