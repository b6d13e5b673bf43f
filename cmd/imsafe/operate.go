package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"imsafe/config"
	"imsafe/iface/management"
	"imsafe/node"
	"imsafe/proto/shard"
	"imsafe/store"
	"imsafe/store/disk"
	"imsafe/store/postgres"
	"imsafe/store/seal"
	"imsafe/store/sqlite"
)

// operations are the operator's verbs (node.Operations), called at the door of a running node (remote) or on a store that
// this process has locked (direct). Both take and give the same, and word mistakes alike.
type operations interface {
	// Call calls verb with in and decodes the answer into out, which may be nil. A refusal is a *management.Error.
	Call(ctx context.Context, verb string, in, out any) error
	Close() error
}

// operator is how a verb of the operator finds the house.
type operator struct {
	configFile
	Socket string `help:"Management socket of a running node, instead of the one that the configuration names." type:"path" placeholder:"PATH" group:"Where the node is:"`
}

// need is what a verb cannot do without when no node runs.
type need struct {
	store bool // one that is there already
	keys  bool // the sealing keys
}

// open finds a running node, or opens the store.
func (o operator) open(a *app, n need) (operations, error) {
	if o.Socket != "" {
		if err := knock(a.ctx, o.Socket); err != nil {
			return nil, fmt.Errorf("no node answers at %s: %w; is it running? Without --socket the store is opened", o.Socket, err)
		}
		return remote{management.NewClient(o.Socket)}, nil
	}
	c, err := o.load(a)
	if err != nil {
		return nil, err
	}
	if house, err := running(a, c); house != nil || err != nil {
		return house, err
	}
	return openStore(a, c, n)
}

// running finds the node of a configuration; nil if none answers.
func running(a *app, c *config.Config) (operations, error) {
	err := knock(a.ctx, c.ManagementSocket())
	switch {
	case err == nil:
		return remote{management.NewClient(c.ManagementSocket())}, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s: %w; run this as root or as the user of the node", c.ManagementSocket(), fs.ErrPermission)
	}
	return nil, nil
}

// knock says whether somebody answers at a socket.
func knock(ctx context.Context, path string) error {
	d := net.Dialer{Timeout: 2 * time.Second}
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return err
	}
	return conn.Close()
}

// remote calls a running node.
type remote struct{ *management.Client }

// Close closes idle connections.
func (r remote) Close() error {
	r.Client.Close()
	return nil
}

// direct calls the verbs of a store that this process holds.
type direct struct {
	verbs map[string]management.Verb
	store store.Engine
	house *node.Operations
}

// openStore locks and opens the store of c.
func openStore(a *app, c *config.Config, n need) (operations, error) {
	dir := c.Node.DataDir
	if err := storeThere(c); err != nil && n.store {
		return nil, err
	}
	if err := ownDirectory(dir); err != nil {
		return nil, err
	}
	load := func() (*seal.Keyring, error) { return node.LoadKeyring(c, a.credentials()) }
	keyring := new(seal.Keyring)
	if n.keys {
		var err error
		if keyring, err = load(); err != nil {
			return nil, err
		}
	}
	log, err := a.loggerAt(c, slog.LevelError)
	if err != nil {
		return nil, err
	}
	clock := shard.RealClock()
	stop := a.progress("opening the store in " + dir)
	st, err := node.OpenStore(c, clock, log, a.credentials())
	stop()
	if err != nil {
		return nil, locked(err, c)
	}
	o, err := node.OpenOperations(c, clock, log, st, node.NewKeys(keyring, load))
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return &direct{o.Verbs(), st, o}, nil
}

// storeThere says what to do where there is no store.
func storeThere(c *config.Config) error {
	if c.Store.Shared() {
		return nil // opening it tells
	}
	if _, err := os.Stat(filepath.Join(c.Node.DataDir, sqlite.FileName)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no store in %s, and no node answers at %s: `imsafe user add` and `imsafe run` make a store", c.Node.DataDir, c.ManagementSocket())
	}
	return nil
}

// locked says what to do about a store that another process has.
func locked(err error, c *config.Config) error {
	var held *disk.LockedError
	if errors.As(err, &held) {
		return fmt.Errorf("%w, but no node answers at %s: it may be starting or stopping, so try again; a node with another configuration is reached with --socket",
			err, c.ManagementSocket())
	}
	if errors.Is(err, postgres.ErrNodeTaken) {
		return fmt.Errorf("%w, but no node answers at %s: it runs on another machine, or is starting or stopping", err, c.ManagementSocket())
	}
	return err
}

// ownDirectory refuses a directory of somebody else: the files that this process would make there, as root for example, the node
// could not open.
func ownDirectory(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it is made, and is ours
	}
	if err != nil {
		return err
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && int(s.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d: run this as that user (sudo -u '#%d' imsafe ...), or start the node", dir, s.Uid, s.Uid)
	}
	return nil
}

// Call goes through JSON as the door does.
func (d *direct) Call(ctx context.Context, verb string, in, out any) error {
	v, known := d.verbs[verb]
	if !known {
		return fmt.Errorf("there is no such verb: %s", verb)
	}
	input, err := json.Marshal(in)
	if err != nil {
		return err
	}
	answer, err := v.Do(ctx, input)
	if err != nil || out == nil {
		return err
	}
	output, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	return json.Unmarshal(output, out)
}

// Close closes the store, which writes what is not in the image yet.
func (d *direct) Close() error { return d.store.Close() }

// with opens the house, lets f use it and closes it.
func (o operator) with(a *app, n need, f func(operations) error) error {
	house, err := o.open(a, n)
	if err != nil {
		return err
	}
	return errors.Join(f(house), house.Close())
}

type statusCmd struct{ operator }

// Run says whether a node runs, and what it is.
func (v *statusCmd) Run(a *app) error {
	s, err := v.status(a)
	switch {
	case err != nil:
		return err
	case a.json:
		a.print(s)
	case !s.Running:
		a.say("no node runs for %s; its store is free", s.Domain)
	default:
		a.say("node %s runs for %s: %d registered", s.Node, s.Domain, s.Registered)
	}
	return nil
}

// status asks the node. Where none runs it looks whether somebody has the store, and does not open it: that would take its lock for as long as the
// journal takes to read, and a node that starts in that time would not get it.
func (v *statusCmd) status(a *app) (s node.Status, err error) {
	if v.Socket != "" {
		err = v.with(a, need{}, func(house operations) error { return house.Call(a.ctx, "status", node.None{}, &s) })
		return s, err
	}
	c, err := v.load(a)
	if err != nil {
		return s, err
	}
	house, err := running(a, c)
	if err != nil {
		return s, err
	}
	if house != nil {
		err = house.Call(a.ctx, "status", node.None{}, &s)
		return s, errors.Join(err, house.Close())
	}
	if err := errors.Join(storeThere(c), ownDirectory(c.Node.DataDir)); err != nil {
		return s, err
	}
	if c.Store.Shared() { // who opens it finds out whether a node has its number
		return node.Status{Domain: c.HomeDomain(), Lab: c.Node.Lab}, nil
	}
	lock, err := disk.OS(c.Node.DataDir).Lock()
	if err != nil {
		return s, locked(err, c)
	}
	return node.Status{Domain: c.HomeDomain(), Lab: c.Node.Lab}, lock.Close()
}
