package handset

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// message is a SIP message as a telephone needs to see it.
type message struct {
	start  string
	fields []field
	body   string
}

type field struct{ name, value string }

// compact are the short names of headers (RFC 3261 20).
var compact = map[string]string{"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length", "c": "content-type", "k": "supported"}

// read takes one message from a stream, or from a datagram. Line ends between messages are keep-alives.
func read(r *bufio.Reader) (*message, error) {
	m := &message{}
	for m.start == "" {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		m.start = strings.TrimRight(line, "\r\n")
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			break
		}
		name, value, found := strings.Cut(line, ":")
		if !found {
			return nil, fmt.Errorf("not a header field: %q", line)
		}
		name = strings.ToLower(strings.TrimSpace(name))
		if long, short := compact[name]; short {
			name = long
		}
		m.fields = append(m.fields, field{name, strings.TrimSpace(value)})
	}
	n, err := strconv.Atoi(m.get("content-length"))
	if err != nil {
		return nil, fmt.Errorf("content length: %w", err)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, err
	}
	m.body = string(body)
	return m, nil
}

func parse(datagram []byte) (*message, error) {
	return read(bufio.NewReader(bytes.NewReader(datagram)))
}

// get returns the first value of a header, whose name is in lower case.
func (m *message) get(name string) string {
	for _, f := range m.fields {
		if f.name == name {
			return f.value
		}
	}
	return ""
}

// all returns the values of a header that is a list.
func (m *message) all(name string) (values []string) {
	for _, f := range m.fields {
		if f.name == name {
			values = append(values, split(f.value, ',')...)
		}
	}
	return values
}

// split cuts at a separator outside quotes and angle brackets.
func split(s string, at byte) (parts []string) {
	quoted, bracket, from := false, false, 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '<' || c == '>':
			bracket = c == '<'
		case c == at && !bracket:
			parts, from = append(parts, strings.TrimSpace(s[from:i])), i+1
		}
	}
	return append(parts, strings.TrimSpace(s[from:]))
}

// parameters reads name=value, unquoted.
func parameters(s, separator string) map[string]string {
	p := map[string]string{}
	for _, part := range split(s, separator[0]) {
		name, value, _ := strings.Cut(part, "=")
		p[strings.ToLower(strings.TrimSpace(name))] = strings.Trim(strings.TrimSpace(value), `"`)
	}
	return p
}

// status is that of a response, 0 for a request.
func (m *message) status() (code int) {
	if rest, is := strings.CutPrefix(m.start, "SIP/2.0 "); is {
		code, _ = strconv.Atoi(rest[:min(3, len(rest))])
	}
	return code
}

// method is that of a request, or what a response answers.
func (m *message) method() string {
	_, method, _ := strings.Cut(m.get("cseq"), " ")
	return method
}

// transaction is what a response is known by.
func (m *message) transaction() string {
	return parameters(m.get("via"), ";")["branch"] + " " + m.method()
}

// uri is what stands between angle brackets.
func uri(value string) string {
	if _, rest, found := strings.Cut(value, "<"); found {
		value, _, _ = strings.Cut(rest, ">")
	}
	return value
}

// tag is that of a From or To.
func tag(value string) string {
	_, after, _ := strings.Cut(value, ">")
	return parameters(after, ";")["tag"]
}

// lines joins header lines and a body to a message.
func lines(body string, header ...string) []byte {
	return []byte(strings.Join(header, "\r\n") + fmt.Sprintf("\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
}

// terse writes the compact forms that are seen from telephones.
func terse(b []byte) []byte {
	head, body, _ := strings.Cut(string(b), "\r\n\r\n")
	for short, long := range map[string]string{"v": "Via", "f": "From", "t": "To", "i": "Call-ID", "m": "Contact", "l": "Content-Length", "c": "Content-Type", "k": "Supported"} {
		head = strings.ReplaceAll(head, "\r\n"+long+": ", "\r\n"+short+": ")
	}
	return []byte(head + "\r\n\r\n" + body)
}
