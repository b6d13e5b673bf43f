package dialog

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

// bench is a ledger of the function "here", between "left", where callers are, and "right".
type bench struct {
	*Ledger
	t     testing.TB
	pool  *sip.Pool
	shard *shard.Shard
	sent  []string // BYEs as they arrived on either side
	kind  secure.Kind
}

type function func(*hop.Exchange, hop.Inbound) hop.Reply

func (f function) Serve(x *hop.Exchange, in hop.Inbound) hop.Reply { return f(x, in) }

func newBench(t testing.TB) *bench {
	b := &bench{t: t, pool: sip.NewPool(sip.Limits{}), shard: shard.New(shard.Config{Node: 1, Clock: shard.NewFake(time.Unix(1700000000, 0)), Inbox: 64})}
	t.Cleanup(b.shard.Close)
	table := hop.NewTable(hop.Strict, b.pool, secure.NewGate(nil, nil), [16]byte{1})
	for _, name := range []hop.Name{"left", "right"} {
		if err := table.Plug(name, function(func(x *hop.Exchange, in hop.Inbound) hop.Reply {
			routes := []string{}
			for v := range in.Msg.Values(sip.HdrRoute) {
				routes = append(routes, string(v))
			}
			b.kind = in.Proof.Kind()
			b.sent = append(b.sent, fmt.Sprintf("%s: %s %s from %s to %s by %s for %s", name, in.Msg.MethodName(), in.Msg.RequestURI(),
				in.Msg.FromTag(), in.Msg.ToTag(), strings.Join(routes, ","), in.Msg.Get(sip.HdrReason)))
			return x.Refuse(in, 200, "")
		})); err != nil {
			t.Fatal(err)
		}
	}
	b.Ledger = New(Config{Name: "here", Hop: table, Proof: mint.Origin("here")})
	return b
}

func (b *bench) parse(format string, args ...any) *sip.Message {
	b.t.Helper()
	m, err := b.pool.Parse([]byte(strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "\r\n") + "\r\n\r\n"))
	if err != nil {
		b.t.Fatal(err)
	}
	return m
}

const head = "Via: SIP/2.0/UDP x;branch=z9hG4bK1\nMax-Forwards: 70\nCall-ID: %[1]s\n"

func (b *bench) invite(callID string) *sip.Message {
	return b.parse("INVITE sip:bob@ims SIP/2.0\n"+head+"From: \"A\" <sip:alice@ims>;tag=a\nTo: <sip:bob@ims>\nCSeq: 1 INVITE\nContact: <sip:alice@1.1.1.1>\n"+
		"Record-Route: <sip:here;lr>\nRecord-Route: <sip:left;lr>\nRecord-Route: <sip:farleft;lr>", callID)
}

func (b *bench) answer(callID, tag string) *sip.Message {
	return b.parse("SIP/2.0 200 OK\n"+head+"From: \"A\" <sip:alice@ims>;tag=a\nTo: <sip:bob@ims>;tag=%[2]s\nCSeq: 1 INVITE\nContact: <sip:%[2]s@2.2.2.2>\n"+
		"Record-Route: <sip:farright;lr>\nRecord-Route: <sip:right;lr>\nRecord-Route: <sip:here;lr>\nRecord-Route: <sip:left;lr>\nRecord-Route: <sip:farleft;lr>", callID, tag)
}

// within is a request inside a dialog, from one tag to another.
func (b *bench) within(method, callID, from, to, contact string) *sip.Message {
	return b.parse("%[2]s sip:x@ims SIP/2.0\n"+head+"From: <sip:x@ims>;tag=%[3]s\nTo: <sip:y@ims>;tag=%[4]s\nCSeq: 9 %[2]s\nContact: <%[5]s>", callID, method, from, to, contact)
}

func (b *bench) reply(status int, contact string) hop.Reply {
	return hop.Reply{Msg: b.parse("SIP/2.0 %[2]d X\n"+head+"From: <sip:x@ims>;tag=a\nTo: <sip:y@ims>;tag=b\nCSeq: 9 BYE\nContact: <%[3]s>", "c", status, contact)}
}

// call puts a dialog on the ledger.
func (b *bench) call(callID, tag, owner string, part uint32) {
	b.Confirmed(b.Offer(b.invite(callID), 1), []byte("half"), []byte(owner), part, hop.Reply{Msg: b.answer(callID, tag)})
}

func (b *bench) release(owner string, parts func(uint32) bool, ends Side) []Released {
	var released []Released
	b.sent = nil
	b.shard.Exec(shard.EventFunc(func(sh *shard.Shard) {
		sh.Start(func(t *shard.Task) {
			released = b.Release(t, []byte(owner), parts, func(uint32) Side { return ends }, "SIP;cause=480")
		})
	}))
	return released
}

func (b *bench) want(what string, sent ...string) {
	b.t.Helper()
	if got := strings.Join(b.sent, "\n"); got != strings.Join(sent, "\n") {
		b.t.Errorf("%s: sent\n%s\nwant\n%s", what, got, strings.Join(sent, "\n"))
	}
}

const (
	toRight = "right: BYE sip:b@2.2.2.2 from a to b by <sip:right;lr>,<sip:farright;lr> for SIP;cause=480"
	toLeft  = "left: BYE sip:alice@1.1.1.1 from b to a by <sip:left;lr>,<sip:farleft;lr> for SIP;cause=480"
)

