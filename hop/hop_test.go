package hop_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"imsafe/hop"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/secure"
	"imsafe/secure/mint"
)

// house is a table with functions of the test, on one shard with a fake clock.
type house struct {
	table *hop.Table
	shard *shard.Shard
	clock *shard.Fake
	pool  *sip.Pool
	edge  *edge
}

// inBothModes runs f as it is and with every hop encoded and parsed.
func inBothModes(t *testing.T, f func(t *testing.T, h *house)) {
	for name, mode := range map[string]hop.Mode{"direct": hop.Direct, "strict": hop.Strict} {
		t.Run(name, func(t *testing.T) {
			clock := shard.NewFake(time.Unix(1700000000, 0))
			h := &house{clock: clock, pool: sip.NewPool(sip.Limits{Poison: true}),
				shard: shard.New(shard.Config{Node: 1, Clock: clock, Inbox: 64})}
			h.table = hop.NewTable(mode, h.pool, secure.NewGate(nil, nil), [16]byte{1})
			t.Cleanup(h.shard.Close)
			f(t, h)
		})
	}
}

type function func(x *hop.Exchange, in hop.Inbound) hop.Reply

func (f function) Serve(x *hop.Exchange, in hop.Inbound) hop.Reply { return f(x, in) }

func (h *house) plug(t *testing.T, name hop.Name, f function) {
	t.Helper()
	if err := h.table.Plug(name, f); err != nil {
		t.Fatal(err)
	}
}

// edge notes what left the process.
type edge struct{ replies []string }

func (e *edge) Reply(_ *hop.Exchange, r hop.Reply) {
	e.replies = append(e.replies, fmt.Sprintf("%d %s", r.Status(), r.Msg.Get(sip.HdrSubject)))
	r.Msg.Release()
}

const request = "%s sip:bob@ims.example SIP/2.0\r\nVia: SIP/2.0/UDP ue;branch=z9hG4bK1\r\nMax-Forwards: %d\r\n" +
	"From: <sip:alice@ims.example>;tag=a\r\nTo: <sip:bob@ims.example>\r\nCall-ID: c1\r\nCSeq: 1 %[1]s\r\n\r\n"

// begin lets a request in at the function to.
func (h *house) begin(t *testing.T, to hop.Name, method string, maxForwards int) *hop.Exchange {
	t.Helper()
	m, err := h.pool.Parse(fmt.Appendf(nil, request, method, maxForwards))
	if err != nil {
		t.Fatal(err)
	}
	h.edge = &edge{}
	var x *hop.Exchange
	h.shard.Exec(shard.EventFunc(func(sh *shard.Shard) {
		in := hop.Inbound{Msg: m.Clone(), Proof: mint.Access(mint.Client{IMPI: "alice@ims.example"})}
		x = h.table.Begin(sh, h.edge, "door", to, in, m)
	}))
	return x
}

func (h *house) wantReplies(t *testing.T, want ...string) {
	t.Helper()
	if got := strings.Join(h.edge.replies, ", "); got != strings.Join(want, ", ") {
		t.Errorf("the edge saw %q, want %q", got, want)
	}
}

func label(r hop.Reply, s string) hop.Reply {
	r.Msg.SetString(sip.HdrSubject, string(r.Msg.Get(sip.HdrSubject))+s)
	return r
}

func TestForward(t *testing.T) {
	inBothModes(t, func(t *testing.T, h *house) {
		h.plug(t, "p", func(x *hop.Exchange, in hop.Inbound) hop.Reply {
			up := func(r hop.Reply) hop.Reply { return label(r, "p") }
			return up(x.Forward("s", in, up))
		})
		h.plug(t, "s", func(x *hop.Exchange, in hop.Inbound) hop.Reply {
			if in.From != "p" {
				t.Errorf("handed over by %q, want p", in.From)
			}
			if n, _ := in.Msg.MaxForwards(); n != 69 {
				t.Errorf("Max-Forwards %d, want 69", n)
			}
			if in.Proof.IMPI() != "alice@ims.example" || in.Proof.Kind() != secure.KindAccess {
				t.Errorf("the proof did not walk along: %v", in.Proof)
			}
			x.Provisional(label(x.Respond(180, ""), "s"))
			return label(x.Refuse(in, 486, ""), "s")
		})
		h.begin(t, "p", "INVITE", 70)
		h.wantReplies(t, "180 sp", "486 sp")
	})
}

