package load

import (
	"net/netip"
	"strconv"

	"imsafe/proto/aka"
	"imsafe/proto/sip"
)

// build appends to a message. Requests are templates in code: what is the same in all of them is constant text.
type build []byte

func (b build) s(text string) build   { return append(b, text...) }
func (b build) o(octets []byte) build { return append(b, octets...) }
func (b build) n(n uint64) build      { return strconv.AppendUint(b, n, 10) }
func (b build) x(n uint64) build      { return strconv.AppendUint(b, n, 16) }
func (b build) at(a netip.AddrPort) build {
	return a.AppendTo(b)
}

// The SDP of a telephone: AMR-WB and what goes with it (TS 26.114).
const (
	sdpBegin  = "v=0\r\no=- 1 1 IN IP4 "
	sdpMiddle = "\r\ns=-\r\nc=IN IP4 "
	sdpEnd    = "\r\nt=0 0\r\nm=audio 49152 RTP/AVP 104 8 0 101\r\nb=AS:41\r\nb=RS:512\r\nb=RR:1537\r\na=rtpmap:104 AMR-WB/16000\r\n" +
		"a=fmtp:104 mode-change-capability=2;max-red=0\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n" +
		"a=fmtp:101 0-15\r\na=ptime:20\r\na=maxptime:240\r\na=sendrecv\r\n"
	features  = `+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel";+g.3gpp.smsip;audio`
	network   = "P-Access-Network-Info: 3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=0010100010019B01\r\n"
	abilities = "Supported: path, gruu, timer\r\nAllow: INVITE, ACK, CANCEL, BYE, OPTIONS, MESSAGE, NOTIFY\r\n"
	greeting  = "hello, this is a message of ninety octets or so, as people send them to each other all day.\r\n"
)

func (b build) sdp(a netip.Addr) build {
	b = a.AppendTo(b.s(sdpBegin))
	b = a.AppendTo(b.s(sdpMiddle))
	return b.s(sdpEnd)
}

// body ends the header and appends a body.
func (b build) body(contentType string, sdp netip.Addr, text string) build {
	if contentType == "" {
		return b.s("Content-Length: 0\r\n\r\n")
	}
	length := len(text)
	if sdp.IsValid() {
		var probe [16]byte
		length = len(sdpBegin) + len(sdpMiddle) + len(sdpEnd) + 2*len(sdp.AppendTo(probe[:0]))
	}
	b = b.s("Content-Type: ").s(contentType).s("\r\nContent-Length: ").n(uint64(length)).s("\r\n\r\n")
	if sdp.IsValid() {
		return b.sdp(sdp)
	}
	return b.s(text)
}

// begin writes the start line, Via, Max-Forwards and CSeq.
func (w *worker) begin(b build, u *ue, method, uri string, target []byte, seq, branch uint32) build {
	b = b.s(method).s(" ").s(uri).o(target).s(" SIP/2.0\r\nVia: SIP/2.0/").s(w.sentProtocol).s(" ").at(w.sentBy(u)).s(";branch=z9hG4bK").s(w.mark).x(uint64(branch))
	b = b.s(";rport\r\nMax-Forwards: 70\r\nCSeq: ").n(uint64(seq)).s(" ").s(method).s("\r\n")
	return b
}

// identify writes Call-ID and From of what is no dialog yet.
func (w *worker) identify(b build, u *ue, p *play) build {
	b = b.s("Call-ID: ").s(w.mark).s("-").x(uint64(p.serial)).s("\r\nFrom: <").s(u.sub.IMPU).s(">;tag=a").x(uint64(p.serial))
	return b.s("\r\n")
}

func (w *worker) contact(b build, u *ue) build {
	return b.s("Contact: <sip:").s(u.sub.User).s("@").at(w.contactAt(u)).s(w.contactParams).s(">;").s(features)
}

// register writes a REGISTER (TS 24.229 5.1.1.2, 5.1.1.4, 5.1.1.6).
func (w *worker) register(b build, u *ue, branch uint32, expires int, credentials *sip.Credentials) build {
	u.cseq++
	b = w.begin(b, u, "REGISTER", "sip:", w.domain, u.cseq, branch)
	b = b.s("Call-ID: ").s(w.mark).s("-r-").s(u.sub.User).s("\r\nFrom: <").s(u.sub.IMPU).s(">;tag=r").s(w.mark).s("\r\nTo: <").s(u.sub.IMPU).s(">\r\n")
	b = w.contact(b, u).s(";expires=").n(uint64(expires)).s("\r\nExpires: ").n(uint64(expires)).s("\r\n")
	if credentials != nil {
		b = build(credentials.AppendTo(b.s("Authorization: "))).s("\r\n")
	}
	b = w.agreement(b, u)
	return b.s(abilities).s(network).s("User-Agent: ").s(w.target.Agent).s("\r\n").body("", netip.Addr{}, "")
}

