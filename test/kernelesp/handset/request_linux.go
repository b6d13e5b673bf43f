package handset

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// dialog is one call.
type dialog struct {
	id, local, remote, target string
	routes                    []string
	cseq                      int
	media                     *net.UDPConn
	acked                     chan struct{}
}

// Request sends a request outside a dialog and waits for its final response.
func (h *Handset) Request(a Asking, r *Status) error {
	s, err := h.set(a.Set)
	if err != nil {
		return err
	}
	m, err := h.transact(s, a, h.request(s, a, "", "Content-Type: text/plain"))
	if err != nil {
		return err
	}
	r.Code = m.status()
	return nil
}

// request writes one (TS 24.229 5.1.2A).
func (h *Handset) request(s *set, a Asking, callID string, more ...string) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.serial++
	if callID == "" {
		callID = rand.Text()
	}
	header := []string{a.Method + " " + a.To + " SIP/2.0", h.via(s, a.Transport), "Max-Forwards: 70"}
	if s != nil {
		header = append(header, fmt.Sprintf("Route: <sip:%v;lr>", netip.AddrPortFrom(h.c.Proxy, s.ps)))
		for _, route := range h.routes {
			header = append(header, "Route: "+route)
		}
	}
	header = append(header, "From: <"+h.c.IMPU+">;tag="+callID[:8], "To: <"+a.To+">", "Call-ID: "+callID, fmt.Sprintf("CSeq: %d %s", h.serial, a.Method),
		"P-Preferred-Identity: <"+h.c.IMPU+">", "P-Access-Network-Info: 3GPP-E-UTRAN-FDD; utran-cell-id-3gpp=0010100010000001", "User-Agent: kernel")
	return lines(a.Body, append(append(header, agreement(s)...), more...)...)
}

// Call calls and waits until somebody answers (TS 24.229 5.1.3; the description is that of a telephone with AMR).
func (h *Handset) Call(a Asking, r *Status) error {
	s, err := h.set(a.Set)
	if err != nil {
		return err
	}
	d := &dialog{id: rand.Text()}
	if err := h.listen(d); err != nil {
		return err
	}
	a.Method, a.Body = "INVITE", h.description(d, true)
	invite := h.request(s, a, d.id, "Contact: "+h.contact()+`;+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel";audio`,
		"Supported: 100rel, precondition, timer, gruu, 199, histinfo, replaces, from-change, path", "Session-Expires: 1800", "Min-SE: 90", "Content-Type: application/sdp",
		"P-Preferred-Service: urn:urn-7:3gpp-service.ims.icsi.mmtel", "P-Early-Media: supported",
		`Accept-Contact: *;+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel"`, "Accept: application/sdp, application/3gpp-ims+xml",
		"Allow: INVITE, ACK, CANCEL, BYE, UPDATE, PRACK, MESSAGE, REFER, NOTIFY, INFO, OPTIONS")
	m, err := h.transact(s, a, invite)
	if err != nil {
		return err
	}
	if r.Code, r.Body = m.status(), m.body; r.Code/100 != 2 {
		ack, err := acknowledge(invite, m)
		return errors.Join(err, h.through(s, a.Transport, ack))
	}
	d.local, d.remote, d.target, d.routes = m.get("from"), m.get("to"), uri(m.get("contact")), m.all("record-route")
	slices.Reverse(d.routes)
	sent, err := parse(invite)
	if err != nil {
		return err
	}
	if _, err := fmt.Sscanf(sent.get("cseq"), "%d", &d.cseq); err != nil {
		return err
	}
	h.mu.Lock()
	h.dialogs[d.id] = d
	ack := h.within(d, s, a.Transport, "ACK")
	h.mu.Unlock()
	r.Dialog = d.id
	return h.through(s, a.Transport, ack)
}

// acknowledge is the ACK for a failure (RFC 3261 17.1.1.3).
func acknowledge(invite []byte, response *message) ([]byte, error) {
	m, err := parse(invite)
	if err != nil {
		return nil, err
	}
	_, to, _ := strings.Cut(m.start, " ")
	header := []string{"ACK " + to, "Via: " + m.get("via"), "Max-Forwards: 70", "From: " + m.get("from"), "To: " + response.get("to"), "Call-ID: " + m.get("call-id"),
		"CSeq: " + strings.Replace(m.get("cseq"), "INVITE", "ACK", 1)}
	for _, route := range m.all("route") {
		header = append(header, "Route: "+route)
	}
	for _, verify := range m.all("security-verify") {
		header = append(header, "Security-Verify: "+verify)
	}
	return lines("", header...), nil
}

