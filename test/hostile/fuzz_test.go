package hostile

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"imsafe/proto/sip"
	"imsafe/test/lab"
)

// cut stands between the datagrams of one fuzz input.
const cut = "\x00cut\x00"

// house is a lab node with two registered clients; mallory sends what the fuzzer says.
type house struct {
	world        *lab.World
	node         *lab.Node
	mallory, bob *lab.Client
	got          []*sip.Message // all that bob got
}

func newHouse(t testing.TB) *house {
	t.Helper()
	w, err := lab.New(lab.Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{world: w, node: w.Nodes[0]}
	for _, c := range []struct {
		name   string
		client **lab.Client
	}{{"mallory", &h.mallory}, {"bob", &h.bob}} {
		if *c.client, err = h.node.AddUser(lab.User{Name: c.name}); err != nil {
			t.Fatal(err)
		}
		if _, err := (*c.client).Register(); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// send sends the datagrams of one fuzz input.
func (h *house) send(input []byte) {
	const most = 8
	for i, datagram := range bytes.Split(input, []byte(cut)) {
		if i < most {
			h.world.Send(h.mallory.Address, h.node.Address, datagram)
			h.world.Advance(time.Millisecond)
			h.answer()
		}
	}
	h.world.Advance(2 * time.Second) // retransmissions
	h.got = append(h.got, h.bob.Inbox...)
}

// answer lets bob ring when he is called, and say yes to everything else.
func (h *house) answer() {
	arrived := h.bob.Inbox
	h.got = append(h.got, arrived...)
	for _, m := range arrived {
		if !m.IsRequest() || m.Method() == sip.ACK {
			continue
		}
		h.bob.Inbox = []*sip.Message{m}
		if h.bob.Request(string(m.MethodName())); m.Method() == sip.INVITE {
			h.bob.Answer(180)
		} else if m.Method() != sip.CANCEL { // that is answered already
			h.bob.Answer(200)
		}
	}
	h.bob.Inbox = nil
	h.world.Advance(time.Millisecond)
}

// TestSeedsGetThrough shows that the fuzzer begins where requests reach others.
func TestSeedsGetThrough(t *testing.T) {
	reached := map[string]bool{}
	for _, seed := range seeds(t) {
		h := newHouse(t)
		h.send(seed)
		for _, m := range h.got {
			reached[string(m.MethodName())] = true
		}
		h.world.Close()
	}
	for _, method := range []string{"MESSAGE", "INVITE", "CANCEL", "REFER"} {
		if !reached[method] {
			t.Errorf("no %s reaches bob, only %v", method, reached)
		}
	}
}

// FuzzLiveServer lets a registered client send datagrams of the fuzzer's to a node of the lab (CI-25). No procedure panics, what the
// node sends is SIP and asserts nobody but the sender, others are served, and in the end no transaction and no procedure is left.
func FuzzLiveServer(f *testing.F) {
	for _, seed := range seeds(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		h := newHouse(t)
		defer h.world.Close()
		h.send(input)
		for _, m := range h.got {
			if wrong := forgedAt(m, h.mallory.IMPU); wrong != "" {
				t.Errorf("bob got %s in\n%s", wrong, m.AppendTo(nil))
			}
		}
		h.bob.Inbox = nil
		if _, err := h.bob.Register(); err != nil {
			t.Errorf("bob cannot register: %v", err)
		}
		h.world.Advance(10 * time.Minute)
		if n := h.node.Transactions(); n != 0 {
			t.Errorf("%d transactions are left", n)
		}
		for _, sh := range h.node.Core.Shards {
			if s := sh.Stats(); s.Panics != 0 || s.Tasks != 0 {
				t.Errorf("%d panics, %d tasks left", s.Panics, s.Tasks)
			}
		}
	})
}

// forgedAt says what in m the callee must not see; "" if there is nothing.
func forgedAt(m *sip.Message, sender string) string {
	for _, h := range []sip.HeaderID{sip.HdrPChargingVector, sip.HdrPServedUser, sip.HdrPVisitedNetworkID, sip.HdrPAccessNetworkInfo, sip.HdrPPreferredIdentity} {
		if m.Has(h) {
			return fmt.Sprintf("a header of the core, %s", m.Get(h))
		}
	}
	for v := range m.Values(sip.HdrPAssertedIdentity) {
		if impu, _ := sip.PublicIdentity(v); m.IsRequest() && impu != sender {
			return fmt.Sprintf("the identity %s", v)
		}
	}
	return ""
}

// seeds are the torture messages, and requests of a client of the lab that get further than those.
func seeds(t testing.TB) (all [][]byte) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("..", "..", "proto", "sip", "testdata", "rfc*", "*"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files of torture: %v", err)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	request := func(method, cseq, to string, lines ...string) string {
		head := []string{method + " sip:bob@" + lab.Domain + " SIP/2.0", "Via: SIP/2.0/UDP 10.0.0.10:5060;rport;branch=z9hG4bKf" + cseq, "Max-Forwards: 70",
			"From: <sip:mallory@" + lab.Domain + ">;tag=m", "To: <sip:bob@" + lab.Domain + ">" + to, "Call-ID: f", "CSeq: " + cseq + " " + method,
			"Contact: <sip:mallory@10.0.0.10:5060>"}
		return strings.Join(append(head, lines...), "\r\n") + "\r\nContent-Length: 0\r\n\r\n"
	}
	invite := request("INVITE", "1", "", "P-Preferred-Identity: <sip:bob@"+lab.Domain+">", "Accept-Contact: *;audio", "Privacy: id", "Supported: 100rel, timer")
	for _, input := range [][]string{
		{request("MESSAGE", "1", "", "P-Asserted-Identity: <sip:bob@"+lab.Domain+">")},
		{invite, request("CANCEL", "1", "")},
		{invite, invite, request("ACK", "1", ";tag=x"), request("BYE", "2", ";tag=x", "Route: <sip:x@pcscf."+lab.Domain+";lr>")},
		{invite, "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\nCall-ID: f\r\nCSeq: 1 INVITE\r\n\r\n"},
		{request("SUBSCRIBE", "1", "", "Event: reg", "Expires: 600", "Accept: application/reginfo+xml")},
		{request("REFER", "1", "", "Refer-To: <sip:bob@"+lab.Domain+"?Route=x>"), request("NOTIFY", "2", ";tag=x", "Event: reg")},
		{strings.ReplaceAll(request("REGISTER", "1", "", `Authorization: Digest username="mallory@`+lab.Domain+`",realm="x",nonce="AAAA",uri="sip:x",response="00"`),
			"bob", "mallory")},
		{strings.ReplaceAll(request("REGISTER", "1", "", "Expires: 0", "Contact: *", `Security-Client: ipsec-3gpp;alg=hmac-sha-1-96;spi-c=1;spi-s=2`), "bob", "mallory")},
	} {
		all = append(all, []byte(strings.Join(input, cut)))
	}
	return all
}
