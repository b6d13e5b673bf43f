package clientims

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"imsafe/hop"
	"imsafe/proto/aka"
	"imsafe/proto/esp"
	"imsafe/proto/secagree"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/proto/siptxn"
	"imsafe/refpoint/gm"
	"imsafe/refpoint/gm/gmtest"
	"imsafe/secure"
)

// gmBench is a door with an access profile ipsec-3gpp, and a P-CSCF that challenges whoever does not come over fresh associations.
type gmBench struct {
	*bench
	gm      *Gm
	engine  *esp.Engine
	phones  map[netip.Addr]*phone
	expires time.Duration
	trusts  bool // it takes a refresh without a challenge
	refuses bool // it refuses every answer
	ck      aka.CK
	ik      aka.IK
	serial  byte
}

var pcscfAddr = netip.MustParseAddr("192.0.2.1")

func newGmBench(t testing.TB, profile secagree.Profile, exceptions ...secagree.Exception) *gmBench {
	b := &gmBench{bench: newBench(t, overTLS), phones: map[netip.Addr]*phone{}, expires: time.Hour}
	b.engine = esp.New(esp.Config{Random: rand.Reader, Clock: b.clock, Refuse: b.door.Refuse, Notify: b.door.Notice})
	b.gm = b.door.OpenIPsec(IPsec{Engine: b.engine, Local: pcscfAddr, ServerPort: 5999, ClientPorts: []uint16{6001, 6002, 6003}, Profile: profile,
		Exceptions: exceptions, SentBy: "192.0.2.1:5060", Timers: siptxn.GmTimers()})
	b.gm.CarryBy(carrier{b, false}, carrier{b, true})
	b.port = b.gm.Clear()[0]
	b.on(func() { b.port.Watch(); b.gm.sealed.ports[0].Watch() })
	b.bench.pcscf = b.answer
	return b
}

// carrier takes what the door seals to the phone that it is for.
type carrier struct {
	b      *gmBench
	tunnel bool
}

func (c carrier) Send(r esp.Ref, side esp.Side, payload []byte) error {
	packet, to, err := c.b.engine.SealUDP(nil, r, side, payload)
	if err != nil {
		return err
	}
	if (to.Port() != 0) != c.tunnel {
		c.b.t.Errorf("a packet for %v went the other way", to)
	}
	if p := c.b.phones[to.Addr()]; p != nil {
		p.receive(packet, c.tunnel)
	}
	return nil
}

// answer is the P-CSCF.
// install is Door.Install of an engine that is not slow.
func install(d *Door, a secure.Association, ck aka.CK, ik aka.IK) (lines []string, err error) {
	d.Install(a, ck, ik, func(values []string, failed error) { lines, err = values, failed })
	return lines, err
}

func (b *gmBench) answer(x *hop.Exchange, in hop.Inbound) hop.Reply {
	a := in.Proof.Association()
	if in.Msg.Method() != sip.REGISTER {
		return x.Refuse(in, 200, "")
	}
	switch generation := in.Proof.Generation(); {
	case b.refuses && generation == secure.GenerationNew:
		return x.Refuse(in, 403, "")
	case generation == secure.GenerationNew, b.trusts && generation == secure.GenerationCurrent:
		c, _ := sip.ParseCredentials(in.Msg.Get(sip.HdrAuthorization))
		name := string(c.Username)
		if err := b.door.Promote(a, gm.Registration{IMPI: name, IMPUs: []string{"sip:" + name}, Expires: b.expires}); err != nil {
			b.t.Error(err)
		}
		return x.Refuse(in, 200, "")
	}
	b.serial++
	b.ck, b.ik = aka.CK{b.serial}, aka.IK{b.serial, 1}
	lines, err := install(b.door, a, b.ck, b.ik)
	if err != nil {
		return x.Refuse(in, 500, string(err.(gm.Error)))
	}
	r := x.Refuse(in, 401, "")
	for _, l := range lines {
		r.Msg.AppendString(sip.HdrSecurityServer, l)
	}
	return r
}

// phone is a client with its half of ipsec-3gpp.
type phone struct {
	b       *gmBench
	name    string
	addr    netip.Addr
	via     netip.Addr // what it thinks its address is
	engine  *esp.Engine
	suites  secagree.Profile
	modes   []secagree.Mode
	uc, us  uint16
	offered secagree.List
	sets    []esp.Ref // newest last
	server  []secagree.List
	tunnel  bool
	clear   []string // what came in clear
	got     []string // what came sealed
	by      []esp.Ref
	cseq    int
	edit    func(string) string // of the next request
	forgets bool                // it gives associations up that the network has
}

func (b *gmBench) phone(name, addr string) *phone {
	p := &phone{b: b, name: name, addr: netip.MustParseAddr(addr), engine: esp.New(esp.Config{Random: rand.Reader}), suites: secagree.Strict(),
		modes: []secagree.Mode{secagree.Transport, secagree.UDPTunnel}, uc: 38000, us: 39000}
	p.via = p.addr
	b.phones[p.addr] = p
	return p
}

