package handset

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Challenge sends a REGISTER with an offer, in clear or over associations that stand. What answers is a challenge, of which a set is made, or a
// final response.
func (h *Handset) Challenge(a Asking, r *Status) error {
	s, err := h.set(a.Set)
	if err != nil {
		return err
	}
	if s == nil {
		if err := h.bindClear(); err != nil {
			return err
		}
	}
	h.propose()
	m, err := h.transact(s, a, h.register(s, a, h.first()))
	if err != nil {
		return err
	}
	if r.Code = m.status(); r.Code != 401 {
		h.accepted200(m, r)
		return nil
	}
	return h.challenged(m, r)
}

// bindClear opens the unprotected port.
func (h *Handset) bindClear() (err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.clear != nil {
		return nil
	}
	h.clear, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(h.c.Local, h.c.Port)))
	if err == nil {
		go h.datagrams(h.clear)
	}
	return err
}

// propose makes an offer with SPIs and a client port that are new (TS 33.203 7.2, 7.4).
func (h *Handset) propose() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.next != nil {
		h.giveUp(h.next) // a challenge that was not answered
	}
	n := h.serial
	h.serial++
	s := &set{number: len(h.sets), uc: h.c.Client + uint16(n), us: h.c.Server}
	s.spi[toUC], s.spi[toUS] = h.c.SPI+uint32(2*n), h.c.SPI+uint32(2*n)+1
	var list []string
	for _, p := range h.c.Pairs {
		list = append(list, fmt.Sprintf("ipsec-3gpp; alg=%s; ealg=%s; prot=esp; mod=%s; spi-c=%d; spi-s=%d; port-c=%d; port-s=%d", p.Alg, p.EAlg, h.mode(),
			s.spi[toUC], s.spi[toUS], s.uc, s.us))
	}
	h.next, h.offered = s, strings.Join(list, ", ")
}

// challenged takes a 401: the network proves itself, and the associations of its choice are installed.
func (h *Handset) challenged(m *message, r *Status) error {
	authorization, ck, ik, err := h.authorize(m.get("www-authenticate"))
	if err != nil {
		return err
	}
	server := m.all("security-server")
	chosen, err := h.choose(server)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.c.Gateway.IsValid() && h.inner == h.c.Local { // the first time
		outside, err := netip.ParseAddr(parameters(m.get("via"), ";")["received"])
		if err != nil {
			return fmt.Errorf("received: %w", err)
		}
		h.inner = outside
		if err := errors.Join(h.address(outside, "lo"), h.open()); err != nil {
			return err
		}
	}
	s := h.next
	s.pair, s.verify, s.pc, s.ps, s.spi[toPC], s.spi[toPS] = chosen.pair, server, chosen.pc, chosen.ps, chosen.spiC, chosen.spiS
	if err := h.install(s, ck, ik); err != nil {
		return err
	}
	h.sets, h.next, h.answer = append(h.sets, s), nil, authorization
	r.Chosen, r.Set = chosen.pair, s.number
	return nil
}

// Answer answers the challenge over the set that was made of it.
func (h *Handset) Answer(a Asking, r *Status) error {
	h.mu.Lock()
	newest := len(h.sets) - 1
	h.mu.Unlock()
	s, err := h.set(newest)
	if err != nil {
		return err
	}
	m, err := h.transact(s, a, h.register(s, a, h.answer))
	if err != nil {
		return err
	}
	r.Code, r.Set = m.status(), s.number
	h.accepted200(m, r)
	if r.Code == 200 {
		h.mu.Lock()
		defer h.mu.Unlock()
		if !h.c.Open {
			h.closeClear()
		}
		for _, older := range h.sets[:max(0, s.number-1)] { // the former stays, what was before it ends (TS 33.203 7.4)
			h.giveUp(older)
		}
	}
	return nil
}

// accepted200 reads what a 200 to REGISTER grants.
func (h *Handset) accepted200(m *message, r *Status) {
	if r.Code != 200 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.routes = m.all("service-route")
	r.Identities = strings.Join(m.all("p-associated-uri"), ", ")
	for _, c := range m.all("contact") {
		if strings.Contains(c, netip.AddrPortFrom(h.inner, h.c.Server).String()) {
			_, after, _ := strings.Cut(c, ">")
			r.Expires, _ = strconv.Atoi(parameters(after, ";")["expires"])
		}
	}
}

// set finds a set by its number; nil is in clear.
func (h *Handset) set(number int) (*set, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case number == Clear:
		return nil, nil
	case number < 0 || number >= len(h.sets) || !h.sets[number].stands:
		return nil, fmt.Errorf("set %d does not stand", number)
	}
	return h.sets[number], nil
}

// contact is where the telephone is reached: its protected server port, also before there are associations.
func (h *Handset) contact() string {
	transport := ""
	if h.c.TCP {
		transport = ";transport=tcp"
	}
	user, _, _ := strings.Cut(h.c.IMPI, "@")
	return fmt.Sprintf("<sip:%s@%v%s>", user, netip.AddrPortFrom(h.inner, h.c.Server), transport)
}

// via names where answers go: the protected server port over associations (TS 33.203 7.1), else where it came from.
func (h *Handset) via(s *set, transport string) string {
	from := netip.AddrPortFrom(h.inner, h.c.Server)
	if s == nil {
		from = netip.AddrPortFrom(h.c.Local, h.c.Port)
	}
	return fmt.Sprintf("Via: SIP/2.0/%s %v;branch=%s;rport", strings.ToUpper(transport), from, branch())
}

// agreement are the header fields of RFC 3329 in a request over s.
func agreement(s *set) []string {
	all := []string{"Require: sec-agree", "Proxy-Require: sec-agree"}
	if s != nil {
		all = append(all, "Security-Verify: "+strings.Join(s.verify, ", "))
	}
	return all
}

// register writes a REGISTER as telephones do (TS 24.229 5.1.1.2, 5.1.1.4).
func (h *Handset) register(s *set, a Asking, authorization string) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.serial++
	header := append([]string{
		"REGISTER sip:" + h.c.Domain + " SIP/2.0",
		h.via(s, a.Transport),
		"Max-Forwards: 70",
		"From: <" + h.c.IMPU + ">;tag=" + h.callID[:8],
		"To: <" + h.c.IMPU + ">",
		"Call-ID: " + h.callID,
		fmt.Sprintf("CSeq: %d REGISTER", h.serial),
		fmt.Sprintf(`Contact: %s;+g.3gpp.icsi-ref="urn%%3Aurn-7%%3A3gpp-service.ims.icsi.mmtel";+sip.instance="<urn:gsma:imei:35000000-%06d-0>";+g.3gpp.smsip;audio;video;expires=%d`,
			h.contact(), h.c.Server, a.Expires),
		"Supported: path, gruu, sec-agree",
		"P-Access-Network-Info: 3GPP-E-UTRAN-FDD; utran-cell-id-3gpp=0010100010000001",
		"Allow: INVITE, ACK, CANCEL, BYE, UPDATE, PRACK, MESSAGE, REFER, NOTIFY, INFO, OPTIONS",
		"Authorization: " + authorization,
		"Security-Client: " + h.offered,
		"User-Agent: kernel",
	}, agreement(s)...)
	return lines("", header...)
}
