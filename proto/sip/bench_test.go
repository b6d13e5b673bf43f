package sip

import "testing"

// registerMessage is a protected re-registration as a phone sends it: 2 kB, 25 headers.
const registerMessage = "REGISTER sip:ims.mnc001.mcc001.3gppnetwork.org SIP/2.0\r\n" +
	"Via: SIP/2.0/TCP [2001:db8:85a3::8a2e:370:7334]:38001;branch=z9hG4bK-524287-1---8c2b9e1f77aa3d01;rport;transport=TCP\r\n" +
	"Max-Forwards: 70\r\n" +
	"Contact: <sip:9f8e7d6c-1a2b-4c3d-8e9f-0a1b2c3d4e5f@[2001:db8:85a3::8a2e:370:7334]:39001;transport=tcp>;expires=600000;+sip.instance=\"<urn:gsma:imei:35209900-176148-0>\";+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel\";+g.3gpp.smsip;audio;video;+g.3gpp.accesstype=\"cellular2\";reg-id=1\r\n" +
	"Route: <sip:[2001:db8:85a3::1]:6060;lr;transport=tcp>\r\n" +
	"To: <sip:001010000000001@ims.mnc001.mcc001.3gppnetwork.org>\r\n" +
	"From: <sip:001010000000001@ims.mnc001.mcc001.3gppnetwork.org>;tag=8a7f3c21\r\n" +
	"Call-ID: Zm9vYmFyLWJhei1xdXV4LTEyMzQ1Njc4OTA@[2001:db8:85a3::8a2e:370:7334]\r\n" +
	"CSeq: 2 REGISTER\r\n" +
	"Expires: 600000\r\n" +
	"Allow: INVITE, ACK, CANCEL, BYE, UPDATE, PRACK, MESSAGE, REFER, NOTIFY, INFO, OPTIONS\r\n" +
	"Supported: path, gruu, sec-agree, outbound, timer, 100rel\r\n" +
	"Require: sec-agree\r\n" +
	"Proxy-Require: sec-agree\r\n" +
	"Security-Client: ipsec-3gpp; alg=hmac-sha-1-96; ealg=aes-cbc; prot=esp; mod=trans; spi-c=2874612345; spi-s=1723459876; port-c=38001; port-s=39001\r\n" +
	"Security-Verify: ipsec-3gpp; q=0.9; alg=hmac-sha-1-96; ealg=aes-cbc; prot=esp; mod=trans; spi-c=4112233445; spi-s=4112233446; port-c=6061; port-s=6060\r\n" +
	"Authorization: Digest username=\"001010000000001@ims.mnc001.mcc001.3gppnetwork.org\",realm=\"ims.mnc001.mcc001.3gppnetwork.org\",uri=\"sip:ims.mnc001.mcc001.3gppnetwork.org\",nonce=\"AbCdEfGhIjKlMnOpQrStUvWxYz0123456789+/ABCDE=\",response=\"0123456789abcdef0123456789abcdef\",algorithm=AKAv1-MD5,qop=auth,cnonce=\"2c4f6a81\",nc=00000001\r\n" +
	"P-Access-Network-Info: 3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=001010001000019B\r\n" +
	"P-Visited-Network-ID: \"ims.mnc001.mcc001.3gppnetwork.org\"\r\n" +
	"P-Charging-Vector: icid-value=\"1234bc9876e\";icid-generated-at=192.0.2.8;orig-ioi=\"ims.mnc001.mcc001.3gppnetwork.org\"\r\n" +
	"Path: <sip:Zm9vYmFyYmF6cXV4QQ@pcscf.ims.mnc001.mcc001.3gppnetwork.org:5060;lr;ob>\r\n" +
	"Cellular-Network-Info: 3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=001010001000019B;cell-info-age=0\r\n" +
	"User-Agent: ExamplePhone/14.2 IMS/9.1 (build 20261101)\r\n" +
	"X-Vendor-Extra: a value that nobody else knows\r\n" +
	"Content-Length: 0\r\n" +
	"\r\n"

