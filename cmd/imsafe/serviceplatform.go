package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"imsafe/iface/imsservice"
	"imsafe/node"
	"imsafe/refpoint/isc"
)

// Service platforms: the operator's side. What a platform itself does is in servicerequest.go.

type serviceInviteCmd struct {
	operator
	For time.Duration `help:"How long the invitation holds, at most a week." default:"1h"`
}

// Run prints a token, and what the platform types.
func (v *serviceInviteCmd) Run(a *app) error {
	return v.with(a, need{keys: true}, func(house operations) error {
		var out node.Invited
		if err := house.Call(a.ctx, "service.invite", node.InviteService{Seconds: int(v.For.Seconds())}, &out); err != nil {
			return err
		}
		if a.json {
			a.print(out)
			return nil
		}
		at := out.Listen
		if at == "" {
			at = "HOST:PORT"
			a.say("No door for enrolment is open: set listen in [is.enrol].")
		}
		a.say("The token holds until %s, for one request. On the platform:\n", utc(out.Until))
		a.say("imsafe service request NAME.service.toml --to %s --ca-fingerprint %s --token %s", at, out.CA, out.Token)
		if out.Connect != "" {
			a.say("\nWhen it is approved it connects to %s, which shows a certificate for %s.", out.Connect, out.Name)
		}
		return nil
	})
}

type serviceListCmd struct{ operator }

// Run lists the services.
func (v *serviceListCmd) Run(a *app) error {
	return v.with(a, need{store: true, keys: true}, func(house operations) error {
		var out node.Services
		if err := house.Call(a.ctx, "service.list", node.None{}, &out); err != nil {
			return err
		}
		if a.json {
			a.print(out)
			return nil
		}
		for _, e := range out.Services {
			a.say("%-20s  %-10s  %s", e.Name, standing(e), strings.Join(e.Granted, " "))
		}
		if len(out.Services) == 0 {
			a.say("no service platform has asked yet: `imsafe service invite` makes a token for one")
		}
		return nil
	})
}

// standing says in a word how a service stands.
func standing(e *imsservice.Entry) string {
	switch {
	case e.Held != "":
		return e.Held
	case e.Expired:
		return "expired"
	case e.Pending != nil && e.State != imsservice.StateRequested:
		return string(e.State) + "+request"
	}
	return string(e.State)
}

type serviceShowCmd struct {
	operator
	Name string `arg:"" help:"Its name."`
}

// Run shows a service.
func (v *serviceShowCmd) Run(a *app) error {
	return v.with(a, need{store: true, keys: true}, func(house operations) error {
		e := &imsservice.Entry{}
		if err := house.Call(a.ctx, "service.show", node.Named{Name: v.Name}, e); err != nil {
			return err
		}
		if a.json {
			a.print(e)
			return nil
		}
		tellService(a, e)
		return nil
	})
}

func tellService(a *app, e *imsservice.Entry) {
	a.say("%s: %s", e.Name, standing(e))
	if e.Serial > 0 {
		a.say("  approval %d by %s, %s", e.Serial, e.Approver, utc(*e.ApprovedAt))
		a.say("  granted  %s", strings.Join(e.Granted, " "))
	}
	for _, k := range e.Keys {
		how := "approved"
		if k.Renewed {
			how = "renewed"
		}
		a.say("  key      %s  instance %s, %s %s", k.Fingerprint, k.Instance, how, utc(k.Since))
	}
	if p := e.Pending; p != nil {
		a.say("  waits since %s: instance %s, key %s", utc(p.At), p.Instance, p.Fingerprint)
		tellDifference(a, e, isc.Scopes{})
	}
	if e.Held == imsservice.HeldRestored {
		a.say("  A backup was restored, which may be older than a suspension or revocation: `imsafe service resume %s` if it is to go on.", e.Name)
	}
}

// asked returns the manifest that an approval would be about, its octets, and the key.
func asked(e *imsservice.Entry) (m *isc.Manifest, text string, err error) {
	text = e.Manifest
	if e.Pending != nil {
		text = e.Pending.Manifest
	}
	m, err = isc.Parse([]byte(text))
	return m, text, err
}

