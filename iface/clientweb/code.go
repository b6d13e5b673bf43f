package clientweb

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"io"
	"sync"
	"time"

	"imsafe/proto/oauth"
)

// code is a one-time code: whoever gave it out has sealed what it says, and remembers nothing. So it is good wherever the key is that seals.
type code struct {
	number  [numberSize]byte
	until   time.Time
	jkt     string // thumbprint of the key that it is good for
	subject string
	used    bool // it was shown here before
}

// A code in octets: its number, its end in Unix milliseconds (8, big-endian), the thumbprint (32), the subject, and HMAC-SHA-256 of all that (RFC 2104).
const (
	numberSize = 16
	endAt      = numberSize
	jktAt      = endAt + 8
	subjectAt  = jktAt + sha256.Size
)

// The bounds of codes.
const (
	codeLife = 60 * time.Second
	maxCodes = 1 << 16 // that are used within twice their life
)

// Code makes the body of the 200 to a REGISTER that asked for a code: of subject, for the key with that thumbprint. nil where there is none to be
// had. The caller says so for registrations that were authenticated, on a protected path.
func (d *Door) Code(subject, jkt string) []byte {
	c := code{subject: subject, jkt: jkt, until: d.ports.Clock.Wall().Add(codeLife)}
	if _, err := io.ReadFull(d.ports.Random, c.number[:]); err != nil {
		return nil
	}
	keys := d.ports.CodeKeys()
	if subject == "" || len(keys) == 0 {
		return nil
	}
	text, ok := c.seal(keys[0])
	if !ok {
		return nil
	}
	body, err := json.Marshal(oauth.Code{Code: text, TokenEndpoint: d.cfg.Origin + "/token", ExpiresIn: int(codeLife / time.Second)})
	if err != nil {
		return nil
	}
	d.Counters.Codes.Add(1)
	return body
}

// seal writes a code; false if the thumbprint is none.
func (c *code) seal(key []byte) (string, bool) {
	jkt, err := base64.RawURLEncoding.Strict().DecodeString(c.jkt)
	if err != nil || len(jkt) != sha256.Size {
		return "", false
	}
	b := append(make([]byte, 0, subjectAt+len(c.subject)+sha256.Size), c.number[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(c.until.UnixMilli()))
	b = append(append(b, jkt...), c.subject...)
	return base64.RawURLEncoding.EncodeToString(sum(key, b)), true
}

// sum appends the authentication of b.
func sum(key, b []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(b)
	return mac.Sum(b)
}

// openCode reads a code that was sealed with one of keys; false if it was not.
func openCode(keys [][]byte, text string) (c code, genuine bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) < subjectAt+sha256.Size {
		return c, false
	}
	says := b[: len(b)-sha256.Size : len(b)-sha256.Size]
	for _, key := range keys {
		if hmac.Equal(sum(key, says), b) {
			copy(c.number[:], says)
			c.until = time.UnixMilli(int64(binary.BigEndian.Uint64(says[endAt:])))
			c.jkt = base64.RawURLEncoding.EncodeToString(says[jktAt:subjectAt])
			c.subject = string(says[subjectAt:])
			return c, true
		}
	}
	return c, false
}

// take takes a code: whether what follows goes well or not, it is used from now on, at this node. What it returns says whether it was before.
func (d *Door) take(text string, wall time.Time) (what code, good bool) {
	what, genuine := openCode(d.ports.CodeKeys(), text)
	if !genuine || !wall.Before(what.until) {
		return code{}, false
	}
	what.used, good = d.codes.use(what.number, d.ports.Clock.Now())
	return what, good
}

// codes remembers which codes were used of late: only who was given one costs memory here. The zero value is ready. Safe for concurrent use.
type codes struct {
	mu   sync.Mutex
	ages [2]map[[numberSize]byte]struct{} // the younger one first: what was used in it is in one of the two for at least twice the life of a code
	next time.Duration
}

// use takes a code down, and says whether it was there. There is no room for more than maxCodes: then none is good.
func (c *codes) use(number [numberSize]byte, now time.Duration) (before, room bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now >= c.next {
		c.ages[1], c.ages[0] = c.ages[0], map[[numberSize]byte]struct{}{}
		c.next = now + 2*codeLife
	}
	for _, age := range c.ages {
		if _, used := age[number]; used {
			return true, true
		}
	}
	if len(c.ages[0]) >= maxCodes {
		return false, false
	}
	c.ages[0][number] = struct{}{}
	return false, true
}