const inviteBody = "v=0\r\n" +
	"o=- 1727432 1727432 IN IP6 2001:db8:85a3::8a2e:370:7334\r\n" +
	"s=-\r\n" +
	"c=IN IP6 2001:db8:85a3::8a2e:370:7334\r\n" +
	"b=AS:41\r\nb=RS:512\r\nb=RR:1537\r\n" +
	"t=0 0\r\n" +
	"m=audio 49120 RTP/AVP 107 106 105 104 101 102\r\n" +
	"a=rtpmap:107 AMR-WB/16000/1\r\na=fmtp:107 mode-change-capability=2;max-red=0\r\n" +
	"a=rtpmap:106 AMR-WB/16000/1\r\na=fmtp:106 octet-align=1;mode-change-capability=2;max-red=0\r\n" +
	"a=rtpmap:105 AMR/8000/1\r\na=fmtp:105 mode-change-capability=2;max-red=0\r\n" +
	"a=rtpmap:104 AMR/8000/1\r\na=fmtp:104 octet-align=1;mode-change-capability=2;max-red=0\r\n" +
	"a=rtpmap:101 telephone-event/16000\r\na=rtpmap:102 telephone-event/8000\r\n" +
	"a=curr:qos local none\r\na=curr:qos remote none\r\na=des:qos mandatory local sendrecv\r\na=des:qos optional remote sendrecv\r\n" +
	"a=sendrecv\r\na=ptime:20\r\na=maxptime:240\r\n"

// inviteMessage is an IMS call as a phone sends it: 2 kB with its SDP, 25 headers.
const inviteMessage = "INVITE tel:+15551234567 SIP/2.0\r\n" +
	"Via: SIP/2.0/UDP [2001:db8:85a3::8a2e:370:7334]:38001;branch=z9hG4bK-524287-1---77aa3d018c2b9e1f;rport\r\n" +
	"Max-Forwards: 70\r\n" +
	"Route: <sip:[2001:db8:85a3::1]:6060;lr>, <sip:orig@scscf.ims.mnc001.mcc001.3gppnetwork.org:5060;lr>\r\n" +
	"Contact: <sip:9f8e7d6c@[2001:db8:85a3::8a2e:370:7334]:39001>;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel\";audio\r\n" +
	"To: <tel:+15551234567>\r\n" +
	"From: \"Alice\" <sip:+15557654321@ims.mnc001.mcc001.3gppnetwork.org>;tag=5c0a4d\r\n" +
	"Call-ID: 5f0c9d2e77ab@[2001:db8:85a3::8a2e:370:7334]\r\n" +
	"CSeq: 1 INVITE\r\n" +
	"Allow: INVITE, ACK, CANCEL, BYE, UPDATE, PRACK, MESSAGE, REFER, NOTIFY, INFO, OPTIONS\r\n" +
	"Supported: 100rel, precondition, timer, gruu, sec-agree\r\n" +
	"Require: sec-agree\r\n" +
	"Proxy-Require: sec-agree\r\n" +
	"Security-Verify: ipsec-3gpp;q=0.9;alg=hmac-sha-1-96;ealg=aes-cbc;spi-c=41122;spi-s=41123;port-c=6061;port-s=6060\r\n" +
	"P-Preferred-Identity: <sip:+15557654321@ims.mnc001.mcc001.3gppnetwork.org>\r\n" +
	"P-Preferred-Service: urn:urn-7:3gpp-service.ims.icsi.mmtel\r\n" +
	"P-Access-Network-Info: 3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=001010001000019B\r\n" +
	"P-Early-Media: supported\r\n" +
	"Accept-Contact: *;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel\"\r\n" +
	"Accept: application/sdp, application/3gpp-ims+xml\r\n" +
	"Session-Expires: 1800\r\n" +
	"Min-SE: 90\r\n" +
	"Privacy: none\r\n" +
	"User-Agent: ExamplePhone/14.2 IMS/9.1 (build 20261101)\r\n" +
	"Content-Type: application/sdp\r\n" +
	"Content-Length: 744\r\n" +
	"\r\n" + inviteBody

// compactInvite is the same with the compact forms that real phones use.
const compactInvite = "INVITE sip:bob@ims.example.org SIP/2.0\r\n" +
	"v: SIP/2.0/UDP 192.0.2.1:38001;branch=z9hG4bK-524287-1;rport\r\n" +
	"Max-Forwards: 70\r\n" +
	"f: \"Alice\" <sip:alice@ims.example.org>;tag=5c0a4d\r\n" +
	"t: <sip:bob@ims.example.org>\r\n" +
	"i: 5f0c9d2e77ab\r\n" +
	"CSeq: 1 INVITE\r\n" +
	"m: <sip:alice@192.0.2.1:39001>;+g.3gpp.smsip\r\n" +
	"k: 100rel, precondition, timer\r\n" +
	"a: *;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel\"\r\n" +
	"x: 1800\r\n" +
	"c: application/sdp\r\n" +
	"l: 744\r\n" +
	"\r\n" + inviteBody

var benchMessages = []struct {
	name string
	data []byte
}{
	{"REGISTER", []byte(registerMessage)},
	{"INVITE", []byte(inviteMessage)},
	{"compact", []byte(compactInvite)},
}

