package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"imsafe/iface/management"
	"imsafe/imsbox/hss"
	"imsafe/node"
	"imsafe/proto/aka"
)

// Subscribers of other home subscriber servers. What their files look like is read from their public documentation and schemas
// (docs/import.md names them); what becomes of a record is the same for all: a card without ISIM, whose identities derive from its IMSI
// (TS 23.003 13.3, 13.4B) and its number, and which authenticates with AKAv1-MD5, as telephones do.

// foreignFormats are the formats of --format that others write.
var foreignFormats = map[string]func(data []byte) ([]foreignCard, []string, []hss.Mistake){
	"open5gs": readOpen5GS,
	"pyhss":   readPyHSS,
	"srsran":  readSrsRAN,
}

// foreignCard is one subscriber of another server.
type foreignCard struct {
	line    int // of the file where it begins
	imsi    string
	k       keyText
	op, opc keyText // one of them
	amf     string
	sqn     uint64 // all 48 bits
	numbers []string
}

// conversion is a file of another server as lines for the HSS.
type conversion struct {
	lines    string
	origin   []int    // of each line: where it stood in the file
	notes    []string // what the operator should know
	mistakes []hss.Mistake
}

// convertForeign makes one JSON subscriber per line of a file.
func convertForeign(format string, data []byte, domain, group string) *conversion {
	cards, notes, mistakes := foreignFormats[format](data)
	c := &conversion{notes: notes, mistakes: mistakes}
	var b strings.Builder
	numberless := 0
	for i := range cards {
		card := &cards[i]
		sub, wrong := card.subscriber(domain, group)
		if len(wrong) > 0 {
			c.mistakes = append(c.mistakes, wrong...)
			continue
		}
		text, err := json.Marshal(sub)
		if err != nil {
			c.mistakes = append(c.mistakes, mistakeAt(card.line, "json", "%v", err))
			continue
		}
		if len(card.numbers) == 0 {
			numberless++
		}
		b.Write(append(text, '\n'))
		c.origin = append(c.origin, card.line)
	}
	if len(cards) == 0 && len(c.mistakes) == 0 {
		c.mistakes = append(c.mistakes, mistakeAt(1, "file", "no subscriber in it"))
	}
	if numberless > 0 {
		c.notes = append(c.notes, fmt.Sprintf("%d have no number, so no tel URI: they are called by their SIP URI alone, and SMS and SUBSCRIBE of many telephones need the number", numberless))
	}
	c.lines = b.String()
	return c
}

func mistakeAt(line int, field, format string, args ...any) hss.Mistake {
	return hss.Mistake{Subject: "line " + strconv.Itoa(line), Field: field, Problem: fmt.Sprintf(format, args...)}
}

// subscriber derives what the HSS needs. What is wrong with keys and identities the HSS says itself, once it has it.
func (f *foreignCard) subscriber(domain, group string) (*newSubscriber, []hss.Mistake) {
	var wrong []hss.Mistake
	if len(f.imsi) < 6 || len(f.imsi) > 15 || strings.Trim(f.imsi, "0123456789") != "" {
		wrong = append(wrong, mistakeAt(f.line, "imsi", "%q is not 6 to 15 digits", f.imsi))
	}
	sqn := aka.SQN(f.sqn)
	if f.sqn >= 1<<48 {
		wrong = append(wrong, mistakeAt(f.line, "sqn", "more than 48 bits"))
	}
	s := &newSubscriber{IMPI: f.imsi + "@" + domain, IMSI: f.imsi, K: f.k, OP: f.op, OPc: f.opc, Scheme: aka.AKAv1MD5.String(),
		SEQ: sqn.SEQ(), Group: group}
	if s.OPc != "" {
		s.OP = "" // OPc is what such servers then use
	}
	amf, err := imsAMF(f.amf)
	if err != nil {
		wrong = append(wrong, mistakeAt(f.line, "amf", "%v", err))
	}
	s.AMF = amf
	var impus []string
	for _, number := range f.numbers {
		if number == "" || strings.Trim(number, "0123456789") != "" {
			wrong = append(wrong, mistakeAt(f.line, "msisdn", "%q is no number: digits with the country code", number))
			continue
		}
		impus = append(impus, "sip:+"+number+"@"+domain, "tel:+"+number)
	}
	s.Public = (&sheet{domain: domain}).public(s, impus, "", "")
	return s, wrong
}

