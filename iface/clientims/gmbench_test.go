package clientims

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"imsafe/hop"
	"imsafe/proto/aka"
	"imsafe/proto/esp"
	"imsafe/proto/secagree"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/proto/siptxn"
	"imsafe/refpoint/gm"
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

func (p *phone) Reliable() bool { return false }

func (p *phone) Proto() string { return "UDP" }

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
	server, err := secagree.Parse(slices.Collect(m.Values(sip.HdrSecurityServer)))
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
