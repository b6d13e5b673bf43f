package clientims

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"imsafe/hop"
	"imsafe/policy"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/proto/siptxn"
	"imsafe/refpoint/gm"
	"imsafe/refpoint/gm/gmtest"
	"imsafe/secure"
)

// bench is a door on one shard under a fake clock, with a P-CSCF that the test plays.
type bench struct {
	t     testing.TB
	door  *Door
	port  *Port
	shard *shard.Shard
	clock *shard.Fake
	pool  *sip.Pool
	gate  *secure.Gate

	pcscf  func(x *hop.Exchange, in hop.Inbound) hop.Reply
	proofs map[secure.Association]secure.Proof // of the last message of each association
	last   secure.Association
	gone   map[secure.Association][]gm.Reason
	conns  map[secure.Association]*wire
	n      int
}

// wire is the client's end of one flow: it keeps what the door sent.
type wire struct {
	stream bool
	peer   netip.AddrPort
	sent   []string
	broken bool
	proven int
}

func (w *wire) SendTo(_ netip.AddrPort, b []byte) error {
	if w.broken {
		return siptransport.ErrClosed
	}
	w.sent = append(w.sent, string(b))
	return nil
}
func (w *wire) Reliable() bool { return w.stream }
func (w *wire) Proto() string {
	if w.stream {
		return "TLS"
	}
	return "UDP"
}
func (w *wire) Proven()                 { w.proven++ }
func (w *wire) Local() netip.AddrPort   { return netip.MustParseAddrPort("192.0.2.1:5061") }
func (w *wire) flow() siptransport.Flow { return siptransport.Flow{Via: w, Peer: w.peer} }

func (b *bench) Impersonates(asked, answers secure.Proof) bool { return asked.IMPI() != answers.IMPI() }

func (b *bench) Gone(a secure.Association, why gm.Reason) { b.gone[a] = append(b.gone[a], why) }

func (b *bench) Serve(x *hop.Exchange, in hop.Inbound) hop.Reply {
	b.last = in.Proof.Association()
	b.proofs[b.last] = in.Proof
	if b.pcscf != nil {
		return b.pcscf(x, in)
	}
	return x.Refuse(in, 200, "")
}

func newBench(t testing.TB, access Access) *bench {
	b := &bench{t: t, clock: shard.NewFake(time.Unix(1700000000, 0)), pool: sip.NewPool(sip.Limits{Poison: true}), gate: policy.Default().Gate(nil),
		proofs: map[secure.Association]secure.Proof{}, gone: map[secure.Association][]gm.Reason{}, conns: map[secure.Association]*wire{}}
	b.shard = shard.New(shard.Config{Node: 1, Clock: b.clock, Inbox: 64, OnPanic: func(v any, stack []byte) { t.Errorf("%v\n%s", v, stack) }})
	t.Cleanup(b.shard.Close)
	table := hop.NewTable(hop.Direct, b.pool, b.gate, [16]byte{1})
	var err error
	b.door, err = New(Config{PCSCF: "pcscf"}, Ports{Table: table, Shards: []*shard.Shard{b.shard}, Pool: b.pool,
		Sealer: shard.NewSealer(shard.SealingKey{1}), Gate: b.gate,
		Overloaded: func(e secure.Event) bool { return b.gate.Refuse(secure.CIAvailabilityOverload, e) }})
	if err == nil {
		err = errors.Join(table.Plug("pcscf", b), table.Plug(gm.Name, b.door))
	}
	if err != nil {
		t.Fatal(err)
	}
	b.door.Plug(b)
	access.Timers, access.SentBy = siptxn.DefaultTimers(), "192.0.2.1:5061"
	b.port = b.door.Open(access)[0]
	b.on(func() { b.port.Watch() })
	return b
}

var overTLS = Access{Profile: "tls", Protected: true}

func (b *bench) on(f func()) {
	b.shard.Exec(shard.EventFunc(func(*shard.Shard) { f() }))
	b.shard.Step(b.clock.Now())
}

func (b *bench) connect() *wire {
	b.n++
	return &wire{stream: true, peer: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(b.n)}), 40000)}
}