// SendTo, Reliable, Proto and Local make it the end of an unprotected flow.
func (p *phone) SendTo(_ netip.AddrPort, octets []byte) error {
	p.clear = append(p.clear, string(octets))
	return nil
}
func (p *phone) Reliable() bool        { return false }
func (p *phone) Proto() string         { return "UDP" }
func (p *phone) Local() netip.AddrPort { return netip.MustParseAddrPort("192.0.2.1:5060") }

func (p *phone) flow() siptransport.Flow {
	return siptransport.Flow{Via: p, Peer: netip.AddrPortFrom(p.addr, 5060)}
}

// offer makes a Security-Client with SPIs and a client port that are new.
func (p *phone) offer() string {
	spi, err := p.engine.Reserve(p.addr)
	if err != nil {
		p.b.t.Fatal(err)
	}
	p.uc++
	p.offered = secagree.Offer(p.suites, secagree.Endpoint{SPIC: spi[0], SPIS: spi[1], PortC: p.uc, PortS: p.us}, p.modes...)
	return "Security-Client: " + string(p.offered.AppendTo(nil))
}

func (p *phone) request(method string, lines ...string) string {
	p.cseq++
	to := "bob"
	if method == "REGISTER" {
		to = p.name
		lines = append(lines, fmt.Sprintf("Authorization: Digest username=%q,realm=\"ims.example\",nonce=\"\",uri=\"sip:ims.example\",response=\"\"", p.name+"@ims.example"), asTelephones)
	}
	text := fmt.Sprintf("%s sip:ims.example SIP/2.0\r\nVia: SIP/2.0/UDP %v:%d;branch=z9hG4bK%s%d\r\nMax-Forwards: 70\r\nFrom: <sip:%s@ims.example>;tag=a\r\nTo: <sip:%s@ims.example>\r\n"+
		"Call-ID: c%s%d\r\nCSeq: %d %s\r\n%s\r\n", method, p.via, p.us, p.name, p.cseq, p.name, to, p.name, p.cseq, p.cseq, method,
		strings.Join(append(lines, "Content-Length: 0\r\n"), "\r\n"))
	if p.edit != nil {
		text = p.edit(text)
	}
	return text
}

// asTelephones is what a REGISTER of a telephone says besides. Without it the requests of these tests would be smaller than answers to them,
// which go to nobody who has proven nothing.
const asTelephones = "Contact: <sip:198.51.100.7:39000>;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel\";audio;video;+g.3gpp.smsip;" +
	"+sip.instance=\"<urn:gsma:imei:35622410-483840-0>\";expires=600000\r\n" +
	"P-Access-Network-Info: 3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=0010100010000001\r\n" +
	"Require: sec-agree\r\nProxy-Require: sec-agree\r\nSupported: path,sec-agree,gruu\r\n" +
	"Allow: INVITE, ACK, CANCEL, BYE, UPDATE, REFER, NOTIFY, INFO, MESSAGE, PRACK, OPTIONS\r\nUser-Agent: telephone/1.0 (build 20261125.001)"

// sendClear sends on the unprotected port and returns the answers.
func (p *phone) sendClear(method string, lines ...string) []string {
	before := len(p.clear)
	text := p.request(method, lines...)
	p.b.on(func() { p.b.port.Packet(p.flow(), []byte(text)) })
	return p.clear[before:]
}

// install takes the Security-Server of a 401.
func (p *phone) install(answer string) {
	m, err := sip.NewPool(sip.Limits{}).Parse([]byte(answer))
	if err != nil || m.Status() != 401 {
		p.b.t.Fatalf("no challenge: %s", answer)
	}
	server, err := secagree.Parse(m.Values(sip.HdrSecurityServer))
	if err != nil {
		p.b.t.Fatal(err)
	}
	chosen, err := secagree.Select(&server, &p.offered)
	if err != nil {
		p.b.t.Fatal(err)
	}
	own, _ := p.offered.IPsec()
	transform, _ := esp.TransformOf(chosen.Alg, chosen.EAlg)
	p.tunnel = chosen.Mode == secagree.UDPTunnel
	g := &esp.Agreement{Role: esp.UE, Local: p.addr, Peer: pcscfAddr, Here: ends(own.Endpoint()), There: ends(chosen.Endpoint()), Transform: transform,
		CK: p.b.ck, IK: p.b.ik, AllowWithdrawn: true, Tunnel: p.tunnel}
	if p.tunnel {
		g.PeerPort = 4500
	}
	ref, err := p.engine.Install(g)
	if err != nil {
		p.b.t.Fatal(err)
	}
	p.sets, p.server = append(p.sets, ref), append(p.server, server)
}

// send sends over the set that is at places from the newest, and returns the answers.
func (p *phone) send(back int, method string, lines ...string) []string {
	before := len(p.got)
	p.transmit(back, p.request(method, append(lines, p.verify(back))...))
	return p.got[before:]
}

func (p *phone) verify(back int) string {
	return "Security-Verify: " + string(p.server[len(p.server)-1-back].AppendTo(nil))
}

func (p *phone) transmit(back int, text string) {
	packet, _, err := p.engine.SealUDP(nil, p.sets[len(p.sets)-1-back], esp.Client, []byte(text))
	if err != nil {
		p.b.t.Fatal(err)
	}
	p.b.arrive(packet, p.addr, p.tunnel)
}

