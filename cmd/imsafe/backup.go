package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"imsafe/config"
	"imsafe/node"
	"imsafe/store/disk"
	"imsafe/store/sqlite"
)

type backupCmd struct {
	operator
	File string `arg:"" help:"The new file. A running node writes it, as its own user." type:"path"`
}

// Run makes a backup.
func (v *backupCmd) Run(a *app) error {
	path, err := filepath.Abs(v.File)
	if err != nil {
		return err
	}
	return v.with(a, need{store: true}, func(house operations) error {
		stop := a.progress("backup")
		var done node.BackedUp
		err := house.Call(a.ctx, "backup", node.BackupTo{Path: path}, &done)
		stop()
		if err != nil {
			return err
		}
		if a.json {
			a.print(done)
		}
		a.say("%s: %d octets, as of %s. K and OPc in it are sealed: it is of no use without the sealing key, so keep both, apart.",
			done.Path, done.Octets, done.Taken.Format(time.RFC3339))
		return nil
	})
}

type restoreCmd struct {
	configFile
	File    string `arg:"" help:"The backup." type:"path"`
	Replace bool   `help:"Move a store that is there aside, instead of refusing."`
}

// restored is what a restore did.
type restored struct {
	Directory string    `json:"directory"`
	Taken     time.Time `json:"taken"`
	Epoch     uint64    `json:"epoch"`
	Aside     string    `json:"aside,omitempty"`    // where the store went that was there
	Resealed  int       `json:"resealed,omitempty"` // records that were sealed with an older key of the ring
}

// Run makes the store of a stopped node from a backup. The sequence numbers jump ahead by themselves: the HSS sees that its store was
// restored, and goes on beyond what can have been used since.
func (v *restoreCmd) Run(a *app) error {
	c, err := v.load(a)
	if err != nil {
		return err
	}
	if knock(a.ctx, c.ManagementSocket()) == nil {
		return fmt.Errorf("a node runs and answers at %s: stop it first", c.ManagementSocket())
	}
	if c.Store.Shared() {
		return errors.New("the store is in PostgreSQL, whose own backups are restored; then say so before a node starts: update imsafe.meta set epoch = epoch + 1, restored_at = now()")
	}
	taken, err := sqlite.Manifest(v.File)
	if err != nil {
		return fmt.Errorf("%s is no backup of imsafe: %w", v.File, err)
	}
	if taken.Meta.Lab != c.Node.Lab {
		return fmt.Errorf("the backup is of a store with lab = %v, the configuration says lab = %v: such stores are never mixed", taken.Meta.Lab, c.Node.Lab)
	}
	dir := c.Node.DataDir
	if err := ownDirectory(dir); err != nil {
		return err
	}
	r := &restored{Directory: dir, Taken: taken.At}
	if r.Aside, err = v.makeRoom(c); err != nil {
		return err
	}
	stop := a.progress("restore")
	meta, err := sqlite.Restore(v.File, dir, time.Now())
	if err != nil {
		stop()
		return errors.Join(err, putBack(r.Aside, dir))
	}
	r.Epoch = meta.Epoch
	err = verifyRestored(a, c, r)
	stop()
	if a.json {
		a.print(r)
	}
	a.say("%s has the state of %s. What changed since then is gone.",
		dir, taken.At.Format(time.RFC3339))
	if r.Aside != "" {
		a.say("The store that was there is in %s.", r.Aside)
	}
	return err
}

// makeRoom leaves the directory empty, and returns where the store went that was in it. A lock shows that no process uses it.
func (v *restoreCmd) makeRoom(c *config.Config) (aside string, err error) {
	dir := c.Node.DataDir
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var lock io.Closer
	if lock, err = disk.OS(dir).Lock(); err != nil {
		return "", locked(err, c)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if _, err := os.Stat(filepath.Join(dir, sqlite.FileName)); err == nil && !v.Replace {
		return "", fmt.Errorf("%s holds a store, which is not overwritten: --replace moves it aside", dir)
	}
	if !v.Replace {
		return "", fmt.Errorf("%s is not empty: name a directory for the store alone, or move it aside with --replace", dir)
	}
	aside = dir + ".before-restore-" + time.Now().UTC().Format("20060102T150405.000Z")
	if err := os.Rename(dir, aside); err != nil {
		return "", fmt.Errorf("the old store cannot be moved aside: %w; move what is in %s away by hand", err, dir)
	}
	return aside, nil
}

// putBack undoes makeRoom after a restore that failed.
func putBack(aside, dir string) error {
	if aside == "" {
		return nil
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the store that was there is in %s: %w", aside, err)
	}
	return os.Rename(aside, dir)
}

// verifyRestored opens the new store and every sealed key in it, and seals with the present key what an older one sealed.
func verifyRestored(a *app, c *config.Config, r *restored) error {
	keyring, err := node.LoadKeyring(c, a.credentials())
	if err != nil {
		return unverified{fmt.Errorf("restored, but the sealed keys in it could not be looked at: %w", err)}
	}
	house, err := openStore(a, c, need{store: true, keys: true})
	if err != nil {
		return err
	}
	probe, err := node.Probe(keyring, rand.Reader)
	var done node.Rotated
	if err == nil {
		err = house.Call(a.ctx, "key.rotate", node.RotateKeys{Probe: probe}, &done)
	}
	r.Resealed = done.Resealed
	if err == nil {
		err = house.Call(a.ctx, "key.check", node.None{}, nil)
	}
	if err = errors.Join(err, house.Close()); err != nil {
		return unverified{fmt.Errorf("restored, but not every K in it can be opened: %w; put the sealing key of %s into %s and restore again", err,
			r.Taken.Format(time.DateOnly), c.HSS.SealingKeyFile)}
	}
	return nil
}