func TestForward_manners(t *testing.T) {
	inBothModes(t, func(t *testing.T, h *house) {
		h.plug(t, "loop", func(x *hop.Exchange, in hop.Inbound) hop.Reply { return x.Forward("loop", in, nil) })
		h.plug(t, "lost", func(x *hop.Exchange, in hop.Inbound) hop.Reply { return x.Forward("nobody", in, nil) })
		h.begin(t, "loop", "MESSAGE", 9)
		h.wantReplies(t, "483 ")
		h.begin(t, "loop", "MESSAGE", 250) // the depth of the process is bounded whatever the client says
		h.wantReplies(t, "483 ")
		h.begin(t, "lost", "MESSAGE", 70)
		h.wantReplies(t, "404 ")
	})
}

// park waits until the test wakes it.
type park struct{ waker shard.Waker }

func (p *park) wait(x *hop.Exchange) { x.Task().Await(func(w shard.Waker) { p.waker = w }) }

func (h *house) wake(p *park) { h.shard.Exec(shard.EventFunc(func(*shard.Shard) { p.waker.Wake() })) }

func TestCancel_while_a_function_waits(t *testing.T) {
	inBothModes(t, func(t *testing.T, h *house) {
		var hss park
		h.plug(t, "i", func(x *hop.Exchange, in hop.Inbound) hop.Reply {
			hss.wait(x)
			return x.Forward("s", in, nil)
		})
		h.plug(t, "s", func(x *hop.Exchange, in hop.Inbound) hop.Reply {
			t.Error("a cancelled request went on")
			return x.Refuse(in, 200, "")
		})
		x := h.begin(t, "i", "INVITE", 70)
		h.wantReplies(t)
		h.shard.Exec(shard.EventFunc(func(*shard.Shard) { x.Cancel("") }))
		h.wake(&hss)
		h.wantReplies(t, "487 ")
	})
}

func TestFork(t *testing.T) {
	cases := []struct {
		name   string
		order  []string // which branch answers when
		status map[string]int
		want   []string
	}{
		{"first_2xx_wins", []string{"b", "a"}, map[string]int{"a": 486, "b": 200}, []string{"200 b"}},
		{"second_2xx_goes_back_too", []string{"b", "a"}, map[string]int{"a": 200, "b": 200}, []string{"200 b", "200 a"}},
		{"lowest_class_when_all_fail", []string{"a", "b"}, map[string]int{"a": 503, "b": 486}, []string{"486 b"}},
		{"a_device_that_is_not_there_says_less", []string{"a", "b"}, map[string]int{"a": 480, "b": 486}, []string{"486 b"}},
		{"6xx_beats_4xx", []string{"a", "b"}, map[string]int{"a": 486, "b": 603}, []string{"603 b"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			inBothModes(t, func(t *testing.T, h *house) {
				parks := map[string]*park{"a": {}, "b": {}}
				for name, p := range parks {
					h.plug(t, hop.Name(name), func(x *hop.Exchange, in hop.Inbound) hop.Reply {
						p.wait(x)
						return label(x.Refuse(in, c.status[name], ""), name)
					})
				}
				h.plug(t, "s", func(x *hop.Exchange, in hop.Inbound) hop.Reply { return x.Fork(in, branches("a", "b"), nil) })
				h.begin(t, "s", "INVITE", 70)
				for _, name := range c.order {
					h.wake(parks[name])
				}
				h.wantReplies(t, c.want...)
			})
		})
	}
}

// branches forward to the functions of these names, all at the same time.
func branches(names ...hop.Name) (all []hop.Branch) {
	for _, name := range names {
		all = append(all, hop.Branch{Q: 1000, Serve: func(x *hop.Exchange, in hop.Inbound) hop.Reply { return x.Forward(name, in, nil) }})
	}
	return all
}

