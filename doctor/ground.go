package doctor

import (
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"imsafe/config"
)

// What a node stands on: clock, configuration, files, store.

// written is when this look was written: no clock that is right is before it.
var written = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func (x *examination) clock() {
	now := x.host.Wall()
	if now.Before(written) {
		x.breaks(ClockSane, "the clock says %s, which is before this program was written", now.UTC().Format(time.RFC3339))
	} else {
		x.fine(ClockSane, "the clock says %s", now.UTC().Format(time.RFC3339))
	}
	switch synced, err := x.host.Synchronised(); {
	case err != nil:
		x.unchecked(ClockService, onTheHost, "whether a time service holds the clock cannot be seen here: %v", err)
	case !synced:
		x.hint(ClockService, "no time service holds the clock: the kernel says that it is not synchronised")
	default:
		x.fine(ClockService, "a time service holds the clock")
	}
	if x.Node == nil || x.Node.Health == nil {
		return
	}
	const allowed = 2 * time.Second
	if jump := x.Node.Health.ClockJump; jump.Abs() > allowed {
		x.hint(ClockJump, "since the node started, %s, its clock has moved by %s on its own", x.Node.Health.Started.UTC().Format(time.RFC3339), jump.Round(time.Millisecond))
	} else {
		x.fine(ClockJump, "the node's clock has not jumped since it started")
	}
}

// configuration reports whether there is one to go on with.
func (x *examination) configuration() bool {
	if x.ConfigErr != nil {
		f := x.add(Config, Breaks, "%v", x.ConfigErr)
		if errors.Is(x.ConfigErr, fs.ErrNotExist) {
			f.What = "there is no configuration at " + x.Path
			f.instead("`imsafe quickstart` writes one; -c names another place")
		}
		return false
	}
	x.fine(Config, "%s is valid; the home domain is %s", x.Path, x.Config.HomeDomain())
	for _, w := range x.Config.Weakenings() {
		x.hint(ConfigWeak, "%s: %s", w.Name, w.Meaning)
	}
	return true
}

func (x *examination) files() {
	err := x.Config.CheckFiles(x.host.Stat, x.Credentials)
	var problems config.Problems
	if !errors.As(err, &problems) {
		x.fine(ConfigFiles, "the files that it names are there, and those with secrets are for their owner alone")
		return
	}
	for _, p := range problems {
		f := x.add(ConfigFiles, Breaks, "%s: %s", p.Key, p.Text)
		switch {
		case p.Hint != "":
			f.instead("%s", p.Hint)
		case x.Credentials == "" && credential(x.Config, p.Key):
			f.Level, f.Why = Unchecked, ""
			f.instead(credentials)
		}
	}
}

// keyElsewhere reports whether the sealing key is a credential that the system gives to the node alone.
func (x *examination) keyElsewhere() bool {
	return x.Credentials == "" && credential(x.Config, "hss.sealing_key_file")
}

// credential reports whether the secret of a key comes from the system's credentials.
func credential(c *config.Config, key string) bool {
	name := c.HSS.SealingKeyFile
	if key == "ci.tls.key_file" {
		name = c.CI.TLS.KeyFile
	}
	_, err := name.Path("")
	return err != nil
}

// The room that a store should have, in octets: below the first soon nothing is acknowledged any more, below the second somebody should
// look.
const (
	leastRoom = 256 << 20
	goodRoom  = 2 << 30
)

func (x *examination) store() {
	dir := x.Config.Node.DataDir
	place, info := dir, fs.FileInfo(nil)
	for { // of a directory that is to be made, the one where it will be
		var err error
		if info, err = x.host.Stat(place); err == nil || place == filepath.Dir(place) {
			break
		}
		place = filepath.Dir(place)
	}
	if info != nil && place == dir {
		x.directory(dir, info)
	}
	switch free, err := x.host.Free(place); {
	case err != nil:
		x.unchecked(DataSpace, asTheNode, "the room in %s cannot be seen: %v", place, err)
	case free < leastRoom:
		x.breaks(DataSpace, "%d MB are left in %s", free>>20, place)
	case free < goodRoom:
		x.hint(DataSpace, "%d MB are left in %s", free>>20, place)
	default:
		x.fine(DataSpace, "%d GB are left in %s", free>>30, place)
	}
	switch {
	case x.Node != nil && x.Node.Status != nil && x.Node.Status.Lab != x.Config.Node.Lab:
		x.breaks(Store, "the node that runs has a store of another kind: lab is %t there, and %t in the configuration", x.Node.Status.Lab, x.Config.Node.Lab)
	case x.Node != nil:
		x.fine(Store, "the node that runs has the store")
	case x.Blind:
		x.unchecked(Store, asTheNode, "the store of %s belongs to another user", dir)
	case x.NoStore:
		x.fine(Store, "there is no store in %s yet; the first run makes it", dir)
	case x.StoreErr != nil && x.keyElsewhere():
		x.unchecked(Store, credentials, "the store cannot be opened without the sealing key, which comes from the system's credentials")
	case x.StoreErr != nil:
		x.breaks(Store, "%v", x.StoreErr)
	default:
		x.fine(Store, "the store in %s opens", x.place())
	}
	switch {
	case x.KeysErr != nil && x.Node == nil && x.keyElsewhere():
		x.unchecked(SealingKey, credentials, "the sealing key comes from the system's credentials")
	case x.KeysErr != nil:
		x.breaks(SealingKey, "%v", x.KeysErr)
	case x.Cards > 0:
		x.fine(SealingKey, "the sealed keys of all %d cards open", x.Cards)
	}
}

// place is where the store is.
func (x *examination) place() string {
	if x.Config.Store.Shared() {
		return "PostgreSQL"
	}
	return x.Config.Node.DataDir
}

// directory looks at whose the data directory is.
func (x *examination) directory(dir string, info fs.FileInfo) {
	owner, self := x.host.Owner(info)
	mode := info.Mode().Perm()
	switch {
	case !info.IsDir():
		x.breaks(DataDirectory, "%s is no directory", dir)
	case mode&0o077 != 0:
		x.breaks(DataDirectory, "%s has the rights %#o: others may look into it", dir, mode)
	case owner != self && x.Node == nil && !x.Blind:
		x.breaks(DataDirectory, "%s belongs to user %d, and this is user %d", dir, owner, self)
	default:
		x.fine(DataDirectory, "%s is for its owner alone", dir)
	}
}