func TestRelease(t *testing.T) {
	b := newBench(t)
	b.call("c", "b", "alice", 1)
	released := b.release("alice", All, Caller|Callee)
	b.want("both ends", toRight, toLeft)
	if len(released) != 1 || released[0] != (Released{"c", nameOf([]byte("b"), []byte("a")), "half"}) || b.kind != secure.KindOrigin {
		t.Errorf("%v, in the name of %v", released, b.kind)
	}
	if b.release("alice", All, Caller|Callee); len(b.sent) > 0 || b.Len() != 0 || b.Owns([]byte("alice")) {
		t.Errorf("once more: %q; %d left", b.sent, b.Len())
	}

	b.call("c", "b", "alice", 1)
	b.call("d", "b", "alice", 2)
	b.release("alice", Parts([]uint32{2, 3}), Callee)
	b.want("one part, one end", toRight)
	if b.release("bob", All, Callee); len(b.sent) > 0 || b.Len() != 1 {
		t.Errorf("somebody else: %q, %d left", b.sent, b.Len())
	}
}

// What is no dialog is not kept.
func TestConfirmed(t *testing.T) {
	b := newBench(t)
	busy := b.answer("c", "b")
	busy.SetStatus(486, "Busy Here")
	nowhere := b.answer("c", "b")
	nowhere.Remove(sip.HdrContact)
	short := b.answer("c", "b")
	short.Remove(sip.HdrRecordRoute)
	for what, m := range map[string]*sip.Message{"not answered": busy, "no Contact": nowhere, "a route that is too short": short, "nothing": nil} {
		b.Confirmed(b.Offer(b.invite("c"), 1), nil, []byte("alice"), 1, hop.Reply{Msg: m})
		if b.Len() != 0 || b.Owns([]byte("alice")) {
			t.Errorf("%s: a dialog", what)
		}
	}
	for what, m := range map[string]*sip.Message{"another method": b.within("MESSAGE", "c", "a", "b", "sip:x"), "a re-INVITE": b.within("INVITE", "c", "a", "b", "sip:x")} {
		if b.Offer(m, 1) != nil {
			t.Errorf("%s: an offer", what)
		}
	}
	b.call("c", "b", "alice", 1)
	b.call("c", "b", "alice", 1)
	b.call("c", "b2", "alice", 1) // a fork answered twice
	if b.Len() != 2 {
		t.Errorf("%d dialogs, want 2", b.Len())
	}
}

func TestAnswered(t *testing.T) {
	b := newBench(t)
	within := func(method, from, to, contact string, status int, answered string) {
		n := b.Note([]byte("half"), b.within(method, "c", from, to, contact))
		b.Answered(n, b.reply(status, answered))
	}
	b.call("c", "b", "alice", 1)
	within("UPDATE", "a", "b", "sip:alice@9.9.9.9", 200, "sip:b@8.8.8.8")
	within("INVITE", "b", "a", "sip:b@7.7.7.7", 488, "sip:none")
	b.release("alice", All, Caller|Callee)
	b.want("a target refresh", strings.Replace(toRight, "b@2.2.2.2", "b@8.8.8.8", 1), strings.Replace(toLeft, "1.1.1.1", "9.9.9.9", 1))

	b.call("c", "b", "alice", 1)
	within("INVITE", "b", "a", "sip:b@7.7.7.7", 200, "sip:alice@6.6.6.6")
	within("INVITE", "b", "a", "sip:b@5.5.5.5", 0, "")
	b.release("alice", All, Caller|Callee)
	b.want("one by the called", strings.Replace(toRight, "b@2.2.2.2", "b@7.7.7.7", 1), strings.Replace(toLeft, "1.1.1.1", "6.6.6.6", 1))

	for _, c := range []struct{ status, left int }{{200, 0}, {481, 0}, {408, 0}, {500, 1}, {180, 1}} {
		for _, ends := range [][2]string{{"a", "b"}, {"b", "a"}} {
			b.call("c", "b", "alice", 1)
			within("BYE", ends[0], ends[1], "sip:x", c.status, "sip:x")
			if b.Len() != c.left || b.Owns([]byte("alice")) != (c.left > 0) {
				t.Errorf("BYE from %s, answered %d: %d left", ends[0], c.status, b.Len())
			}
			b.release("alice", All, 0)
		}
	}
	b.call("c", "b", "alice", 1)
	within("BYE", "a", "x", "sip:x", 200, "sip:x")
	within("INFO", "a", "b", "sip:x", 200, "sip:x")
	if b.Len() != 1 {
		t.Error("a request of another dialog ended this one")
	}
}

func TestMaxOwned(t *testing.T) {
	b := newBench(t)
	for i := range MaxOwned + 10 {
		b.call(fmt.Sprintf("c%d", i), "b", "alice", 1)
	}
	if b.Len() != MaxOwned {
		t.Errorf("%d dialogs, at most %d", b.Len(), MaxOwned)
	}
	released := b.release("alice", All, 0)
	if len(released) != MaxOwned || released[0].CallID != "c10" {
		t.Errorf("%d released, the first %v: the oldest are to be forgotten", len(released), released[0])
	}
}

func BenchmarkCall(b *testing.B) {
	w := newBench(b)
	invite, ok, bye := w.invite("c"), hop.Reply{Msg: w.answer("c", "b")}, w.within("BYE", "c", "a", "b", "sip:x")
	half, owner, done := []byte("half"), []byte("alice"), w.reply(200, "sip:x")
	b.ReportAllocs()
	for b.Loop() {
		w.Confirmed(w.Offer(invite, 1), half, owner, 1, ok)
		w.Answered(w.Note(half, bye), done)
	}
}
