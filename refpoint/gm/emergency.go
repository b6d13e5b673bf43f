package gm

import (
	"bytes"
	"slices"
	"strings"

	"imsafe/proto/sip"
)

// Emergency says which requests are emergency calls, for the door, which lets them in from anybody, and for the P-CSCF, which sends
// them where they are answered (TS 24.229 5.2.10; RFC 5031). The zero value knows the URN only.
type Emergency struct {
	Domain  string   // home domain: sip:112@domain is the number 112
	Numbers []string // what people dial
	URI     string   // who answers; "" if nobody does here
}

// Is reports whether a Request-URI is that of an emergency call.
func (e *Emergency) Is(requestURI []byte) bool {
	uri, err := sip.ParseURI(requestURI)
	if err != nil {
		return false
	}
	switch {
	case bytes.EqualFold(uri.Scheme, []byte("urn")):
		service := strings.ToLower(string(uri.Opaque))
		return service == "service:sos" || strings.HasPrefix(service, "service:sos.")
	case uri.IsSIP() && !bytes.EqualFold(uri.Host, []byte(e.Domain)):
		return false
	case !uri.IsSIP() && !uri.IsTel():
		return false
	}
	number, _, _ := bytes.Cut(uri.User, []byte{';'})
	return slices.ContainsFunc(e.Numbers, func(n string) bool { return n == string(number) })
}
