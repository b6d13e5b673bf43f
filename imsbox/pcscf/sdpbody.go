package pcscf

import (
	"bytes"

	"imsafe/proto/sip"
)

const typeSDP = "application/sdp"

// descriptionOf returns the session description of a message, which may stand beside other things in its body (RFC 5621 8.2).
func descriptionOf(m *sip.Message) ([]byte, bool) {
	kind := m.Get(sip.HdrContentType)
	switch {
	case len(m.Body()) == 0:
		return nil, false
	case isType(kind, typeSDP):
		return m.Body(), true
	case isType(kind, typeMultipart):
		start, end, found := partOf(kind, m.Body())
		return m.Body()[start:end], found
	}
	return nil, false
}

// hidesDescription reports whether a body of several parts says in more than one place, or in another one than we find, that it has a
// description: two who read it could find two.
func hidesDescription(m *sip.Message) bool {
	kind := m.Get(sip.HdrContentType)
	if !isType(kind, typeMultipart) {
		return false
	}
	_, _, found := partOf(kind, m.Body())
	said := bytes.Count(bytes.ToLower(m.Body()), []byte(typeSDP))
	return said > 1 || said == 1 && !found
}

// describe puts another description in the place of a message's; nil takes it out.
func describe(m *sip.Message, description []byte) {
	kind, body := bytes.Clone(m.Get(sip.HdrContentType)), m.Body()
	start, end, found := partOf(kind, body)
	switch {
	case isType(kind, typeMultipart) && found:
		whole := append(bytes.Clone(body[:start]), description...)
		m.SetBody(string(kind), append(whole, body[end:]...))
	case description == nil:
		m.SetBody("", nil)
	default:
		m.SetBody(typeSDP, description)
	}
}

// partOf finds the description in a multipart body (RFC 2046 5.1.1): the content of the first part of that type.
func partOf(contentType, body []byte) (start, end int, found bool) {
	boundary, _ := sip.Param(contentType, "boundary")
	delimiter := append([]byte("--"), bytes.Trim(boundary, `"`)...)
	if !isType(contentType, typeMultipart) || len(delimiter) == len("--") {
		return 0, 0, false
	}
	for at := 0; ; {
		i := bytes.Index(body[at:], delimiter)
		if i < 0 {
			return 0, 0, false
		}
		at += i + len(delimiter)
		head, _, ok := bytes.Cut(body[at:], []byte("\r\n\r\n"))
		if !ok {
			return 0, 0, false
		}
		if !containsFold(head, typeSDP) {
			continue
		}
		start = at + len(head) + len("\r\n\r\n")
		next := bytes.Index(body[start:], append([]byte("\r\n"), delimiter...))
		if next < 0 {
			return 0, 0, false
		}
		return start, start + next, true
	}
}
