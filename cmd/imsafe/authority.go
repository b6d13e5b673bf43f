package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"time"

	"imsafe/ca"
	"imsafe/node"
)

type caCmd struct {
	New     caNewCmd     `cmd:"" help:"Make a root in a file that is taken away, and the first intermediate of the core."`
	Show    caShowCmd    `cmd:"" help:"Show the root and the intermediates that are trusted."`
	Request caRequestCmd `cmd:"" help:"On the core: make the key of a new intermediate and print its request, for ca sign."`
	Sign    caSignCmd    `cmd:"" help:"Where the root is: sign a request, and print the certificates for ca install."`
	Install caInstallCmd `cmd:"" help:"On the core: take what ca sign printed. The intermediate before it stays trusted until it ends or is retired."`
	Retire  caRetireCmd  `cmd:"" help:"End the trust in an intermediate: all certificates that it issued prove nothing any more."`
}

// day is the unit of the lives of authorities.
const day = 24 * time.Hour

type caNewCmd struct {
	operator
	File string `arg:"" help:"The new file of the root, certificate and key. Take it away when this is done: the core never needs it." type:"path"`
	Days int    `help:"Life of the root, in days." default:"3650"`
	Life int    `help:"Life of the intermediate, in days." default:"365"`
}

// Run makes the root and has it sign an intermediate.
func (v *caNewCmd) Run(a *app) error {
	return v.with(a, need{keys: true}, func(house operations) error {
		var s node.Status
		if err := house.Call(a.ctx, "status", node.None{}, &s); err != nil {
			return err
		}
		root, err := ca.NewRoot(rand.Reader, time.Now, s.Domain, time.Duration(v.Days)*day)
		if err != nil {
			return err
		}
		secret, err := root.Marshal()
		if err != nil {
			return err
		}
		defer clear(secret)
		if err := newSecretFile(v.File, secret); err != nil {
			return err
		}
		view, err := renewAuthority(a, house, root, v.Life)
		if err != nil {
			return errors.Join(err, os.Remove(v.File))
		}
		if a.json {
			a.print(view)
			return nil
		}
		a.say("%s holds the root of %s: take it away now; it is needed again to renew the intermediate, before %s.", v.File, s.Domain, view.Issuers[0].NotAfter.Format(time.DateOnly))
		a.say("Its fingerprint is %s: service platforms know the core by it.", view.Root.Fingerprint)
		return nil
	})
}

func renewAuthority(a *app, house operations, root *ca.Root, days int) (*node.AuthorityView, error) {
	var request node.AuthorityText
	if err := house.Call(a.ctx, "ca.request", node.None{}, &request); err != nil {
		return nil, err
	}
	signed, err := root.Sign([]byte(request.PEM), time.Duration(days)*day)
	if err != nil {
		return nil, err
	}
	view := &node.AuthorityView{}
	return view, house.Call(a.ctx, "ca.install", node.AuthorityText{PEM: string(signed)}, view)
}

type caShowCmd struct{ operator }

// Run shows the authority.
func (v *caShowCmd) Run(a *app) error {
	return v.with(a, need{store: true, keys: true}, func(house operations) error {
		var view node.AuthorityView
		if err := house.Call(a.ctx, "ca.show", node.None{}, &view); err != nil {
			return err
		}
		tellAuthority(a, &view)
		return nil
	})
}

func tellAuthority(a *app, view *node.AuthorityView) {
	if a.json {
		a.print(view)
		return
	}
	if view.Root == nil {
		a.say("there is no authority yet: `imsafe ca new FILE` makes one")
		return
	}
	a.say("root          until %s  fingerprint %s", view.Root.NotAfter.Format(time.DateOnly), view.Root.Fingerprint)
	for i, c := range view.Issuers {
		what := "issues"
		if i > 0 {
			what = "trusted"
		}
		a.say("%-12s  until %s  serial %s", what, c.NotAfter.Format(time.DateOnly), c.Serial)
	}
}

type caRequestCmd struct{ operator }

// Run prints a request.
func (v *caRequestCmd) Run(a *app) error {
	return v.with(a, need{keys: true}, func(house operations) error {
		var out node.AuthorityText
		if err := house.Call(a.ctx, "ca.request", node.None{}, &out); err != nil {
			return err
		}
		a.printPEM(out)
		return nil
	})
}

func (a *app) printPEM(t node.AuthorityText) {
	if a.json {
		a.print(t)
		return
	}
	fmt.Fprint(a.stdout, t.PEM)
}

type caSignCmd struct {
	Root    string `arg:"" help:"File of the root." type:"path"`
	Request string `arg:"" help:"File with the request; - is standard input." type:"path"`
	Life    int    `help:"Life of the intermediate, in days." default:"365"`
}

// Run signs, without a node: where the root is there should be none.
func (v *caSignCmd) Run(a *app) error {
	secret, err := a.readSecret(v.Root, 16<<10)
	if err != nil {
		return err
	}
	defer clear(secret)
	root, err := ca.ParseRoot(rand.Reader, time.Now, secret)
	if err != nil {
		return fmt.Errorf("%s: %w", v.Root, err)
	}
	request, err := a.readText(v.Request)
	if err != nil {
		return err
	}
	signed, err := root.Sign(bytes.TrimSpace(request), time.Duration(v.Life)*day)
	if err != nil {
		return err
	}
	a.printPEM(node.AuthorityText{PEM: string(signed)})
	return nil
}

type caInstallCmd struct {
	operator
	File string `arg:"" help:"File with the certificates; - is standard input." type:"path"`
}

// Run installs an intermediate.
func (v *caInstallCmd) Run(a *app) error {
	text, err := a.readText(v.File)
	if err != nil {
		return err
	}
	return v.with(a, need{keys: true}, func(house operations) error {
		var view node.AuthorityView
		if err := house.Call(a.ctx, "ca.install", node.AuthorityText{PEM: string(text)}, &view); err != nil {
			return err
		}
		tellAuthority(a, &view)
		return nil
	})
}

type caRetireCmd struct {
	operator
	Serial string `arg:"" help:"Serial number of the intermediate, as ca show prints it."`
}

// Run retires an intermediate.
func (v *caRetireCmd) Run(a *app) error {
	return v.with(a, need{store: true, keys: true}, func(house operations) error {
		var view node.AuthorityView
		if err := house.Call(a.ctx, "ca.retire", node.RetireAuthority{Serial: v.Serial}, &view); err != nil {
			return err
		}
		tellAuthority(a, &view)
		return nil
	})
}