// arrive lets a packet come in at the door.
func (b *gmBench) arrive(packet []byte, from netip.Addr, tunnel bool) esp.Drop {
	port := uint16(0)
	if tunnel {
		port = 40500
	}
	var d esp.Datagram
	drop := b.engine.Open(slices.Clone(packet), netip.AddrPortFrom(from, port), pcscfAddr, &d)
	if drop == esp.Accepted {
		b.on(func() { b.gm.Datagram(&d) })
	}
	return drop
}

func (p *phone) receive(packet []byte, tunnel bool) {
	port := uint16(0)
	if tunnel {
		port = 4500
	}
	var d esp.Datagram
	if drop := p.engine.Open(packet, netip.AddrPortFrom(pcscfAddr, port), p.addr, &d); drop == esp.DropUnknown && p.forgets {
		return
	} else if drop != esp.Accepted {
		p.b.t.Errorf("%s could not open what came: %v", p.name, drop)
		return
	}
	p.got, p.by = append(p.got, string(d.Payload)), append(p.by, d.Agreement)
}

// register is the whole first registration.
func (p *phone) register() secure.Association {
	p.b.t.Helper()
	offer := p.offer()
	answers := p.sendClear("REGISTER", offer)
	if len(answers) != 1 {
		p.b.t.Fatalf("%d answers to the first REGISTER", len(answers))
	}
	p.install(answers[0])
	want(p.b.t, p.send(0, "REGISTER", offer), 200)
	return p.b.last
}

// renew is a registration anew over the associations that stand.
func (p *phone) renew() {
	p.b.t.Helper()
	offer := p.offer()
	answers := p.send(0, "REGISTER", offer)
	if len(answers) != 1 {
		p.b.t.Fatalf("%d answers to the REGISTER", len(answers))
	}
	p.install(answers[0])
	want(p.b.t, p.send(0, "REGISTER", offer), 200)
}

// want holds that there is one answer with this status, or none for 0.
func want(t testing.TB, answers []string, status int) {
	t.Helper()
	switch {
	case status == 0 && len(answers) == 0:
	case len(answers) != 1 || !strings.HasPrefix(answers[0], fmt.Sprintf("SIP/2.0 %d ", status)):
		t.Errorf("answered %.200q, want one %d", answers, status)
	}
}

func TestGmContract(t *testing.T) {
	gmtest.Run(t, func(t *testing.T) gmtest.Harness {
		b := newGmBench(t, secagree.Strict())
		n := 0
		of := map[secure.Association]*phone{}
		return gmtest.Harness{
			Door: b.door,
			Open: func() secure.Association {
				n++
				p := b.phone(fmt.Sprintf("alice%d", n), fmt.Sprintf("198.51.100.%d", n))
				b.pcscf = func(x *hop.Exchange, in hop.Inbound) hop.Reply { return x.Refuse(in, 401, "") }
				p.sendClear("REGISTER", p.offer())
				of[b.last] = p
				return b.last
			},
			Proof: func(a secure.Association) secure.Proof {
				record, _ := b.door.lookup(a)
				return record.proof
			},
			Close:   func(a secure.Association) { b.on(func() { b.door.end(a, gm.ReasonClosed) }) },
			Advance: b.advance,
			Gone:    func(a secure.Association) []gm.Reason { return b.gone[a] },
		}
	})
}

func TestGm_registration(t *testing.T) {
	for name, profile := range map[string]secagree.Profile{"strict": secagree.Strict(), "handset": secagree.Handset(), "legacy": secagree.Legacy()} {
		for _, suite := range profile.Suites {
			for _, nat := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s+%s/nat=%v", name, suite.Alg, suite.EAlg, nat), func(t *testing.T) {
					b := newGmBench(t, profile)
					p := b.phone("alice", "198.51.100.7")
					p.suites = secagree.Profile{Suites: []secagree.Suite{suite}}
					if nat {
						p.via = netip.MustParseAddr("10.0.0.5")
						p.edit = func(s string) string { // inside the tunnel it knows better (TS 33.203 M.7.1)
							if strings.Contains(s, "Security-Verify") {
								return strings.Replace(s, "10.0.0.5", p.addr.String(), 1)
							}
							return s
						}
					}
					a := p.register()
					if p.tunnel != nat {
						t.Errorf("tunnel %v, want %v", p.tunnel, nat)
					}
					proof := b.proofs[a]
					if proof.Generation() != secure.GenerationNew || !proof.Protected() {
						t.Errorf("the answer to the challenge came with the proof %v", proof)
					}
					p.edit = nil
					p.via = p.addr
					want(t, p.send(0, "MESSAGE"), 200)
					if proof := b.proofs[a]; proof.IMPI() != "alice@ims.example" || proof.Generation() != secure.GenerationCurrent {
						t.Errorf("a message came with the proof %v", proof)
					}
					before := len(p.got)
					b.deliver(a, 10)
					if len(p.got) != before+1 || !strings.HasPrefix(p.got[before], "MESSAGE ") || !strings.Contains(p.got[before], "Via: SIP/2.0/UDP 192.0.2.1:5999;") {
						t.Errorf("what the core sends came as %q", p.got[before:])
					}
				})
			}
		}
	}
}

