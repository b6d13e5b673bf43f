package aka

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

func mufasa(a DigestAlgorithm) *Digest { // RFC 7616 3.9.1
	return &Digest{
		Algorithm: a, Username: []byte("Mufasa"), Realm: []byte("http-auth@example.org"),
		Nonce:  []byte("7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"),
		Method: []byte("GET"), URI: []byte("/dir/index.html"), QOP: []byte("auth"), NC: []byte("00000001"),
		Cnonce: []byte("f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"),
	}
}

func TestDigestPublishedExamples(t *testing.T) {
	old := &Digest{ // RFC 2617 3.5
		Algorithm: MD5, Username: []byte("Mufasa"), Realm: []byte("testrealm@host.com"),
		Nonce: []byte("dcd98b7102dd2f0e8b11d0f600bfb0c093"), Method: []byte("GET"), URI: []byte("/dir/index.html"),
		QOP: []byte("auth"), NC: []byte("00000001"), Cnonce: []byte("0a4f113b"),
	}
	for _, c := range []struct {
		name     string
		d        *Digest
		password string
		want     string
	}{
		{"RFC 7616 3.9.1 MD5", mufasa(MD5), "Circle of Life", "8ca523f5e9506fed4657c9700eebdbec"},
		{"RFC 7616 3.9.1 SHA-256", mufasa(SHA256), "Circle of Life", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"},
		{"RFC 2617 3.5", old, "Circle Of Life", "6629fae49393a05397450978507c4ef1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.d.AppendResponse(nil, []byte(c.password)); string(got) != c.want {
				t.Errorf("response %s, want %s", got, c.want)
			}
			if !c.d.Verify([]byte(c.want), []byte(c.password)) || !c.d.Verify([]byte(strings.ToUpper(c.want)), []byte(c.password)) {
				t.Error("the published response is refused")
			}
			ha1 := c.d.Algorithm.AppendHA1(nil, c.d.Username, c.d.Realm, []byte(c.password))
			if !c.d.VerifyHA1([]byte(c.want), ha1) || c.d.VerifyHA1([]byte(c.want), ha1[1:]) {
				t.Error("stored H(A1)")
			}
			if c.d.Verify([]byte(c.want), []byte("circle of life")) {
				t.Error("a wrong password is accepted")
			}
		})
	}
}

// plainDigest is RFC 7616 3.4.1 a second time, in strings.
func plainDigest(d *Digest, password, method string) string {
	h := func(s string) string {
		if d.Algorithm == SHA256 || d.Algorithm == AKAv2SHA256 {
			return fmt.Sprintf("%x", sha256.Sum256([]byte(s)))
		}
		return fmt.Sprintf("%x", md5.Sum([]byte(s)))
	}
	ha1 := h(string(d.Username) + ":" + string(d.Realm) + ":" + password)
	a2 := method + ":" + string(d.URI)
	if string(d.QOP) == "auth-int" {
		a2 += ":" + h(string(d.Body))
	}
	if len(d.QOP) == 0 {
		return h(ha1 + ":" + string(d.Nonce) + ":" + h(a2))
	}
	return h(strings.Join([]string{ha1, string(d.Nonce), string(d.NC), string(d.Cnonce), string(d.QOP), h(a2)}, ":"))
}

func TestDigestForms(t *testing.T) {
	for a := MD5; a <= AKAv2SHA256; a++ {
		for _, qop := range []string{"", "auth", "auth-int"} {
			d := mufasa(a)
			d.QOP, d.Body, d.Method = []byte(qop), []byte("v=0\r\n"), []byte("REGISTER")
			d.URI = []byte("sip:" + strings.Repeat("x", 600)) // longer than the buffers on the stack
			password := []byte{0, ':', 0xff, 'p'}
			want := plainDigest(d, string(password), "REGISTER")
			if got := d.AppendResponse([]byte("x="), password); string(got) != "x="+want {
				t.Errorf("%v %q: %s, want %s", a, qop, got, want)
			}
			if got := d.AppendRspauth(nil, password); string(got) != plainDigest(d, string(password), "") {
				t.Errorf("%v %q: rspauth %s", a, qop, got)
			}
			if len(want) != a.HexLen() {
				t.Errorf("%v: HexLen %d", a, a.HexLen())
			}
		}
	}
}

func TestDigestRefuses(t *testing.T) {
	d := mufasa(MD5)
	right := d.AppendResponse(nil, nil)
	for name, bad := range map[string][]byte{
		"empty": nil, "short": right[:31], "long": append(bytes.Clone(right), '0'),
		"one digit": append([]byte{right[0] ^ 1}, right[1:]...), "not hexadecimal": bytes.Repeat([]byte("z"), 32),
	} {
		if d.Verify(bad, nil) {
			t.Errorf("%s accepted", name)
		}
	}
	for i := range right { // no octet is left out of the comparison
		bad := bytes.Clone(right)
		bad[i] ^= 1
		if d.Verify(bad, nil) {
			t.Errorf("digit %d is not compared", i)
		}
	}
	d.QOP = []byte("auth-conf")
	if d.Verify(d.AppendResponse(nil, nil), nil) {
		t.Error("unknown qop")
	}
	d = mufasa(0)
	if d.Verify(d.AppendResponse(nil, nil), nil) {
		t.Error("no algorithm")
	}
	if d := mufasa(MD5); d.VerifyAKA(d.AppendResponse(nil, nil), &Vector{}) {
		t.Error("a password algorithm is not AKA")
	}
	if d := mufasa(AKAv1MD5); d.VerifyAKA(d.AppendResponse(nil, nil), &Vector{}) {
		t.Error("an empty XRES must not make the empty password right")
	}
}

