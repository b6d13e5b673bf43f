package node

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"imsafe/hop"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/proto/siptxn"
	"imsafe/secure"
)

// wires is a wire in clear with one peer, on one shard; sent is what left.
type wires struct {
	wire  *Wire
	port  *Port
	shard *shard.Shard
	gate  *secure.Gate
	pool  *sip.Pool
	table *hop.Table
	sent  []string
}

var (
	here  = netip.MustParseAddrPort("192.0.2.1:5070")
	there = netip.MustParseAddrPort("192.0.2.2:5070")
)

// SendTo implements siptransport.Sender.
func (w *wires) SendTo(_ netip.AddrPort, b []byte) error {
	w.sent = append(w.sent, string(b))
	return nil
}
func (*wires) Reliable() bool        { return false }
func (*wires) Proto() string         { return "UDP" }
func (*wires) Local() netip.AddrPort { return here }

type function func(x *hop.Exchange, in hop.Inbound) hop.Reply

func (f function) Serve(x *hop.Exchange, in hop.Inbound) hop.Reply { return f(x, in) }

func newWires(t *testing.T, keys bool, local function) *wires {
	t.Helper()
	w := &wires{gate: secure.NewGate(nil, nil), pool: sip.NewPool(sip.Limits{Poison: true}),
		shard: shard.New(shard.Config{Node: 1, Clock: shard.NewFake(time.Unix(1700000000, 0)), Inbox: 64,
			OnPanic: func(v any, stack []byte) { t.Errorf("%v\n%s", v, stack) }})}
	t.Cleanup(w.shard.Close)
	w.table = hop.NewTable(hop.Direct, w.pool, w.gate, [16]byte{1})
	var err error
	w.wire, err = New(Config{Clear: true, SentBy: here.String(), Timers: siptxn.DefaultTimers(),
		Peers: []Peer{{Name: "peer", Names: []hop.Name{"far.example"}, Address: there, Keys: keys}}},
		Ports{Table: w.table, Shards: []*shard.Shard{w.shard}, Pool: w.pool, Sealer: shard.NewSealer(shard.SealingKey{1}),
			Stranger: func(e secure.Event) bool { return w.gate.Refuse(secure.CoreAuthenticationMTLS, e) },
			KeepKeys: func(e secure.Event) bool { return w.gate.Refuse(secure.CoreConfidentialityMTLS, e) }})
	if err = errors.Join(err, w.table.Plug("near.example", local)); err != nil {
		t.Fatal(err)
	}
	w.port = w.wire.Port(w.shard)
	w.port.SendBy(func(to netip.AddrPort) siptransport.Flow { return siptransport.Flow{Via: w, Peer: to} })
	return w
}

// arrive delivers a request or response from an address.
func (w *wires) arrive(from netip.AddrPort, text string) {
	w.shard.Exec(shard.EventFunc(func(*shard.Shard) { w.port.Packet(siptransport.Flow{Via: w, Peer: from}, []byte(text)) }))
}

func register(extra string) string {
	return "REGISTER sip:near.example SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2:5070;branch=z9hG4bK1\r\nMax-Forwards: 60\r\nFrom: <sip:a@near.example>;tag=1\r\n" +
		"To: <sip:a@near.example>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\n" + extra + "Content-Length: 0\r\n\r\n"
}

const authorization = `Authorization: Digest username="a@near.example",realm="near.example",nonce="",uri="sip:near.example",response=""`

func TestRequest_from_a_peer(t *testing.T) {
	for value, want := range map[string]hop.Protection{"": hop.ProtectionAbsent, `,integrity-protected="no"`: hop.ProtectionNo,
		",integrity-protected=yes": hop.ProtectionYes, `,integrity-protected="tls-connected"`: hop.ProtectionTLSConnected, `,integrity-protected="nonsense"`: hop.ProtectionNo} {
		t.Run(value, func(t *testing.T) {
			var seen hop.Inbound
			var octets string
			w := newWires(t, false, func(x *hop.Exchange, in hop.Inbound) hop.Reply {
				seen, octets = in, string(in.Msg.AppendTo(nil))
				return x.Refuse(in, 200, "")
			})
			w.arrive(there, register(authorization+value+"\r\n"))
			if seen.Proof.Kind() != secure.KindNode || seen.Proof.Peer() != "peer" || seen.From != Name {
				t.Errorf("it walks in with %v from %q", seen.Proof, seen.From)
			}
			if seen.Protection != want || strings.Contains(octets, "integrity-protected") {
				t.Errorf("protection %v, want %v; the message says %s", seen.Protection, want, octets)
			}
			if len(w.sent) != 1 || !strings.HasPrefix(w.sent[0], "SIP/2.0 200 ") {
				t.Errorf("answered %q", w.sent)
			}
		})
	}
}

func TestRequest_from_a_stranger(t *testing.T) {
	w := newWires(t, false, func(x *hop.Exchange, in hop.Inbound) hop.Reply {
		t.Error("it walks in")
		return x.Refuse(in, 200, "")
	})
	w.arrive(netip.MustParseAddrPort("192.0.2.66:5070"), register(""))
	if len(w.sent) != 0 {
		t.Errorf("a stranger is answered: %q", w.sent)
	}
	if refused, _ := w.gate.Counts(secure.CoreAuthenticationMTLS); refused != 1 {
		t.Errorf("%d refusals named, want 1", refused)
	}
}

