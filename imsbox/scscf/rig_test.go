package scscf

import (
	"crypto/rand"
	"testing"
	"time"

	"imsafe/hop"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/rf"
	"imsafe/secure"
	"imsafe/store"
)

// rig is an S-CSCF with what it stands on: one shard in virtual time and a store in memory, until the test ends.
type rig struct {
	*SCSCF
	clock *shard.Fake
	shard *shard.Shard
	pool  *sip.Pool
	gate  *secure.Gate
	table *hop.Table
}

// newRig makes one of ims.example, which asks this HSS.
func newRig(t *testing.T, cfg Config, home cx.Server) *rig {
	t.Helper()
	cfg.Name, cfg.HomeDomain = "scscf.ims.example", "ims.example"
	r := &rig{clock: shard.NewFake(time.Unix(1700000000, 0)), pool: sip.NewPool(sip.Limits{Poison: true}), gate: secure.NewGate(nil, nil)}
	r.shard = shard.New(shard.Config{Node: 1, Clock: r.clock, Inbox: 16})
	t.Cleanup(r.shard.Close)
	st, err := store.InMemory(r.clock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	r.table = hop.NewTable(hop.Direct, r.pool, r.gate, [16]byte{})
	r.SCSCF, err = New(cfg, Ports{Cx: home, Charging: nothing{}, Store: st, Hop: r.table, Clock: r.clock, Gate: r.gate,
		Sealer: shard.NewSealer(shard.SealingKey{}), Random: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// does runs a procedure on the shard.
func (r *rig) does(procedure func(*shard.Task)) {
	r.shard.Exec(shard.EventFunc(func(sh *shard.Shard) { sh.Start(procedure) }))
}

// parse reads a message.
func (r *rig) parse(t *testing.T, octets string) *sip.Message {
	t.Helper()
	m, err := r.pool.Parse([]byte(octets))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// nothing is a charging function that keeps no record.
type nothing struct{ rf.Charging }

// lastReply is an edge that keeps what leaves.
type lastReply struct{ status int }

func (l *lastReply) Reply(_ *hop.Exchange, r hop.Reply) {
	l.status = r.Status()
	r.Msg.Release()
}
