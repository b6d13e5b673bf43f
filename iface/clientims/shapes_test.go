package clientims

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"imsafe/proto/secagree"
	"imsafe/proto/sip"
)

// shape is a Security-Client as a kind of telephone writes it, with CCC and SSS for its SPIs (ten digits: C10 and S10), and cc and ss for its
// ports.
type shape struct {
	values []string // one header field each
	chosen string   // of the profile legacy, with exceptions for MD5 and 3DES behind it
	plain  string   // of the profile handset, without; "": nothing acceptable
}

const ends4 = "spi-c=CCC;spi-s=SSS;port-c=cc;port-s=ss"

// every makes a list of pairs of algorithms in one form.
func every(form, joint string, pairs ...string) string {
	var all []string
	for _, p := range pairs {
		alg, ealg, _ := strings.Cut(p, "/")
		all = append(all, strings.NewReplacer("ALG", alg, "EA", ealg).Replace(form))
	}
	return strings.Join(all, joint)
}

// shapes are those that are seen from telephones and their client code, with SPIs and ports of ours.
var shapes = map[string]shape{
	"a tablet that knows MD5 alone": {[]string{"ipsec-3gpp; alg=hmac-md5-96; ealg=null; " + strings.ReplaceAll(ends4, ";", "; ")}, "hmac-md5-96/null", ""},
	"four, SPIs of ten digits": {[]string{every("ipsec-3gpp;alg=ALG;ealg=EA;spi-c=C10;spi-s=S10;port-c=cc;port-s=ss", ",",
		"hmac-sha-1-96/null", "hmac-sha-1-96/aes-cbc", "hmac-md5-96/null", "hmac-md5-96/aes-cbc")}, "hmac-sha-1-96/aes-cbc", "hmac-sha-1-96/aes-cbc"},
	"four, one header field each": {strings.Split(every("ipsec-3gpp;alg=ALG;ealg=EA;"+ends4, "\n",
		"hmac-md5-96/aes-cbc", "hmac-md5-96/null", "hmac-sha-1-96/null", "hmac-sha-1-96/aes-cbc"), "\n"), "hmac-sha-1-96/aes-cbc", "hmac-sha-1-96/aes-cbc"},
	"six with spaces, prot and mod": {[]string{every("ipsec-3gpp; alg=ALG; prot=esp; mod=trans; ealg=EA; spi-c=CCC; spi-s=SSS; port-c=cc; port-s=ss", ", ",
		"hmac-md5-96/des-ede3-cbc", "hmac-md5-96/aes-cbc", "hmac-md5-96/null", "hmac-sha-1-96/des-ede3-cbc", "hmac-sha-1-96/aes-cbc", "hmac-sha-1-96/null")},
		"hmac-sha-1-96/aes-cbc", "hmac-sha-1-96/aes-cbc"},
	"six without prot and mod": {[]string{every("ipsec-3gpp;alg=ALG;ealg=EA;"+ends4, ",",
		"hmac-md5-96/des-ede3-cbc", "hmac-md5-96/aes-cbc", "hmac-md5-96/null", "hmac-sha-1-96/des-ede3-cbc", "hmac-sha-1-96/aes-cbc", "hmac-sha-1-96/null")},
		"hmac-sha-1-96/aes-cbc", "hmac-sha-1-96/aes-cbc"},
	"ealg missing":                {[]string{every("ipsec-3gpp;alg=ALG;"+ends4, ",", "hmac-md5-96/", "hmac-sha-1-96/")}, "hmac-sha-1-96/null", ""},
	"3DES is all that encrypts":   {[]string{every("ipsec-3gpp;q=0.1;alg=ALG;ealg=EA;"+ends4, ",", "hmac-md5-96/des-ede3-cbc")}, "hmac-md5-96/des-ede3-cbc", ""},
	"upper case":                  {[]string{"IPSEC-3GPP;ALG=HMAC-SHA-1-96;PROT=ESP;MOD=TRANS;EALG=AES-CBC;SPI-C=CCC;SPI-S=SSS;PORT-C=cc;PORT-S=ss"}, "hmac-sha-1-96/aes-cbc", "hmac-sha-1-96/aes-cbc"},
	"preferences, the worst best": {[]string{"ipsec-3gpp;q=0.9;alg=hmac-sha-1-96;ealg=null;" + ends4 + ",ipsec-3gpp;q=0.1;alg=null;ealg=aes-gcm;" + ends4}, "null/aes-gcm", "null/aes-gcm"},
	"unknown beside it":           {[]string{"ipsec-ike;q=0.5,tls;q=0.4", "ipsec-3gpp;alg=hmac-sha-256-128;ealg=aes-cbc;" + ends4, "ipsec-3gpp;alg=hmac-sha-1-96;ealg=aes-cbc;" + ends4 + ";x=y"}, "hmac-sha-1-96/aes-cbc", "hmac-sha-1-96/aes-cbc"},
	"media plane beside it":       {[]string{"ipsec-3gpp;alg=hmac-sha-1-96;ealg=aes-cbc;" + ends4, "sdes-srtp;mediasec"}, "hmac-sha-1-96/aes-cbc", "hmac-sha-1-96/aes-cbc"},
}