func akaVector(t testing.TB) *Vector {
	m, s := set1(t)
	v := new(Vector)
	if err := Generate(m, bytes.NewReader(s.rand), sqnOf([6]byte(s.sqn)), AMF(s.amf), v); err != nil {
		t.Fatal(err)
	}
	return v
}

func akaDigest(a DigestAlgorithm, v *Vector) *Digest {
	return &Digest{
		Algorithm: a, Username: []byte("001010000000001@ims.mnc001.mcc001.3gppnetwork.org"),
		Realm: []byte("ims.mnc001.mcc001.3gppnetwork.org"), Nonce: AppendNonce(nil, v.RAND, v.AUTN, nil),
		Method: []byte("REGISTER"), URI: []byte("sip:ims.mnc001.mcc001.3gppnetwork.org"),
	}
}

func TestDigestAKA(t *testing.T) {
	v := akaVector(t)
	res := unhex(t, "a54211d5e3ba50bf") // f2 of test set 1
	secret := append(append(bytes.Clone(res), v.IK[:]...), v.CK[:]...)
	hm := func(mac []byte) string { return base64.StdEncoding.EncodeToString(mac) }
	m5, s2 := hmac.New(md5.New, secret), hmac.New(sha256.New, secret)
	m5.Write([]byte("http-digest-akav2-password"))
	s2.Write([]byte("http-digest-akav2-password"))
	for a, password := range map[DigestAlgorithm]string{
		AKAv1MD5: string(res), AKAv2MD5: hm(m5.Sum(nil)), AKAv2SHA256: hm(s2.Sum(nil)),
	} {
		if got := a.AppendPassword(nil, &v.XRES, &v.CK, &v.IK); string(got) != password {
			t.Errorf("%v: password of %d octets, want %d", a, len(got), len(password))
		}
		d := akaDigest(a, v)
		response := []byte(plainDigest(d, password, "REGISTER"))
		if !d.VerifyAKA(response, v) {
			t.Errorf("%v: the right response is refused", a)
		}
		other := *v
		other.XRES = NewRES([]byte("12345678"))
		if d.VerifyAKA(response, &other) {
			t.Errorf("%v: another RES is accepted", a)
		}
		other = *v
		other.CK[0] ^= 1
		if d.VerifyAKA(response, &other) != (a == AKAv1MD5) { // AKAv2 binds the keys
			t.Errorf("%v: CK", a)
		}
		// A synchronisation failure is sent with an empty password (RFC 3310 3.4).
		if !d.Verify([]byte(plainDigest(d, "", "REGISTER")), nil) || d.Verify(response, nil) {
			t.Errorf("%v: empty password", a)
		}
	}
	if got := MD5.AppendPassword(nil, &v.XRES, &v.CK, &v.IK); got != nil {
		t.Error("an algorithm without AKA has no such password")
	}
}

func TestDigestAlgorithmNames(t *testing.T) {
	for a := MD5; a <= AKAv2SHA256; a++ {
		for _, s := range []string{a.String(), strings.ToLower(a.String())} {
			if got, ok := ParseDigestAlgorithm([]byte(s)); !ok || got != a {
				t.Errorf("%s: %v", s, got)
			}
		}
	}
	for _, s := range []string{"", "MD5-sess", "AKAv3-MD5", "AKAv1-MD5 "} {
		if _, ok := ParseDigestAlgorithm([]byte(s)); ok {
			t.Errorf("%q accepted", s)
		}
	}
	if DigestAlgorithm(99).String() != "" || DigestAlgorithm(0).AKA() {
		t.Error("values outside the list")
	}
}

func TestVerifyAllocations(t *testing.T) {
	v := akaVector(t)
	for a, most := range map[DigestAlgorithm]float64{AKAv1MD5: 0, AKAv2MD5: 0, AKAv2SHA256: 0} {
		d := akaDigest(a, v)
		response := d.AppendResponse(nil, a.AppendPassword(nil, &v.XRES, &v.CK, &v.IK))
		if n := testing.AllocsPerRun(200, func() {
			if !d.VerifyAKA(response, v) {
				t.Fatal("refused")
			}
		}); n > most {
			t.Errorf("%v: %v allocations, at most %v", a, n, most)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	v := akaVector(b)
	for _, a := range []DigestAlgorithm{AKAv1MD5, AKAv2MD5, AKAv2SHA256} {
		d := akaDigest(a, v)
		response := d.AppendResponse(nil, a.AppendPassword(nil, &v.XRES, &v.CK, &v.IK))
		b.Run(a.String(), func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				if !d.VerifyAKA(response, v) {
					b.Fatal("refused")
				}
			}
		})
	}
}

func FuzzEqualHex(f *testing.F) {
	f.Add([]byte("00ff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 32 {
			b = b[:32]
		}
		want := []byte(hex.EncodeToString(b))
		if !equalHex(bytes.ToUpper(want), want) || (len(want) > 0 && equalHex(want[1:], want)) {
			t.Error(string(want))
		}
	})
}
