package main

import "imsafe/node"

type explainCmd struct {
	ID           explainIDCmd           `cmd:"" name:"id" default:"withargs" help:"Tell of an attack, a control, a cell, a threat, an asset or a code of imsafe doctor: what it is, why it matters, where it stands in standard and code, what was last seen, and what to do."`
	Registration explainRegistrationCmd `cmd:"" help:"Tell how the last registrations of a client went: what it offered, what was chosen, which check refused it and why, and what to change."`
}

type explainRegistrationCmd struct {
	operator
	Identity string `arg:"" help:"Private or public identity of the client; without a domain it is in the home domain."`
}

// Run asks the running node.
func (v *explainRegistrationCmd) Run(a *app) error {
	return v.with(a, need{store: true}, func(house operations) error {
		domain, err := domainOf(a, house)
		if err != nil {
			return err
		}
		var r node.Registration
		if err := house.Call(a.ctx, "registration.explain", node.UserName{Name: inDomain(v.Identity, domain)}, &r); err != nil {
			return err
		}
		if a.json {
			a.print(r)
			return nil
		}
		a.say("%s", r.IMPI)
		for _, attempt := range r.Attempts {
			a.say("\n%s  from %s, access %s", utc(attempt.At), attempt.Source, attempt.Access)
			for _, h := range attempt.Events {
				a.say("  %s  %s", h.At.UTC().Format("15:04:05.000"), h.What)
				if h.Do != "" {
					a.say("                > %s", h.Do)
				}
			}
		}
		return nil
	})
}
