package main

import (
	"errors"
	"os"
	"strings"

	"imsafe/node"
)

type logCmd struct {
	Verify logVerifyCmd `cmd:"" help:"Say whether the log of decisions is whole, and where it is not: edited, cut, reordered, forged. Exit 1 if it is not."`
}

type logVerifyCmd struct {
	operator
	Head string `help:"A file with a head that was kept elsewhere: it must be in the log." type:"existingfile" placeholder:"FILE"`
}

// errNotWhole is why the exit status is 1.
var errNotWhole = errors.New("the log of decisions is not whole")

// Run verifies.
func (v *logVerifyCmd) Run(a *app) error {
	var in node.VerifyLog
	if v.Head != "" {
		text, err := os.ReadFile(v.Head)
		if err != nil {
			return err
		}
		in.Head = strings.TrimSpace(string(text))
	}
	return v.with(a, need{store: true}, func(house operations) error {
		var r node.LogReport
		if err := house.Call(a.ctx, "log.verify", in, &r); err != nil {
			return err
		}
		if a.json {
			a.print(r)
			if !r.Whole {
				return quiet{errNotWhole}
			}
			return nil
		}
		a.say("records %d to %d, signed up to %d (%d heads by key %s)", r.First, r.Last, r.SignedTo, r.Heads, r.Key)
		if r.Torn > 0 {
			a.say("%d octets of a record were not finished when the node ended", r.Torn)
		}
		if !r.Whole {
			f := r.Fault
			a.say("%s at record %d (%s, line %d): %s", strings.ToUpper(f.How), f.Record, f.File, f.Line, f.Text)
			return errNotWhole
		}
		a.say("whole")
		if r.Head != "" {
			a.say("head, to be kept where nobody of this host can write:\n%s", r.Head)
		}
		return nil
	})
}
