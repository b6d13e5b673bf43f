// Package scenario plays readable scripts against the house: who sends what, who must receive what, and what a
// message must and must not carry. One script is one situation; each runs direct and strict.
//
// A script is lines of
//
//	alice registers                   the whole exchange: REGISTER, 401, REGISTER, 200 (headers may follow, indented)
//	alice > REGISTER                  send a request without an answer to a challenge
//	alice > REGISTER 401              answer the challenge received last
//	alice > REGISTER 401 wrong        answer it with another key
//	alice > REGISTER again            the same credentials once more
//	alice > MESSAGE bob 407           answer the challenge of a 407; "wrong" and "again" as above, "of=mallory" takes the last of another
//	alice > REGISTER 401 auts=N       answer it as a card whose counter stands at N
//	alice challenged above N          the sequence number of the challenge received last
//	alice > INVITE bob                an initial request to a user
//	alice > BYE                       a request inside the current call (ACK, BYE, UPDATE, PRACK, INFO)
//	alice > CANCEL
//	bob > 180                         answer the request received last
//	bob > 180 INVITE                  answer the last INVITE received, though other requests came after it
//	    Header: value                 (indented, after a ">") set this header; an empty value removes it
//	    body TYPE text                (indented, after a ">") give it a body; \n is a line's end, "hex 00ff" are octets
//	alice again                       retransmit what was sent last
//	alice < 180                       this response must have arrived
//	bob < INVITE                      this request must have arrived
//	    has Header: text              (indented, after a "<") the header exists and contains the text
//	    proven                        Authentication-Info shows that the network knows the password
//	    lacks Header                  the header is not there
//	    body text                     the body contains the text
//	    keep NAME expression          keep what the first group of a regular expression finds in a header; $NAME stands for it below
//	alice < nothing                   nothing else has arrived
//	bob vanishes                      the node loses its flows to bob, as when his connection breaks
//	mallory steals alice              take over what is known of alice's current call
//	after 32s                         let time pass
//	refused ci.authentication.aka     the node refused by this control since the last such line
//	calls 2                           so many call records are complete
//	drain                             the node turns new work away, as before it stops
//	remove alice                      the operator takes the subscriber out of the HSS
//	sweep                             the node ends registrations whose time is over, as it does in the background
//	restart                           kill -9 of the node, and a new start
//
// A script whose first line is "alone" is not played over a wire.
// A script whose next line is "digest" plays where subscribers without a card are admitted ("user alice scheme=SHA-256").
// A script whose next line is "budget" plays where each user may send little: two calls and subscriptions, three messages, one of everything else
// a minute. "numbering" plays where premium numbers are barred to all but a user called rich. A script whose next line is "protected" plays over paths that count as protected, where a client is known by its address, not by what
// it says in From. Users are declared before: "user alice",
// "user alice scheme=AKAv2-SHA-256", "user alice algorithm=tuak", "user alice barred", "user alice also=tel:+15550001" (a further public identity),
// "user alice second=sip:work@domain" (one of a second implicit registration set), "user chat service" (a public service),
// "user alice card=alice2" (alice2 is a client with a private identity of its own and the same public ones);
// "device tablet of alice" is a further client with alice's own card.
package scenario

import (
	"context"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"imsafe/config"
	"imsafe/proto/sip"
	"imsafe/test/lab"
)

// Play plays script in a fresh world.
func Play(t *testing.T, script string, o lab.Options) {
	t.Helper()
	o.Poison = true
	script, alone := strings.CutPrefix(script, "alone\n")
	if alone && o.Split {
		t.Skip("not over a wire: the script says so")
	}
	script, o.Digest = strings.CutPrefix(script, "digest\n")
	script, o.Protected = strings.CutPrefix(script, "protected\n")
	if rest, known := strings.CutPrefix(script, "budget\n"); known {
		o.Budget, script = config.Budget{Calls: 2, Messages: 3, Subscriptions: 2, Transfers: 1, Notifications: 1, Others: 1}, rest
	}
	if rest, known := strings.CutPrefix(script, "numbering\n"); known {
		o.Numbering, script = config.Default().Numbering, rest
		o.Numbering.Permissions = []config.NumberPermission{{Identities: []string{"sip:rich@" + lab.Domain}, Prefixes: []string{"+979"}}}
	}
	if rest, known := strings.CutPrefix(script, "emergency "); known {
		o.Emergency, script, _ = strings.Cut(rest, "\n")
	}
	w, err := lab.New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	p := &player{w: w, clients: map[string]*lab.Client{}, challenges: map[string]*sip.Message{}, asked: map[string]*sip.Message{},
		kept: map[string]string{}}
	blocks := split(script)
	for _, b := range blocks {
		if err := p.step(p.fill(b)); err != nil {
			t.Fatalf("line %d: %s: %v", b.line, b.text, err)
		}
	}
	w.Advance(longest)
	if n := w.Nodes[0].Messages(); n != 0 {
		t.Errorf("%d messages were not released", n)
	}
}

// longest is more than anything waits for that a script may leave open.
const longest = 30 * time.Minute