func TestGm_nothing_of_the_agreement_goes_on(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	p := b.phone("alice", "198.51.100.7")
	var seen []string
	answer := b.pcscf
	b.pcscf = func(x *hop.Exchange, in hop.Inbound) hop.Reply {
		seen = append(seen, string(in.Msg.AppendTo(nil)))
		return answer(x, in)
	}
	p.edit = func(s string) string {
		return strings.Replace(s, "Max-Forwards", "Require: sec-agree\r\nProxy-Require: sec-agree\r\nSupported: path, sec-agree, gruu\r\nMax-Forwards", 1)
	}
	p.register()
	p.send(0, "MESSAGE")
	if len(seen) != 3 {
		t.Fatalf("%d requests came to the P-CSCF", len(seen))
	}
	for _, m := range seen {
		if strings.Contains(strings.ToLower(m), "sec-agree") || strings.Contains(m, "Security-") || !strings.Contains(m, "Supported: path, gruu") {
			t.Errorf("it goes on:\n%s", m)
		}
	}
}

func TestGm_first_REGISTER(t *testing.T) {
	offers := func(lines ...string) func(*phone) []string {
		return func(p *phone) []string { return lines }
	}
	for name, c := range map[string]struct {
		lines  func(*phone) []string
		edit   func(*phone)
		status int
		has    string
	}{
		"no offer":            {offers(), nil, 421, "Require: sec-agree"},
		"not the grammar":     {offers("Security-Client: ipsec-3gpp;;"), nil, 400, ""},
		"tls alone":           {offers("Security-Client: tls"), nil, 494, "Security-Server: ipsec-3gpp;q=0.9;alg=null;prot=esp;mod=trans;ealg=aes-gcm"},
		"MD5 alone":           {offers("Security-Client: ipsec-3gpp;alg=hmac-md5-96;spi-c=1111111111;spi-s=1111111112;port-c=38001;port-s=39000"), nil, 494, "Security-Server: ipsec-3gpp"},
		"null encryption":     {offers("Security-Client: ipsec-3gpp;alg=hmac-sha-1-96;ealg=null;spi-c=1111111111;spi-s=1111111112;port-c=38001;port-s=39000"), nil, 494, "Security-Server: ipsec-3gpp"},
		"unprotectable ports": {offers("Security-Client: ipsec-3gpp;alg=null;ealg=aes-gcm;spi-c=1111111111;spi-s=1111111112;port-c=5060;port-s=39000"), nil, 400, ""},
		"a name in the Via": {func(p *phone) []string { return []string{p.offer()} }, func(p *phone) {
			p.edit = func(s string) string { return strings.Replace(s, "UDP 198.51.100.7", "UDP phone.example", 1) }
		}, 400, ""},
		"behind a NAT without a tunnel": {func(p *phone) []string { return []string{p.offer()} }, func(p *phone) {
			p.via, p.modes = netip.MustParseAddr("10.0.0.5"), []secagree.Mode{secagree.Transport}
		}, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newGmBench(t, secagree.Strict())
			b.pcscf = func(x *hop.Exchange, in hop.Inbound) hop.Reply {
				t.Error("it came to the P-CSCF")
				return x.Refuse(in, 500, "")
			}
			p := b.phone("alice", "198.51.100.7")
			if c.edit != nil {
				c.edit(p)
			}
			answers := p.sendClear("REGISTER", c.lines(p)...)
			want(t, answers, c.status)
			if len(answers) > 0 && !strings.Contains(answers[0], c.has) {
				t.Errorf("%q is missing in\n%s", c.has, answers[0])
			}
			if b.door.Associations() != 0 || b.engine.Len() != 0 {
				t.Errorf("%d associations, %d agreements are left", b.door.Associations(), b.engine.Len())
			}
		})
	}
}

// TestGm_without_ESP_on_IP is a node that may open no raw socket: a client that knows nothing else is told so, not met with silence.
func TestGm_without_ESP_on_IP(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	b.gm.CarryBy(nil, carrier{b, true})
	p := b.phone("alice", "198.51.100.7")
	p.modes = []secagree.Mode{secagree.Transport}
	answers := p.sendClear("REGISTER", p.offer())
	want(t, answers, 494)
	if !strings.Contains(answers[0], "mod=UDP-enc-tun") {
		t.Errorf("it is not told what there is:\n%s", answers[0])
	}
	p.modes = append(p.modes, secagree.UDPTunnel)
	p.register()
}

func TestGm_device_exception(t *testing.T) {
	md5 := secagree.Suite{Mechanism: secagree.IPsec3GPP, Alg: secagree.AlgMD5, EAlg: secagree.EAlgNull}
	exception := secagree.Exception{IMPI: "alice@ims.example", Suites: []secagree.Suite{md5}, Owner: "operations", Ends: time.Unix(1700000000, 0).Add(time.Hour)}
	b := newGmBench(t, secagree.Strict(), exception)
	p, q := b.phone("alice", "198.51.100.7"), b.phone("bob", "198.51.100.8")
	p.suites, q.suites = secagree.Profile{Suites: exception.Suites}, secagree.Profile{Suites: exception.Suites}
	p.register()
	want(t, q.sendClear("REGISTER", q.offer()), 494)
	b.advance(2 * time.Hour)
	want(t, p.sendClear("REGISTER", p.offer()), 494)
}

