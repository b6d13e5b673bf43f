package passport

import "bytes"

// KeysOf returns the media keys of a body: each a=fingerprint line in it, whatever the rest is (RFC 8225 5.2.2, RFC 8122 5). It takes more
// for a line than a strict reader of session descriptions would, so that nothing is left out that some reader might believe.
func KeysOf(body []byte) []Fingerprint {
	var keys []Fingerprint
	for len(body) > 0 {
		line := body
		if end := bytes.IndexAny(body, "\r\n"); end >= 0 {
			line, body = body[:end], body[end+1:]
		} else {
			body = nil
		}
		value, is := cutFold(bytes.TrimLeft(line, " \t"), "a=fingerprint:")
		if !is {
			continue
		}
		algorithm, digest, _ := bytes.Cut(bytes.TrimSpace(value), []byte{' '})
		keys = append(keys, Fingerprint{Algorithm: string(bytes.ToLower(algorithm)),
			Digest: string(bytes.ToUpper(bytes.ReplaceAll(bytes.TrimSpace(digest), []byte{':'}, nil)))})
	}
	return keys
}

// cutFold cuts a prefix off, whatever its capitals.
func cutFold(line []byte, prefix string) ([]byte, bool) {
	if len(line) < len(prefix) || !bytes.EqualFold(line[:len(prefix)], []byte(prefix)) {
		return nil, false
	}
	return line[len(prefix):], true
}
