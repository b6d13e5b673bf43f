package siptxn

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
)

// register is a REGISTER as a handset sends it, about 2 kB; the branch is to be filled in, in eight digits.
func register() []byte {
	long := strings.Repeat("0123456789abcdef", 4)
	var b strings.Builder
	b.WriteString("REGISTER sip:ims.mnc001.mcc001.3gppnetwork.org SIP/2.0\r\n" +
		"Via: SIP/2.0/UDP [2001:db8::1]:5061;branch=z9hG4bK00000000;rport\r\n" +
		"Max-Forwards: 70\r\nFrom: <sip:001010000000001@ims.mnc001.mcc001.3gppnetwork.org>;tag=4fa3\r\n" +
		"To: <sip:001010000000001@ims.mnc001.mcc001.3gppnetwork.org>\r\nCall-ID: " + long + "\r\nCSeq: 2 REGISTER\r\n" +
		"Contact: <sip:001010000000001@[2001:db8::1]:5061>;+sip.instance=\"<urn:gsma:imei:35625802-035289-0>\";+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel\";+g.3gpp.smsip\r\n" +
		"Authorization: Digest username=\"001010000000001@ims.mnc001.mcc001.3gppnetwork.org\",realm=\"ims.mnc001.mcc001.3gppnetwork.org\",nonce=\"" + long + "\",algorithm=AKAv1-MD5,uri=\"sip:ims.mnc001.mcc001.3gppnetwork.org\",response=\"" + long[:32] + "\",qop=auth,nc=00000001,cnonce=\"abcdef\"\r\n" +
		"Supported: path,sec-agree,gruu\r\nRequire: sec-agree\r\nProxy-Require: sec-agree\r\nAllow: INVITE,ACK,CANCEL,BYE,MESSAGE,OPTIONS,PRACK,UPDATE,NOTIFY\r\nExpires: 600000\r\n" +
		"P-Access-Network-Info: 3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=0010100010019B01\r\nUser-Agent: handset/1.0\r\n")
	for i := range 9 {
		fmt.Fprintf(&b, "Security-Verify: ipsec-3gpp;q=0.%d;alg=hmac-sha-1-96;prot=esp;mod=trans;ealg=aes-cbc;spi-c=11111111;spi-s=22222222;port-c=5062;port-s=5063\r\n", i)
	}
	b.WriteString("Content-Length: 0\r\n\r\n")
	return []byte(b.String())
}

// quiet is a user that answers at once and allocates nothing.
type quiet struct {
	l         *Layer
	responses int
}

func (q *quiet) Request(tx *Server, _ *sip.Message)      { _ = q.l.Reply(tx, 200, "") }
func (q *quiet) Ack(_ siptransport.Flow, m *sip.Message) { m.Release() }
func (q *quiet) Cancelled(*Server)                       {}
func (q *quiet) Ended(*Server)                           {}
func (q *quiet) Response(_ *Client, m *sip.Message) {
	q.responses++
	m.Release()
}
func (q *quiet) Failed(*Client, error) {}

// bench is a layer without a network. Its clock moves a millisecond per transaction, so that kept answers expire as they would at
// 1,000 transactions per second.
type bench struct {
	clock *shard.Fake
	sh    *shard.Shard
	pool  *sip.Pool
	l     *Layer
	user  *quiet
	sink  *sink
	flow  siptransport.Flow
	data  []byte
	digit []byte // of data
	n     int
}

// sink takes what is sent and keeps the last.
type sink struct {
	sender
	last []byte
}

func newBench(reliable bool) *bench {
	b := &bench{clock: shard.NewFake(time.Unix(0, 0)), pool: sip.NewPool(sip.Limits{}), user: &quiet{}, sink: &sink{}}
	b.sh = shard.New(shard.Config{Clock: b.clock})
	b.l = New(Config{Shard: b.sh, Pool: b.pool, Sealer: shard.NewSealer(shard.SealingKey{}), Timers: DefaultTimers(), Handler: b.user})
	b.user.l = b.l
	b.sink.proto, b.sink.reliable = "UDP", reliable
	b.sink.forward = func(_ netip.AddrPort, p []byte) { b.sink.last = append(b.sink.last[:0], p...) }
	b.flow = flowOf(&b.sink.sender, bob)
	b.data = register()
	at := strings.Index(string(b.data), "z9hG4bK") + 7
	b.digit = b.data[at : at+8]
	return b
}