// block is one line of the script with the indented ones below it.
type block struct {
	line int
	text string
	sub  []string
}

func split(script string) []block {
	var blocks []block
	for i, line := range strings.Split(script, "\n") {
		text := strings.TrimSpace(line)
		switch {
		case text == "" || strings.HasPrefix(text, "#"):
		case line[0] == ' ' || line[0] == '\t':
			last := &blocks[len(blocks)-1]
			last.sub = append(last.sub, text)
		default:
			blocks = append(blocks, block{line: i + 1, text: text})
		}
	}
	return blocks
}

type player struct {
	w          *lab.World
	clients    map[string]*lab.Client
	challenges map[string]*sip.Message // the last 401 of each client
	asked      map[string]*sip.Message // the last 407
	kept       map[string]string       // by $NAME
	events     int                     // refusals that were already looked at
}

func (p *player) step(b block) error {
	words := strings.Fields(b.text)
	switch words[0] {
	case "user":
		return p.user(words[1:])
	case "device": // device tablet of alice
		p.clients[words[1]] = p.w.Nodes[0].AddDevice(words[1], p.clients[words[3]])
		return nil
	case "remove":
		return p.w.Nodes[0].Provision(func(ctx context.Context) error { return p.w.Nodes[0].HSS().Remove(ctx, p.clients[words[1]].IMPI) })
	case "drain":
		p.w.Nodes[0].Drain()
		return nil
	case "after":
		d, err := time.ParseDuration(words[1])
		p.w.Advance(d)
		return err
	case "refused":
		return p.refused(words[1])
	case "calls":
		return p.calls(words[1])
	case "sweep":
		err := p.w.Nodes[0].Sweep()
		p.w.Settle()
		return err
	case "restart":
		return p.w.Nodes[0].Kill()
	}
	c := p.clients[words[0]]
	if c == nil {
		return fmt.Errorf("nobody is called %q", words[0])
	}
	switch words[1] {
	case "again":
		c.Retransmit()
		p.w.Settle()
		return nil
	case "vanishes":
		p.w.Nodes[0].Disconnect(c)
		return nil
	case "steals":
		c.Steal(p.clients[words[2]])
		return nil
	case "challenged":
		return p.challenged(c, words[3])
	case "registers":
		_, err := c.Register(edits(b.sub)...)
		return err
	case ">":
		return p.send(c, words[2:], edits(b.sub))
	case "<":
		return p.expect(c, words[2], b.sub)
	}
	return fmt.Errorf("what is %q?", words[1])
}

func (p *player) user(words []string) error {
	u := lab.User{Name: words[0]}
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "scheme":
			u.Scheme = value
		case "algorithm":
			u.Algorithm = value
		case "card":
			u.Cards = append(u.Cards, value)
		case "second":
			u.Second = append(u.Second, value)
		case "also":
			u.Also = append(u.Also, value)
		case "barred":
			u.Barred = true
		case "service":
			u.Service = true
		case "unprovisioned":
			u.Unprovisioned = true
		default:
			return fmt.Errorf("what is %q of a user?", w)
		}
	}
	c, err := p.w.Nodes[0].AddUser(u)
	if err != nil {
		return err
	}
	p.clients[u.Name] = c
	for _, sibling := range c.Siblings {
		p.clients[sibling.Name] = sibling
	}
	return nil
}

