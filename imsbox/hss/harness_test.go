package hss

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	mathrand "math/rand/v2"
	"sync"
	"testing"
	"time"

	"imsafe/proto/aka"
	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/cx/cxtest"
	"imsafe/secure"
	"imsafe/store"
	"imsafe/store/disk"
	"imsafe/store/seal"
)

// house is an HSS on a store whose disk is in memory, with a shard that runs.
type house struct {
	*HSS
	t     testing.TB
	cfg   Config
	ports Ports
	db    *store.DB
	disk  *disk.Fake
	image *store.MemoryImage
	shard *shard.Shard
	keys  *seal.Keyring
	clock *movable
	gate  *secure.Gate
	scscf *fakeSCSCF
}

// movable is the real clock with a wall that a test can move.
type movable struct {
	shard.Clock
	mu    sync.Mutex
	ahead time.Duration
}

func (m *movable) Wall() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.Clock.Wall().Add(m.ahead)
}

func (m *movable) move(d time.Duration) {
	m.mu.Lock()
	m.ahead += d
	m.mu.Unlock()
}

func newHouse(t testing.TB) *house {
	t.Helper()
	keys, err := seal.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, keys: keys, disk: disk.NewFake(1), image: store.Memory(), clock: &movable{Clock: shard.RealClock()},
		gate: secure.NewGate(nil, nil), scscf: &fakeSCSCF{}}
	h.cfg = Config{HomeDomains: []string{cxtest.Home}, IND: 3}
	h.shard = shard.New(shard.Config{Clock: h.clock, OnPanic: func(v any, stack []byte) { t.Errorf("%v\n%s", v, stack) }})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = h.shard.Run(ctx) // the error is that of ctx
	}()
	h.start()
	t.Cleanup(func() {
		h.shard.Close()
		cancel()
		<-done
		if err := h.db.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// start opens the store and makes an HSS over it.
func (h *house) start() {
	h.t.Helper()
	var err error
	h.db, err = store.Open(store.Options{Disk: h.disk, Image: h.image.Open, Clock: h.clock, Tables: Tables(), Window: -1,
		Random: mathrand.NewChaCha8([32]byte{1}), Lab: true, SegmentBytes: 4 << 20})
	if err != nil {
		h.t.Fatal(err)
	}
	h.ports = Ports{Store: h.db, Keys: func() *seal.Keyring { return h.keys }, Random: rand.Reader, Clock: h.clock, Gate: h.gate,
		Shard: h.shard, Push: func(name string) cx.Client {
			if name == h.scscf.name {
				return h.scscf
			}
			return nil
		}}
	if h.HSS, err = New(h.cfg, h.ports); err != nil {
		h.t.Fatal(err)
	}
}

// crash cuts the power and starts again.
func (h *house) crash() {
	h.t.Helper()
	h.db.Abandon()
	h.disk = h.disk.Crash()
	h.start()
}

// commit applies a batch as an S-CSCF does.
func (h *house) commit(b *cx.Batch) error {
	ops := make([]store.Op, len(b.Changes))
	for i, c := range b.Changes {
		ops[i] = store.Op{Table: store.Table(c.Table), Key: c.Key, Value: c.Value, Expires: c.Expires,
			Cond: store.Cond(c.Cond), Version: c.Version}
	}
	err := h.db.Apply(b.Partition, ops...)
	b.Settle(err)
	return err
}

func (h *house) run(fn func(t *shard.Task)) {
	h.t.Helper()
	if err := h.shard.Call(context.Background(), fn); err != nil {
		h.t.Fatal(err)
	}
}

// fakeSCSCF is the push side of an S-CSCF that writes down what it is told.
type fakeSCSCF struct {
	name   string
	answer error  // of PushProfile
	heard  func() // called when it has heard of a termination

	mu    sync.Mutex
	ended []cx.RegistrationTerminationRequest
	told  []cx.PushProfileRequest
}

func (f *fakeSCSCF) RegistrationTermination(_ *shard.Task, r *cx.RegistrationTerminationRequest) (*cx.RegistrationTerminationAnswer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = append(f.ended, *r)
	if f.heard != nil {
		f.heard()
	}
	return &cx.RegistrationTerminationAnswer{Result: cx.ResultSuccess}, nil
}

func (f *fakeSCSCF) PushProfile(_ *shard.Task, r *cx.PushProfileRequest) (*cx.PushProfileAnswer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = append(f.told, *r)
	if f.answer != nil {
		return nil, f.answer
	}
	return &cx.PushProfileAnswer{Result: cx.ResultSuccess}, nil
}

// take returns what was pushed since the last call.
func (f *fakeSCSCF) take() (ended []cx.RegistrationTerminationRequest, told []cx.PushProfileRequest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ended, told, f.ended, f.told = f.ended, f.told, nil, nil
	return ended, told
}

// provision writes a subscriber of the suite as an operator would.
func (h *house) provision(s cxtest.Subscriber) {
	h.t.Helper()
	var sub Subscriber
	for i, impi := range s.IMPIs {
		if s.Service {
			sub.IMPI, sub.Service = string(impi), &Service{Server: s.AS}
			break
		}
		c := Card{IMPI: string(impi), K: Secret(hex.EncodeToString(s.K[:])), OPc: Secret(hex.EncodeToString(s.OPc[:])),
			AMF: hex.EncodeToString(s.AMF[:]), Scheme: s.Scheme.String()}
		if i == 0 {
			sub.Card = c
		} else {
			sub.MoreCards = append(sub.MoreCards, c)
		}
	}
	for i, set := range s.Sets {
		var list []Public
		for _, id := range set {
			p := Public{IMPU: string(id.IMPU), Barred: id.Barred}
			if s.Unregistered {
				p.Profile = "voicemail"
			}
			list = append(list, p)
		}
		if i == 0 {
			sub.Public = list
		} else {
			sub.Sets = append(sub.Sets, list)
		}
	}
	if s.Capabilities != nil {
		sub.Group = "capable"
		if err := h.PutGroup(context.Background(), &Group{Name: sub.Group, Capabilities: s.Capabilities}); err != nil {
			h.t.Fatal(err)
		}
	}
	if err := h.Add(context.Background(), &sub); err != nil {
		h.t.Fatal(err)
	}
}

// voicemail is a service for users who are not there.
func voicemail() *cx.ServiceProfile {
	return &cx.ServiceProfile{SubscribedMediaProfile: -1, Criteria: []cx.InitialFilterCriteria{{Priority: 10,
		Trigger: &cx.TriggerPoint{CNF: true, SPTs: []cx.SPT{
			{Groups: []int{0}, Kind: cx.SPTMethod, Pattern: "INVITE"},
			{Groups: []int{1}, Kind: cx.SPTSessionCase, Case: cx.TerminatingUnregistered}}},
		Server: cx.ApplicationServer{ServerName: "sip:voicemail." + cxtest.Home}}}}
}

func TestContract(t *testing.T) {
	cxtest.Run(t, func(t *testing.T, subscribers []cxtest.Subscriber) *cxtest.Fixture {
		h := newHouse(t)
		if err := h.PutProfile(context.Background(), "voicemail", voicemail()); err != nil {
			t.Fatal(err)
		}
		for _, s := range subscribers {
			h.provision(s)
		}
		f := &cxtest.Fixture{Server: h.HSS, Run: h.run}
		f.Commit = h.commit
		f.Crash = func() {
			h.crash()
			f.Server = h.HSS
		}
		return f
	})
}

// subscriber is a sound one to change in tests.
func subscriber() *Subscriber {
	return &Subscriber{
		Card: Card{IMPI: "001010000000001@" + cxtest.Home, K: "465b5ce8b199b49faa5f0a2ee238a6bc",
			OPc: "cd63cb71954a9f4e48a5994e37a02baf"},
		Public: []Public{{IMPU: "sip:001010000000001@" + cxtest.Home, Barred: true},
			{IMPU: "sip:alice@" + cxtest.Home, DisplayName: "Alice"}, {IMPU: "tel:+15550001"}},
	}
}

const (
	aliceIMPI = cx.IMPI("001010000000001@" + cxtest.Home)
	aliceIMPU = cx.IMPU("sip:alice@" + cxtest.Home)
	scscfName = "sip:scscf." + cxtest.Home
)

// register takes the subscriber through MAR and SAR.
func (h *house) register() *cx.ServerAssignmentAnswer {
	h.t.Helper()
	var a *cx.ServerAssignmentAnswer
	h.run(func(t *shard.Task) {
		_, err := h.MultimediaAuth(t, &cx.MultimediaAuthRequest{IMPI: aliceIMPI, IMPU: aliceIMPU, ServerName: scscfName,
			Scheme: cx.SchemeDigestAKA, Items: 1})
		if err == nil {
			a, err = h.ServerAssignment(t, &cx.ServerAssignmentRequest{IMPI: aliceIMPI, IMPUs: []cx.IMPU{aliceIMPU},
				ServerName: scscfName, Type: cx.AssignRegistration})
		}
		if err != nil {
			h.t.Error(err)
		}
	})
	return a
}

// seq draws one vector and returns its SEQ.
func (h *house) seq() uint64 {
	h.t.Helper()
	var n uint64
	h.run(func(t *shard.Task) {
		a, err := h.MultimediaAuth(t, &cx.MultimediaAuthRequest{IMPI: aliceIMPI, IMPU: aliceIMPU, ServerName: scscfName,
			Scheme: cx.SchemeDigestAKA, Items: 1})
		if err != nil {
			h.t.Error(err)
			return
		}
		k, _ := aka.ParseK("465b5ce8b199b49faa5f0a2ee238a6bc")
		opc, _ := aka.ParseOPc("cd63cb71954a9f4e48a5994e37a02baf")
		o, err := aka.Open(aka.NewMilenage(k, opc), a.Items[0].Vector.RAND, a.Items[0].Vector.AUTN)
		if err != nil {
			h.t.Error(err)
		}
		if o.SQN.IND() != h.cfg.IND {
			h.t.Errorf("IND %d", o.SQN.IND())
		}
		n = o.SQN.SEQ()
	})
	return n
}

func (h *house) wantMistake(what string, err error, field string) {
	h.t.Helper()
	var m Mistakes
	if !errors.As(err, &m) {
		h.t.Errorf("%s: %v, want a mistake in %s", what, err, field)
		return
	}
	for _, x := range m {
		if x.Field == field {
			return
		}
	}
	h.t.Errorf("%s: %v, want a mistake in %s", what, m, field)
}

// crashless makes another HSS on the same store, with the present configuration.
func (h *house) crashless() {
	h.t.Helper()
	var err error
	if h.HSS, err = New(h.cfg, h.ports); err != nil {
		h.t.Fatal(err)
	}
}
