package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"imsafe/node"
)

// Groups and service profiles: what subscribers have in common. They go as JSON files, in the form that `show` prints.

type groupCmd struct {
	List   namesCmd[groups]      `cmd:"" help:"List the groups."`
	Show   nameCmd[groups]       `cmd:"" help:"Show a group as JSON, in the form that put reads."`
	Put    putCmd[groups]        `cmd:"" help:"Make or replace a group from a JSON file."`
	Remove removeNameCmd[groups] `cmd:"" help:"Remove a group that has no members."`
}

type profileCmd struct {
	List   namesCmd[profiles]      `cmd:"" help:"List the service profiles."`
	Show   nameCmd[profiles]       `cmd:"" help:"Show a service profile as JSON, in the form that put reads."`
	Put    putCmd[profiles]        `cmd:"" help:"Make or replace a service profile from a JSON file; whoever is registered with it gets the new one."`
	Remove removeNameCmd[profiles] `cmd:"" help:"Remove a service profile that nobody uses."`
}

// kind says of what a verb is.
type kind interface{ noun() string }

type (
	groups   struct{}
	profiles struct{}
)

func (groups) noun() string   { return "group" }
func (profiles) noun() string { return "profile" }

func nounOf[K kind]() string {
	var k K
	return k.noun()
}

type namesCmd[K kind] struct{ operator }

// Run lists the names.
func (v *namesCmd[K]) Run(a *app) error {
	return v.with(a, need{store: true}, func(house operations) error {
		var out node.Names
		if err := house.Call(a.ctx, nounOf[K]()+".list", node.None{}, &out); err != nil {
			return err
		}
		if a.json {
			a.print(out)
			return nil
		}
		if len(out.Names) == 0 {
			a.say("there are no %ss", nounOf[K]())
		}
		for _, name := range out.Names {
			a.say("%s", name)
		}
		return nil
	})
}

type nameCmd[K kind] struct {
	operator
	Name string `arg:"" help:"Its name."`
}

// Run shows it; JSON is the form for people too, because it is the form that put reads.
func (v *nameCmd[K]) Run(a *app) error {
	return v.with(a, need{store: true}, func(house operations) error {
		var out json.RawMessage
		if err := house.Call(a.ctx, nounOf[K]()+".show", node.Named{Name: v.Name}, &out); err != nil {
			return err
		}
		a.print(out)
		return nil
	})
}

type putCmd[K kind] struct {
	operator
	File string `arg:"" help:"JSON file; - is standard input." type:"path"`
}

// Run puts it.
func (v *putCmd[K]) Run(a *app) error {
	text, err := a.readText(v.File)
	if err != nil {
		return err
	}
	if !json.Valid(text) {
		return fmt.Errorf("%s is not JSON", v.File)
	}
	return v.with(a, need{}, func(house operations) error {
		var out node.Told
		if err := house.Call(a.ctx, nounOf[K]()+".put", json.RawMessage(text), &out); err != nil {
			return err
		}
		if a.json {
			a.print(out)
		}
		var named node.Named // the name stands in what the house has just understood
		if err := json.Unmarshal(text, &named); err != nil {
			return err
		}
		a.say("the %s %s is stored", nounOf[K](), named.Name)
		return warned(out.Warning)
	})
}

// maxText bounds a file of a group or profile.
const maxText = 1 << 20

func (a *app) readText(path string) ([]byte, error) {
	in := a.stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	var text bytes.Buffer
	n, err := io.Copy(&text, io.LimitReader(in, maxText+1))
	if err == nil && n > maxText {
		err = fmt.Errorf("%s has more than %d octets", path, maxText)
	}
	return text.Bytes(), err
}

type removeNameCmd[K kind] struct {
	operator
	Name string `arg:"" help:"Its name."`
}

// Run removes it.
func (v *removeNameCmd[K]) Run(a *app) error {
	return v.with(a, need{store: true}, func(house operations) error {
		if err := house.Call(a.ctx, nounOf[K]()+".remove", node.Named{Name: v.Name}, nil); err != nil {
			return err
		}
		if a.json {
			a.print(node.Told{})
		}
		a.say("%s %s is removed", nounOf[K](), v.Name)
		return nil
	})
}
