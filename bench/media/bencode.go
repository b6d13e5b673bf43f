package media

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// bencode writes a dictionary, keys and values in turn; a value is a string or a list of them.
func bencode(dictionary []any) []byte {
	b := []byte{'d'}
	for _, v := range dictionary {
		switch v := v.(type) {
		case string:
			b = fmt.Appendf(b, "%d:%s", len(v), v)
		case []string:
			b = append(b, 'l')
			for _, s := range v {
				b = fmt.Appendf(b, "%d:%s", len(s), s)
			}
			b = append(b, 'e')
		}
	}
	return append(b, 'e')
}

var errBencode = errors.New("bencode: malformed")

// bdecode reads a dictionary and returns the strings in it; whatever else it holds is passed over.
func bdecode(b []byte) (map[string]string, error) {
	if len(b) == 0 || b[0] != 'd' {
		return nil, errBencode
	}
	d := map[string]string{}
	for b = b[1:]; len(b) > 0 && b[0] != 'e'; {
		key, rest, err := bstring(b)
		if err != nil {
			return nil, err
		}
		if b = rest; len(b) > 0 && b[0] >= '0' && b[0] <= '9' {
			var value string
			if value, b, err = bstring(b); err != nil {
				return nil, err
			}
			d[key] = value
		} else if b, err = bskip(b, maxDepth); err != nil {
			return nil, err
		}
	}
	if len(b) == 0 {
		return nil, errBencode
	}
	return d, nil
}

// maxDepth bounds what is within what.
const maxDepth = 16

func bstring(b []byte) (s string, rest []byte, err error) {
	colon := bytes.IndexByte(b, ':')
	if colon < 1 || colon > 6 {
		return "", nil, errBencode
	}
	n, err := strconv.ParseUint(string(b[:colon]), 10, 32)
	if b = b[colon+1:]; err != nil || n > uint64(len(b)) {
		return "", nil, errBencode
	}
	return string(b[:n]), b[n:], nil
}

// bskip passes over one value.
func bskip(b []byte, depth int) ([]byte, error) {
	switch {
	case len(b) == 0 || depth == 0:
		return nil, errBencode
	case b[0] == 'i':
		end := bytes.IndexByte(b, 'e')
		if end < 0 {
			return nil, errBencode
		}
		return b[end+1:], nil
	case b[0] == 'l' || b[0] == 'd':
		var err error
		for b = b[1:]; len(b) > 0 && b[0] != 'e'; {
			if b, err = bskip(b, depth-1); err != nil {
				return nil, err
			}
		}
		if len(b) == 0 {
			return nil, errBencode
		}
		return b[1:], nil
	}
	_, rest, err := bstring(b)
	return rest, err
}
