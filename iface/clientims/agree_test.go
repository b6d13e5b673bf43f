package clientims

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"imsafe/hop"
	"imsafe/proto/secagree"
	"imsafe/secure"
)

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

// TestGm_what_is_repeated_takes_no_memory holds that lists which say again what was said, in the same octets, are compared without an allocation.
func TestGm_what_is_repeated_takes_no_memory(t *testing.T) {
	b := newGmBench(t, secagree.Handset())
	p := b.phone("alice", "198.51.100.7")
	p.suites = secagree.Handset()
	offer := p.offer()
	compare := func(generation int, text string) {
		m, err := b.pool.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Release()
		record, _ := b.door.lookup(b.last)
		s, port := record.sa.sets[generation].set, b.gm.sealed.ports[0]
		a, _ := port.recogniseSealed(s)
		if objects := testing.AllocsPerRun(100, func() { err = port.confirm(a, s, m) }); objects > 0 || err != nil {
			t.Errorf("%s: %v objects, %v", m.MethodName(), objects, err)
		}
	}
	p.install(p.sendClear("REGISTER", offer)[0])
	compare(fresh, p.request("REGISTER", offer, p.verify(0)))
	want(t, p.send(0, "REGISTER", offer), 200)
	compare(current, p.request("MESSAGE", p.verify(0)))
}