// initial writes a request outside a dialog from u to another user (TS 24.229 5.1.2A.1).
func (w *worker) initial(b build, u *ue, p *play, method string, to *ue, seq, branch uint32, authorization []byte) build {
	b = w.begin(b, u, method, to.sub.IMPU, nil, seq, branch)
	b = w.identify(b, u, p).s("To: <").s(to.sub.IMPU).s(">\r\n").o(u.route).o(authorization)
	b = w.verify(b, u).s("P-Preferred-Identity: <").s(u.sub.IMPU).s(">\r\n").s(abilities).s(network).s("User-Agent: ").s(w.target.Agent).s("\r\n")
	if method == "INVITE" {
		b = w.contact(b, u).s("\r\nSession-Expires: 1800\r\nMin-SE: 90\r\nAccept-Contact: *;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel\"\r\n" +
			"P-Preferred-Service: urn:urn-7:3gpp-service.ims.icsi.mmtel\r\n")
		return w.describe(b, u, &p.side[0])
	}
	return b.body("text/plain", netip.Addr{}, greeting)
}

// inDialog writes a request along the route set of a dialog (RFC 3261 12.2.1.1).
func (w *worker) inDialog(b build, u *ue, d *dialog, method string, seq, branch uint32) build {
	b = w.begin(b, u, method, "", d.target, seq, branch)
	return w.verified(b.s("Call-ID: ").o(d.callID).s("\r\nFrom: ").o(d.local).s("\r\nTo: ").o(d.remote).s("\r\n").o(d.route), u, method).body("", netip.Addr{}, "")
}

// verified is verify for what is no ACK.
func (w *worker) verified(b build, u *ue, method string) build {
	if method == "ACK" {
		return b
	}
	return w.verify(b, u)
}

// cancel writes the CANCEL of an INVITE (RFC 3261 9.1).
func (w *worker) cancel(b build, u *ue, p *play, to *ue, seq, branch uint32) build {
	b = w.begin(b, u, "CANCEL", to.sub.IMPU, nil, seq, branch)
	return w.identify(b, u, p).s("To: <").s(to.sub.IMPU).s(">\r\n").o(u.route).body("", netip.Addr{}, "")
}

// refused acknowledges a final response other than 2xx hop by hop, from nothing but the response (RFC 3261 17.1.1.3). Its Request-URI is that
// of our INVITEs: what To names.
func (w *worker) refused(b build, u *ue, m *sip.Message) build {
	to, err := m.To()
	if err != nil {
		return b
	}
	seq, _, _ := m.CSeq()
	b = b.s("ACK ").o(to.URI).s(" SIP/2.0\r\nVia: ").o(m.Get(sip.HdrVia)).s("\r\nMax-Forwards: 70\r\nCSeq: ").n(uint64(seq)).s(" ACK\r\nCall-ID: ")
	b = b.o(m.Get(sip.HdrCallID)).s("\r\nFrom: ").o(m.Get(sip.HdrFrom)).s("\r\nTo: ").o(m.Get(sip.HdrTo)).s("\r\n").o(u.route)
	return b.body("", netip.Addr{}, "")
}

// answer writes a response to a request that came (RFC 3261 8.2.6). What it repeats of the request is copied as it stands.
func (w *worker) answer(b build, u *ue, m *sip.Message, code int, serial uint32, sdp bool) build {
	b = b.s("SIP/2.0 ").n(uint64(code)).s(" ").s(sip.ReasonPhrase(code)).s("\r\n")
	for v := range m.Values(sip.HdrVia) {
		b = b.s("Via: ").o(v).s("\r\n")
	}
	b = b.s("From: ").o(m.Get(sip.HdrFrom)).s("\r\nTo: ").o(m.Get(sip.HdrTo))
	if len(m.ToTag()) == 0 {
		b = b.s(";tag=b").x(uint64(serial))
	}
	b = b.s("\r\nCall-ID: ").o(m.Get(sip.HdrCallID)).s("\r\nCSeq: ").o(m.Get(sip.HdrCSeq)).s("\r\n")
	if m.Method() == sip.INVITE && code < 300 {
		for v := range m.Values(sip.HdrRecordRoute) {
			b = b.s("Record-Route: ").o(v).s("\r\n")
		}
		b = w.contact(b, u).s("\r\n").s(abilities).s(network)
	}
	if sdp {
		return w.describe(b, u, &w.plays[u.play].side[1])
	}
	return b.body("", netip.Addr{}, "")
}

// credentials answers a challenge. With AKA password is that of the challenge, with auts it is empty (RFC 3310 3.4).
func (w *worker) credentials(u *ue, scheme aka.DigestAlgorithm, c *sip.Challenge, method, uri, password, auts []byte) *sip.Credentials {
	k := &w.scratch
	k.impi = append(k.impi[:0], u.sub.IMPI...)
	d := aka.Digest{Algorithm: scheme, Username: k.impi, Realm: c.Realm, Nonce: c.Nonce, URI: uri, Method: method}
	k.out = sip.Credentials{Username: k.impi, Realm: c.Realm, Nonce: c.Nonce, URI: uri, Algorithm: c.Algorithm, Opaque: c.Opaque, AUTS: auts}
	if c.HasQOP("auth") {
		d.QOP, d.NC, d.Cnonce = k.auth, k.nc, k.cnonce
		k.out.QOP, k.out.NC, k.out.Cnonce = d.QOP, d.NC, d.Cnonce
	}
	k.response = d.AppendResponse(k.response[:0], password)
	k.out.Response = k.response
	return &k.out
}

// scratch is what credentials are made in.
type scratch struct {
	impi, response, password, auts, autsText, auth, nc, cnonce, uri, method, register, line []byte
	out                                                                                     sip.Credentials
}