// within writes a request of a dialog. h.mu is held.
func (h *Handset) within(d *dialog, s *set, transport, method string) []byte {
	if method != "ACK" {
		d.cseq++
	}
	header := []string{method + " " + d.target + " SIP/2.0", h.via(s, transport), "Max-Forwards: 70"}
	for _, route := range d.routes {
		header = append(header, "Route: "+route)
	}
	header = append(header, "From: "+d.local, "To: "+d.remote, "Call-ID: "+d.id, fmt.Sprintf("CSeq: %d %s", d.cseq, method))
	return lines("", append(header, agreement(s)...)...)
}

// Hangup ends a call: To is its dialog.
func (h *Handset) Hangup(a Asking, r *Status) error {
	s, err := h.set(a.Set)
	if err != nil {
		return err
	}
	h.mu.Lock()
	d := h.dialogs[a.To]
	if d == nil {
		h.mu.Unlock()
		return errors.New("no such call")
	}
	bye := h.within(d, s, a.Transport, "BYE")
	h.mu.Unlock()
	m, err := h.transact(s, a, bye)
	if err != nil {
		return err
	}
	r.Code = m.status()
	return nil
}

// listen opens the port of a call's media. Nobody reads it: media are not this telephone's subject.
func (h *Handset) listen(d *dialog) (err error) {
	d.media, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(h.inner, 0)))
	if err != nil {
		return err
	}
	h.mu.Lock()
	h.closers = append(h.closers, d.media.Close)
	h.mu.Unlock()
	return nil
}

// description is what telephones offer: AMR-WB, AMR, telephone events and preconditions (TS 26.114, RFC 3312), and PCMA for those that have nothing
// else. The answer takes PCMA.
func (h *Handset) description(d *dialog, offers bool) string {
	family := "IP4"
	if h.inner.Is6() {
		family = "IP6"
	}
	at := netip.MustParseAddrPort(d.media.LocalAddr().String())
	head := fmt.Sprintf("v=0\r\no=- 1 1 IN %s %v\r\ns=-\r\nc=IN %s %v\r\nb=AS:80\r\nt=0 0\r\n", family, h.inner, family, h.inner)
	if !offers {
		return head + fmt.Sprintf("m=audio %d RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=ptime:20\r\na=sendrecv\r\n", at.Port())
	}
	return head + fmt.Sprintf("m=audio %d RTP/AVP 104 110 102 108 8 105 100\r\nb=AS:41\r\nb=RS:600\r\nb=RR:2000\r\n", at.Port()) + strings.Join([]string{
		"a=rtpmap:104 AMR-WB/16000/1", "a=fmtp:104 mode-change-capability=2;max-red=220",
		"a=rtpmap:110 AMR-WB/16000/1", "a=fmtp:110 octet-align=1;mode-change-capability=2;max-red=220",
		"a=rtpmap:102 AMR/8000/1", "a=fmtp:102 mode-change-capability=2;max-red=220",
		"a=rtpmap:108 AMR/8000/1", "a=fmtp:108 octet-align=1;mode-change-capability=2;max-red=220",
		"a=rtpmap:8 PCMA/8000",
		"a=rtpmap:105 telephone-event/16000", "a=fmtp:105 0-15", "a=rtpmap:100 telephone-event/8000", "a=fmtp:100 0-15",
		"a=curr:qos local none", "a=curr:qos remote none", "a=des:qos optional local sendrecv", "a=des:qos optional remote sendrecv",
		"a=sendrecv", "a=ptime:20", "a=maxptime:240", "",
	}, "\r\n")
}

// Next waits for the next request that the network sent.
func (h *Handset) Next(wait time.Duration, r *Heard) error {
	select {
	case *r = <-h.heard:
		return nil
	case <-time.After(wait):
		return errors.New("nothing came")
	}
}
