package durability

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"imsafe/config"
	"imsafe/imsbox/hss"
	"imsafe/imsbox/scscf"
	"imsafe/node"
	"imsafe/proto/shard"
	"imsafe/store"
	"imsafe/store/seal"
	"imsafe/store/sqlite"
)

// house is the directory of a node that does not run, opened to be filled.
type house struct {
	store *store.DB
	core  *node.Core
}

// openHouse opens the directory of p. With hoard nothing goes from the journal into the image, as if the process died
// before it could.
func openHouse(p *process, hoard bool) (*house, error) {
	c, err := configuration(p.dir, p.address.String())
	if err != nil {
		return nil, err
	}
	keyring, err := node.LoadKeyring(c, "")
	if err != nil {
		return nil, err
	}
	clock := shard.RealClock()
	o := store.Options{Clock: clock, Random: rand.Reader, Lab: true, Tables: node.Tables()}
	if hoard {
		o.CheckpointEvery, o.CheckpointOps = time.Hour, 1<<30
	}
	st, err := sqlite.Open(c.Node.DataDir, o)
	if err != nil {
		return nil, err
	}
	wide := config.CI{Budget: config.Wide()} // all clients share an address
	core, err := node.Assemble(node.World{Clock: clock, Random: rand.Reader, Log: slog.New(slog.DiscardHandler), Store: st,
		Keys: func() *seal.Keyring { return keyring }, Node: 1, Shards: 1, Domain: Domain, Lab: true, Budgets: node.Budgets(&wide)})
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return &house{st, core}, nil
}

// subscribe adds users by the way of an import file.
func (h *house) subscribe(users []*user) error {
	var lines bytes.Buffer
	e := json.NewEncoder(&lines)
	for _, u := range users {
		if err := e.Encode(u.subscriber()); err != nil {
			return err
		}
	}
	report, err := h.core.HSS.Import(context.Background(), bytes.NewReader(lines.Bytes()), false, nil)
	if err == nil && report.Added != len(users) {
		err = fmt.Errorf("durability: %d of %d subscribers were added", report.Added, len(users))
	}
	return err
}

// multiply gives every user the registration that first has. The records are first's, with the other's name in the place of
// its own: names are equally long.
func (h *house) multiply(first *user, users []*user) error {
	var ops []store.Op
	for _, r := range []struct {
		table store.Table
		key   string
	}{{hss.TableAssignment, first.impi}, {scscf.TableIdentity, first.impu}, {scscf.TableRegistration, first.impi}} {
		rec, err := h.store.Get(r.table, []byte(r.key))
		if err != nil {
			return fmt.Errorf("durability: record %s of table %d: %w", r.key, r.table, err)
		}
		ops = append(ops, store.Op{Table: r.table, Key: rec.Key, Value: rec.Value, Expires: rec.Expires})
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var failed error
	room := make(chan struct{}, 1024)
	for _, u := range users {
		if u == first {
			continue
		}
		of := make([]store.Op, len(ops))
		for i, op := range ops {
			of[i] = op
			of[i].Key = bytes.ReplaceAll(op.Key, []byte(first.name), []byte(u.name))
			of[i].Value = bytes.ReplaceAll(op.Value, []byte(first.name), []byte(u.name))
		}
		room <- struct{}{}
		all.Add(1)
		h.store.ApplyAsync(u.impi, of, func(err error) {
			mu.Lock()
			failed = errors.Join(failed, err)
			mu.Unlock()
			<-room
			all.Done()
		})
	}
	all.Wait()
	return failed
}

// close leaves everything in the image, as a node that was told to stop does.
func (h *house) close() error {
	h.core.Close()
	return h.store.Close()
}

// abandon leaves what is in the journal there, as a node that was killed does.
func (h *house) abandon() {
	h.core.Close()
	h.store.Abandon()
}