// send lets a request come in over w, with more header lines.
func (b *bench) send(w *wire, method string, lines ...string) {
	b.n++
	to := "<sip:bob@ims.example>"
	if method == "REGISTER" {
		to = "<sip:alice@ims.example>"
	}
	text := fmt.Sprintf("%s sip:ims.example SIP/2.0\r\nVia: SIP/2.0/TLS ue;branch=z9hG4bKn%d\r\nMax-Forwards: 70\r\nFrom: <sip:alice@ims.example>;tag=a\r\n"+
		"To: %s\r\nCall-ID: c%d\r\nCSeq: 1 %s\r\n%s\r\n", method, b.n, to, b.n, method, strings.Join(append(lines, "Content-Length: 0\r\n"), "\r\n"))
	b.on(func() { b.port.Packet(w.flow(), []byte(text)) })
}

// open registers a fresh connection with the door, not yet with anybody behind it.
func (b *bench) open() (secure.Association, *wire) {
	w := b.connect()
	b.send(w, "REGISTER")
	b.conns[b.last] = w
	return b.last, w
}

func (b *bench) advance(d time.Duration) {
	for end := b.clock.Now() + d; b.clock.Now() < end; {
		b.clock.Advance(time.Second)
		b.shard.Step(b.clock.Now())
	}
}

func TestContract(t *testing.T) {
	gmtest.Run(t, func(t *testing.T) gmtest.Harness {
		b := newBench(t, overTLS)
		return gmtest.Harness{
			Door: b.door,
			Open: func() secure.Association { a, _ := b.open(); return a },
			Proof: func(a secure.Association) secure.Proof {
				b.send(b.conns[a], "REGISTER")
				return b.proofs[a]
			},
			Close:   func(a secure.Association) { b.on(func() { b.port.Closed(b.conns[a].flow(), nil) }) },
			Advance: b.advance,
			Gone:    func(a secure.Association) []gm.Reason { return b.gone[a] },
		}
	})
}

// register opens an association and binds alice to it.
func (b *bench) register() (secure.Association, *wire) {
	a, w := b.open()
	if err := b.door.Promote(a, gm.Registration{IMPI: "alice@ims.example", IMPUs: []string{"sip:alice@ims.example"}, Expires: time.Hour}); err != nil {
		b.t.Fatal(err)
	}
	w.sent = nil
	return a, w
}

// TestPromote_connection: the connection of a registered client is not counted against the address that it shares with others; before that it is.
func TestPromote_connection(t *testing.T) {
	b := newBench(t, overTLS)
	_, stranger := b.open()
	_, client := b.register()
	if stranger.proven != 0 || client.proven != 1 {
		t.Errorf("proven %d and %d times, want never and once", stranger.proven, client.proven)
	}
}

func TestRequest_before_registration(t *testing.T) {
	for _, method := range []string{"INVITE", "MESSAGE", "BYE", "SUBSCRIBE", "OPTIONS", "ACK"} {
		t.Run(method, func(t *testing.T) {
			b := newBench(t, overTLS)
			w := b.connect()
			b.pcscf = func(x *hop.Exchange, in hop.Inbound) hop.Reply {
				t.Error("it came to the P-CSCF")
				return x.Refuse(in, 200, "")
			}
			b.send(w, method)
			if method == "ACK" {
				if len(w.sent) != 0 {
					t.Errorf("an ACK was answered: %q", w.sent)
				}
				return
			}
			if len(w.sent) != 1 || !strings.HasPrefix(w.sent[0], "SIP/2.0 403 ") {
				t.Errorf("answered %q, want one 403", w.sent)
			}
			if refused, _ := b.gate.Counts(secure.CIAuthorizationProtectedPort); refused != 1 {
				t.Errorf("%d refusals named, want 1", refused)
			}
		})
	}
}

func TestRequest_headers_of_the_core(t *testing.T) {
	b := newBench(t, overTLS)
	_, w := b.register()
	var seen string
	b.pcscf = func(x *hop.Exchange, in hop.Inbound) hop.Reply {
		seen = string(in.Msg.AppendTo(nil))
		return x.Refuse(in, 200, "")
	}
	forged := []string{"P-Asserted-Identity: <sip:victim@ims.example>", "P-Charging-Vector: icid-value=1", "P-Served-User: <sip:victim@ims.example>",
		"P-Visited-Network-ID: elsewhere", "Path: <sip:evil>", "Service-Route: <sip:evil>", "Record-Route: <sip:evil;lr>",
		"P-Access-Network-Info: IEEE-802.11;i-wlan-node-id=ffffffffffff;network-provided",
		`Authorization: Digest username="alice@ims.example",realm="ims.example",uri="sip:ims.example",nonce="",response=""`,
		`Authorization: Digest username="alice@ims.example",realm="ims.example",uri="sip:ims.example",nonce="",response="",integrity-protected="yes"`,
		`Authorization: Digest username=,Integrity-Protected="yes"`, `Authorization: Other integrity-protected="yes"`}
	b.send(w, "MESSAGE", append(forged, "Subject: stays", "P-Access-Network-Info: 3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=1")...)
	for _, line := range []string{"victim", "icid", "elsewhere", "evil", "network-provided", "integrity-protected"} {
		if strings.Contains(strings.ToLower(seen), line) {
			t.Errorf("%q came through:\n%s", line, seen)
		}
	}
	for _, line := range []string{"Subject: stays", "3GPP-E-UTRAN-FDD", `username="alice@ims.example"`} {
		if !strings.Contains(seen, line) {
			t.Errorf("%q did not come through:\n%s", line, seen)
		}
	}
}

