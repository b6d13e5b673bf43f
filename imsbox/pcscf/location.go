package pcscf

import (
	"bytes"
	"strings"

	"imsafe/proto/sip"
)

// A call may carry a location as a body beside its SDP (RFC 6442 4.1, RFC 4119). Telephones put it there by themselves, for emergency
// services. In a message it is what the user wants to say, and stays; presence has rules of its own.

const (
	typeLocation  = "application/pidf+xml"
	typeMultipart = "multipart/"
)

// carriesLocation reports whether a call carries one.
func carriesLocation(m *sip.Message) bool {
	if !m.IsRequest() || m.Method() != sip.INVITE && m.Method() != sip.UPDATE {
		return false
	}
	kind := m.Get(sip.HdrContentType)
	return isType(kind, typeLocation) || isType(kind, typeMultipart) && containsFold(m.Body(), typeLocation)
}

// dropLocation takes the location out of the body of a call.
func dropLocation(m *sip.Message) {
	switch kind := m.Get(sip.HdrContentType); {
	case isType(kind, typeLocation):
		m.SetBody("", nil)
		m.Remove(sip.HdrContentType)
	case isType(kind, typeMultipart):
		if rest, dropped := withoutLocation(kind, m.Body()); dropped {
			m.SetBody(string(kind), rest)
		}
	}
}

// withoutLocation returns a multipart body without the parts that are locations (RFC 2046 5.1.1), or have parts that are, and whether there were any. A
// body whose parts can't be told apart is dropped as a whole if the word stands in it.
func withoutLocation(contentType, body []byte) (rest []byte, dropped bool) {
	boundary, _ := sip.Param(contentType, "boundary")
	delimiter := append([]byte("\r\n--"), bytes.Trim(boundary, `"`)...)
	if len(delimiter) == len("\r\n--") {
		return nil, containsFold(body, typeLocation)
	}
	parts := bytes.Split(append([]byte("\r\n"), body...), delimiter)
	for i, part := range parts {
		head, _, _ := bytes.Cut(part, []byte("\r\n\r\n"))
		if i > 0 && (containsFold(head, typeLocation) || containsFold(head, "multipart/") && containsFold(part, typeLocation)) {
			dropped = true
			continue
		}
		if i > 0 {
			rest = append(rest, delimiter...)
		}
		rest = append(rest, part...)
	}
	return bytes.TrimPrefix(rest, []byte("\r\n")), dropped
}

func isType(v []byte, kind string) bool {
	return len(v) >= len(kind) && strings.EqualFold(string(v[:len(kind)]), kind)
}

func containsFold(b []byte, word string) bool { return bytes.Contains(bytes.ToLower(b), []byte(word)) }