// tellDifference shows what is asked for, but for what is not to be granted, against what was granted before.
func tellDifference(a *app, e *imsservice.Entry, without isc.Scopes) {
	m, _, err := asked(e)
	if err != nil {
		a.say("  its manifest cannot be read: %v", err)
		return
	}
	for _, line := range difference(e.Granted, m.Asked.Without(without).List()) {
		a.say("    %s", line)
	}
	for _, s := range without.List() {
		if !slices.Contains(e.Granted, s) {
			a.say("      %s is asked for, and not granted", s)
		}
	}
	who := "nobody's sessions"
	switch {
	case m.Users.All:
		who = "ALL USERS"
	case len(m.Users.Groups) > 0:
		who = "groups " + strings.Join(m.Users.Groups, ", ")
	}
	a.say("    of provider %s at %s, for %s, until %s", m.Provider, m.Endpoint, who, m.Expires.AddDate(0, 0, -1).Format(time.DateOnly))
	if old, err := isc.Parse([]byte(e.Manifest)); err == nil && e.Pending != nil && e.Manifest != e.Pending.Manifest && old.Endpoint != m.Endpoint {
		a.say("    was at %s", old.Endpoint)
	}
}

// difference marks scopes that come (+), go (-) or stay.
func difference(old, new []string) (lines []string) {
	for _, s := range new {
		mark := "+"
		if slices.Contains(old, s) {
			mark = " "
		}
		lines = append(lines, mark+" "+s)
	}
	for _, s := range old {
		if !slices.Contains(new, s) {
			lines = append(lines, "- "+s)
		}
	}
	return lines
}

type serviceApproveCmd struct {
	operator
	Name        string   `arg:"" help:"The service."`
	Fingerprint string   `help:"Fingerprint of its key, as the platform printed it: compare it by another way than the one that the request came by." placeholder:"F"`
	Key         string   `help:"File of the approval key, of approver new." type:"path" placeholder:"FILE"`
	Without     []string `help:"Scope that is not granted; may be repeated." placeholder:"SCOPE"`
	AllUsers    bool     `help:"Grant all users, where the manifest asks for that."`
	As          string   `help:"Name of who approves, for the record." placeholder:"NAME"`

	From   string `help:"Take what waits from this file, of service show --json, instead of the core; with --out." type:"path" placeholder:"FILE" group:"Away from the core:"`
	Out    string `help:"Write the signed approval to this new file instead of sending it." type:"path" placeholder:"FILE" group:"Away from the core:"`
	Signed string `help:"On the core: send the approval in this file." type:"path" placeholder:"FILE" group:"Away from the core:"`
}

// Run shows both sides, signs here and sends the approval to the core. Each half can be done where the other is not.
func (v *serviceApproveCmd) Run(a *app) error {
	switch {
	case v.Signed != "":
		text, err := a.readText(v.Signed)
		if err != nil {
			return err
		}
		return v.with(a, need{store: true, keys: true}, func(house operations) error { return v.send(a, house, text) })
	case v.Key == "" || v.Fingerprint == "":
		return usage{errors.New("an approval needs --key and --fingerprint, or is in a file: --signed")}
	case v.From != "":
		if v.Out == "" {
			return usage{errors.New("--from signs away from the core: say with --out where the approval goes")}
		}
		text, err := a.readText(v.From)
		if err != nil {
			return err
		}
		e := &imsservice.Entry{}
		if err := json.Unmarshal(text, e); err != nil {
			return fmt.Errorf("%s is not what service show --json prints: %w", v.From, err)
		}
		return v.sign(a, e, v.keep(a))
	}
	return v.with(a, need{store: true, keys: true}, func(house operations) error {
		e := &imsservice.Entry{}
		if err := house.Call(a.ctx, "service.show", node.Named{Name: v.Name}, e); err != nil {
			return err
		}
		if v.Out != "" {
			return v.sign(a, e, v.keep(a))
		}
		return v.sign(a, e, func(text []byte) error { return v.send(a, house, text) })
	})
}

// keep writes an approval to a file.
func (v *serviceApproveCmd) keep(a *app) func([]byte) error {
	return func(text []byte) error {
		if err := newSecretFile(v.Out, text); err != nil {
			return err
		}
		if a.json {
			a.print(map[string]string{"file": v.Out})
			return nil
		}
		a.say("%s is written; on the core: imsafe service approve %s --signed %s", v.Out, v.Name, filepath.Base(v.Out))
		return nil
	}
}

// sign decides about a service and signs.
func (v *serviceApproveCmd) sign(a *app, e *imsservice.Entry, then func([]byte) error) error {
	key, err := a.readApprover(v.Key)
	if err != nil {
		return err
	}
	defer clear(key)
	approval, err := v.decide(a, e)
	if err != nil {
		return err
	}
	if err := approval.Sign(key); err != nil {
		return err
	}
	return then(approval.Marshal())
}

