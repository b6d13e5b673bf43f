package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"imsafe/node"
	"imsafe/store/seal"
)

type keyCmd struct {
	New    keyNewCmd    `cmd:"" help:"Make a sealing key file, under whose keys K and OPc are sealed in the store."`
	Rotate keyRotateCmd `cmd:"" help:"Make a new sealing key, seal everything with it, and forget the old one. A running node goes on."`
}

type keyNewCmd struct {
	File string `arg:"" help:"The new file; it is never written over one that is there." type:"path"`
}

// Run makes the file.
func (v *keyNewCmd) Run(a *app) error {
	keyring, err := seal.Generate(rand.Reader)
	if err == nil {
		err = keyring.Save(v.File)
	}
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already and is not overwritten: `imsafe key rotate` renews the key that a configuration names", v.File)
	}
	if err != nil {
		return err
	}
	if a.json {
		a.print(map[string]string{"file": v.File})
	}
	a.say("%s is made, for its owner alone. Keep a copy away from this host and from the backups: without it no K can be read.", v.File)
	return nil
}

type keyRotateCmd struct {
	operator
	KeepOld string `help:"Save the old keys to this new file, for backups that were made before." type:"path" placeholder:"FILE"`
}

// rotated is what a rotation did.
type rotated struct {
	File     string `json:"file"`
	Resealed int    `json:"resealed"`
	KeptOld  string `json:"kept_old,omitempty"`
	Finished bool   `json:"finished_earlier,omitempty"` // an earlier rotation that had not ended was ended; no further key was made
}

// Run rotates: a new key in front, everything resealed, the old key gone. The file on the disk always opens everything, so it may end
// anywhere and be run again.
func (v *keyRotateCmd) Run(a *app) error {
	c, err := v.load(a)
	if err != nil {
		return err
	}
	path, err := c.HSS.SealingKeyFile.Path("")
	if err != nil {
		return usage{errors.New("the sealing key comes from the system's credentials, which imsafe cannot write: name its file in sealing_key_file for the rotation, then put the new file into the credential store")}
	}
	old, err := seal.Load(path)
	if err != nil {
		return err
	}
	return v.with(a, need{keys: true}, func(house operations) error {
		r := rotated{File: path, KeptOld: v.KeepOld, Finished: old.Keys() > 1}
		next := old
		if !r.Finished {
			if next, err = old.Rotate(rand.Reader); err != nil {
				return err
			}
		}
		if v.KeepOld != "" {
			if err := old.Save(v.KeepOld); err != nil {
				return err
			}
		}
		if r.Resealed, err = v.exchange(a, house, next, path); err != nil {
			return fmt.Errorf("%w; the key file opens everything as before, so try again", err)
		}
		if _, err := v.exchange(a, house, next.Retire(), path); err != nil {
			return err
		}
		v.tell(a, &r)
		return nil
	})
}

// exchange writes a keyring and lets the house seal everything with it. It returns how many records changed.
func (v *keyRotateCmd) exchange(a *app, house operations, next *seal.Keyring, path string) (int, error) {
	if err := replaceKeys(next, path); err != nil {
		return 0, err
	}
	probe, err := node.Probe(next, rand.Reader)
	if err != nil {
		return 0, err
	}
	stop := a.progress("sealing the keys of all subscribers anew")
	defer stop()
	var done node.Rotated
	err = house.Call(a.ctx, "key.rotate", node.RotateKeys{Probe: probe}, &done)
	return done.Resealed, err
}

// replaceKeys writes a keyring over the file and leaves it to the owner it had, who may be the user of the node.
func replaceKeys(next *seal.Keyring, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if err := next.Replace(path); err != nil {
		return err
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && int(s.Uid) != os.Geteuid() {
		return os.Chown(path, int(s.Uid), int(s.Gid))
	}
	return nil
}

func (v *keyRotateCmd) tell(a *app, r *rotated) {
	if a.json {
		a.print(r)
		return
	}
	if r.Finished {
		a.say("An earlier rotation had not ended; it has now.")
	}
	a.say("%s has a new key; %d records are sealed with it, and the old key is gone from the file.", r.File, r.Resealed)
	if v.KeepOld != "" {
		a.say("The old keys are in %s.", v.KeepOld)
	}
	a.say("Backups that were made before open only with the old key: make a new one now with `imsafe backup`.")
}
