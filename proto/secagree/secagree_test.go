package secagree

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// lines are the values of one header field, each as it stood on its line.
func lines(values ...string) (all [][]byte) {
	for _, v := range values {
		all = append(all, []byte(v))
	}
	return all
}

func mustParse(t testing.TB, values ...string) List {
	t.Helper()
	l, err := Parse(lines(values...))
	if err != nil {
		t.Fatalf("%q: %v", values, err)
	}
	return l
}

const endpoint = "spi-c=1111111111;spi-s=1111111112;port-c=38001;port-s=39001"

// The shapes that handsets in live networks send, with SPIs and ports of our own.
var shapes = []struct {
	name   string
	values []string
	suites []string // alg/ealg in order
	mode   Mode
	here   Endpoint
}{
	{"one mechanism, as a tablet sends it", []string{"ipsec-3gpp; alg=hmac-md5-96; ealg=null; spi-c=4096; spi-s=4097; port-c=5062; port-s=5064"},
		[]string{"hmac-md5-96/null"}, Transport, Endpoint{4096, 4097, 5062, 5064}},
	{"four in one list, leading zeros", []string{
		"ipsec-3gpp;alg=hmac-sha-1-96;ealg=aes-cbc;spi-c=0000004096;spi-s=0000004097;port-c=32768;port-s=32769," +
			"ipsec-3gpp;alg=hmac-sha-1-96;ealg=null;spi-c=0000004096;spi-s=0000004097;port-c=32768;port-s=32769," +
			"ipsec-3gpp;alg=hmac-md5-96;ealg=aes-cbc;spi-c=0000004096;spi-s=0000004097;port-c=32768;port-s=32769," +
			"ipsec-3gpp;alg=hmac-md5-96;ealg=null;spi-c=0000004096;spi-s=0000004097;port-c=32768;port-s=32769"},
		[]string{"hmac-sha-1-96/aes-cbc", "hmac-sha-1-96/null", "hmac-md5-96/aes-cbc", "hmac-md5-96/null"}, Transport, Endpoint{4096, 4097, 32768, 32769}},
	{"six with spaces, prot and mod", []string{
		"ipsec-3gpp; alg=hmac-md5-96; prot=esp; mod=trans; ealg=des-ede3-cbc; spi-c=1234567; spi-s=1234568; port-c=45000; port-s=44000, " +
			"ipsec-3gpp; alg=hmac-md5-96; prot=esp; mod=trans; ealg=aes-cbc; spi-c=1234567; spi-s=1234568; port-c=45000; port-s=44000, " +
			"ipsec-3gpp; alg=hmac-md5-96; prot=esp; mod=trans; ealg=null; spi-c=1234567; spi-s=1234568; port-c=45000; port-s=44000, " +
			"ipsec-3gpp; alg=hmac-sha-1-96; prot=esp; mod=trans; ealg=des-ede3-cbc; spi-c=1234567; spi-s=1234568; port-c=45000; port-s=44000, " +
			"ipsec-3gpp; alg=hmac-sha-1-96; prot=esp; mod=trans; ealg=aes-cbc; spi-c=1234567; spi-s=1234568; port-c=45000; port-s=44000, " +
			"ipsec-3gpp; alg=hmac-sha-1-96; prot=esp; mod=trans; ealg=null; spi-c=1234567; spi-s=1234568; port-c=45000; port-s=44000"},
		[]string{"hmac-md5-96/des-ede3-cbc", "hmac-md5-96/aes-cbc", "hmac-md5-96/null", "hmac-sha-1-96/des-ede3-cbc", "hmac-sha-1-96/aes-cbc", "hmac-sha-1-96/null"},
		Transport, Endpoint{1234567, 1234568, 45000, 44000}},
	{"one header per mechanism, ealg missing, upper case", []string{"IPSEC-3GPP ;ALG=HMAC-SHA-1-96 ;" + endpoint, "ipsec-3gpp;q=0.1;alg=hmac-sha-1-96;ealg=aes-cbc;" + endpoint},
		[]string{"hmac-sha-1-96/null", "hmac-sha-1-96/aes-cbc"}, Transport, Endpoint{1111111111, 1111111112, 38001, 39001}},
	{"behind a NAT", []string{"ipsec-3gpp;alg=null;prot=esp;mod=UDP-enc-tun;ealg=aes-gcm;" + endpoint},
		[]string{"null/aes-gcm"}, UDPTunnel, Endpoint{1111111111, 1111111112, 38001, 39001}},
}

