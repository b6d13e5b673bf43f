package scscf

import (
	"runtime"
	"testing"
	"time"

	"imsafe/hop"
	"imsafe/imsbox/dialog"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
	"imsafe/secure"
	"imsafe/secure/mint"
	"imsafe/store"
)

// walk is a function of the core made of Go.
type walk func(*hop.Exchange, hop.Inbound) hop.Reply

func (w walk) Serve(x *hop.Exchange, in hop.Inbound) hop.Reply { return w(x, in) }

// heard is an edge that keeps the last status.
type heard struct{ status int }

func (h *heard) Reply(_ *hop.Exchange, r hop.Reply) {
	h.status = r.Status()
	r.Msg.Release()
}

// TestRelease_on_its_way: a binding that has gone after its registration was read and before the INVITE was taken down for it is not called; one that
// stays is, whoever else has gone meanwhile.
func TestRelease_on_its_way(t *testing.T) {
	const edge hop.Name = "edge.ims.example"
	bound := func(uri string) contact {
		return contact{uri: uri, callID: "c", cseq: 1, until: time.Hour, path: []string{"<sip:" + string(edge) + ";lr>"}}
	}
	for name, c := range map[string]struct {
		gone   string // whose calls are released meanwhile
		bound  string // the only binding then
		status int
	}{
		"nobody goes":        {"", "sip:b@10.0.0.1", 200},
		"another goes":       {"carol@ims.example", "sip:b@10.0.0.1", 200},
		"he goes":            {"bob@ims.example", "", 480},
		"the binding goes":   {"bob@ims.example", "sip:b@10.0.0.2", 480},
		"another goes of it": {"bob@ims.example", "sip:b@10.0.0.1", 200},
	} {
		t.Run(name, func(t *testing.T) {
			clock := shard.NewFake(time.Unix(1700000000, 0))
			sh := shard.New(shard.Config{Node: 1, Clock: clock, Inbox: 16})
			defer sh.Close()
			st, err := store.InMemory(clock)
			if err != nil {
				t.Fatal(err)
			}
			defer st.Close()
			gate, pool := secure.NewGate(nil, nil), sip.NewPool(sip.Limits{Poison: true})
			table := hop.NewTable(hop.Direct, pool, gate, [16]byte{1})
			s, err := New(Config{Name: "scscf.ims.example", HomeDomain: "ims.example"}, Ports{Cx: refusingHSS{err: cx.ErrUserUnknown}, Charging: nothing{},
				Store: st, Hop: table, Clock: clock, Gate: gate, Sealer: shard.NewSealer(shard.SealingKey{})})
			if err != nil {
				t.Fatal(err)
			}
			asked := 0
			if err := table.Plug(edge, walk(func(x *hop.Exchange, in hop.Inbound) hop.Reply { asked++; return x.Refuse(in, 200, "") })); err != nil {
				t.Fatal(err)
			}
			if err := table.Plug("scscf.ims.example", walk(func(x *hop.Exchange, in hop.Inbound) hop.Reply {
				asOf := s.invites.Releases()
				if c.gone != "" {
					s.invites.Release(c.gone, dialog.All)
				}
				f := flow{bound("sip:b@10.0.0.1"), "bob@ims.example"}
				r, gone := s.toFlow(x, in, &f, nil, asOf)
				if gone != (c.status == 480) {
					t.Errorf("gone: %v", gone)
				}
				return r
			})); err != nil {
				t.Fatal(err)
			}
			if c.bound != "" {
				reg := registration{impi: "bob@ims.example", partition: "bob@ims.example", identities: []identity{{impu: "sip:bob@ims.example"}}, contacts: []contact{bound(c.bound)}}
				if err := s.users.Put([]byte(reg.impi), reg.encode(nil, 0)); err != nil {
					t.Fatal(err)
				}
			}
			m, err := pool.Parse([]byte("INVITE sip:bob@ims.example SIP/2.0\r\nVia: SIP/2.0/TLS a;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n" +
				"From: <sip:a@x>;tag=a\r\nTo: <sip:b@x>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContact: <sip:a@10.0.0.9>\r\n\r\n"))
			if err != nil {
				t.Fatal(err)
			}
			h := &heard{}
			sh.Exec(shard.EventFunc(func(sh *shard.Shard) {
				table.Begin(sh, h, "door", "scscf.ims.example", hop.Inbound{Msg: m.Clone(), Proof: mint.Access(mint.Client{IMPI: "a@x"})}, m)
			}))
			for h.status == 0 { // the store is asked by another goroutine
				runtime.Gosched()
				sh.Step(clock.Now())
			}
			if h.status != c.status || asked != map[int]int{200: 1, 480: 0}[c.status] {
				t.Errorf("answered %d, want %d; the edge was asked %d times", h.status, c.status, asked)
			}
		})
	}
}