// next makes data a new request, and lets a millisecond pass.
func (b *bench) next() {
	b.n++
	for i, n := 7, b.n; i >= 0; i, n = i-1, n/10 {
		b.digit[i] = byte('0' + n%10)
	}
	b.clock.Advance(time.Millisecond)
}

// serverEvent is a request that comes in.
type serverEvent struct{ b *bench }

func (e *serverEvent) Run(*shard.Shard) { e.b.l.Input(e.b.flow, e.b.data) }

// clientEvent sends a request and takes its answer.
type clientEvent struct {
	b *bench
	m *sip.Message
}

func (e *clientEvent) Run(*shard.Shard) {
	b := e.b
	m := e.m.Clone()
	m.RemoveFirst(sip.HdrVia)
	if _, err := b.l.Send(b.flow, m, sentBy, b.user); err != nil {
		panic(err)
	}
	// The answer of the other side, made as it would be.
	req, err := b.pool.Parse(b.sink.last)
	if err != nil {
		panic(err)
	}
	res := b.pool.NewResponse(req, 200, "")
	b.data = res.AppendTo(b.data[:0])
	res.Release()
	req.Release()
	b.l.Input(b.flow, b.data)
}

func BenchmarkServerNonINVITE(b *testing.B) {
	for _, reliable := range []bool{false, true} {
		b.Run(fmt.Sprint("reliable=", reliable), func(b *testing.B) {
			x := newBench(reliable)
			e := &serverEvent{x}
			b.ReportAllocs()
			b.SetBytes(int64(len(x.data)))
			for b.Loop() {
				x.next()
				x.sh.Exec(e)
			}
			if n := x.l.n.Requests.Load(); n != uint64(x.n) {
				b.Errorf("%d requests of %d", n, x.n)
			}
		})
	}
}

// BenchmarkServerRetransmission is the answer to a repeated request, from the kept octets.
func BenchmarkServerRetransmission(b *testing.B) {
	x := newBench(false)
	e := &serverEvent{x}
	x.next()
	b.ReportAllocs()
	for b.Loop() {
		x.sh.Exec(e)
	}
}

// BenchmarkClientNonINVITE includes what the other side does to answer: a parse, a response and its emission.
func BenchmarkClientNonINVITE(b *testing.B) {
	for _, reliable := range []bool{false, true} {
		b.Run(fmt.Sprint("reliable=", reliable), func(b *testing.B) {
			x := newBench(reliable)
			m, err := x.pool.Parse(x.data)
			if err != nil {
				b.Fatal(err)
			}
			e := &clientEvent{x, m}
			b.ReportAllocs()
			for b.Loop() {
				x.clock.Advance(time.Millisecond)
				x.sh.Exec(e)
			}
		})
	}
}

func BenchmarkPlaceOfResponse(b *testing.B) {
	r := newRig(b)
	r.sends(r.udp, bob, text("MESSAGE", "1"))
	res := []byte(answer(r.udp.first(), 200, "b"))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := r.l.PlaceOfResponse(res); !ok {
			b.Fatal("no place")
		}
	}
}

// TestAllocations: in the steady state a transaction allocates nothing.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool forget")
	}
	for _, reliable := range []bool{false, true} {
		x := newBench(reliable)
		m, err := x.pool.Parse(x.data)
		if err != nil {
			t.Fatal(err)
		}
		server, client := &serverEvent{x}, &clientEvent{x, m}
		run := func(e shard.Event) func() {
			return func() {
				x.next()
				x.sh.Exec(e)
			}
		}
		for range 100000 { // tables, pages and slots grow to their size: more than timer J and a reuse of every slot
			run(server)()
		}
		if n := testing.AllocsPerRun(20000, run(server)); n != 0 {
			t.Errorf("reliable=%v: %v allocations for a server transaction", reliable, n)
		}
		for range 10000 {
			run(client)()
		}
		if n := testing.AllocsPerRun(5000, run(client)); n != 0 {
			t.Errorf("reliable=%v: %v allocations for a client transaction", reliable, n)
		}
	}
}