var testKeys = hop.Keys{CK: [16]byte{0xc1, 0xc2}, IK: [16]byte{0x11, 0x12}}

func TestChallenge_with_keys_for_a_peer(t *testing.T) {
	for name, may := range map[string]bool{"that_may_have_them": true, "that_may_not": false} {
		t.Run(name, func(t *testing.T) {
			w := newWires(t, may, func(x *hop.Exchange, in hop.Inbound) hop.Reply {
				r := x.Refuse(in, 401, "")
				r.Msg.AppendString(sip.HdrWWWAuthenticate, `Digest realm="near.example",nonce="n",algorithm=AKAv1-MD5`)
				return r.WithKeys(&testKeys)
			})
			w.arrive(there, register(authorization+"\r\n"))
			if len(w.sent) != 1 {
				t.Fatalf("sent %q", w.sent)
			}
			if has := strings.Contains(w.sent[0], `ck="c1c2`) && strings.Contains(w.sent[0], `ik="1112`); has != may {
				t.Errorf("sent %s", w.sent[0])
			}
			if !may && (!strings.HasPrefix(w.sent[0], "SIP/2.0 500 ") || strings.Contains(w.sent[0], "c1c2")) {
				t.Errorf("sent %s, want a 500", w.sent[0])
			}
		})
	}
}

// forward lets a REGISTER walk to the far node and returns what came back.
func (w *wires) forward(t *testing.T, answer string) (reply hop.Reply) {
	t.Helper()
	m, err := w.pool.Parse([]byte(register(authorization + "\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	w.shard.Exec(shard.EventFunc(func(sh *shard.Shard) {
		sh.Start(func(task *shard.Task) {
			reply = w.table.Originate(task, "near.example", "far.example", hop.Inbound{Msg: m, Protection: hop.ProtectionTLSConnected})
		})
	}))
	if len(w.sent) != 1 || !strings.Contains(w.sent[0], `integrity-protected="tls-connected"`) {
		t.Fatalf("sent %q", w.sent)
	}
	via, _, _ := strings.Cut(w.sent[0][strings.Index(w.sent[0], "Via: "):], "\r\n")
	w.arrive(there, fmt.Sprintf("SIP/2.0 401 Unauthorized\r\n%s\r\nFrom: <sip:a@near.example>;tag=1\r\nTo: <sip:a@near.example>;tag=2\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\n%sContent-Length: 0\r\n\r\n", via, answer))
	return reply
}

func TestServe_takes_keys_off_a_challenge(t *testing.T) {
	const withKeys = `WWW-Authenticate: Digest realm="near.example",nonce="n",algorithm=AKAv1-MD5,ck="c1c20000000000000000000000000000",ik="11120000000000000000000000000000"` + "\r\n"
	for name, may := range map[string]bool{"peer_may_give_them": true, "peer_may_not": false} {
		t.Run(name, func(t *testing.T) {
			w := newWires(t, may, nil)
			reply := w.forward(t, withKeys)
			if reply.Status() != 401 || reply.HasKeys() != may {
				t.Fatalf("status %d, keys %v", reply.Status(), reply.HasKeys())
			}
			if header := string(reply.Msg.Get(sip.HdrWWWAuthenticate)); strings.Contains(header, "c1c2") || !strings.Contains(header, `nonce="n"`) {
				t.Errorf("the challenge goes on as %s", header)
			}
			if keys := reply.TakeKeys(); may && *keys != testKeys {
				t.Error("other keys came than were sent")
			}
		})
	}
}

// Keys that stand where nobody looks for them do not go on to the client: in a second challenge, or in one that can't be read.
func TestServe_leaves_no_keys_behind(t *testing.T) {
	const keys = `ck="c1c20000000000000000000000000000",ik="11120000000000000000000000000000"` + "\r\n"
	for name, answer := range map[string]string{
		"second challenge": `WWW-Authenticate: Digest realm="near.example",nonce="n",algorithm=AKAv2-SHA-256` + "\r\n" +
			`WWW-Authenticate: Digest realm="near.example",nonce="o",algorithm=AKAv1-MD5,` + keys,
		"malformed": `WWW-Authenticate: Digest realm="near.example",nonce=,` + keys + `WWW-Authenticate: Digest realm="near.example",nonce="n",` + keys,
		"no Digest": `WWW-Authenticate: Digest realm="near.example",nonce="n"` + "\r\n" + `WWW-Authenticate: Other a="b",` + keys,
	} {
		t.Run(name, func(t *testing.T) {
			reply := newWires(t, true, nil).forward(t, answer)
			for v := range reply.Msg.Values(sip.HdrWWWAuthenticate) {
				if strings.Contains(string(v), "c1c2") || strings.Contains(string(v), "1112") {
					t.Errorf("goes on as %s", v)
				}
			}
			if header := string(reply.Msg.Get(sip.HdrWWWAuthenticate)); !strings.Contains(header, `nonce="n"`) {
				t.Errorf("the first challenge that can be read goes on as %s", header)
			}
		})
	}
}
