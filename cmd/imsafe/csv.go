package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"imsafe/imsbox/hss"
)

// csvColumns is the order of a file without a line of names.
var csvColumns = []string{"iccid", "imsi", "ki", "opc", "amf", "msisdn", "impu", "impi", "group"}

// moreColumns may be named besides.
var moreColumns = []string{"op", "scheme", "seq", "profile", "password", "algorithm", "topc", "top"}

// sheet is a CSV file that is being read.
type sheet struct {
	domain, scheme, group string
	columns               []string
	lines                 strings.Builder
	line                  int // of the output, the same as in the file
	mistakes              []hss.Mistake
}

// csvToLines turns a CSV file into one JSON subscriber per line, each on the line where it stood, so that the mistakes that are found
// later name lines of the file. scheme is for cards that name none, group for those that name none.
func csvToLines(data []byte, domain, scheme, group string) (string, []hss.Mistake) {
	s := &sheet{domain: domain, scheme: scheme, group: group}
	s.lines.Grow(len(data) + len(data)/2) // names of fields come in between
	r := csv.NewReader(bytes.NewReader(data))
	r.Comment, r.FieldsPerRecord, r.TrimLeadingSpace, r.ReuseRecord = '#', -1, true, true
	first, _, _ := bytes.Cut(data, []byte("\n"))
	if bytes.Count(first, []byte(";")) > bytes.Count(first, []byte(",")) {
		r.Comma = ';' // as spreadsheets write where a comma is in numbers
	}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return s.lines.String(), s.mistakes
		}
		var syntax *csv.ParseError
		if errors.As(err, &syntax) {
			s.mistake(syntax.Line, "csv", "%v", syntax.Err)
			return "", s.mistakes
		}
		line, _ := r.FieldPos(0)
		if s.columns == nil && s.names(row, line) {
			continue
		}
		s.row(row, line)
	}
}

func (s *sheet) mistake(line int, field, format string, args ...any) {
	s.mistakes = append(s.mistakes, hss.Mistake{Subject: "line " + strconv.Itoa(line), Field: field, Problem: fmt.Sprintf(format, args...)})
}

// names reads the line of names, if the file begins with one.
func (s *sheet) names(row []string, line int) bool {
	names := make([]string, len(row))
	for i, name := range row {
		names[i] = strings.ToLower(strings.TrimSpace(name))
	}
	if !slices.Contains(names, "ki") && !slices.Contains(names, "k") && !slices.Contains(names, "password") {
		s.columns = csvColumns
		return false
	}
	for i, name := range names {
		if name == "k" {
			names[i] = "ki"
		} else if !slices.Contains(csvColumns, name) && !slices.Contains(moreColumns, name) {
			s.mistake(line, "columns", "%q is not known; known are %s", name, strings.Join(append(slices.Clone(csvColumns), moreColumns...), ", "))
		}
		if slices.Index(names, names[i]) != i {
			s.mistake(line, "columns", "%q stands twice", names[i])
		}
	}
	s.columns = names
	return true
}

// row turns a row into a subscriber.
func (s *sheet) row(row []string, line int) {
	if len(row) != len(s.columns) {
		s.mistake(line, "columns", "%d of them; %d are needed (%s)", len(row), len(s.columns), strings.Join(s.columns, ","))
		return
	}
	cell := func(name string) string {
		if i := slices.Index(s.columns, name); i >= 0 {
			return strings.TrimSpace(row[i])
		}
		return ""
	}
	sub := newSubscriber{IMPI: cell("impi"), IMSI: cell("imsi"), K: keyText(cell("ki")), OPc: keyText(cell("opc")), OP: keyText(cell("op")),
		AMF: cell("amf"), Scheme: cell("scheme"), Group: cell("group"), Password: keyText(cell("password")),
		Algorithm: cell("algorithm"), TOPc: keyText(cell("topc")), TOP: keyText(cell("top"))}
	if sub.Group == "" {
		sub.Group = s.group
	}
	if sub.Scheme == "" && sub.Password == "" {
		sub.Scheme = s.scheme
	}
	if seq := cell("seq"); seq != "" {
		n, err := strconv.ParseUint(seq, 10, 64)
		if err != nil {
			s.mistake(line, "seq", "%q is not a number", seq)
		}
		sub.SEQ = n
	}
	if sub.IMPI == "" && sub.IMSI == "" {
		s.mistake(line, "impi", "neither a private identity nor an IMSI to derive it from")
		return
	}
	sub.Public = s.public(&sub, strings.Fields(cell("impu")), cell("msisdn"), cell("profile"))
	text, err := json.Marshal(&sub)
	if err != nil {
		s.mistake(line, "csv", "%v", err)
		return
	}
	for ; s.line < line-1; s.line++ {
		s.lines.WriteByte('\n')
	}
	s.lines.Write(append(text, '\n'))
	s.line++
}

// public makes the implicit registration set: the identities given, or the number as SIP and tel URI. A card without ISIM derives its
// identities from the IMSI (TS 23.003 13.3, 13.4B): it registers with the temporary one, which is barred for everything else
// unless it is all there is.
func (s *sheet) public(sub *newSubscriber, impus []string, msisdn, profile string) []hss.Public {
	var set []hss.Public
	add := func(impu string, barred bool) {
		if !slices.ContainsFunc(set, func(p hss.Public) bool { return p.IMPU == impu }) {
			set = append(set, hss.Public{IMPU: impu, Profile: profile, Barred: barred})
		}
	}
	for _, impu := range impus {
		add(impu, false)
	}
	if number := strings.TrimPrefix(msisdn, "+"); number != "" {
		if len(set) == 0 {
			add("sip:+"+number+"@"+s.domain, false)
		}
		add("tel:+"+number, false)
	}
	temporary := sub.IMPI == "" || sub.IMPI == sub.IMSI+"@"+s.domain
	if sub.IMPI == "" {
		sub.IMPI = sub.IMSI + "@" + s.domain
	}
	if temporary || len(set) == 0 {
		add("sip:"+sub.IMPI, len(set) > 0)
	}
	return set
}
