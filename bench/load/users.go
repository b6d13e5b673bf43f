package load

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"imsafe/proto/aka"
)

// Subscriber is one user as his UE knows him.
type Subscriber struct {
	IMPI, IMPU string
	User       string // of IMPU; the user part of the contact
	Scheme     aka.DigestAlgorithm
	K          aka.K // with AKA
	OPc        aka.OPc
	Password   string // without
}

// Subscribers makes the subscribers of a range.
func (r *Range) Subscribers(domain string) ([]Subscriber, error) {
	scheme, known := aka.ParseDigestAlgorithm([]byte(r.Scheme))
	seed, err := hex.DecodeString(r.Seed)
	if err != nil || !known {
		return nil, errors.New("target: not a range that was validated")
	}
	all := make([]Subscriber, r.Count)
	for i := range all {
		user := fmt.Sprintf("%s%0*d", r.Prefix, r.Digits, r.First+i)
		s := &all[i]
		*s = Subscriber{IMPI: user + "@" + domain, IMPU: "sip:" + user + "@" + domain, User: user, Scheme: scheme}
		if scheme.AKA() {
			copy(s.K[:], derive(seed, "k", s.IMPI))
			copy(s.OPc[:], derive(seed, "opc", s.IMPI))
		} else {
			s.Password = hex.EncodeToString(derive(seed, "password", s.IMPI))[:24]
		}
	}
	return all, nil
}

func derive(seed []byte, what, impi string) []byte {
	h := hmac.New(sha256.New, seed)
	h.Write([]byte(what + " " + impi))
	return h.Sum(nil)
}

// columns are those of the CSV file, of which `imsafe user import` knows more.
var columns = [...]string{"impi", "ki", "opc", "impu", "scheme", "password"}

// WriteCSV writes subscribers as `imsafe user import` takes them. The file holds keys.
func WriteCSV(w io.Writer, all []Subscriber) error {
	c := csv.NewWriter(w)
	password := len(all) > 0 && !all[0].Scheme.AKA()
	head := columns[:5]
	if password {
		head = []string{"impi", "impu", "scheme", "password"}
	}
	if err := c.Write(head); err != nil {
		return err
	}
	for i := range all {
		s := &all[i]
		row := []string{s.IMPI, hex.EncodeToString(s.K[:]), hex.EncodeToString(s.OPc[:]), s.IMPU, s.Scheme.String()}
		if password {
			row = []string{s.IMPI, s.IMPU, s.Scheme.String(), s.Password}
		}
		if err := c.Write(row); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// ParseCSV reads subscribers from a file whose first line names its columns: impi, impu, and ki with opc, or password. Columns that a UE
// has no use for are passed over. An error names the line and no content of it.
func ParseCSV(r io.Reader) ([]Subscriber, error) {
	c := csv.NewReader(r)
	c.ReuseRecord, c.Comment, c.TrimLeadingSpace = true, '#', true
	head, err := c.Read()
	if err != nil {
		return nil, fmt.Errorf("subscribers: the line of names: %w", err)
	}
	var at [len(columns)]int
	for i, name := range columns {
		at[i] = slices.IndexFunc(head, func(h string) bool { return strings.EqualFold(strings.TrimSpace(h), name) })
	}
	if at[0] < 0 || at[3] < 0 || (at[1] < 0 || at[2] < 0) && at[5] < 0 {
		return nil, errors.New("subscribers: the first line names impi, impu, and ki with opc or password")
	}
	var all []Subscriber
	for {
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		var syntax *csv.ParseError
		switch {
		case errors.As(err, &syntax):
			return nil, fmt.Errorf("subscribers: line %d: %w", syntax.Line, syntax.Err)
		case err != nil:
			return nil, fmt.Errorf("subscribers: %w", err)
		case len(all) == MaxSubscribers:
			return nil, fmt.Errorf("subscribers: more than %d", MaxSubscribers)
		}
		s, err := subscriber(row, &at)
		if err != nil {
			line, _ := c.FieldPos(0)
			return nil, fmt.Errorf("subscribers: line %d: %w", line, err)
		}
		all = append(all, s)
	}
}

func subscriber(row []string, at *[len(columns)]int) (s Subscriber, err error) {
	cell := func(i int) string {
		if at[i] < 0 {
			return ""
		}
		return strings.Clone(strings.TrimSpace(row[at[i]]))
	}
	s.IMPI = cell(0)
	for _, impu := range strings.Fields(cell(3)) {
		if strings.HasPrefix(impu, "sip:") {
			s.IMPU = impu
			break
		}
	}
	user, host, whole := strings.Cut(strings.TrimPrefix(s.IMPU, "sip:"), "@")
	if s.User = user; !whole || !token(user) || !hostname(host) {
		return s, errors.New("impu has no plain SIP URI")
	}
	if _, host, whole := strings.Cut(s.IMPI, "@"); s.IMPI == "" || whole && !hostname(host) || bytes.ContainsAny([]byte(s.IMPI), "\"\\<> \t\r\n\x00") {
		return s, errors.New("impi is no private identity")
	}
	s.Scheme = aka.AKAv1MD5
	if s.Password = cell(5); s.Password != "" {
		s.Scheme = aka.MD5
	}
	if scheme := cell(4); scheme != "" {
		known := false
		if s.Scheme, known = aka.ParseDigestAlgorithm([]byte(scheme)); !known {
			return s, errors.New("scheme is not known")
		}
	}
	if s.Scheme.AKA() {
		if s.K, err = aka.ParseK(cell(1)); err == nil {
			s.OPc, err = aka.ParseOPc(cell(2))
		}
	} else if s.Password == "" {
		err = errors.New("no password")
	}
	return s, err
}
