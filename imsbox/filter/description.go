package filter

import (
	"bytes"

	"imsafe/proto/sip"
)

// maxMultipart bounds multiparts within multiparts.
const maxMultipart = 4

// eachDescription visits the session descriptions in a body until one visit returns true: the body itself, or parts of a multipart
// (RFC 5621 3). Who hides one among other parts hides it from no filter.
func eachDescription(contentType, body []byte, depth int, visit func(sdp []byte) bool) bool {
	mediaType, params := contentType, []byte(nil)
	if i := bytes.IndexByte(contentType, ';'); i >= 0 {
		mediaType, params = contentType[:i], contentType[i+1:]
	}
	mediaType = bytes.TrimSpace(mediaType)
	if bytes.EqualFold(mediaType, []byte("application/sdp")) {
		return visit(body)
	}
	const multipart = "multipart/"
	if len(mediaType) <= len(multipart) || !bytes.EqualFold(mediaType[:len(multipart)], []byte(multipart)) || depth == maxMultipart {
		return false
	}
	boundary, _ := sip.Param(params, "boundary")
	if len(boundary) == 0 {
		return false
	}
	_, rest := cutPart(body, boundary) // what stands before the first boundary is nobody's
	for rest != nil {
		var part []byte
		part, rest = cutPart(rest, boundary)
		if inner, content := openPart(part); eachDescription(inner, content, depth+1, visit) {
			return true
		}
	}
	return false
}

// cutPart cuts a multipart body at the next delimiter line; rest is nil behind the last one (RFC 2046 5.1.1).
func cutPart(body, boundary []byte) (part, rest []byte) {
	for at := 0; ; {
		i := bytes.Index(body[at:], boundary)
		if i < 0 {
			return body, nil // one that does not end: what came is what there is
		}
		i += at
		at = i + len(boundary)
		if i < 2 || string(body[i-2:i]) != "--" || i > 2 && body[i-3] != '\n' {
			continue
		}
		part = body[:max(i-3, 0)]
		if n := len(part); n > 0 && part[n-1] == '\r' {
			part = part[:n-1]
		}
		rest = body[at:]
		if len(rest) >= 2 && rest[0] == '-' && rest[1] == '-' {
			return part, nil
		}
		end := bytes.IndexByte(rest, '\n')
		if end < 0 || len(bytes.TrimSpace(rest[:end])) > 0 {
			continue // a longer boundary that begins like ours
		}
		return part, rest[end+1:]
	}
}

// openPart parts the header of a part from its content, and returns its Content-Type.
func openPart(part []byte) (contentType, content []byte) {
	for {
		line := part
		end := bytes.IndexByte(part, '\n')
		if end < 0 {
			return contentType, nil
		}
		line, part = bytes.TrimRight(part[:end], "\r"), part[end+1:]
		if len(line) == 0 {
			return contentType, part
		}
		name, value, _ := bytes.Cut(line, []byte{':'})
		if bytes.EqualFold(bytes.TrimSpace(name), []byte("Content-Type")) {
			contentType = bytes.TrimSpace(value)
		}
	}
}

// lines goes through the lines of a session description (RFC 8866 5): a letter, '=', a value. Others are passed over.
type lines struct {
	rest, line []byte
}

func (l *lines) next() bool {
	for len(l.rest) > 0 {
		l.line = l.rest
		l.rest = nil
		if end := bytes.IndexByte(l.line, '\n'); end >= 0 {
			l.line, l.rest = l.line[:end], l.line[end+1:]
		}
		l.line = bytes.TrimRight(l.line, "\r")
		if len(l.line) >= 2 && l.line[1] == '=' {
			return true
		}
	}
	return false
}

func (l *lines) kind() []byte  { return l.line[:1] }
func (l *lines) value() []byte { return l.line[2:] }
