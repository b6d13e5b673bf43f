package siptxn

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// FuzzLayer throws datagrams at a layer that is in the middle of calls, as server and as client. Whatever comes, nothing panics, no message
// and no transaction is left behind, and the answers stay within the budget. The input is cut at a separator into datagrams; $B in one
// stands for the branch of a request that the layer sent, $I for that of a call that it holds.
func FuzzLayer(f *testing.F) {
	const cut = "\n--\n"
	for _, method := range []string{"INVITE", "ACK", "CANCEL", "BYE", "MESSAGE", "REGISTER"} {
		f.Add([]byte(text(method, "1")))
		f.Add([]byte(text(method, "$I")))
		f.Add([]byte(text("INVITE", "1") + cut + text(method, "1") + cut + text(method, "1")))
	}
	for _, code := range []int{100, 180, 200, 302, 486, 503, 699} {
		res := "SIP/2.0 %d X\r\nVia: SIP/2.0/UDP 198.51.100.9:5060;branch=z9hG4bK$B;rport\r\nFrom: <sip:alice@home.example>;tag=a\r\n" +
			"To: <sip:bob@home.example>;tag=%s\r\nCall-ID: call\r\nCSeq: 7 %s\r\nContent-Length: 0\r\n\r\n"
		f.Add(fmt.Appendf(nil, res+cut+res, code, "x", "INVITE", code, "y", "INVITE"))
		f.Add(fmt.Appendf(nil, res+cut+res, code, "x", "CANCEL", code, "x", "MESSAGE"))
	}
	f.Add([]byte("\r\n\r\n" + cut + "SIP/2.0 200 OK\r\nv: SIP/2.0/UDP h;branch=z9hG4bK$B\r\n\r\n" + cut + "\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := newRig(t, func(c *Config) { c.Limits.Servers, c.Limits.Stateless = 8, 20 })
		n := 0
		r.user.onRequest = func(tx *Server) {
			switch n++; n % 4 {
			case 1:
				_ = r.l.Reply(tx, 180, "")
			case 2:
				_ = r.l.Reply(tx, 200, "")
			case 3:
				_ = r.l.Reply(tx, 404, "")
			}
		}
		r.from(r.udp, alice, text("INVITE", "live"))
		c := r.sends(r.udp, alice, text("INVITE", "1", "Route: <sip:one.example;lr>\r\n"))
		via := header(r.udp.last().data, "Via")
		branch := via[len("SIP/2.0/UDP 198.51.100.9:5060;branch=z9hG4bK"):]
		branch = branch[:len(branch)-len(";rport")]
		r.sends(r.udp, alice, text("MESSAGE", "1"))
		data = bytes.ReplaceAll(data, []byte("$B"), []byte(branch))
		data = bytes.ReplaceAll(data, []byte("$I"), []byte("live"))
		for i, d := range bytes.SplitN(data, []byte(cut), 50) {
			peer := alice
			if i%8 == 7 {
				peer = netip.MustParseAddrPort("[2001:db8::5]:1")
			}
			r.from(r.udp, peer, string(d))
			if i == 2 && c.state != stateEnded {
				r.do(func() { r.l.Cancel(c) })
			}
			if i%5 == 4 {
				r.advance(700 * time.Millisecond)
			}
		}
		if n := r.l.n.Stateless.Load(); n > 40 {
			t.Errorf("%d answers without a transaction", n)
		}
		for _, p := range r.udp.sent {
			if m, err := r.pool.Parse([]byte(p.data)); err != nil {
				t.Errorf("sent what cannot be parsed: %v\n%q", err, p.data)
			} else if !m.IsRequest() && p.peer.Addr() != alice.Addr() && p.peer.Addr().Is4() {
				t.Errorf("answered to %v", p.peer)
			} else {
				m.Release()
			}
		}
		r.wantEmpty()
	})
}
