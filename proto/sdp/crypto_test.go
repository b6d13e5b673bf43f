package sdp

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// The first is the example of RFC 4568 9.1.
const exampleCrypto = "1 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR|2^20|1:4"

func TestParseCrypto(t *testing.T) {
	const cm, gcm = "PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR", "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3OA=="
	for value, want := range map[string]struct {
		suite Suite
		err   error
	}{
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + cm:                      {AESCM128SHA1, nil},
		"7 AES_CM_128_HMAC_SHA1_80 inline:" + cm + "|2^20":            {AESCM128SHA1, nil},
		"7 AES_CM_128_HMAC_SHA1_80 inline:" + cm + "|1048576 WSH=128": {AESCM128SHA1, nil},
		"2 AEAD_AES_128_GCM inline:" + gcm:                            {AEADAES128GCM, nil},
		"2 AEAD_AES_128_GCM inline:" + strings.TrimRight(gcm, "="):    {AEADAES128GCM, nil},
		exampleCrypto:                                                  {NoSuite, nil}, // a master key identifier
		"1 AES_CM_128_HMAC_SHA1_32 inline:" + cm:                       {NoSuite, nil},
		"1 F8_128_HMAC_SHA1_80 inline:" + cm:                           {NoSuite, nil},
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + cm + " UNENCRYPTED_SRTP": {NoSuite, nil},
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + cm + " KDR=3":            {NoSuite, nil},
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + cm + ";inline:" + cm:     {NoSuite, nil},
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + gcm:                      {NoSuite, ErrCrypto},
		"1 AES_CM_128_HMAC_SHA1_80 inline:!":                           {NoSuite, ErrCrypto},
		"x AES_CM_128_HMAC_SHA1_80 inline:" + cm:                       {NoSuite, ErrCrypto},
		"1 AES_CM_128_HMAC_SHA1_80":                                    {NoSuite, ErrCrypto},
	} {
		c, known, err := parseCrypto(value)
		if known != (want.suite != NoSuite) || known && c.Suite != want.suite || !errors.Is(err, want.err) {
			t.Errorf("%s: %v, known %v, %v", value, c.Suite, known, err)
		}
	}
}

func TestCrypto_is_kept_only_on_request_and_hidden(t *testing.T) {
	const text = head + "m=audio 4000 RTP/SAVP 8\r\nc=IN IP4 192.0.2.1\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR\r\n" +
		"a=crypto:2 AEAD_AES_128_GCM inline:MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3OA==\r\n"
	s, err := Parse([]byte(text), Limits{Crypto: 4})
	if err != nil || len(s.Media[0].Crypto) != 2 {
		t.Fatalf("%+v, %v", s, err)
	}
	c := s.Media[0].Crypto[0]
	if key, salt := c.Key(); len(key) != 16 || len(salt) != 14 || string(key[:4]) != "=-n@" {
		t.Errorf("%q %q", key, salt)
	}
	for _, printed := range []string{fmt.Sprintf("%v %+v %#v %s", s, s.Media[0], c, c), c.LogValue().String()} {
		if strings.Contains(printed, "=-n@") || strings.Contains(printed, "PS1u") || strings.Contains(printed, "61, 45") {
			t.Errorf("a key is printed: %s", printed)
		}
	}
	out, err := s.Marshal()
	if err != nil || !strings.Contains(string(out), "a=crypto:2 AEAD_AES_128_GCM inline:MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3OA==\r\n") {
		t.Errorf("%s, %v", out, err)
	}
	if _, err := Parse([]byte(text), Limits{Crypto: 1}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("more lines than asked for: %v", err)
	}
	if _, err := Parse([]byte(strings.Replace(text, "crypto:2", "crypto:1", 1)), Limits{Crypto: 4}); !errors.Is(err, ErrSyntax) {
		t.Errorf("one tag twice: %v", err)
	}
}

func TestNewCrypto(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	for _, suite := range Suites() {
		a, errA := NewCrypto(random, 1, suite)
		b, errB := NewCrypto(random, 1, suite)
		if errA != nil || errB != nil || a == b {
			t.Errorf("%v: two keys are equal, or %v, %v", suite, errA, errB)
		}
		if back, known, err := parseCrypto(a.value()); !known || err != nil || back != a {
			t.Errorf("%v: read again as another one, %v", suite, err)
		}
	}
}

func FuzzParseCrypto(f *testing.F) {
	f.Add(exampleCrypto)
	f.Add("1 AEAD_AES_256_GCM inline:AAAA WSH=64")
	f.Fuzz(func(t *testing.T, value string) {
		c, known, err := parseCrypto(value)
		if known && err != nil {
			t.Fatal("known, and an error")
		}
		if !known {
			return
		}
		if back, again, err := parseCrypto(c.value()); !again || err != nil || back != c {
			t.Fatalf("%q is written as %q", value, c.value())
		}
	})
}