// verifiers write the Security-Verify that repeats a Security-Server of one header field for each mechanism, as kinds of telephones do.
var verifiers = map[string]func(server []string) []string{
	"each as it came": func(server []string) []string { return server },
	"all in one":      func(server []string) []string { return []string{strings.Join(server, ",")} },
	"all in one with spaces": func(server []string) []string {
		return []string{strings.ReplaceAll(strings.Join(server, ", "), ";", "; ")}
	},
	"rebuilt":                           func(server []string) []string { return rebuilt(server, "%010d") },
	"rebuilt, SPIs without their zeros": func(server []string) []string { return rebuilt(server, "%d") },
	"the other way round": func(server []string) (all []string) {
		for _, s := range server {
			all = append([]string{s}, all...)
		}
		return all
	},
}

// rebuilt is a client that keeps the values alone and writes the header anew: each mechanism in a field of its own, in one order.
func rebuilt(server []string, spi string) (all []string) {
	for _, s := range server {
		mechanism, rest, _ := strings.Cut(s, ";")
		v := map[string]string{}
		for _, p := range strings.Split(rest, ";") {
			name, value, _ := strings.Cut(p, "=")
			v[name] = value
		}
		for _, name := range []string{"spi-c", "spi-s"} {
			n, _ := strconv.ParseUint(v[name], 10, 32)
			v[name] = fmt.Sprintf(spi, n)
		}
		for _, name := range []string{"q", "alg", "prot", "mod", "ealg", "spi-c", "spi-s", "port-c", "port-s"} {
			mechanism += ";" + name + "=" + v[name]
		}
		all = append(all, mechanism)
	}
	return all
}