func TestReply_keeps_inside_what_is_inside(t *testing.T) {
	b := newBench(t, overTLS)
	_, w := b.register()
	b.pcscf = func(x *hop.Exchange, in hop.Inbound) hop.Reply {
		r := x.Refuse(in, 200, "")
		r.Msg.SetString(sip.HdrPChargingVector, "icid-value=1")
		r.Msg.SetString(sip.HdrPVisitedNetworkID, "secret")
		r.Msg.SetString(sip.HdrPAssertedIdentity, "<sip:bob@ims.example>")
		return r
	}
	b.send(w, "MESSAGE")
	if out := strings.Join(w.sent, ""); strings.Contains(out, "icid") || strings.Contains(out, "secret") || !strings.Contains(out, "P-Asserted-Identity: <sip:bob@ims.example>") {
		t.Errorf("left the core: %s", out)
	}
}

func TestReply_with_keys_never_leaves(t *testing.T) {
	b := newBench(t, overTLS)
	w := b.connect()
	b.pcscf = func(x *hop.Exchange, in hop.Inbound) hop.Reply {
		return x.Refuse(in, 401, "").WithKeys(&hop.Keys{})
	}
	b.send(w, "REGISTER")
	if len(w.sent) != 1 || !strings.HasPrefix(w.sent[0], "SIP/2.0 500 ") {
		t.Errorf("sent %q, want one 500", w.sent)
	}
	if refused, _ := b.gate.Counts(secure.CIConfidentialityKeyEgress); refused != 1 {
		t.Errorf("%d refusals named, want 1", refused)
	}
}

func TestRequest_association_of_a_refused_REGISTER(t *testing.T) {
	for status, kept := range map[int]int{200: 1, 401: 1, 403: 0, 400: 0, 503: 0} {
		b := newBench(t, overTLS)
		w := b.connect()
		b.pcscf = func(x *hop.Exchange, in hop.Inbound) hop.Reply { return x.Refuse(in, status, "") }
		b.send(w, "REGISTER")
		if n := b.door.Associations(); n != kept {
			t.Errorf("%d associations after %d, want %d", n, status, kept)
		}
		// What stands already is not ended by a later refusal.
		b.pcscf = func(x *hop.Exchange, in hop.Inbound) hop.Reply { return x.Refuse(in, 403, "") }
		if b.send(w, "REGISTER"); b.door.Associations() != kept {
			t.Errorf("%d associations after %d and 403, want %d", b.door.Associations(), status, kept)
		}
	}
}

// deliver sends a request of the core to the client of a.
func (b *bench) deliver(a secure.Association, body int) (status int) {
	m := b.pool.NewRequest(sip.MESSAGE, "sip:alice@198.51.100.1")
	for h, v := range map[sip.HeaderID]string{sip.HdrMaxForwards: "60", sip.HdrFrom: "<sip:bob@ims.example>;tag=b", sip.HdrTo: "<sip:alice@ims.example>",
		sip.HdrCallID: "out", sip.HdrCSeq: "7 MESSAGE"} {
		m.AppendString(h, v)
	}
	m.SetBody("text/plain", bytes.Repeat([]byte("x"), body))
	b.on(func() {
		b.shard.Start(func(task *shard.Task) {
			r := b.port.door.ports.Table.Originate(task, "pcscf", gm.Name, hop.Inbound{Msg: m, Client: a})
			status = r.Status()
			r.Msg.Release()
		})
	})
	return status
}

