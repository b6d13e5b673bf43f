package foreign

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"imsafe/proto/aka"
	"imsafe/test/live"
)

// secret is one octet string that must be nowhere.
type secret struct {
	name  string
	value []byte
}

// longTerm are the secrets of the cards of users.
func longTerm(users []*live.User) (all []secret) {
	for _, u := range users {
		all = append(all, secret{"K of " + u.Name, u.K[:]}, secret{"OP of " + u.Name, u.OP[:]}, secret{"OPc of " + u.Name, u.OPc[:]})
	}
	return all
}

var nonceText = regexp.MustCompile(`nonce="([A-Za-z0-9+/]{40,}=*)"`)

// session are RES, CK and IK of every challenge to one of users that stands in data, and the challenges' RANDs. Whose challenge it
// is, its MAC says.
func session(data []byte, users []*live.User) (all []secret, rands []secret) {
	seen := map[aka.RAND]bool{}
	for _, m := range nonceText.FindAllSubmatch(data, -1) {
		nonce, err := aka.ParseNonce(m[1])
		if err != nil || seen[nonce.RAND] {
			continue
		}
		seen[nonce.RAND] = true
		for _, u := range users {
			if _, err := aka.Open(u.Card, nonce.RAND, nonce.AUTN); err != nil {
				continue
			}
			res, ck, ik, _ := u.Card.F2345(nonce.RAND)
			all = append(all, secret{"RES of " + u.Name, res.Append(nil)}, secret{"CK of " + u.Name, ck[:]}, secret{"IK of " + u.Name, ik[:]})
			rands = append(rands, secret{"RAND to " + u.Name, nonce.RAND[:]})
		}
	}
	return all, rands
}

// search looks for many strings at once: by their first octets.
type search struct {
	forms map[uint64][]form
}

type form struct {
	of, as string
	text   []byte
}

const keyLength = 8 // octets that a form is found by; none is shorter

// newSearch prepares to look for secrets as they are, in hexadecimal and in base64 at any place of a longer string.
func newSearch(secrets []secret) *search {
	s := &search{forms: map[uint64][]form{}}
	for _, x := range secrets {
		s.add(x.name, "octets", x.value)
		s.add(x.name, "hexadecimal", []byte(hex.EncodeToString(x.value)))
		s.add(x.name, "HEXADECIMAL", bytes.ToUpper([]byte(hex.EncodeToString(x.value))))
		for shift := range 3 {
			// The first characters mix with what stands before, the last with what comes after.
			text := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), x.value...))
			text = text[(shift*8+5)/6 : (shift+len(x.value))*8/6]
			s.add(x.name, "base64", []byte(text))
			s.add(x.name, "base64url", []byte(strings.NewReplacer("+", "-", "/", "_").Replace(text)))
		}
	}
	return s
}

func (s *search) add(of, as string, text []byte) {
	key := binary.BigEndian.Uint64(text)
	s.forms[key] = append(s.forms[key], form{of, as, text})
}

// in returns what it found in data, at most a few.
func (s *search) in(data []byte) (found []string) {
	const enough = 10
	for i := 0; i+keyLength <= len(data) && len(found) < enough; i++ {
		for _, f := range s.forms[binary.BigEndian.Uint64(data[i:])] {
			if bytes.HasPrefix(data[i:], f.text) {
				found = append(found, fmt.Sprintf("%s in %s at %d", f.of, f.as, i))
			}
		}
	}
	return found
}

// TestSearchFinds shows that the search would find a key that walks, whatever it wears.
func TestSearchFinds(t *testing.T) {
	u := live.NewUsers("u", 1, live.AKAv1)[0]
	res, _, _, _ := u.Card.F2345(aka.RAND{1})
	s := newSearch(append(longTerm([]*live.User{u}), secret{"RES", res.Append(nil)}))
	for _, x := range [][]byte{u.K[:], u.OP[:], u.OPc[:], res.Append(nil)} {
		for before := range 4 {
			noise := bytes.Repeat([]byte{'n'}, before)
			long := append(append(noise, x...), "after"...)
			for name, data := range map[string][]byte{
				"octets":      long,
				"hexadecimal": fmt.Appendf(noise, "%x", x),
				"HEXADECIMAL": fmt.Appendf(noise, "%X", x),
				"base64":      base64.StdEncoding.AppendEncode(nil, long),
				"base64url":   base64.RawURLEncoding.AppendEncode(nil, long),
				"at the end":  base64.StdEncoding.AppendEncode(nil, append(noise, x...)),
			} {
				if len(s.in(data)) == 0 {
					t.Errorf("%x as %s after %d octets is not found in %q", x, name, before, data)
				}
			}
		}
	}
	if found := s.in([]byte("WWW-Authenticate: Digest realm=\"nothing here\"")); found != nil {
		t.Errorf("found %v in nothing", found)
	}
}