func TestGm_in_clear(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	p := b.phone("alice", "198.51.100.7")
	stranger := b.phone("mallory", "198.51.100.9")
	p.register()
	n := 0
	b.pcscf = func(x *hop.Exchange, in hop.Inbound) hop.Reply { n++; return x.Refuse(in, 200, "") }
	for _, who := range []*phone{p, stranger} {
		for _, method := range []string{"INVITE", "BYE", "MESSAGE", "SUBSCRIBE", "OPTIONS"} {
			want(t, who.sendClear(method), 0)
		}
	}
	if refused, _ := b.gate.Counts(secure.CIAuthorizationProtectedPort); refused != 10 || n != 0 {
		t.Errorf("%d refusals named, %d requests let in", refused, n)
	}
}

// TestGm_bid_down holds that both lists of the first protected REGISTER are compared with what was said in clear, by meaning.
func TestGm_bid_down(t *testing.T) {
	replace := func(old, new string) func(string) string {
		return func(s string) string { return strings.Replace(s, old, new, 1) }
	}
	verifyLine := func(s string) string {
		i := strings.Index(s, "Security-Verify")
		return s[i : i+strings.Index(s[i:], "\r\n")+2]
	}
	for name, c := range map[string]struct {
		edit   func(string) string
		status int
	}{
		"as it was":       {nil, 200},
		"spelt otherwise": {replace("Security-Client: ipsec-3gpp;q=0.9;alg=null;", "Security-Client: IPSEC-3GPP ; alg=NULL ;q=0.900;"), 200},
		"order of the headers": {func(s string) string {
			v := verifyLine(s)
			return strings.Replace(strings.Replace(s, v, "", 1), "Security-Client", v+"Security-Client", 1)
		}, 200},
		"a mechanism less": {func(s string) string {
			i := strings.Index(s, "Security-Client: ")
			j := i + strings.Index(s[i:], ",")
			return s[:i] + "Security-Client: " + s[j+1:]
		}, 494},
		"another client port": {replace("port-c=38001", "port-c=38002"), 494},
		"no Security-Client": {func(s string) string {
			i := strings.Index(s, "Security-Client")
			j := i + strings.Index(s[i:], "\r\n") + 2
			return s[:i] + s[j:]
		}, 494},
		"no Security-Verify": {func(s string) string { return strings.Replace(s, verifyLine(s), "", 1) }, 494},
		"other preference": {func(s string) string {
			v := verifyLine(s)
			return strings.Replace(s, v, strings.Replace(v, "q=0.9", "q=0.8", 1), 1)
		}, 494},
		"our server port not as it was": {replace("port-s=5999", "port-s=5998"), 494},
	} {
		t.Run(name, func(t *testing.T) {
			b := newGmBench(t, secagree.Strict())
			p := b.phone("alice", "198.51.100.7")
			offer := p.offer()
			p.install(p.sendClear("REGISTER", offer)[0])
			p.edit = c.edit
			want(t, p.send(0, "REGISTER", offer), c.status)
			p.edit = nil
			if c.status == 200 {
				return
			}
			want(t, p.send(0, "REGISTER", offer), 0) // nobody listens any more
			b.advance(time.Minute)
			if b.engine.Len() != 0 {
				t.Error("the associations of the attempt stand")
			}
			if refused, _ := b.gate.Counts(secure.CIIntegritySecAgree); refused != 1 {
				t.Errorf("%d refusals named", refused)
			}
			p.register() // it may begin anew
		})
	}
}

func TestGm_later_requests_repeat_the_agreement(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	p := b.phone("alice", "198.51.100.7")
	p.register()
	want(t, p.send(0, "MESSAGE"), 200)
	p.edit = func(s string) string { return strings.Replace(s, "Security-Verify", "X-Verify", 1) }
	want(t, p.send(0, "MESSAGE"), 494)
	want(t, p.send(0, "REGISTER", p.offer()), 494)
	p.edit = nil
	want(t, p.send(0, "MESSAGE"), 200) // what stands is not harmed
	want(t, p.send(0, "REGISTER"), 494)
	p.uc = 38000 // the client port that is in use
	want(t, p.send(0, "REGISTER", p.offer()), 494)
}

func TestGm_generations(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	p := b.phone("alice", "198.51.100.7")
	a := p.register()
	arrivesBy := func(back int) {
		t.Helper()
		n := len(p.by)
		b.deliver(a, 5)
		if len(p.by) != n+1 || p.by[n] != p.sets[len(p.sets)-1-back] {
			t.Errorf("a request came by another set than the one %d before the newest", back)
		}
	}
	arrivesBy(0)
	offer := p.offer()
	challenge := p.send(0, "REGISTER", offer)
	want(t, challenge, 401)
	p.install(challenge[0])
	arrivesBy(1) // the new ones have proven nothing
	want(t, p.send(0, "MESSAGE"), 403)
	want(t, p.send(1, "MESSAGE"), 200)
	want(t, p.send(0, "REGISTER", offer), 200)
	if b.engine.Len() != 2 {
		t.Errorf("%d sets stand, want the new and the former", b.engine.Len())
	}
	arrivesBy(1) // it has not used the new ones since
	want(t, p.send(1, "MESSAGE"), 200)
	want(t, p.send(0, "MESSAGE"), 200)
	arrivesBy(0)
	b.advance(time.Minute + 64*2*time.Second)
	if b.engine.Len() != 1 {
		t.Errorf("%d sets stand, want one", b.engine.Len())
	}

	// A client that never uses them is reached by them after a while: it may have given the former up.
	p.renew()
	arrivesBy(1)
	b.advance(switchAfter)
	arrivesBy(0)

	// Three generations at most.
	for range 3 {
		challenge := p.send(0, "REGISTER", p.offer())
		want(t, challenge, 401)
	}
	if n := b.engine.Len(); n != 3 {
		t.Errorf("%d sets stand, want three: six associations in each direction", n)
	}
}