func TestServe_dead_association(t *testing.T) {
	b := newBench(t, overTLS)
	a, w := b.register()
	b.on(func() { b.port.Closed(w.flow(), nil) })
	if status := b.deliver(a, 1); status != 430 {
		t.Errorf("status %d, want 430", status)
	}
}

func TestServe_too_large_for_a_datagram(t *testing.T) {
	lab := Access{Profile: "lab-udp", Shared: true, Paths: NewPaths()}
	for name, refused := range map[string]bool{"client_takes_a_stream": false, "client_refuses_streams": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, lab)
			tcp := lab
			tcp.Timers = siptxn.DefaultTimers()
			companion := b.door.Open(tcp)[0]
			udp := &wire{peer: netip.MustParseAddrPort("198.51.100.7:5060")}
			stream := &wire{stream: true, peer: udp.peer, broken: refused}
			dialled := 0
			b.port.LargeBy(companion, func(netip.AddrPort) siptransport.Flow { dialled++; return stream.flow() })
			b.send(udp, "REGISTER")
			a := b.last
			udp.sent = nil

			b.deliver(a, 10)
			if len(udp.sent) != 1 || len(stream.sent) != 0 {
				t.Fatalf("a small request: %d datagrams, %d over the stream", len(udp.sent), len(stream.sent))
			}
			b.deliver(a, 2000)
			if refused && (len(udp.sent) != 2 || len(stream.sent) != 0) || !refused && (len(udp.sent) != 1 || len(stream.sent) != 1) {
				t.Errorf("a large request: %d datagrams, %d over the stream", len(udp.sent)-1, len(stream.sent))
			}
			b.deliver(a, 2000)
			if dialled != 1 {
				t.Errorf("dialled %d times: a stream that stands is used again, a client that takes none is not asked each time", dialled)
			}
		})
	}
}

func TestDrain(t *testing.T) {
	b := newBench(t, overTLS)
	_, w := b.register()
	b.door.Drain()
	b.send(w, "MESSAGE")
	if len(w.sent) != 1 || !strings.HasPrefix(w.sent[0], "SIP/2.0 503 ") || !strings.Contains(w.sent[0], "Retry-After: 5\r\n") {
		t.Errorf("answered %q, want a 503 with Retry-After", w.sent)
	}
	if n := b.door.Walking(); n != 0 {
		t.Errorf("%d walk, want none", n)
	}
}

// TestServe_lab_client_that_moved: a test client that registers again from another port is reached there, once that has
// succeeded.
func TestServe_lab_client_that_moved(t *testing.T) {
	b := newBench(t, Access{Profile: "lab-udp", Shared: true, Paths: NewPaths()})
	old := &wire{peer: netip.MustParseAddrPort("198.51.100.7:5060")}
	moved := &wire{peer: netip.MustParseAddrPort("198.51.100.7:40000")}
	registration := gm.Registration{IMPI: "alice@ims.example", IMPUs: []string{"sip:alice@ims.example"}, Expires: time.Hour}
	b.send(old, "REGISTER")
	a := b.last
	if err := b.door.Promote(a, registration); err != nil {
		t.Fatal(err)
	}
	b.send(moved, "REGISTER")
	if b.last != a {
		t.Fatal("another association was opened")
	}
	old.sent, moved.sent = nil, nil
	b.deliver(a, 10)
	if len(old.sent) != 1 || len(moved.sent) != 0 {
		t.Errorf("before the 200: %d to the old port, %d to the new one", len(old.sent), len(moved.sent))
	}
	if err := b.door.Promote(a, registration); err != nil {
		t.Fatal(err)
	}
	b.deliver(a, 10)
	if len(old.sent) != 1 || len(moved.sent) != 1 {
		t.Errorf("after it: %d to the old port, %d to the new one", len(old.sent)-1, len(moved.sent))
	}
}

func BenchmarkAlive(b *testing.B) {
	clock := shard.RealClock()
	sh := shard.New(shard.Config{Node: 1, Clock: clock, Inbox: 64})
	defer sh.Close()
	door := &Door{tables: []*associations{newAssociations(sh, 10)}, ports: Ports{Shards: []*shard.Shard{sh}}}
	a, opened := door.tables[0].open(path{}, siptransport.Flow{Via: &wire{}}, &accessPorts{}, "", time.Hour)
	if !opened {
		b.Fatal("no association")
	}
	b.ReportAllocs()
	for b.Loop() {
		if !door.Alive(a.ref) {
			b.Fatal("dead")
		}
	}
}