func TestFork_a_defect_in_one_branch_leaves_the_others(t *testing.T) {
	defects := 0
	clock := shard.NewFake(time.Unix(0, 0))
	h := &house{clock: clock, pool: sip.NewPool(sip.Limits{Poison: true}), shard: shard.New(shard.Config{Node: 1,
		Clock: clock, Inbox: 64, OnPanic: func(any, []byte) { defects++ }})}
	h.table = hop.NewTable(hop.Direct, h.pool, secure.NewGate(nil, nil), [16]byte{1})
	defer h.shard.Close()
	h.plug(t, "a", func(*hop.Exchange, hop.Inbound) hop.Reply { panic("a defect") })
	h.plug(t, "b", func(x *hop.Exchange, in hop.Inbound) hop.Reply { return label(x.Refuse(in, 486, ""), "b") })
	h.plug(t, "s", func(x *hop.Exchange, in hop.Inbound) hop.Reply { return x.Fork(in, branches("a", "b"), nil) })
	h.begin(t, "s", "INVITE", 70)
	h.wantReplies(t, "486 b")
	if defects != 1 {
		t.Errorf("%d defects reported, want 1", defects)
	}
}

// TestFork_grows_within_bounds lets two users of five devices each send everything to the other (attacks CI-21): with the control the
// messages are few, without it they go on until somebody stops them.
func TestFork_grows_within_bounds(t *testing.T) {
	const stop = 2_000
	for _, c := range []struct {
		name string
		off  []secure.ControlID
		want func(messages int) bool
	}{
		{"refused", nil, func(n int) bool { return n <= 60 }},
		{"without_the_control", []secure.ControlID{secure.CIAvailabilityForkBreadth}, func(n int) bool { return n >= stop }},
	} {
		t.Run(c.name, func(t *testing.T) {
			clock := shard.NewFake(time.Unix(0, 0))
			h := &house{clock: clock, pool: sip.NewPool(sip.Limits{}),
				shard: shard.New(shard.Config{Node: 1, Clock: clock, Inbox: 64, OnPanic: func(v any, _ []byte) { t.Error(v) }})}
			h.table = hop.NewTable(hop.Direct, h.pool, secure.NewGate(c.off, nil), [16]byte{1})
			defer h.shard.Close()
			messages := 0
			sends := func(uri string) function {
				return func(x *hop.Exchange, in hop.Inbound) hop.Reply {
					if messages++; messages >= stop {
						return x.Refuse(in, 600, "")
					}
					in.Msg.SetRequestURI([]byte(uri))
					return x.Forward("s", in, nil)
				}
			}
			h.plug(t, "alice", sends("sip:bob@ims.example"))
			h.plug(t, "bob", sends("sip:alice@ims.example"))
			h.plug(t, "s", func(x *hop.Exchange, in hop.Inbound) hop.Reply {
				if strings.Contains(string(in.Msg.RequestURI()), "alice") {
					return x.Fork(in, branches("alice", "alice", "alice", "alice", "alice"), nil)
				}
				return x.Fork(in, branches("bob", "bob", "bob", "bob", "bob"), nil)
			})
			h.begin(t, "s", "INVITE", 70)
			if !c.want(messages) {
				t.Errorf("%d messages", messages)
			}
		})
	}
}

func TestFork_breadth_is_divided(t *testing.T) {
	inBothModes(t, func(t *testing.T, h *house) {
		var breadths []string
		for _, c := range []struct{ given, each, reply string }{{"", "30 30", "486 "}, {"3", "1 1", "486 "}, {"1000", "30 30", "486 "}, {"1", "", "440 "}} {
			h.table = hop.NewTable(hop.Direct, h.pool, secure.NewGate(nil, nil), [16]byte{1})
			breadths = nil
			h.plug(t, "a", func(x *hop.Exchange, in hop.Inbound) hop.Reply {
				breadths = append(breadths, string(in.Msg.Get(sip.HdrMaxBreadth)))
				return x.Refuse(in, 486, "")
			})
			h.plug(t, "s", func(x *hop.Exchange, in hop.Inbound) hop.Reply {
				if c.given != "" {
					in.Msg.SetString(sip.HdrMaxBreadth, c.given)
				}
				return x.Fork(in, branches("a", "a"), nil)
			})
			h.begin(t, "s", "INVITE", 70)
			h.wantReplies(t, c.reply)
			if got := strings.Join(breadths, " "); got != c.each {
				t.Errorf("Max-Breadth %q becomes %q, want %q", c.given, got, c.each)
			}
		}
	})
}