// TestGm_former_given_up is a client that has its former associations no more when it answers the challenge: what is sent again reaches it by the new
// ones, and a client that keeps both hears it twice by the same branch.
func TestGm_former_given_up(t *testing.T) {
	for _, forgets := range []bool{false, true} {
		b := newGmBench(t, secagree.Strict())
		p := b.phone("alice", "198.51.100.7")
		a := p.register()
		p.renew()
		if p.forgets = forgets; forgets {
			p.engine.Remove(p.sets[0])
		}
		before := len(p.got)
		b.deliver(a, 5)
		b.advance(3 * time.Second) // T1 is 2 s
		by := p.by[before:]
		want := []esp.Ref{p.sets[0], p.sets[1]}
		if forgets {
			want = want[1:]
		}
		if !slices.Equal(by, want) || len(by) == 2 && p.got[before] != p.got[before+1] {
			t.Errorf("given up %v: it came by %v of %v: %q", forgets, by, p.sets, p.got[before:])
		}
	}
}

func TestGm_refresh_without_a_challenge(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	p := b.phone("alice", "198.51.100.7")
	a := p.register()
	b.trusts = true
	for range 3 {
		b.advance(50 * time.Minute)
		want(t, p.send(0, "REGISTER", p.offer()), 200)
	}
	if !b.door.Alive(a) || b.engine.Len() != 1 {
		t.Errorf("alive %v, %d sets", b.door.Alive(a), b.engine.Len())
	}
	b.advance(2 * time.Hour)
	if b.door.Alive(a) || b.engine.Len() != 0 || len(b.door.users.of) != 0 || len(b.door.users.servers) != 0 {
		t.Errorf("when its registration is over: alive %v, %d sets, %d users", b.door.Alive(a), b.engine.Len(), len(b.door.users.of))
	}
}

func TestGm_refused_answer(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	p := b.phone("alice", "198.51.100.7")
	b.refuses = true
	offer := p.offer()
	p.install(p.sendClear("REGISTER", offer)[0])
	want(t, p.send(0, "REGISTER", offer), 403)
	b.advance(3 * time.Minute)
	if b.engine.Len() != 0 || b.door.Associations() != 0 {
		t.Errorf("%d sets, %d associations are left", b.engine.Len(), b.door.Associations())
	}
}

// TestGm_stranger holds that a REGISTER in a client's name touches nothing that the client has proven, and nothing that it does from
// elsewhere.
func TestGm_stranger(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	p := b.phone("alice", "198.51.100.7")
	a := p.register()
	mallory := b.phone("alice", "198.51.100.66")
	const times = 48
	for range times {
		mallory.us++
		mallory.addr = mallory.addr.Next()
		mallory.via = mallory.addr
		want(t, mallory.sendClear("REGISTER", mallory.offer()), 401)
		b.advance(10 * time.Second) // as fast as strangers may in one name
	}
	if n := b.engine.Len(); n < 2 || n > times/2+3 {
		t.Errorf("%d sets stand: hers, and those of the last four minutes", n)
	}
	spoofed := *p // from the client's own address
	want(t, spoofed.sendClear("REGISTER", spoofed.offer()), 401)
	want(t, p.send(0, "MESSAGE"), 200)
	p.uc = spoofed.uc
	p.renew()
	if refused, _ := b.gate.Counts(secure.CIAvailabilitySACap); refused == 0 || !b.door.Alive(a) {
		t.Errorf("%d refusals named, alive %v", refused, b.door.Alive(a))
	}
}

// TestGm_crowd: very many addresses begin to register in the name of somebody who is about to answer her challenge. Hers waits on: where she is known
// whatever they are, else as long as they have fewer networks than there are places.
func TestGm_crowd(t *testing.T) {
	for _, known := range []bool{true, false} {
		b := newGmBench(t, secagree.Strict())
		networks := maxClaims - 1
		p := b.phone("alice", "198.51.100.7")
		if known {
			p.register()
			b.advance(3 * time.Hour) // it is over, and where she was is known
			networks = 4 * maxClaims
		}
		offer := p.offer()
		p.install(p.sendClear("REGISTER", offer)[0])
		ck, ik := b.ck, b.ik
		for i := range 4 * maxClaims {
			mallory := b.phone("alice", netip.AddrFrom4([4]byte{10, 1, byte(i % networks), byte(1 + i/networks)}).String())
			b.door.budgets.prove(mallory.addr, b.clock.Now()) // each is some subscriber's
			want(t, mallory.sendClear("REGISTER", mallory.offer()), 401)
		}
		if n := b.engine.Len(); n != maxClaims {
			t.Errorf("known %v: %d sets stand, want %d", known, n, maxClaims)
		}
		b.ck, b.ik = ck, ik
		want(t, p.send(0, "REGISTER", offer), 200)
	}
}

