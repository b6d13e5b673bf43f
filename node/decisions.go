package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"imsafe/config"
	"imsafe/decisions"
	"imsafe/iface/imsservice"
	"imsafe/iface/management"
	"imsafe/policy"
	"imsafe/proto/shard"
	"imsafe/secure"
	"imsafe/store"
	"imsafe/store/disk"
)

// TableDecisions keeps the key that signs the log of decisions, its public half in clear, so that everybody who may read the store can verify, the
// other half sealed; and beside it a head, so that who can write the files of the log cannot put an older state of them back.
const TableDecisions store.Table = 168

// The keys of its two records.
const (
	decisionKey  = "signing"
	decisionHead = "head"
)

// recordEvery is how often decisions that wait are written.
const recordEvery = 200 * time.Millisecond

// DecisionsDir returns the directory of the log of decisions, and makes it.
func DecisionsDir(c *config.Config) (disk.Disk, error) {
	dir := filepath.Join(c.Node.DataDir, "decisions")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("node: directory of decisions: %w", err)
	}
	return disk.OS(dir), nil
}

// decisionsWorld is what the log stands on.
type decisionsWorld struct {
	disk   disk.Disk
	store  store.Store
	keys   *Keys
	random io.Reader
	clock  shard.Clock
	number uint16 // of the node, where several share the store and each has a log of its own; 0 where there is one
}

// head is the key of the last head of the log of this node.
func (w decisionsWorld) head() []byte {
	if w.number == 0 {
		return []byte(decisionHead)
	}
	return fmt.Appendf(nil, "%s/%d", decisionHead, w.number)
}

// sharedNumber is the number of the node of c, if others may share its store.
func sharedNumber(c *config.Config) uint16 {
	if !c.Store.Shared() {
		return 0
	}
	return c.Node.Number
}

// open opens the log, and makes its key the first time. nil without a directory, or without keys to seal its own with.
func (w decisionsWorld) open() (*decisions.Log, *decisions.Report, error) {
	if w.disk == nil || w.keys.Keyring().Keys() == 0 {
		return nil, nil, nil
	}
	key, err := w.key()
	if err != nil {
		return nil, nil, err
	}
	return decisions.Open(decisions.Options{Disk: w.disk, Key: key, Now: w.clock.Wall})
}

