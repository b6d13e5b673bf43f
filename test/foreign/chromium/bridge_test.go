package chromium

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"imsafe/proto/sip"
	"imsafe/test/live"
)

// bridge is the user whose telephone the browser is: it brings descriptions into SIP and back, and judges nothing.
type bridge struct {
	*live.Phone
	t *testing.T

	callID, to string // of the call
	target     string
	routes     []string
	cseq       int
	ended      string // Reason of the BYE that came; "-" if it gave none
}

// invite sends an offer to somebody: the first INVITE of a call, or the next one.
func (b *bridge) invite(somebody, offer string) {
	b.t.Helper()
	lines := []string{"Contact: " + b.Contact(), "Content-Type: application/sdp", "Supported: 100rel"}
	if b.callID != "" {
		b.write("INVITE", offer, lines...)
		return
	}
	request := b.Request("INVITE", somebody, somebody, offer, lines...)
	b.callID, b.to = header(request, "Call-ID"), "<"+somebody+">"
	fmt.Sscan(header(request, "CSeq"), &b.cseq)
	b.send(request)
}

func header(request, name string) string {
	_, rest, _ := strings.Cut(request, "\r\n"+name+": ")
	value, _, _ := strings.Cut(rest, "\r\n")
	return value
}

func (b *bridge) send(request string) {
	b.t.Helper()
	if err := b.Write(request); err != nil {
		b.t.Fatal(err)
	}
}

// write sends a request within the call. ACK has the number of its INVITE.
func (b *bridge) write(method, body string, lines ...string) {
	b.t.Helper()
	if method != "ACK" {
		b.cseq++
	}
	for _, r := range b.routes {
		lines = append(lines, "Route: "+r)
	}
	request := b.Request(method, b.target, "sip:callee@example.com", body, lines...)
	for name, value := range map[string]string{"Call-ID": b.callID, "To": b.to, "CSeq": fmt.Sprintf("%d %s", b.cseq, method)} {
		request = strings.Replace(request, name+": "+header(request, name), name+": "+value, 1)
	}
	b.send(request)
}

// answered waits for the answer to the INVITE, acknowledges it and returns its description.
func (b *bridge) answered() string {
	b.t.Helper()
	m := b.await("the answer", func(m *sip.Message) bool {
		return !m.IsRequest() && m.Status() >= 200 && string(m.Get(sip.HdrCSeq)) == fmt.Sprintf("%d INVITE", b.cseq)
	})
	if m.Status() != 200 {
		b.t.Fatalf("INVITE was answered %d %s", m.Status(), m.Reason())
	}
	if b.to = string(m.Get(sip.HdrTo)); len(b.routes) == 0 { // what comes later changes no route set (RFC 3261 12.2)
		for r := range m.Values(sip.HdrRecordRoute) {
			b.routes = append([]string{string(r)}, b.routes...)
		}
	}
	contact, err := sip.ParseNameAddr(m.Get(sip.HdrContact))
	if err != nil {
		b.t.Fatal(err)
	}
	b.target = string(contact.URI)
	b.write("ACK", "")
	return string(m.Body())
}

// hungUp waits until the other end, or the network, has ended the call.
func (b *bridge) hungUp() {
	b.t.Helper()
	b.await("BYE", func(m *sip.Message) bool { return m.IsRequest() && m.Method() == sip.BYE })
}

// await waits for a message; a BYE is answered, whenever it comes.
func (b *bridge) await(what string, is func(*sip.Message) bool) *sip.Message {
	b.t.Helper()
	for limit := time.Now().Add(patience); ; {
		m, err := b.Read(time.Until(limit))
		if errors.Is(err, live.ErrSilence) {
			b.t.Fatalf("not in time: %s", what)
		}
		if err != nil {
			b.t.Fatal(err)
		}
		if m.IsRequest() && m.Method() == sip.BYE {
			b.ended = "-" + string(m.Get(sip.HdrReason))
			if err := b.Answer(m, 200); err != nil {
				b.t.Fatal(err)
			}
		}
		if is(m) {
			return m
		}
	}
}