// TestGm_begins_anew is a client that was switched off and on again: what it had ends when it has proven itself, and not before.
func TestGm_begins_anew(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	p := b.phone("alice", "198.51.100.7")
	a := p.register()
	off := func() { // and what it had is gone
		for _, ref := range p.sets {
			p.engine.Remove(ref)
		}
	}
	off()
	second := p.register()
	if b.door.Alive(a) || !b.door.Alive(second) || b.engine.Len() != 1 {
		t.Errorf("the old association lives: %v, the new: %v, %d sets", b.door.Alive(a), b.door.Alive(second), b.engine.Len())
	}
	if got := b.gone[a]; len(got) != 1 || got[0] != gm.ReasonReplaced {
		t.Errorf("pushed %v", got)
	}
	for range 8 { // whichever of our ports is next
		off()
		p.register()
	}
}

func TestGm_ports_in_use(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	p := b.phone("alice", "198.51.100.7")
	p.register()
	q := b.phone("bob", "198.51.100.7") // behind the same NAT
	b.phones[p.addr] = p
	want(t, q.sendClear("REGISTER", q.offer()), 400) // bob's client port is alice's
	q.uc = 38500
	if answers := q.sendClear("REGISTER", q.offer()); len(answers) == 1 && strings.HasPrefix(answers[0], "SIP/2.0 401") {
		t.Error("bob's server port is alice's, and he was challenged")
	}
	q.us = 39500
	want(t, q.sendClear("REGISTER", q.offer()), 401)
	want(t, p.send(0, "MESSAGE"), 200)
}

func TestGm_Via_is_the_source(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	p := b.phone("alice", "198.51.100.7")
	p.register()
	p.edit = func(s string) string { return strings.Replace(s, "UDP 198.51.100.7", "UDP 198.51.100.8", 1) }
	want(t, p.send(0, "REGISTER", p.offer()), 0)
	if refused, _ := b.gate.Counts(secure.CIAuthenticationSASelector); refused != 1 {
		t.Errorf("%d refusals named", refused)
	}
}

// TestGm_packets holds that what is not of the client's associations comes to nobody, with one named counter.
func TestGm_packets(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	p := b.phone("alice", "198.51.100.7")
	p.register()
	sealed := func() []byte {
		packet, _, err := p.engine.SealUDP(nil, p.sets[0], esp.Client, []byte(p.request("MESSAGE", p.verify(0))))
		if err != nil {
			t.Fatal(err)
		}
		return packet
	}
	seen := 0
	b.pcscf = func(x *hop.Exchange, in hop.Inbound) hop.Reply { seen++; return x.Refuse(in, 200, "") }
	good := sealed()
	b.arrive(good, p.addr, false)
	flipped := sealed()
	flipped[20] ^= 1
	for name, c := range map[string]struct {
		packet  []byte
		from    netip.Addr
		control secure.ControlID
	}{
		"replayed":            {good, p.addr, secure.CIIntegrityReplay},
		"an octet flipped":    {flipped, p.addr, secure.CIIntegrityESP},
		"from another client": {sealed(), netip.MustParseAddr("198.51.100.8"), secure.CIAuthenticationSASelector},
	} {
		before, _ := b.gate.Counts(c.control)
		b.arrive(c.packet, c.from, false)
		if after, _ := b.gate.Counts(c.control); after != before+1 || seen != 1 {
			t.Errorf("%s: %d refusals of %v, %d requests seen", name, after-before, c.control, seen)
		}
	}
}

// TestGm_renewal holds that associations whose numbers run out vouch for no refresh: the next REGISTER is challenged.
func TestGm_renewal(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	p := b.phone("alice", "198.51.100.7")
	a := p.register()
	b.trusts = true
	record, _ := b.door.lookup(a)
	b.door.Notice(record.sa.sets[current].set.ref, shard.Place(a), esp.NoticeRenew)
	p.renew()
	want(t, p.send(0, "REGISTER", p.offer()), 200)
}

// streamTo is a connection of ours to a client inside its associations; it takes what is sent, or is broken.
func (b *gmBench) streamTo(broken bool) (w *wire, dialled *int) {
	w, dialled = &wire{stream: true, broken: broken}, new(int)
	b.gm.DialBy(func(_ esp.Ref, client netip.AddrPort, _ *Port) siptransport.Flow {
		*dialled++
		w.peer = client
		return w.flow()
	})
	return w, dialled
}

