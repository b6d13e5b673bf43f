package sdp

import (
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"strconv"
	"strings"
)

// ErrCrypto says that an a=crypto line is malformed (RFC 4568 9.1).
var ErrCrypto = errors.New("sdp: malformed crypto attribute")

// Suite is an SRTP protection that a=crypto names. The zero value is none.
type Suite uint8

// Suites, the best first. The 32-bit tag, F8 and NULL do not exist here.
const (
	NoSuite       Suite = iota
	AEADAES256GCM       // RFC 7714 14.1
	AEADAES128GCM
	AESCM128SHA1 // RFC 4568 6.2.1, with a tag of 80 bits
)

// Suites lists all, the best first.
func Suites() []Suite { return []Suite{AEADAES256GCM, AEADAES128GCM, AESCM128SHA1} }

// String returns the registered name.
func (s Suite) String() string {
	return [...]string{"", "AEAD_AES_256_GCM", "AEAD_AES_128_GCM", "AES_CM_128_HMAC_SHA1_80"}[min(s, AESCM128SHA1)]
}

// Lengths returns how many octets of master key and of master salt the suite takes.
func (s Suite) Lengths() (key, salt int) {
	switch s {
	case AEADAES256GCM:
		return 32, 12
	case AEADAES128GCM:
		return 16, 12
	case AESCM128SHA1:
		return 16, 14
	}
	return 0, 0
}

// maxKeySalt is the longest of them together.
const maxKeySalt = 44

// Crypto is one a=crypto line: a suite and the master key of whoever wrote it, in clear (RFC 4568). The key stands in a description and
// nowhere else: a Crypto prints as redacted, and two are equal if their keys are.
type Crypto struct {
	Tag   uint32 // pairs the lines of offer and answer
	Suite Suite
	key   [maxKeySalt]byte
}

// NewCrypto makes a line with a fresh key.
func NewCrypto(random io.Reader, tag uint32, suite Suite) (Crypto, error) {
	c := Crypto{Tag: tag, Suite: suite}
	k, s := suite.Lengths()
	_, err := io.ReadFull(random, c.key[:k+s])
	return c, err
}

// Key returns master key and master salt: for the engine that makes session keys of them, and nobody else.
func (c *Crypto) Key() (key, salt []byte) {
	k, s := c.Suite.Lengths()
	return c.key[:k], c.key[k : k+s]
}

// Retag returns the line with another tag: an answer repeats that of the offer's line it accepts (RFC 4568 5.1.2).
func (c Crypto) Retag(tag uint32) Crypto {
	c.Tag = tag
	return c
}

// String hides the key.
func (c Crypto) String() string { return "[redacted]" }

// GoString hides the key from %#v.
func (c Crypto) GoString() string { return "[redacted]" }

// LogValue hides the key.
func (c Crypto) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// value is the value of the attribute, key and all.
func (c *Crypto) value() string {
	k, s := c.Suite.Lengths()
	return strconv.FormatUint(uint64(c.Tag), 10) + " " + c.Suite.String() + " inline:" + base64.StdEncoding.EncodeToString(c.key[:k+s])
}

// parseCrypto reads the value of an a=crypto line. known is false for a line that is well formed and cannot be used: another suite, a
// session parameter that changes what is protected, more than one key, a master key identifier. RFC 4568 5.1.2 lets an answerer pass
// over those.
func parseCrypto(value string) (c Crypto, known bool, err error) {
	f := strings.Fields(value)
	if len(f) < 3 {
		return Crypto{}, false, ErrCrypto
	}
	tag, err := strconv.ParseUint(f[0], 10, 32)
	if err != nil || len(f[0]) > 9 {
		return Crypto{}, false, ErrCrypto
	}
	c.Tag = uint32(tag)
	for _, s := range Suites() {
		if s.String() == f[1] {
			c.Suite = s
		}
	}
	for _, parameter := range f[3:] {
		// A window size is a wish about our own window (RFC 4568 6.3.6); all others change what is on the wire.
		if !strings.HasPrefix(parameter, "WSH=") {
			return Crypto{}, false, nil
		}
	}
	text, inline := strings.CutPrefix(f[2], "inline:")
	if !inline || c.Suite == NoSuite || strings.Contains(text, ";") {
		return Crypto{}, false, nil
	}
	text, rest, _ := strings.Cut(text, "|")
	if strings.Contains(rest, ":") {
		return Crypto{}, false, nil // a master key identifier
	}
	k, s := c.Suite.Lengths()
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		key, err = base64.RawStdEncoding.DecodeString(text) // some leave the padding out
	}
	if err != nil || len(key) != k+s {
		return Crypto{}, false, ErrCrypto
	}
	copy(c.key[:], key)
	clear(key)
	return c, true, nil
}

// crypto takes one a=crypto line. Its key is kept only where the reader was asked to keep some.
func (r *reader) crypto(value string) error {
	r.m.SDES = true
	if r.limits.Crypto <= 0 {
		return nil
	}
	c, known, err := parseCrypto(value)
	if err != nil || !known {
		return err
	}
	for i := range r.m.Crypto {
		if r.m.Crypto[i].Tag == c.Tag {
			return ErrSyntax
		}
	}
	if len(r.m.Crypto) >= r.limits.Crypto {
		return ErrTooLarge
	}
	r.m.Crypto = append(r.m.Crypto, c)
	return nil
}