// send gives an approval to the core.
func (v *serviceApproveCmd) send(a *app, house operations, text []byte) error {
	var out node.ServiceChanged
	if err := house.Call(a.ctx, "service.approve", node.ApproveService{Approval: string(text)}, &out); err != nil {
		return err
	}
	if a.json {
		a.print(out)
		return nil
	}
	a.say("%s is approved, serial %d: %s", out.Service.Name, out.Service.Serial, strings.Join(out.Service.Granted, " "))
	return warned(out.Warning)
}

// decide compares fingerprints and makes the approval.
func (v *serviceApproveCmd) decide(a *app, e *imsservice.Entry) (*isc.Approval, error) {
	m, text, err := asked(e)
	if err != nil {
		return nil, fmt.Errorf("the manifest of %s: %w", v.Name, err)
	}
	approval := &isc.Approval{Service: v.Name, Manifest: sha256.Sum256([]byte(text)), AllUsers: v.AllUsers, Approver: v.As,
		Time: time.Now().UTC().Truncate(time.Second), Serial: e.Serial + 1}
	if copy(approval.Key[:], v.keyOf(e)) != len(approval.Key) {
		return nil, fmt.Errorf("%s has no key that could be approved", v.Name)
	}
	a.say("core has    %s", approval.Key)
	a.say("you have    %s", v.Fingerprint)
	if !approval.Key.Matches(v.Fingerprint) {
		return nil, errors.New("the fingerprints differ: somebody else's request waits, or you mistyped; nothing was approved")
	}
	without, err := isc.ParseScopes(v.Without)
	if err != nil {
		return nil, usage{err}
	}
	if !without.Within(m.Asked) {
		return nil, usage{fmt.Errorf("it does not ask for %s", without.Without(m.Asked))}
	}
	tellDifference(a, e, without)
	approval.Granted = m.Asked.Without(without)
	if v.AllUsers && !m.Users.All {
		return nil, usage{errors.New("the manifest does not ask for all users")}
	}
	if m.Users.All && !v.AllUsers {
		return nil, usage{errors.New("the manifest asks for the sessions of all users: approve that with --all-users")}
	}
	if approval.Approver == "" {
		who, err := user.Current()
		if err != nil {
			return nil, usage{errors.New("say who approves with --as")}
		}
		approval.Approver = who.Username
	}
	return approval, nil
}

// keyOf is the whole fingerprint that the approval is about.
func (v *serviceApproveCmd) keyOf(e *imsservice.Entry) []byte {
	if e.Pending != nil {
		return e.Pending.Key
	}
	return e.ApprovedKey
}

type serviceSuspendCmd struct {
	operator
	Name       string `arg:"" help:"The service."`
	EndDialogs bool   `help:"End the dialogs that it takes part in, too."`
}

// Run suspends a service.
func (v *serviceSuspendCmd) Run(a *app) error {
	return v.change(a, "service.suspend", v.Name, node.SuspendService{Name: v.Name, EndDialogs: v.EndDialogs})
}

// change makes a change and tells how the service stands.
func (o operator) change(a *app, verb, name string, in any) error {
	return o.with(a, need{store: true, keys: true}, func(house operations) error {
		var out node.ServiceChanged
		if err := house.Call(a.ctx, verb, in, &out); err != nil {
			return err
		}
		if a.json {
			a.print(out)
			return nil
		}
		a.say("%s: %s", name, standing(out.Service))
		if out.Ended > 0 {
			a.say("%d dialogs were ended", out.Ended)
		}
		return warned(out.Warning)
	})
}

type serviceNamedCmd struct {
	operator
	Name string `arg:"" help:"The service."`
}

// Run resumes a service.
func (v *serviceNamedCmd) Run(a *app) error {
	return v.change(a, "service.resume", v.Name, node.Named{Name: v.Name})
}

type serviceRevokeCmd struct {
	operator
	Name     string `arg:"" help:"The service."`
	Serial   string `help:"Only the certificate with this serial number, in hexadecimal." placeholder:"HEX"`
	Instance string `help:"Only the keys of this instance." placeholder:"NAME"`
}

// Run revokes.
func (v *serviceRevokeCmd) Run(a *app) error {
	return v.change(a, "service.revoke", v.Name, node.RevokeService{Name: v.Name, Serial: v.Serial, Instance: v.Instance})
}