// TestGm_shapes registers telephones as they write (TS 33.203 Annex H, RFC 3329): first the whole way with every shape and every way to repeat the
// network's list, then at a network that has no exceptions for them.
func TestGm_shapes(t *testing.T) {
	var old []secagree.Suite
	for _, alg := range []string{secagree.AlgMD5, secagree.AlgSHA1} {
		for _, ealg := range []string{secagree.EAlg3DES, secagree.EAlgCBC, secagree.EAlgNull} {
			old = append(old, secagree.Suite{Mechanism: secagree.IPsec3GPP, Alg: alg, EAlg: ealg})
		}
	}
	exception := secagree.Exception{IMPI: "alice@ims.example", Suites: old, Owner: "test", Ends: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)}
	for name, s := range shapes {
		for how, verify := range verifiers {
			for _, portS := range []uint16{39000, 37000} { // above and below its client port
				t.Run(fmt.Sprintf("%s, %s, server port %d", name, how, portS), func(t *testing.T) {
					p := newGmBench(t, secagree.Legacy(), exception).phone("alice", "198.51.100.7")
					p.us = portS
					p.agrees(t, &s, verify)
				})
			}
		}
		t.Run(name+", without exceptions", func(t *testing.T) {
			p := newGmBench(t, secagree.Handset()).phone("alice", "198.51.100.7")
			answers := p.sendClear("REGISTER", p.shaped(&s)...)
			if s.plain == "" {
				want(t, answers, 494)
				if !strings.Contains(answers[0], "\r\nSecurity-Server: ipsec-3gpp;q=0.9;alg=null;prot=esp;mod=trans;ealg=aes-gcm") {
					t.Errorf("what the network has is not in\n%s", answers[0])
				}
				return
			}
			p.install(answers[0])
			p.chose(t, s.plain)
		})
	}
}

// agrees is the whole way of a first registration and one anew.
func (p *phone) agrees(t *testing.T, s *shape, verify func([]string) []string) {
	t.Helper()
	offer := p.shaped(s)
	challenge := p.sendClear("REGISTER", offer...)
	for range 2 {
		if len(challenge) != 1 {
			t.Fatalf("%d answers", len(challenge))
		}
		p.install(challenge[0])
		p.chose(t, s.chosen)
		server := securityServer(t, challenge[0])
		repeated := headerFields("Security-Verify", verify(server))
		want(t, p.bare("REGISTER", append(offer, repeated...)...), 200)
		want(t, p.bare("MESSAGE", repeated...), 200)
		want(t, p.bare("MESSAGE", headerFields("Security-Verify", verify(server[1:]))...), 494)
		want(t, p.bare("MESSAGE"), 494)
		offer = p.shaped(s)
		challenge = p.bare("REGISTER", append(offer, repeated...)...)
	}
}

// shaped is an offer with SPIs and a client port that are new.
func (p *phone) shaped(s *shape) []string {
	spi, err := p.engine.Reserve(p.addr)
	if err != nil {
		p.b.t.Fatal(err)
	}
	p.uc++
	fill := strings.NewReplacer("CCC", fmt.Sprint(spi[0]), "SSS", fmt.Sprint(spi[1]), "C10", fmt.Sprintf("%010d", spi[0]), "S10", fmt.Sprintf("%010d", spi[1]),
		"=cc", fmt.Sprint("=", p.uc), "=ss", fmt.Sprint("=", p.us))
	var values []string
	for _, v := range s.values {
		values = append(values, fill.Replace(v))
	}
	if p.offered, err = secagree.ParseString(strings.Join(values, ",")); err != nil {
		p.b.t.Fatal(err)
	}
	return headerFields("Security-Client", values)
}

// bare sends over the newest set what is said and nothing else, and returns the answers.
func (p *phone) bare(method string, lines ...string) []string {
	before := len(p.got)
	p.transmit(0, p.request(method, lines...))
	return p.got[before:]
}

// chose holds what the network chose.
func (p *phone) chose(t *testing.T, pair string) {
	t.Helper()
	a, _ := p.b.door.lookup(p.b.last)
	if c := a.sa.sets[fresh].set.choice; c.Alg+"/"+c.EAlg != pair {
		t.Errorf("it is %s/%s, want %s", c.Alg, c.EAlg, pair)
	}
}

func headerFields(name string, values []string) (lines []string) {
	for _, v := range values {
		lines = append(lines, name+": "+v)
	}
	return lines
}

func securityServer(t *testing.T, answer string) (values []string) {
	t.Helper()
	m, err := sip.NewPool(sip.Limits{}).Parse([]byte(answer))
	if err != nil {
		t.Fatal(err)
	}
	for v := range m.Values(sip.HdrSecurityServer) {
		values = append(values, string(v))
	}
	return values
}