var (
	ourVia = []byte("SIP/2.0/UDP pcscf.ims.mnc001.mcc001.3gppnetwork.org:5060;branch=z9hG4bKAbCdEfGhIjKlMnOpQrStUv")
	ourRR  = []byte("<sip:AbCdEfGhIjKlMnOpQrStUv@pcscf.ims.mnc001.mcc001.3gppnetwork.org:5060;lr>")
)

// forward is what a proxy does to a request that passes.
func forward(m *Message, dst []byte) []byte {
	m.Prepend(HdrVia, ourVia)
	m.Prepend(HdrRecordRoute, ourRR)
	m.RemoveFirst(HdrRoute)
	n, _ := m.MaxForwards()
	m.SetUint(HdrMaxForwards, uint64(n-1))
	return m.AppendTo(dst)
}

func benchmarkAll(b *testing.B, fn func(b *testing.B, p *Pool, data []byte)) {
	for _, msg := range benchMessages {
		b.Run(msg.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(msg.data)))
			fn(b, NewPool(Limits{}), msg.data)
		})
	}
}

func BenchmarkParse(b *testing.B) {
	benchmarkAll(b, func(b *testing.B, p *Pool, data []byte) {
		for b.Loop() {
			m, err := p.Parse(data)
			if err != nil {
				b.Fatal(err)
			}
			m.Release()
		}
	})
}

func BenchmarkParseAndForward(b *testing.B) {
	benchmarkAll(b, func(b *testing.B, p *Pool, data []byte) {
		dst := make([]byte, 0, 8192)
		for b.Loop() {
			m, err := p.Parse(data)
			if err != nil {
				b.Fatal(err)
			}
			dst = forward(m, dst[:0])
			m.Release()
		}
	})
}

// BenchmarkReceiveAndForward is the same with the judgement of layer two in between.
func BenchmarkReceiveAndForward(b *testing.B) {
	benchmarkAll(b, func(b *testing.B, p *Pool, data []byte) {
		dst := make([]byte, 0, 8192)
		for b.Loop() {
			m, err := p.Parse(data)
			if err != nil || Validate(m) != nil {
				b.Fatal(err)
			}
			dst = forward(m, dst[:0])
			m.Release()
		}
	})
}

func BenchmarkAppendTo(b *testing.B) {
	benchmarkAll(b, func(b *testing.B, p *Pool, data []byte) {
		m, err := p.Parse(data)
		if err != nil {
			b.Fatal(err)
		}
		dst := make([]byte, 0, 8192)
		for b.Loop() {
			dst = m.AppendTo(dst[:0])
		}
	})
}

func BenchmarkValidate(b *testing.B) {
	benchmarkAll(b, func(b *testing.B, p *Pool, data []byte) {
		m, err := p.Parse(data)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if r := Validate(m); r != nil {
				b.Fatal(r)
			}
		}
	})
}

func BenchmarkResponse(b *testing.B) {
	benchmarkAll(b, func(b *testing.B, p *Pool, data []byte) {
		m, err := p.Parse(data)
		if err != nil {
			b.Fatal(err)
		}
		dst := make([]byte, 0, 8192)
		for b.Loop() {
			r := p.NewResponse(m, 200, "")
			r.SetToTag("a73kszlfl")
			dst = r.AppendTo(dst[:0])
			r.Release()
		}
	})
}

func BenchmarkClone(b *testing.B) {
	benchmarkAll(b, func(b *testing.B, p *Pool, data []byte) {
		m, err := p.Parse(data)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			m.Clone().Release()
		}
	})
}

func BenchmarkFramer(b *testing.B) {
	benchmarkAll(b, func(b *testing.B, p *Pool, data []byte) {
		f := p.NewFramer()
		for b.Loop() {
			f.Write(data)
			for {
				msg, err := f.Next()
				if err != nil {
					b.Fatal(err)
				}
				if msg == nil {
					break
				}
			}
		}
	})
}

// BenchmarkParseCredentials reads what a REGISTER with an answer to a challenge carries; door and functions do so, each for itself.
func BenchmarkParseCredentials(b *testing.B) {
	value := []byte(`Digest username="001010000000001@ims.mnc001.mcc001.3gppnetwork.org",realm="ims.mnc001.mcc001.3gppnetwork.org",` +
		`nonce="Iy0bkVGcCpZIrhrlJnJx4nWkCCbhFwAAa6dJuWQ2yks=",uri="sip:ims.mnc001.mcc001.3gppnetwork.org",` +
		`response="6629fae49393a05397450978507c4ef1",algorithm=AKAv1-MD5,cnonce="0a4f113b",qop=auth,nc=00000001`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseCredentials(value); err != nil {
			b.Fatal(err)
		}
	}
}