func TestGm_large_requests(t *testing.T) {
	for name, refuses := range map[string]bool{"a client that takes connections": false, "a client that takes none": true} {
		t.Run(name, func(t *testing.T) {
			b := newGmBench(t, secagree.Strict())
			p := b.phone("alice", "198.51.100.7")
			a := p.register()
			w, dialled := b.streamTo(refuses)
			port := b.gm.sealed.ports[0]
			datagrams := len(p.got)
			b.deliver(a, 10)
			b.deliver(a, 2000)
			b.on(func() {
				if refuses {
					port.Closed(w.flow(), nil)
				} else {
					port.Opened(w.flow(), nil)
				}
			})
			b.deliver(a, 2000)
			wantDatagrams, wantStream := 1, 2
			if refuses {
				wantDatagrams, wantStream = 3, 0
			}
			if n := len(p.got) - datagrams; n != wantDatagrams || len(w.sent) != wantStream || *dialled != 1 {
				t.Errorf("%d datagrams, %d over %d connections; want %d and %d over one", n, len(w.sent), *dialled, wantDatagrams, wantStream)
			}
			if !refuses && (w.peer != netip.AddrPortFrom(p.addr, p.us) || !strings.Contains(w.sent[0], "Via: SIP/2.0/TLS 192.0.2.1:5999;")) {
				t.Errorf("to %v: %.200s", w.peer, w.sent[0])
			}
			b.on(func() { port.Closed(w.flow(), nil) })
			b.deliver(a, 2000)
			if !refuses && *dialled != 2 {
				t.Error("a connection that has ended is used again")
			}
		})
	}
}

// TestGm_message_of_the_past is what was on its way over associations that are forgotten when it comes: nobody's, and not in clear either.
func TestGm_message_of_the_past(t *testing.T) {
	b := newGmBench(t, secagree.Strict())
	p := b.phone("alice", "198.51.100.7")
	a := p.register()
	record, _ := b.door.lookup(a)
	old := record.sa.sets[current].set
	b.on(func() { b.door.end(a, gm.ReasonRemoved) })
	n := b.door.Associations()
	b.pcscf = func(x *hop.Exchange, in hop.Inbound) hop.Reply {
		t.Error("it came through")
		return x.Refuse(in, 200, "")
	}
	for _, via := range []*set{old, strangerSet} {
		for _, text := range []string{p.request("MESSAGE", p.verify(0)), p.request("REGISTER", p.offer(), p.verify(0))} {
			b.on(func() { b.gm.sealed.ports[0].Packet(siptransport.Flow{Via: via, Peer: old.client}, []byte(text)) })
		}
	}
	if b.door.Associations() != n {
		t.Errorf("%d associations were opened", b.door.Associations()-n)
	}
}

func BenchmarkGmRequest(b *testing.B) {
	t := &testing.T{}
	g := newGmBench(t, secagree.Strict())
	g.wide() // what it costs, not how much of it one client may
	p := g.phone("alice", "198.51.100.7")
	p.register()
	m, err := g.pool.Parse([]byte(p.request("MESSAGE", p.verify(0))))
	if err != nil {
		b.Fatal(err)
	}
	record, _ := g.door.lookup(g.last)
	f := siptransport.Flow{Via: record.sa.sets[current].set, Peer: netip.AddrPortFrom(p.addr, p.uc)}
	b.ReportAllocs()
	for b.Loop() {
		g.clock.Advance(time.Millisecond)
		g.shard.Step(g.clock.Now())
		if status, _ := g.gm.sealed.ports[0].Screen(f, m); status != 0 {
			b.Fatal(status)
		}
	}
}

// BenchmarkGmClients builds clients with four associations each, as the door and the engine keep them when they are idle: what one costs in
// memory, and how long it takes to make.
func BenchmarkGmClients(b *testing.B) {
	const clients = 100_000
	for b.Loop() {
		g := newGmBench(&testing.T{}, secagree.Strict())
		table := g.door.tables[0]
		names := make([]string, clients)
		for i := range names {
			names[i] = fmt.Sprintf("00101%010d@ims.mnc001.mcc001.3gppnetwork.org", i)
		}
		lists := make([]secagree.List, 64) // in pieces: what a client sent is not what it costs
		before := heap()
		started := time.Now()
		for i := range clients {
			addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
			a, ok := table.open(path{}, siptransport.Flow{Peer: netip.AddrPortFrom(addr, 5060)}, g.gm.clear, time.Minute)
			if !ok {
				b.Fatal("no room")
			}
			there := secagree.Endpoint{SPIC: 1000 + uint32(i)*2, SPIS: 1001 + uint32(i)*2, PortC: 38000, PortS: 39000}
			lists[i%64] = secagree.Offer(secagree.Strict(), there, secagree.Transport)
			table.offered(a.ref, g.gm, &offer{list: lists[i%64], there: there, peer: addr, profile: &g.gm.Profile, user: user{names[i], addr},
				choice: secagree.Choice{Suite: secagree.Strict().Suites[0], Mode: secagree.Transport}})
			if _, err := install(g.door, a.ref, aka.CK{byte(i)}, aka.IK{byte(i >> 8)}); err != nil {
				b.Fatal(err)
			}
			if err := g.door.Promote(a.ref, gm.Registration{IMPI: names[i], IMPUs: []string{"sip:" + names[i], "tel:+15551234567"}, Expires: time.Hour}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(time.Since(started).Nanoseconds())/clients, "ns/client")
		b.ReportMetric(float64(heap()-before)/clients, "octets/client")
		if g.engine.Len() != clients {
			b.Fatal(g.engine.Len())
		}
	}
}

// heap is what is in use after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
