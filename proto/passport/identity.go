package passport

import (
	"strings"
)

// AppendIdentity appends the value of an Identity header field (RFC 8224 4): the token, where its certificates are, the algorithm and, but for
// the plain type, the type.
func (p *PASSporT) AppendIdentity(b []byte) []byte {
	b = append(append(b, p.token...), ";info=<"...)
	b = append(append(b, p.Info...), ">;alg=ES256"...)
	if p.Type != Plain {
		b = append(append(b, ";ppt="...), p.Type...)
	}
	return b
}

// ParseIdentity reads the value of an Identity header field (RFC 8224 4) and the token in it. What the field says beside the token must be
// what the token says: info its x5u, alg its algorithm, ppt its type, each once. Other parameters mean nothing. Errors: those of Parse, ErrInfo.
func ParseIdentity(value []byte) (*PASSporT, error) {
	if len(value) > 2*MaxToken {
		return nil, ErrForm
	}
	token, rest, _ := strings.Cut(string(value), ";")
	p, err := Parse(strings.TrimSpace(token))
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for rest != "" {
		var name, v string
		var ok bool
		if name, v, rest, ok = parameter(rest); !ok || seen[name] {
			return nil, ErrForm
		}
		seen[name] = true
		if !p.says(name, v) {
			return nil, ErrInfo
		}
	}
	if !seen["info"] {
		return nil, ErrForm // RFC 8224 4: info is mandatory
	}
	return p, nil
}

// says reports whether a parameter repeats what the token says.
func (p *PASSporT) says(name, v string) bool {
	switch name {
	case "info":
		return v == "<"+p.Info+">"
	case "alg":
		return v == "ES256"
	case "ppt":
		return strings.Trim(v, `"`) == string(p.Type) && p.Type != Plain
	}
	return true
}

// parameter takes the first parameter off a list: its name in lower case, its value with the brackets or quotes it stands in.
func parameter(list string) (name, value, rest string, ok bool) {
	end, inside := len(list), byte(0)
	for i := 0; i < len(list) && end == len(list); i++ {
		switch c := list[i]; {
		case inside != 0:
			if c == inside {
				inside = 0
			}
		case c == '<':
			inside = '>'
		case c == '"':
			inside = '"'
		case c == ';':
			end = i
		}
	}
	if inside != 0 {
		return "", "", "", false
	}
	name, value, _ = strings.Cut(list[:end], "=")
	name = strings.ToLower(strings.TrimSpace(name))
	if end < len(list) {
		rest = list[end+1:]
	}
	return name, strings.TrimSpace(value), rest, name != "" && (end == len(list) || rest != "")
}