// imsAMF takes the separation bit out of an AMF: it is 1 in vectors for EPS and 5G alone (TS 33.102 Annex H), for which those servers keep
// it.
func imsAMF(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != 2 {
		return "", fmt.Errorf("%q is not 4 hexadecimal digits", text)
	}
	b[0] &^= 0x80
	return hex.EncodeToString(b), nil
}

// spaceless takes out the blanks that web pages put between groups of digits.
func spaceless(s string) string { return strings.Join(strings.Fields(s), "") }

var lineNumber = regexp.MustCompile(`\bline (\d+)`)

// place says the lines of mistakes that the HSS found as lines of the file.
func (c *conversion) place(err error) error {
	var refusal *management.Error
	mistakes := node.Mistakes(err)
	if len(mistakes) == 0 || !errors.As(err, &refusal) {
		return err
	}
	at := func(text string) string {
		return lineNumber.ReplaceAllStringFunc(text, func(found string) string {
			n, err := strconv.Atoi(found[len("line "):])
			if err != nil || n < 1 || n > len(c.origin) {
				return found
			}
			return "line " + strconv.Itoa(c.origin[n-1])
		})
	}
	for i, m := range mistakes {
		mistakes[i].Subject, mistakes[i].Problem = at(m.Subject), at(m.Problem)
	}
	placed := *refusal
	details, err := json.Marshal(mistakes)
	if err != nil {
		return err
	}
	placed.Details = details
	return &placed
}

// jsonValues visits every object of a stream of JSON values, objects or arrays of objects, as exports are and as files become that are
// put behind each other. Numbers stay as they are written.
func jsonValues(data []byte, visit func(line int, object map[string]any)) (mistakes []hss.Mistake) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	lines := &lineCounter{data: data}
	depth := 0
	for {
		for d.More() {
			start := lines.at(int(d.InputOffset()))
			if next := lines.next(int(d.InputOffset())); next == '[' {
				if _, err := d.Token(); err != nil {
					return append(mistakes, mistakeAt(start, "json", "not JSON"))
				}
				depth++
				continue
			}
			var object map[string]any
			if err := d.Decode(&object); err != nil {
				return append(mistakes, mistakeAt(start, "json", "%s", withoutValues(err)))
			}
			visit(start, object)
		}
		token, err := d.Token()
		if err != nil {
			if depth > 0 || err.Error() != "EOF" {
				mistakes = append(mistakes, mistakeAt(lines.at(len(data)), "json", "not JSON, or it ends too early"))
			}
			return mistakes
		}
		if token == json.Delim(']') {
			depth--
		}
	}
}

// lineCounter says on which line the first thing after an offset stands. Offsets rise.
type lineCounter struct {
	data       []byte
	done, line int
}

// next returns the first octet after offset that is neither blank nor comma, 0 at the end.
func (l *lineCounter) next(offset int) byte {
	rest := bytes.TrimLeft(l.data[offset:], " \t\r\n,")
	if len(rest) == 0 {
		return 0
	}
	return rest[0]
}

func (l *lineCounter) at(offset int) int {
	rest := bytes.TrimLeft(l.data[offset:], " \t\r\n,")
	offset = len(l.data) - len(rest)
	l.line += bytes.Count(l.data[l.done:offset], []byte("\n"))
	l.done = offset
	return l.line + 1
}

// text returns a field as text, whatever it is in JSON; "" for null and what is not there.
func text(object map[string]any, name string) string {
	switch v := object[name].(type) {
	case string:
		return strings.TrimSpace(v)
	case json.Number:
		return v.String()
	}
	return ""
}