func edits(lines []string) []lab.Edit {
	var all []lab.Edit
	for _, line := range lines {
		if rest, isBody := strings.CutPrefix(line, "body "); isBody {
			kind, text, _ := strings.Cut(rest, " ")
			if octets, isHex := strings.CutPrefix(text, "hex "); isHex {
				b, _ := hex.DecodeString(octets) // a mistake in a script shows as a body that is too short
				text = string(b)
			}
			all = append(all, lab.Body(kind, []byte(strings.ReplaceAll(text, `\n`, "\r\n"))))
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		all = append(all, lab.Header(name, strings.TrimSpace(value)))
	}
	return all
}

func (p *player) send(c *lab.Client, words []string, edits []lab.Edit) error {
	method := sip.ParseMethod([]byte(words[0]))
	switch {
	case words[0][0] >= '1' && words[0][0] <= '6':
		var code int
		if _, err := fmt.Sscan(words[0], &code); err != nil {
			return err
		}
		if len(words) > 1 {
			return c.AnswerTo(words[1], code, edits...)
		}
		c.Answer(code, edits...)
	case method == sip.REGISTER:
		var challenge *sip.Message
		if len(words) > 1 {
			challenge = p.challenges[c.Name]
		}
		if len(words) > 1 && words[1] == "again" {
			challenge, edits = nil, append(edits, c.Again)
		}
		if len(words) > 2 && words[2] == "wrong" {
			edits = append(edits, lab.Spoil)
		}
		if len(words) > 2 && strings.HasPrefix(words[2], "auts=") {
			var sqn uint64
			if _, err := fmt.Sscanf(words[2], "auts=%d", &sqn); err != nil {
				return err
			}
			edits = append(edits, c.Resynchronise(challenge, sqn))
		}
		return c.SendRegister(challenge, edits...)
	case method == sip.CANCEL:
		c.SendCancel()
	case len(words) > 1:
		to := words[1]
		if other := p.clients[to]; other != nil {
			to = other.IMPU
		}
		c.Send(method, to, append(edits, p.credentials(c, words[2:])...)...)
	default:
		c.SendInDialog(method, edits...)
	}
	p.w.Settle()
	return nil
}

// credentials are what an initial request says to a challenge of 407.
func (p *player) credentials(c *lab.Client, words []string) (all []lab.Edit) {
	for _, w := range words {
		who, other := strings.CutPrefix(w, "of=")
		switch {
		case w == "407":
			all = append(all, c.AnswerProxy(p.asked[c.Name]))
		case w == "wrong":
			all = append(all, lab.Spoil)
		case w == "again":
			all = append(all, c.Again)
		case other:
			all = append(all, p.clients[who].Again)
		}
	}
	return all
}

func (p *player) expect(c *lab.Client, what string, conditions []string) error {
	var m *sip.Message
	var code int
	if _, err := fmt.Sscan(what, &code); err == nil {
		m = c.Response(code)
	} else if what == "nothing" {
		if pending := c.Pending(); pending != "nothing arrived" {
			return fmt.Errorf("but there is %s", pending)
		}
		return nil
	} else {
		m = c.Request(what)
	}
	if m == nil {
		return fmt.Errorf("but %s", c.Pending())
	}
	switch code {
	case 401:
		p.challenges[c.Name] = m
	case 407:
		p.asked[c.Name] = m
	}
	for _, condition := range conditions {
		if condition == "proven" {
			if !c.Proven(m) {
				return fmt.Errorf("the network has not proven that it knows the password")
			}
			continue
		}
		if rest, keeps := strings.CutPrefix(condition, "keep "); keeps {
			if err := p.keep(m, rest); err != nil {
				return err
			}
		} else if err := check(m, condition); err != nil {
			return err
		}
	}
	return nil
}

func (p *player) keep(m *sip.Message, what string) error {
	name, expression, _ := strings.Cut(what, " ")
	re, err := regexp.Compile(expression)
	if err != nil {
		return err
	}
	for _, value := range m.Fields() {
		if found := re.FindSubmatch(value); found != nil {
			p.kept["$"+name] = string(found[1])
			return nil
		}
	}
	return fmt.Errorf("nothing to keep: %s", m.AppendTo(nil))
}

// fill puts what was kept into the places of its names.
func (p *player) fill(b block) block {
	replace := func(s string) string {
		for name, value := range p.kept {
			s = strings.ReplaceAll(s, name, value)
		}
		return s
	}
	b.text = replace(b.text)
	for i := range b.sub {
		if !strings.HasPrefix(b.sub[i], "keep ") {
			b.sub[i] = replace(b.sub[i])
		}
	}
	return b
}

func check(m *sip.Message, condition string) error {
	verb, rest, _ := strings.Cut(condition, " ")
	if octets, isHex := strings.CutPrefix(rest, "hex "); verb == "body" && isHex {
		if got := hex.EncodeToString(m.Body()); got != octets {
			return fmt.Errorf("the body is %s", got)
		}
		return nil
	}
	if verb == "body" {
		if !strings.Contains(string(m.Body()), rest) {
			return fmt.Errorf("the body does not contain %q, but %q", rest, m.Body())
		}
		return nil
	}
	name, text, _ := strings.Cut(rest, ":")
	text = strings.TrimSpace(text)
	var values []string
	for field, value := range m.Fields() {
		if strings.EqualFold(string(field), name) {
			values = append(values, string(value))
		}
	}
	if strings.EqualFold(name, "Request-URI") {
		values = []string{string(m.RequestURI())}
	}
	found := false
	for _, v := range values {
		found = found || strings.Contains(v, text)
	}
	switch {
	case verb == "has" && !found:
		return fmt.Errorf("%s does not contain %q, but %q", name, text, values)
	case verb == "lacks" && found:
		return fmt.Errorf("%s is there: %q", name, values)
	case verb != "has" && verb != "lacks":
		return fmt.Errorf("what is %q?", verb)
	}
	return nil
}

func (p *player) challenged(c *lab.Client, floor string) error {
	var want uint64
	if _, err := fmt.Sscan(floor, &want); err != nil {
		return err
	}
	sqn, err := c.SequenceNumber(p.challenges[c.Name])
	if err == nil && sqn <= want {
		return fmt.Errorf("it is %d", sqn)
	}
	return err
}

func (p *player) refused(control string) error {
	seen := []string{}
	for _, e := range p.w.Events[p.events:] {
		seen = append(seen, e.Control.String())
	}
	p.events = len(p.w.Events)
	for _, s := range seen {
		if s == control {
			return nil
		}
	}
	return fmt.Errorf("but refused by %v", seen)
}

func (p *player) calls(want string) error {
	p.w.Settle()
	n, err := p.w.Nodes[0].CompleteCalls()
	if err == nil && fmt.Sprint(n) != want {
		return fmt.Errorf("there are %d", n)
	}
	return err
}
