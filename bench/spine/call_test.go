package spine

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"imsafe/proto/sip"
)

// pair is two registered clients that one goroutine plays.
type pair struct{ a, b *client }

const offer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 49152 RTP/AVP 104 8 0 101\r\nb=AS:41\r\nb=RS:512\r\nb=RR:1537\r\n" +
	"a=rtpmap:104 AMR-WB/16000\r\na=fmtp:104 mode-change-capability=2;max-red=0\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n" +
	"a=fmtp:101 0-15\r\na=ptime:20\r\na=maxptime:240\r\na=curr:qos local none\r\na=curr:qos remote none\r\na=des:qos optional local sendrecv\r\na=des:qos optional remote sendrecv\r\na=sendrecv\r\n"

// receive reads the next request of the method on c's socket, which from has sent and repeats as long as it does not come (timers A and E, RFC 3261
// 17.1.1.2): over UDP a node in an overload says nothing.
func (c *client) receive(method string, from *client) *sip.Message {
	again, late := 500*time.Millisecond, time.Now().Add(5*time.Second)
	for {
		_ = c.conn.SetReadDeadline(time.Now().Add(again))
		n, err := c.conn.Read(c.in[:])
		if errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(late) {
			again *= 2
			_, _ = from.conn.Write(from.out)
			continue
		}
		if err != nil {
			c.b.Errorf("%s: no %s: %v", c.name, method, err)
			return nil
		}
		if bytes.HasPrefix(c.in[:n], []byte(method+" ")) {
			m, err := c.pool.Parse(c.in[:n])
			if err != nil {
				c.b.Error(err)
			}
			return m
		}
	}
}

// respond answers request m.
func (c *client) respond(m *sip.Message, code int, body string) {
	r := c.pool.NewResponse(m, code, "")
	if len(r.ToTag()) == 0 {
		r.SetToTag("b" + c.name)
	}
	for v := range m.Values(sip.HdrRecordRoute) {
		r.Append(sip.HdrRecordRoute, v)
	}
	r.AppendString(sip.HdrContact, fmt.Sprintf("<sip:%s@%s>", c.name, c.local))
	if body != "" {
		r.SetBody("application/sdp", []byte(body))
	}
	c.out = r.AppendTo(c.out[:0])
	r.Release()
	if _, err := c.conn.Write(c.out); err != nil {
		c.b.Error(err)
	}
}

func (c *client) uri() string { return "sip:" + c.name + "@" + domain }

// dialogOf returns the route set, target and To of the dialog that a 200 to INVITE makes.
func (c *client) dialogOf(answer []byte) (route, target, to string) {
	m, err := c.pool.Parse(answer)
	if err != nil {
		c.b.Error(err)
		return
	}
	defer m.Release()
	var lines []string
	for v := range m.Values(sip.HdrRecordRoute) {
		lines = append([]string{"Route: " + string(v) + "\r\n"}, lines...)
	}
	contact, _ := sip.ParseNameAddr(m.Get(sip.HdrContact))
	return strings.Join(lines, ""), string(contact.URI), string(m.Get(sip.HdrTo))
}

// call is INVITE, 180, 200, ACK, BYE, 200.
func (p pair) call(turn int) bool {
	p.a.callID = fmt.Sprintf("call-%s-%d", p.a.name, turn)
	contact := fmt.Sprintf("Contact: <sip:%s@%s>;%s\r\nP-Preferred-Identity: <%s>\r\nSession-Expires: 1800\r\nMin-SE: 90\r\nAccept-Contact: *;+g.3gpp.icsi-ref=\"urn%%3Aurn-7%%3A3gpp-service.ims.icsi.mmtel\"\r\nContent-Type: application/sdp\r\n",
		p.a.name, p.a.local, contactFeatures, p.a.uri())
	p.a.request("INVITE", p.b.uri(), "<"+p.b.uri()+">", contact, offer)
	invite := p.b.receive("INVITE", p.a)
	if invite == nil {
		return false
	}
	defer invite.Release()
	p.b.respond(invite, 180, "")
	p.b.respond(invite, 200, offer)
	ok := p.a.await()
	if !bytes.HasPrefix(ok, []byte("SIP/2.0 200")) {
		p.a.b.Errorf("%s: no call: %.40s", p.a.name, ok)
		return false
	}
	route, target, to := p.a.dialogOf(ok)
	p.a.cseq--
	p.a.request("ACK", target, to, route, "")
	if ack := p.b.receive("ACK", p.a); ack != nil {
		ack.Release()
	}
	p.a.request("BYE", target, to, route, "")
	bye := p.b.receive("BYE", p.a)
	if bye == nil {
		return false
	}
	defer bye.Release()
	p.b.respond(bye, 200, "")
	return bytes.HasPrefix(p.a.await(), []byte("SIP/2.0 200"))
}

// message is MESSAGE and 200, end to end.
func (p pair) message(int) bool {
	p.a.request("MESSAGE", p.b.uri(), "<"+p.b.uri()+">", "Content-Type: text/plain\r\n", "hello")
	m := p.b.receive("MESSAGE", p.a)
	if m == nil {
		return false
	}
	defer m.Release()
	p.b.respond(m, 200, "")
	return bytes.HasPrefix(p.a.await(), []byte("SIP/2.0 200"))
}

// pairs registers clients and pairs them.
func pairs(b testing.TB, s *server) ([]*client, map[*client]pair) {
	b.Helper()
	callers, called := crew(b, s, 0, window), crew(b, s, window, window)
	all := map[*client]pair{}
	for i, a := range callers {
		if !a.register() || !called[i].register() {
			b.FailNow()
		}
		all[a] = pair{a, called[i]}
	}
	return callers, all
}

// BenchmarkCall is P3: a call through P-S-I-S-P in one process, INVITE to the 200 of BYE.
func BenchmarkCall(b *testing.B) {
	s := start(b)
	callers, all := pairs(b, s)
	measure(b, callers, s, func(c *client, turn int) bool { return all[c].call(turn) })
}

// BenchmarkMessage is the second half of P4: a MESSAGE end to end.
func BenchmarkMessage(b *testing.B) {
	s := start(b)
	callers, all := pairs(b, s)
	measure(b, callers, s, func(c *client, turn int) bool { return all[c].message(turn) })
}