func TestParseShapes(t *testing.T) {
	for _, s := range shapes {
		t.Run(s.name, func(t *testing.T) {
			l := mustParse(t, s.values...)
			var suites []string
			for _, e := range l.Entries {
				suites = append(suites, e.Alg+"/"+e.EAlg)
				if e.Mechanism != IPsec3GPP || e.Prot != "esp" || e.Mode != s.mode || e.Endpoint() != s.here {
					t.Errorf("entry %+v", e)
				}
			}
			if !slices.Equal(suites, s.suites) {
				t.Errorf("suites %q, want %q", suites, s.suites)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	good := "ipsec-3gpp;alg=hmac-sha-1-96;" + endpoint
	for _, c := range []struct {
		name   string
		values []string
		want   Reason
	}{
		{"parameter twice", []string{good + ";alg=hmac-md5-96"}, ErrParameterTwice},
		{"same parameter twice, other case", []string{good + ";SPI-C=1111111111"}, ErrParameterTwice},
		{"unknown parameter twice", []string{good + ";x=1;y;X=2"}, ErrParameterTwice},
		{"q twice", []string{"tls;q=0.1;q=0.1"}, ErrParameterTwice},
		{"entries with different SPIs", []string{good, strings.Replace(good, "spi-s=1111111112", "spi-s=1111111113", 1)}, ErrSPIsDiffer},
		{"entries with different ports", []string{good + "," + strings.Replace(good, "port-c=38001", "port-c=38002", 1)}, ErrPortsDiffer},
		{"SPIs equal", []string{"ipsec-3gpp;alg=null;ealg=aes-gcm;spi-c=4096;spi-s=0000004096;port-c=1;port-s=2"}, ErrSPIsEqual},
		{"SPI reserved", []string{"ipsec-3gpp;alg=null;ealg=aes-gcm;spi-c=255;spi-s=4096;port-c=1;port-s=2"}, ErrSPI},
		{"SPI zero", []string{"ipsec-3gpp;alg=null;ealg=aes-gcm;spi-c=0;spi-s=4096;port-c=1;port-s=2"}, ErrSPI},
		{"SPI above 32 bits", []string{"ipsec-3gpp;alg=null;ealg=aes-gcm;spi-c=4294967296;spi-s=4096;port-c=1;port-s=2"}, ErrSPI},
		{"SPI of eleven digits", []string{"ipsec-3gpp;alg=null;ealg=aes-gcm;spi-c=00000004096;spi-s=4097;port-c=1;port-s=2"}, ErrSPI},
		{"SPI in hexadecimal", []string{"ipsec-3gpp;alg=null;ealg=aes-gcm;spi-c=0x1000;spi-s=4097;port-c=1;port-s=2"}, ErrSPI},
		{"port 5060", []string{"ipsec-3gpp;alg=null;ealg=aes-gcm;spi-c=4096;spi-s=4097;port-c=5060;port-s=5062"}, ErrPort},
		{"port 5061", []string{"ipsec-3gpp;alg=null;ealg=aes-gcm;spi-c=4096;spi-s=4097;port-c=5062;port-s=5061"}, ErrPort},
		{"port 0", []string{"ipsec-3gpp;alg=null;ealg=aes-gcm;spi-c=4096;spi-s=4097;port-c=0;port-s=5062"}, ErrPort},
		{"port above 16 bits", []string{"ipsec-3gpp;alg=null;ealg=aes-gcm;spi-c=4096;spi-s=4097;port-c=65536;port-s=5062"}, ErrPort},
		{"ports equal", []string{"ipsec-3gpp;alg=null;ealg=aes-gcm;spi-c=4096;spi-s=4097;port-c=5062;port-s=05062"}, ErrPort},
		{"alg missing", []string{"ipsec-3gpp;ealg=aes-gcm;" + endpoint}, ErrParameterMissing},
		{"port missing", []string{"ipsec-3gpp;alg=null;ealg=aes-gcm;spi-c=4096;spi-s=4097;port-c=5062"}, ErrParameterMissing},
		{"seventeen mechanisms", slices.Repeat([]string{good}, 17), ErrTooManyMechanisms},
		{"too many parameters", []string{"tls" + strings.Repeat(";a", 25)}, ErrTooManyParameters},
		{"too long", []string{"tls;a=" + strings.Repeat("x", 5000)}, ErrTooLong},
		{"q above one", []string{"tls;q=1.001"}, ErrPreference},
		{"q of four digits", []string{"tls;q=0.1234"}, ErrPreference},
		{"empty value", []string{""}, ErrSyntax},
		{"comma at the end", []string{"tls,"}, ErrSyntax},
		{"semicolon at the end", []string{"tls;"}, ErrSyntax},
		{"value missing", []string{"ipsec-3gpp;alg=;" + endpoint}, ErrSyntax},
		{"alg quoted", []string{`ipsec-3gpp;alg="null";` + endpoint}, ErrSyntax},
		{"quote without end", []string{`tls;a="b`}, ErrSyntax},
		{"two words", []string{"tls tls"}, ErrSyntax},
		{"NUL", []string{"tls;a=\x00"}, ErrSyntax},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse(lines(c.values...))
			var r Reason
			if !errors.As(err, &r) || r != c.want || r.Status() != 400 {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestParseKeepsWhatItDoesNotKnow(t *testing.T) {
	l := mustParse(t, `digest;q=0.3;d-ver="0123", sdes-srtp;mediasec`, "ipsec-3gpp;alg=hmac-sha-256;prot=ah;mod=tun;ealg=chacha;x=[::1];"+endpoint)
	if len(l.Entries) != 2 || len(l.Media) != 1 || l.Media[0].Mechanism != "sdes-srtp" {
		t.Fatalf("%+v", l)
	}
	if got := string(l.AppendTo(nil)); got != `digest;q=0.3;d-ver="0123",`+
		"ipsec-3gpp;alg=hmac-sha-256;prot=ah;mod=tun;ealg=chacha;spi-c=1111111111;spi-s=1111111112;port-c=38001;port-s=39001;x=[::1],sdes-srtp;mediasec" {
		t.Errorf("written as %s", got)
	}
	if _, err := Choose(&l, Legacy(), Transport, UDPTunnel); err != ErrNothingAcceptable {
		t.Errorf("chosen from what nobody knows: %v", err)
	}
}

func TestWrittenForm(t *testing.T) {
	here := Endpoint{1000000001, 4294967295, 6000, 6001}
	server := Offer(Handset(), here, Transport)
	want := "ipsec-3gpp;q=0.9;alg=null;prot=esp;mod=trans;ealg=aes-gcm;spi-c=1000000001;spi-s=4294967295;port-c=6000;port-s=6001," +
		"ipsec-3gpp;q=0.8;alg=hmac-sha-1-96;prot=esp;mod=trans;ealg=aes-cbc;spi-c=1000000001;spi-s=4294967295;port-c=6000;port-s=6001"
	if got := string(server.AppendTo(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	e := Offer(Strict(), Endpoint{256, 300, 1, 2}, UDPTunnel).Entries[0]
	if got := string(e.AppendTo(nil)); got != "ipsec-3gpp;q=0.9;alg=null;prot=esp;mod=UDP-enc-tun;ealg=aes-gcm;spi-c=0000000256;spi-s=0000000300;port-c=1;port-s=2" {
		t.Errorf("got %s", got)
	}
	if l := Offer(OverTLS(), Endpoint{}); string(l.AppendTo(nil)) != "tls;q=0.9" {
		t.Errorf("got %s", l.AppendTo(nil))
	}
}

func TestChoose(t *testing.T) {
	entry := func(alg, ealg, mod string) string {
		return fmt.Sprintf("ipsec-3gpp;q=0.1;alg=%s;mod=%s;ealg=%s;%s", alg, mod, ealg, endpoint)
	}
	gcm, cbc := entry("null", "aes-gcm", "trans"), entry("hmac-sha-1-96", "aes-cbc", "trans")
	sha, md5 := entry("hmac-sha-1-96", "null", "trans"), entry("hmac-md5-96", "null", "trans")
	exception := Handset().With(&Exception{Suites: []Suite{{IPsec3GPP, AlgMD5, EAlgNull}}})
	both := []Mode{Transport, UDPTunnel}
	for _, c := range []struct {
		name    string
		client  []string
		profile Profile
		modes   []Mode
		want    string // alg/ealg mode
		err     error
	}{
		{"strict takes GCM", []string{gcm, cbc}, Strict(), both, "null/aes-gcm trans", nil},
		{"strict refuses CBC", []string{cbc}, Strict(), both, "", ErrNothingAcceptable},
		{"handset takes its own first though the client's last", []string{cbc, gcm}, Handset(), both, "null/aes-gcm trans", nil},
		{"client's q has no say", []string{strings.Replace(cbc, "q=0.1", "q=1.0", 1), gcm}, Handset(), both, "null/aes-gcm trans", nil},
		{"handset refuses null encryption", []string{sha}, Handset(), both, "", ErrNothingAcceptable},
		{"legacy takes null encryption", []string{md5, sha}, Legacy(), both, "hmac-sha-1-96/null trans", nil},
		{"legacy refuses MD5", []string{md5}, Legacy(), both, "", ErrNothingAcceptable},
		{"the exception has MD5", []string{md5}, exception, both, "hmac-md5-96/null trans", nil},
		{"null and null", []string{entry("null", "null", "trans")}, Legacy(), both, "", ErrNothingAcceptable},
		{"ah", []string{strings.Replace(gcm, "mod=", "prot=ah;mod=", 1)}, Strict(), both, "", ErrNothingAcceptable},
		{"transport before tunnel", []string{entry("null", "aes-gcm", "UDP-enc-tun"), gcm}, Strict(), both, "null/aes-gcm trans", nil},
		{"tunnel alone, no NAT between", []string{entry("null", "aes-gcm", "UDP-enc-tun")}, Strict(), both, "null/aes-gcm udp-enc-tun", nil},
		{"behind a NAT", []string{gcm, entry("null", "aes-gcm", "UDP-enc-tun")}, Strict(), []Mode{UDPTunnel}, "null/aes-gcm udp-enc-tun", nil},
		{"behind a NAT without tunnel", []string{gcm}, Strict(), []Mode{UDPTunnel}, "", ErrNoTunnel},
		{"tls", []string{"tls"}, OverTLS(), nil, "/ ", nil},
		{"nothing offered", nil, Strict(), both, "", ErrNothingAcceptable},
		{"the zero profile", []string{gcm}, Profile{}, both, "", ErrNothingAcceptable},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := mustParse(t, c.client...)
			got, err := Choose(&l, c.profile, c.modes...)
			if err != c.err {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if err == nil && got.Alg+"/"+got.EAlg+" "+string(got.Mode) != c.want {
				t.Errorf("chose %+v, want %s", got, c.want)
			}
		})
	}
}

func TestAgreement(t *testing.T) {
	client := "ipsec-3gpp;alg=null;ealg=aes-gcm;" + endpoint
	client2 := "ipsec-3gpp;alg=hmac-sha-1-96;ealg=aes-cbc;" + endpoint
	server := Offer(Handset(), Endpoint{2000000001, 2000000002, 6000, 6001}, Transport)
	a := Agreement{Client: Quote(lines(client, client2)), Server: server.Entries}
	verify := string(server.AppendTo(nil))
	first, second, _ := strings.Cut(verify, ",")
	for _, c := range []struct {
		name           string
		client, verify []string
		want           error
	}{
		{"byte for byte", []string{client, client2}, []string{first, second}, nil},
		{"byte for byte, on one line", []string{client + "," + client2}, []string{verify}, nil},
		{"half of it, byte for byte", []string{client}, []string{first, second}, ErrClientChanged},
		{"the other half", []string{client, client2}, []string{first}, ErrVerifyChanged},
		{"more than there was", []string{client, client2}, []string{first, second, second}, ErrVerifyChanged},
		{"not the grammar", []string{client, client2}, []string{first, second + ";"}, ErrSyntax},
		{"rebuilt: other order, spaces, defaults written out, no zeros", []string{client2 + " ; prot=esp; mod=trans , " + client},
			[]string{second, strings.ReplaceAll(strings.ReplaceAll(first, ";", " ; "), "ipsec", "IPsec")}, nil},
		{"q with another number of digits", []string{client, client2}, []string{strings.Replace(verify, "q=0.9", "q=0.900", 1)}, nil},
		{"media plane beside it", []string{client, client2, "sdes-srtp;mediasec"}, []string{verify, "sdes-srtp;mediasec"}, nil},
		{"GCM taken out of Security-Client", []string{client2}, []string{verify}, ErrClientChanged},
		{"algorithm changed", []string{strings.Replace(client, "aes-gcm", "aes-cbc", 1), client2}, []string{verify}, ErrClientChanged},
		{"client's SPI changed", []string{strings.ReplaceAll(client+","+client2, "1111111111", "1111111119")}, []string{verify}, ErrClientChanged},
		{"one twice for the other", []string{client, client}, []string{verify}, ErrClientChanged},
		{"parameter added", []string{client + ";x", client2}, []string{verify}, ErrClientChanged},
		{"GCM taken out of Security-Server", []string{client, client2}, []string{second}, ErrVerifyChanged},
		{"preferences swapped", []string{client, client2}, []string{strings.NewReplacer("q=0.9", "q=0.8", "q=0.8", "q=0.9").Replace(verify)}, ErrVerifyChanged},
		{"q left out", []string{client, client2}, []string{strings.Replace(verify, "q=0.9;", "", 1)}, ErrVerifyChanged},
		{"spi-c", []string{client, client2}, []string{strings.ReplaceAll(verify, "spi-c=2000000001", "spi-c=2000000003")}, ErrVerifyChanged},
		{"spi-s", []string{client, client2}, []string{strings.ReplaceAll(verify, "spi-s=2000000002", "spi-s=2000000003")}, ErrVerifyChanged},
		{"port-c", []string{client, client2}, []string{strings.ReplaceAll(verify, "port-c=6000", "port-c=6002")}, ErrVerifyChanged},
		{"port-s", []string{client, client2}, []string{strings.ReplaceAll(verify, "port-s=6001", "port-s=6002")}, ErrVerifyChanged},
		{"no Security-Client", nil, []string{verify}, ErrClientMissing},
		{"no Security-Verify", []string{client, client2}, nil, ErrVerifyMissing},
		{"only media plane in Security-Verify", []string{client, client2}, []string{"sdes-srtp;mediasec"}, ErrVerifyMissing},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := a.Confirm(lines(c.client...), lines(c.verify...))
			if err != c.want {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if r, ok := err.(Reason); ok && r != ErrSyntax && (r.Status() != 494 || r.BidDown() != (r == ErrClientChanged || r == ErrVerifyChanged)) {
				t.Errorf("%v: status %d", r, r.Status())
			}
		})
	}
}

// TestWhatDiffersIsSeen: what differs in meaning is not taken for the same, and no octet of one entry can pass for another's.
func TestWhatDiffersIsSeen(t *testing.T) {
	all := []string{
		"tls", "tls;q=0.1", "tls;q=0.01", "tls;q=0", "tls,tls", "tls,tls;q=0.1", "tls;a", "tls;a=b", "tls;a;b", "tls;b", "digest", `tls;a="b"`,
		"tls;a=b,digest", "ipsec-3gpp;alg=null;ealg=aes-gcm;" + endpoint, "ipsec-3gpp;alg=null;" + endpoint, "ipsec-3gpp;alg=null;ealg=aes-gcm;mod=tun;" + endpoint,
	}
	for _, one := range all {
		for _, other := range all {
			a := Agreement{Client: Quote(lines(one)), Server: mustParse(t, one).Entries}
			if err := a.Verify(lines(other)); (err == nil) != (one == other) {
				t.Errorf("announced %q, verified %q: %v", one, other, err)
			}
			if err := a.Confirm(lines(other), lines(one)); err == nil && one != other && !strings.Contains(one+other, "q=") {
				t.Errorf("offered %q, confirmed %q: %v", one, other, err)
			}
		}
	}
	var zero Agreement
	for _, values := range [][][]byte{nil, lines("tls"), lines("sdes-srtp;mediasec")} {
		if zero.Verify(values) == nil || zero.Confirm(values, values) == nil {
			t.Errorf("the zero agreement agrees with %q", values)
		}
	}
}

func TestRenew(t *testing.T) {
	client := "ipsec-3gpp;alg=null;ealg=aes-gcm;" + endpoint
	said, server := mustParse(t, client), Offer(Strict(), Endpoint{2000000001, 2000000002, 6000, 6001}, Transport)
	a := Agreement{Server: server.Entries, Last: said.Entries[0].Endpoint()}
	verify := string(server.AppendTo(nil))
	next := func(spiC, spiS, portC, portS int) string {
		return fmt.Sprintf("ipsec-3gpp;alg=null;ealg=aes-gcm;spi-c=%d;spi-s=%d;port-c=%d;port-s=%d", spiC, spiS, portC, portS)
	}
	for _, c := range []struct {
		name, client, verify string
		want                 error
	}{
		{"new client port, same server port", next(3333, 3334, 38002, 39001), verify, nil},
		{"same client port", next(3333, 3334, 38001, 39001), verify, ErrPortInUse},
		{"an SPI again", next(1111111112, 3334, 38002, 39001), verify, ErrSPIInUse},
		{"other Security-Verify", next(3333, 3334, 38002, 39001), strings.Replace(verify, "6001", "6002", 1), ErrVerifyChanged},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := a.Renew(lines(c.client), lines(c.verify)); err != c.want {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestSelect(t *testing.T) {
	offered := Offer(Handset(), Endpoint{3000000001, 3000000002, 7000, 7001}, Transport)
	server := Offer(Legacy(), Endpoint{2000000001, 2000000002, 6000, 6001}, Transport)
	if e, err := Select(&server, &offered); err != nil || e.EAlg != EAlgGCM || e.PortS != 6001 {
		t.Errorf("%+v %v", e, err)
	}
	weak := Offer(Profile{"", []Suite{{IPsec3GPP, AlgSHA1, EAlgNull}}}, Endpoint{2000000001, 2000000002, 6000, 6001}, Transport)
	if _, err := Select(&weak, &offered); err != ErrNotOffered {
		t.Errorf("a single entry that was not offered: %v", err)
	}
	mirror := Offer(Strict(), Endpoint{3000000002, 2000000002, 6000, 6001}, Transport)
	if _, err := Select(&mirror, &offered); err != ErrReflected {
		t.Errorf("our own SPI comes back: %v", err)
	}
}

func TestException(t *testing.T) {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	md5 := []Suite{{IPsec3GPP, AlgMD5, EAlgNull}}
	tablet := Exception{IMEIFrom: "35693803564000", IMEITo: "35693803565999", Suites: md5, Owner: "noc", Ends: now.Add(time.Hour)}
	one := Exception{IMPI: "a@example.org", Suites: md5, Owner: "noc", Ends: now.Add(time.Hour)}
	for _, c := range []struct {
		name       string
		x          Exception
		impi, imei string
		at         time.Time
		want       bool
	}{
		{"in the range", tablet, "b@example.org", "356938035643809", now, true},
		{"above the range", tablet, "b@example.org", "356938035660009", now, false},
		{"no IMEI", tablet, "b@example.org", "", now, false},
		{"by identity", one, "a@example.org", "", now, true},
		{"another identity", one, "b@example.org", "", now, false},
		{"at its end", one, "a@example.org", "", now.Add(time.Hour), false},
		{"without an owner", Exception{IMPI: "a@example.org", Suites: md5, Ends: now.Add(time.Hour)}, "a@example.org", "", now, false},
		{"without an end", Exception{IMPI: "a@example.org", Suites: md5, Owner: "noc"}, "a@example.org", "", now, false},
		{"null and null", Exception{IMPI: "a@example.org", Suites: []Suite{{IPsec3GPP, AlgNull, EAlgNull}}, Owner: "noc", Ends: now.Add(time.Hour)}, "a@example.org", "", now, false},
		{"for nobody, so for all", Exception{Suites: md5, Owner: "noc", Ends: now.Add(time.Hour)}, "", "", now, false},
	} {
		if got := c.x.Applies(c.impi, c.imei, c.at); got != c.want {
			t.Errorf("%s: applies %v", c.name, got)
		}
	}
}

// TestProfiles holds the table of the profiles: what weakens, and that no profile has what was withdrawn.
func TestProfiles(t *testing.T) {
	for _, name := range []string{"strict", "handset", "legacy"} {
		p, ok := ProfileNamed(name)
		if !ok {
			t.Fatal(name)
		}
		for _, s := range p.Suites {
			if s.Withdrawn() || !s.sound() || !s.Encrypts() && name != "legacy" {
				t.Errorf("%s has %+v", name, s)
			}
		}
	}
	if _, ok := ProfileNamed("tls+exception"); ok {
		t.Error("a name that nobody gave")
	}
}

// FuzzParse: what is accepted is written in a form that means the same, and that form is a fixed point.
func FuzzParse(f *testing.F) {
	for _, s := range shapes {
		f.Add(strings.Join(s.values, ","))
	}
	f.Add(`tls;q=1.0,digest;d-ver="a\"b",sdes-srtp;mediasec;x`)
	f.Fuzz(func(t *testing.T, in string) {
		l, err := ParseString(in)
		if err != nil {
			if r, ok := err.(Reason); !ok || r.Status() != 400 {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		form := string(l.AppendTo(nil))
		if strings.ContainsAny(form, "\r\n\x00") {
			t.Fatalf("%q is written with a line end", in)
		}
		again, err := ParseString(form)
		if err == ErrTooLong {
			return // defaults were written out
		}
		if err != nil || !says(again.Entries, l.Entries, true) || len(again.Media) != len(l.Media) {
			t.Fatalf("%q became %q: %v", in, form, err)
		}
		if twice := string(again.AppendTo(nil)); twice != form {
			t.Fatalf("%q became %q", form, twice)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	in := lines(shapes[2].values...)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkConfirm(b *testing.B) {
	client, server := lines(shapes[2].values...), mustParse(b, shapes[2].values...)
	a := Agreement{Client: Quote(client), Server: server.Entries}
	for name, verify := range map[string][][]byte{"as it was written": lines(strings.Split(string(server.AppendTo(nil)), ",")...), "otherwise": client} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := a.Confirm(client, verify); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
