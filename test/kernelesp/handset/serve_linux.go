package handset

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"
)

// serve answers a request, each of them once, and tells of it.
func (h *Handset) serve(m *message, transport string, port uint16, ours bool, c *net.TCPConn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.by(port, ours, c)
	if method := m.method(); method == "ACK" {
		if d := h.dialogs[m.get("call-id")]; d != nil && d.acked != nil {
			close(d.acked)
			d.acked = nil
		}
		return
	}
	if before, again := h.answered[m.transaction()]; again {
		h.reply(s, transport, c, before)
		return
	}
	heard := Heard{Method: m.method(), From: uri(m.get("from")), Asserted: uri(m.get("p-asserted-identity")), Body: m.body, Transport: transport, Set: Clear,
		ByUs: ours, Dialog: m.get("call-id")}
	if s != nil {
		heard.Set = s.number
	}
	if heard.Method == "INVITE" {
		h.answerCall(m, s, transport, c)
	} else {
		b := h.response(m, "200 OK", "")
		h.answered[m.transaction()] = b
		h.reply(s, transport, c, b)
	}
	select {
	case h.heard <- heard:
	default:
	}
}

// by finds the set of what came by the ports: from the P-CSCF's client port, or over a connection from ours. h.mu is held.
func (h *Handset) by(port uint16, ours bool, c *net.TCPConn) *set {
	for _, s := range slices.Backward(h.sets) {
		if s.stands && (ours && s.tcp == c || !ours && s.pc == port) {
			return s
		}
	}
	return nil
}

// reply sends a response: over the connection that the request came by, or from the client port of its set (TS 33.203 7.1). h.mu is held.
func (h *Handset) reply(s *set, transport string, c *net.TCPConn, b []byte) {
	switch {
	case transport == "tcp":
		_, _ = c.Write(b) // a connection that has ended is the test's to see
	case s != nil:
		_, _ = s.udp.WriteToUDPAddrPort(b, netip.AddrPortFrom(h.c.Proxy, s.ps))
	}
}

// response answers m. To gets our tag.
func (h *Handset) response(m *message, status, body string, more ...string) []byte {
	header := []string{"SIP/2.0 " + status}
	for _, f := range m.fields {
		switch f.name {
		case "via", "from", "call-id", "cseq", "record-route":
			header = append(header, f.name+": "+f.value)
		case "to":
			if tag(f.value) == "" {
				f.value += ";tag=" + h.callID[:10]
			}
			header = append(header, "To: "+f.value)
		}
	}
	return lines(body, append(header, more...)...)
}

// answerCall rings and answers at once; the 200 comes again until it is acknowledged (RFC 3261 13.3.1.4). h.mu is held.
func (h *Handset) answerCall(m *message, s *set, transport string, c *net.TCPConn) {
	d := &dialog{id: m.get("call-id"), acked: make(chan struct{}), remote: m.get("from"), target: uri(m.get("contact")), routes: m.all("record-route")}
	h.mu.Unlock()
	err := h.listen(d)
	h.mu.Lock()
	if err != nil {
		h.reply(s, transport, c, h.response(m, "500 Server Internal Error", ""))
		return
	}
	contact := "Contact: " + h.contact()
	h.reply(s, transport, c, h.response(m, "100 Trying", ""))
	h.reply(s, transport, c, h.response(m, "180 Ringing", "", contact))
	b := h.response(m, "200 OK", h.description(d, false), contact, "Content-Type: application/sdp", "Supported: timer, 100rel, precondition",
		"Allow: INVITE, ACK, CANCEL, BYE, UPDATE, PRACK, MESSAGE, REFER, NOTIFY, INFO, OPTIONS")
	answer, err := parse(b)
	if err != nil {
		return
	}
	d.local = answer.get("to")
	h.dialogs[d.id], h.answered[m.transaction()] = d, b
	acked := d.acked
	go func() {
		for wait := 500 * time.Millisecond; wait < 16*time.Second; wait *= 2 {
			h.mu.Lock()
			h.reply(s, transport, c, b)
			h.mu.Unlock()
			select {
			case <-acked:
				return
			case <-time.After(wait):
			}
		}
	}()
}

// Statistics are the kernel's counters of what its policies and associations refused (/proc/net/xfrm_stat), those that are not zero, and how many
// responses came to this telephone that it had not asked for.
func (h *Handset) Statistics(_ Nothing, r *map[string]int) error {
	text, err := os.ReadFile("/proc/net/xfrm_stat")
	if err != nil {
		return err
	}
	h.mu.Lock()
	*r = map[string]int{"stray": h.stray}
	h.mu.Unlock()
	for line := range strings.Lines(string(text)) {
		name, n := "", 0
		if _, err := fmt.Sscan(line, &name, &n); err != nil {
			return errors.New("xfrm_stat: " + line)
		}
		if n > 0 {
			(*r)[name] = n
		}
	}
	return nil
}