func TestBegin_a_defect_answers_500(t *testing.T) {
	defects := 0
	clock := shard.NewFake(time.Unix(0, 0))
	h := &house{clock: clock, pool: sip.NewPool(sip.Limits{Poison: true}), shard: shard.New(shard.Config{Node: 1,
		Clock: clock, Inbox: 64, OnPanic: func(any, []byte) { defects++ }})}
	h.table = hop.NewTable(hop.Direct, h.pool, secure.NewGate(nil, nil), [16]byte{1})
	defer h.shard.Close()
	h.plug(t, "s", func(*hop.Exchange, hop.Inbound) hop.Reply { panic("a defect") })
	h.begin(t, "s", "MESSAGE", 70)
	h.wantReplies(t, "500 ")
	if defects != 1 {
		t.Errorf("%d defects reported, want 1", defects)
	}
}

// TestBegin_the_sender_gave_up: the transaction ends, and gives up its request, while a function still waits; what the function then answers is made from
// the request all the same.
func TestBegin_the_sender_gave_up(t *testing.T) {
	inBothModes(t, func(t *testing.T, h *house) {
		var waits shard.Waker
		h.plug(t, "s", func(x *hop.Exchange, in hop.Inbound) hop.Reply {
			x.Task().Await(func(w shard.Waker) { waits = w })
			return x.Refuse(in, 403, "")
		})
		m, err := h.pool.Parse(fmt.Appendf(nil, request, "REGISTER", 70))
		if err != nil {
			t.Fatal(err)
		}
		h.edge = &edge{}
		h.shard.Exec(shard.EventFunc(func(sh *shard.Shard) {
			h.table.Begin(sh, h.edge, "door", "s", hop.Inbound{Msg: m.Clone()}, m)
			m.Release()
			waits.Wake()
		}))
		h.shard.Step(h.clock.Now())
		h.wantReplies(t, "403 ")
	})
}

func TestReply_keys_walk_beside_the_response_and_come_off_once(t *testing.T) {
	r := hop.Reply{}.WithKeys(&hop.Keys{CK: [16]byte{1}})
	if !r.HasKeys() || r.TakeKeys() == nil || r.HasKeys() || r.TakeKeys() != nil {
		t.Error("the keys can be taken more than once, or not at all")
	}
}

// BenchmarkWalk is a request through four functions of one process and back, with the clone it walks as.
func BenchmarkWalk(b *testing.B) {
	for name, mode := range map[string]hop.Mode{"direct": hop.Direct, "strict": hop.Strict} {
		b.Run(name, func(b *testing.B) {
			pool := sip.NewPool(sip.Limits{})
			sh := shard.New(shard.Config{Node: 1, Clock: shard.NewFake(time.Unix(0, 0)), Inbox: 64})
			defer sh.Close()
			table := hop.NewTable(mode, pool, secure.NewGate(nil, nil), [16]byte{1})
			forward := func(to hop.Name) function {
				return func(x *hop.Exchange, in hop.Inbound) hop.Reply { return x.Forward(to, in, nil) }
			}
			for name, f := range map[hop.Name]function{"p": forward("s"), "s": forward("i"), "i": forward("t"),
				"t": func(x *hop.Exchange, in hop.Inbound) hop.Reply { return x.Refuse(in, 486, "") }} {
				if err := table.Plug(name, f); err != nil {
					b.Fatal(err)
				}
			}
			m, err := pool.Parse(fmt.Appendf(nil, request, "INVITE", 70))
			if err != nil {
				b.Fatal(err)
			}
			walk := shard.EventFunc(func(sh *shard.Shard) {
				table.Begin(sh, quiet{}, "door", "p", hop.Inbound{Msg: m.Clone()}, m)
			})
			b.ReportAllocs()
			for b.Loop() {
				sh.Exec(walk)
			}
		})
	}
}

type quiet struct{}

func (quiet) Reply(_ *hop.Exchange, r hop.Reply) { r.Msg.Release() }
