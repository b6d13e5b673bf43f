package scenario

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"imsafe/policy"
	"imsafe/proto/aka"
	"imsafe/proto/sip"
	"imsafe/secure"
	"imsafe/test/lab"
)

// TestUniform looks at what a stranger hears who tries names: of users that are registered, of users that are not, and of nobody. What tells
// the one from the other is measured as the area under the curve of the best classifier by answers: 0.5 is none, 1 is certainty.
func TestUniform(t *testing.T) {
	probes := map[string]string{
		"register":         "%s > REGISTER\n",
		"wrong answer":     "%s > REGISTER\n%s < 401\n%s > REGISTER\n    Authorization: $\n",
		"the same again":   "%s > REGISTER\n%s < 401\n%s > REGISTER\n    Authorization: $\n%s < 403\n%s > REGISTER\n    Authorization: $\n",
		"an older nonce":   "%s > REGISTER\n%s < 401\n%s > REGISTER\n%s > REGISTER\n    Authorization: $\n",
		"leave":            "%s > REGISTER\n    Contact: *\n    Expires: 0\n",
		"leave by contact": "%s > REGISTER\n    Contact: <sip:x@10.0.0.9>;expires=0\n",
		"another identity": "%s > REGISTER\n    To: <sip:known0@" + lab.Domain + ">\n",
		"message":          "%s > MESSAGE known0\n",
		"watch":            "%s > SUBSCRIBE known0\n    Event: reg\n",
	}
	for name, script := range probes {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			if auc := enumerate(t, script, policy.Default()); auc > 0.55 {
				t.Errorf("a stranger tells known from unknown names: area %.2f", auc)
			}
		})
	}
	off, err := policy.Default().Ablate(secure.CIConfidentialityUniform)
	if err != nil {
		t.Fatal(err)
	}
	if auc := enumerate(t, probes["register"], off); auc < 0.9 {
		t.Errorf("without the control a stranger cannot tell either: area %.2f", auc)
	}
}

// enumerate plays a stranger's script in the names of ten users and of ten who do not exist, and returns the area for the answers.
func enumerate(t *testing.T, script string, p policy.Effective) float64 {
	const each = 10
	w, err := lab.New(lab.Options{Seed: 1, Policy: p})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var known, unknown []string
	for i := range each {
		for _, kind := range []string{"known", "other"} { // names of one length
			user := lab.User{Name: fmt.Sprintf("%s%d", kind, i), Unprovisioned: kind == "other"}
			c, err := w.Nodes[0].AddUser(user)
			if err != nil {
				t.Fatal(err)
			}
			if kind == "known" && i%2 == 0 { // half of them are there
				if _, err := c.Register(); err != nil {
					t.Fatal(err)
				}
			}
			stranger := w.Nodes[0].AddDevice("s"+user.Name, c)
			answers := probe(w, stranger, script)
			if kind == "known" {
				known = append(known, answers)
			} else {
				unknown = append(unknown, answers)
			}
		}
	}
	return area(known, unknown)
}

// probe plays a script as the stranger, who has no card, and returns what he hears, as far as it does not name him.
func probe(w *lab.World, c *lab.Client, script string) string {
	p := &player{w: w, clients: map[string]*lab.Client{c.Name: c}, challenges: map[string]*sip.Message{}, asked: map[string]*sip.Message{}, kept: map[string]string{}}
	var heard []string
	listen := func() {
		w.Settle()
		for _, m := range c.Inbox {
			if !m.IsRequest() {
				heard = append(heard, shape(m))
			}
			if m.Status() == 401 && p.challenges[c.Name] == nil {
				p.challenges[c.Name] = m
			}
		}
		c.Inbox = nil
	}
	for _, b := range split(strings.ReplaceAll(script, "%s", c.Name)) {
		if strings.Contains(b.text, " < ") {
			listen()
			continue
		}
		for i := range b.sub {
			b.sub[i] = strings.ReplaceAll(b.sub[i], "$", stab(c, p.challenges[c.Name]))
		}
		if err := p.step(b); err != nil {
			heard = append(heard, "cannot: "+err.Error())
		}
	}
	listen()
	return strings.Join(heard, " / ")
}

// stab is an answer to a challenge by somebody who has no key.
func stab(c *lab.Client, challenge *sip.Message) string {
	if challenge == nil {
		return "none"
	}
	asked, err := sip.ParseChallenge(challenge.Get(sip.HdrWWWAuthenticate))
	if err != nil {
		return "none"
	}
	return fmt.Sprintf(`Digest username="%s",realm="%s",nonce="%s",uri="sip:%s",response="%032d",algorithm=%s,qop=auth,nc=00000001,cnonce="1"`, c.IMPI, asked.Realm,
		asked.Nonce, lab.Domain, 7, asked.Algorithm)
}

// shape is status, headers and their sizes, and what of a nonce is no secret. A tag is as long as it happens to be.
func shape(m *sip.Message) string {
	s := fmt.Sprint(m.Status())
	for name, v := range m.Fields() {
		v, _, _ = bytes.Cut(v, []byte(";tag="))
		s += fmt.Sprintf(" %s:%d", name, len(v))
	}
	if asked, err := sip.ParseChallenge(m.Get(sip.HdrWWWAuthenticate)); err == nil {
		nonce, err := aka.ParseNonce(asked.Nonce)
		s += fmt.Sprintf(" %s %x %v", asked.Algorithm, nonce.AUTN[6:8], err) // AMF (TS 33.102 6.3.2)
	}
	return s
}

// area is that under the curve of the classifier that knows how often each answer is one to a known name.
func area(known, unknown []string) float64 {
	score := func(s string) float64 {
		n := func(all []string) (n float64) {
			for _, other := range all {
				if other == s {
					n++
				}
			}
			return n
		}
		return n(known) / (n(known) + n(unknown))
	}
	sum := 0.0
	for _, k := range known {
		for _, u := range unknown {
			switch a, b := score(k), score(u); {
			case a > b:
				sum++
			case a == b:
				sum += 0.5
			}
		}
	}
	return sum / float64(len(known)*len(unknown))
}

func TestArea(t *testing.T) {
	for _, c := range []struct {
		known, unknown string
		want           float64
	}{{"aaaa", "bbbb", 1}, {"abab", "abab", 0.5}, {"aaab", "abbb", 0.75}} {
		if got := area(strings.Split(c.known, ""), strings.Split(c.unknown, "")); got != c.want {
			t.Errorf("%s, %s: %v, want %v", c.known, c.unknown, got, c.want)
		}
	}
}

// BenchmarkStranger is the cost of a first REGISTER and its challenge, for a user and for nobody.
func BenchmarkStranger(b *testing.B) {
	for _, kind := range []string{"known", "other"} {
		b.Run(kind, func(b *testing.B) {
			w, err := lab.New(lab.Options{Seed: 1})
			if err != nil {
				b.Fatal(err)
			}
			defer w.Close()
			c, err := w.Nodes[0].AddUser(lab.User{Name: kind, Unprovisioned: kind == "other"})
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if err := c.SendRegister(nil); err != nil {
					b.Fatal(err)
				}
				if c.Response(401) == nil {
					b.Fatal(c.Pending())
				}
			}
		})
	}
}
