package scscf

import (
	"runtime"
	"testing"
	"time"

	"imsafe/hop"
	"imsafe/imsbox/dialog"
	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/secure/mint"
)

// walk is a function of the core made of Go.
type walk func(*hop.Exchange, hop.Inbound) hop.Reply

func (w walk) Serve(x *hop.Exchange, in hop.Inbound) hop.Reply { return w(x, in) }

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
			rig := newRig(t, Config{}, refusingHSS{err: cx.ErrUserUnknown})
			asked := 0
			if err := rig.table.Plug(edge, walk(func(x *hop.Exchange, in hop.Inbound) hop.Reply { asked++; return x.Refuse(in, 200, "") })); err != nil {
				t.Fatal(err)
			}
			if err := rig.table.Plug("scscf.ims.example", walk(func(x *hop.Exchange, in hop.Inbound) hop.Reply {
				asOf := rig.invites.Releases()
				if c.gone != "" {
					rig.invites.Release(c.gone, dialog.All)
				}
				f := flow{bound("sip:b@10.0.0.1"), "bob@ims.example"}
				r, gone := rig.toFlow(x, in, &f, nil, asOf)
				if gone != (c.status == 480) {
					t.Errorf("gone: %v", gone)
				}
				return r
			})); err != nil {
				t.Fatal(err)
			}
			if c.bound != "" {
				reg := registration{impi: "bob@ims.example", partition: "bob@ims.example", identities: []identity{{impu: "sip:bob@ims.example"}}, contacts: []contact{bound(c.bound)}}
				if err := rig.users.Put([]byte(reg.impi), reg.encode(nil, 0)); err != nil {
					t.Fatal(err)
				}
			}
			m := rig.parse(t, "INVITE sip:bob@ims.example SIP/2.0\r\nVia: SIP/2.0/TLS a;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n"+
				"From: <sip:a@x>;tag=a\r\nTo: <sip:b@x>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContact: <sip:a@10.0.0.9>\r\n\r\n")
			h := &lastReply{}
			rig.shard.Exec(shard.EventFunc(func(sh *shard.Shard) {
				rig.table.Begin(sh, h, "door", "scscf.ims.example", hop.Inbound{Msg: m.Clone(), Proof: mint.Access(mint.Client{IMPI: "a@x"})}, m)
			}))
			for h.status == 0 { // the store is asked by another goroutine
				runtime.Gosched()
				rig.shard.Step(rig.clock.Now())
			}
			if h.status != c.status || asked != map[int]int{200: 1, 480: 0}[c.status] {
				t.Errorf("answered %d, want %d; the edge was asked %d times", h.status, c.status, asked)
			}
		})
	}
}