// key reads the signing key, or makes it. Of two nodes that start for the first time at once on one store, both find none and one makes it: the other takes that.
func (w decisionsWorld) key() (ed25519.PrivateKey, error) {
	rec, err := w.store.Get(TableDecisions, []byte(decisionKey))
	if errors.Is(err, store.ErrNotFound) {
		private, made := w.newKey()
		if !errors.Is(made, store.ErrConflict) {
			return private, made
		}
		rec, err = w.store.Get(TableDecisions, []byte(decisionKey))
	}
	if err != nil {
		return nil, fmt.Errorf("node: key of the decisions: %w", err)
	}
	seed, err := w.keys.Keyring().Open(nil, uint8(TableDecisions), []byte(decisionKey), rec.Value[ed25519.PublicKeySize:])
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("node: key of the decisions: %w", err)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

func (w decisionsWorld) newKey() (ed25519.PrivateKey, error) {
	public, private, err := ed25519.GenerateKey(w.random)
	if err != nil {
		return nil, fmt.Errorf("node: key of the decisions: %w", err)
	}
	sealed, err := w.keys.Keyring().Seal(nil, w.random, uint8(TableDecisions), []byte(decisionKey), private.Seed())
	if err == nil {
		err = w.store.Apply("decisions", store.Op{Table: TableDecisions, Key: []byte(decisionKey), Value: append(public, sealed...), Cond: store.IfAbsent})
	}
	if err != nil {
		return nil, fmt.Errorf("node: key of the decisions: %w", err)
	}
	return private, nil
}

// resealDecisions seals the signing key anew if it is under an older sealing key, and says how many were: 0 or 1.
func (o *Operations) resealDecisions() (int, error) {
	rec, err := o.Store.Get(TableDecisions, []byte(decisionKey))
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	public, sealed := rec.Value[:ed25519.PublicKeySize], rec.Value[ed25519.PublicKeySize:]
	keyring := o.Keys.Keyring()
	if keyring.Current(sealed) {
		return 0, nil
	}
	fresh, err := keyring.Reseal(nil, o.Random, uint8(TableDecisions), []byte(decisionKey), sealed)
	if err != nil {
		return 0, err
	}
	return 1, o.Store.Apply("decisions", store.Op{Table: TableDecisions, Key: []byte(decisionKey), Value: append(append([]byte(nil), public...), fresh...),
		Cond: store.IfVersion, Version: rec.Version})
}

// openDecisions opens the log of this node. Before the functions, whose decisions it takes.
func (n *Node) openDecisions() (err error) {
	w := n.decisionsWorld()
	if n.decisions, n.decisionsFound, err = w.open(); n.decisions == nil || err != nil {
		return err
	}
	if err = w.compareAnchor(n.decisionsFound); err == nil {
		err = w.anchor(n.decisions)
	}
	if err != nil {
		err = errors.Join(err, n.decisions.Close())
	}
	return err
}

func (n *Node) decisionsWorld() decisionsWorld {
	return decisionsWorld{disk: n.o.Decisions, store: n.o.Store, keys: n.keys, random: n.o.Random, clock: n.o.Clock, number: sharedNumber(n.o.Config)}
}

// anchor keeps the last head in the store.
func (w decisionsWorld) anchor(log *decisions.Log) error {
	return w.store.Apply("decisions", store.Op{Table: TableDecisions, Key: w.head(), Value: []byte(log.Head())})
}

// compareAnchor looks for the head of the store in the log.
func (w decisionsWorld) compareAnchor(r *decisions.Report) error {
	rec, err := w.store.Get(TableDecisions, w.head())
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err == nil {
		err = w.compare(r, string(rec.Value))
	}
	if errors.Is(err, decisions.ErrRotated) {
		return nil
	}
	return err
}

// beginDecisions tells the log which controls are off, and the log of the node whether the decisions are as they were left.
func (n *Node) beginDecisions() error {
	if n.decisions == nil {
		return nil
	}
	for _, row := range policy.Rows() {
		if state, _ := n.policy.State(row.Control); state == "off" {
			n.decisions.Note(decisions.Decision{Kind: decisions.Weakened, Control: row.Control.String()})
		}
	}
	if n.tampered(n.decisionsFound) {
		n.o.Log.Error("the log of decisions is not as it was left", "reason", n.decisionsFound.Fault.Text)
	}
	return n.decisions.Flush()
}

// tampered is the enforcement point of the log: a log that is broken is not passed off as one.
func (n *Node) tampered(r *decisions.Report) bool {
	return !r.Whole() && n.Gate.Refuse(secure.CoreIntegrityDecisionLog, secure.Event{Reason: r.Fault.How})
}

// serveDecisions writes what waits, and the last of it at the end.
func (n *Node) serveDecisions(ctx context.Context, group *errgroup.Group) {
	if n.decisions != nil {
		group.Go(func() error {
			return n.every(ctx, recordEvery, nil, func(context.Context) error { return n.decisions.Flush() })
		})
	}
}

// closeDecisions ends the log.
func (n *Node) closeDecisions() error {
	if n.decisions == nil {
		return nil
	}
	err := n.decisions.Close()
	return errors.Join(err, n.decisionsWorld().anchor(n.decisions))
}

// refusedAtServices is a sink that writes down what controls of the I-S door have refused.
type refusedAtServices struct {
	log  *decisions.Log
	door map[secure.ControlID]bool
}

func newRefusedAtServices(log *decisions.Log) *refusedAtServices {
	s := &refusedAtServices{log: log, door: map[secure.ControlID]bool{}}
	for _, row := range policy.Rows() {
		s.door[row.Control] = row.Door == policy.IS
	}
	return s
}

// Refused implements secure.Sink.
func (s *refusedAtServices) Refused(e secure.Event) {
	if !s.door[e.Control] {
		return
	}
	d := decisions.Decision{Kind: decisions.Refused, Control: e.Control.String(), Reason: e.Reason, Subject: e.Subject}
	if !e.Enforced {
		d.Kind = decisions.LetPass
	}
	if e.Subject == "" && e.Source.IsValid() {
		d.Source = e.Source.String()
	}
	s.log.Note(d)
}

// recorded writes a deed of the register into a log, and keeps the head over it.
func (w decisionsWorld) recorded(log *decisions.Log) func(imsservice.Deed) error {
	return func(d imsservice.Deed) error {
		if err := log.Record(decisions.Decision{Kind: decisions.Kind(d.What), Subject: d.Service, By: d.By, Detail: d.Detail}); err != nil {
			return err
		}
		return w.anchor(log)
	}
}

// recorder is recorded of this node; nil where no log is kept.
func (n *Node) recorder() func(imsservice.Deed) error {
	if n.decisions == nil {
		return nil
	}
	return n.decisionsWorld().recorded(n.decisions)
}

// record is recorded for a store that no node uses: the log is opened for the one decision.
func (w decisionsWorld) record(d imsservice.Deed) error {
	log, _, err := w.open()
	if err != nil || log == nil {
		return err
	}
	return errors.Join(w.recorded(log)(d), log.Close(), w.anchor(log))
}

// VerifyLog is the input of log.verify.
type VerifyLog struct {
	Head string `json:"head,omitempty"` // a head that was kept elsewhere: it must be there
}

// LogReport is its answer.
type LogReport struct {
	Whole bool `json:"whole"`
	decisions.Report
	Head string `json:"head,omitempty"` // the last one, of a node that runs: to be kept elsewhere
}

// ErrNoDecisions says that no log is kept here.
var ErrNoDecisions = &management.Error{Code: "log.none", Message: "no log of decisions is kept here",
	Hint: "it stands beside the register of services, on the node that has the HSS"}

// verifyLog looks at the log that this node writes.
func (n *Node) verifyLog(_ context.Context, in VerifyLog) (out LogReport, err error) {
	if n.decisions == nil {
		return out, ErrNoDecisions
	}
	r, err := n.decisions.Verify()
	if err != nil {
		return out, err
	}
	out.Head = n.decisions.Head()
	if err := n.decisionsWorld().compareGiven(r, in.Head); err != nil {
		return out, err
	}
	if !r.Whole() && !n.tampered(r) {
		r.Fault = nil // a lab that keeps a log like any other
	}
	out.Report, out.Whole = *r, r.Whole()
	return out, nil
}

// compare looks for a head that was kept elsewhere.
func (w decisionsWorld) compare(r *decisions.Report, head string) error {
	if head == "" || !r.Whole() {
		return nil
	}
	key, err := w.public()
	if err != nil {
		return err
	}
	there, err := decisions.Contains(w.disk, key, []byte(head))
	if err == nil && !there {
		r.Fault = &decisions.Fault{How: decisions.Cut, Record: r.Last + 1, Text: "the head that was kept elsewhere is not there: an older state was put back"}
	}
	return err
}

// compareGiven is compare for a head that an operator brings.
func (w decisionsWorld) compareGiven(r *decisions.Report, head string) error {
	err := w.compare(r, head)
	if errors.Is(err, decisions.ErrNoHead) || errors.Is(err, decisions.ErrRotated) {
		return &management.Error{Code: "log.head", Message: err.Error(), Hint: "give a line that `imsafe log verify` has printed as the head"}
	}
	return err
}

// public reads the public half of the signing key.
func (w decisionsWorld) public() (ed25519.PublicKey, error) {
	rec, err := w.store.Get(TableDecisions, []byte(decisionKey))
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrNoDecisions
	}
	if err != nil {
		return nil, fmt.Errorf("node: key of the decisions: %w", err)
	}
	return ed25519.PublicKey(rec.Value[:ed25519.PublicKeySize]), nil
}

// verifyLog looks at the log of a store that no node uses.
func (o *Operations) verifyLog(_ context.Context, in VerifyLog) (out LogReport, err error) {
	w := decisionsWorld{disk: o.Decisions, store: o.Store, number: o.number}
	if w.disk == nil {
		return out, ErrNoDecisions
	}
	key, err := w.public()
	if err != nil {
		return out, err
	}
	r, err := decisions.Verify(w.disk, key)
	if err == nil {
		err = errors.Join(w.compareGiven(r, in.Head), w.compareAnchor(r))
	}
	if err != nil {
		return out, err
	}
	out.Report, out.Whole = *r, r.Whole()
	return out, nil
}
