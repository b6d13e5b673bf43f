package secagree

import (
	"slices"
	"strings"
)

// The names of mechanisms, in lower case as Entry.Mechanism has them.
const (
	IPsec3GPP = "ipsec-3gpp" // TS 33.203 Annex H
	TLS       = "tls"        // RFC 3329 2.2
)

// The values of Entry.Alg (integrity; TS 33.203 Annex H). The first two of them were removed from later releases
// or are withdrawn: they are recognised, not trusted.
const (
	AlgMD5  = "hmac-md5-96"
	AlgSHA1 = "hmac-sha-1-96"
	AlgGMAC = "aes-gmac"
	AlgNull = "null" // only beside EAlgGCM
)

// The values of Entry.EAlg (encryption; TS 33.203 Annex H).
const (
	EAlg3DES = "des-ede3-cbc"
	EAlgCBC  = "aes-cbc"
	EAlgGCM  = "aes-gcm"
	EAlgNull = "null"
)

// Mode is how ESP is carried (parameter mod), in lower case.
type Mode string

// The modes that the IMS uses (TS 33.203 Annex H, M.7.1). "tun" is known to the grammar and never chosen.
const (
	Transport Mode = "trans"
	UDPTunnel Mode = "udp-enc-tun" // behind a NAT: ESP tunnel in UDP (RFC 3948)
)

// protESP is the default of the parameter prot, and the only value that is ever chosen.
const protESP = "esp"

// Entry is one mechanism of a list. Names and tokens are in lower case: SIP compares tokens without regard to case
// (RFC 3261 7.3.1). The defaults of Annex H are filled in. The zero value is no mechanism.
type Entry struct {
	Mechanism string
	Q         uint16 // preference in thousandths, 0..1000; meaningless unless HasQ
	HasQ      bool

	// For IPsec3GPP only.
	Alg, EAlg    string
	Prot         string
	Mode         Mode
	SPIC, SPIS   uint32 // of the sender of the list: its client and its server port's incoming association
	PortC, PortS uint16 // the sender's protected client and server port

	// Other holds parameters that the mechanism does not define, in order of their names.
	Other []Parameter
}

// Parameter is one generic-param (RFC 3261 25.1). Value is as it was sent, quotes included; empty if there is none.
type Parameter struct{ Name, Value string }

// Suite returns what would be used if the entry were chosen.
func (e *Entry) Suite() Suite { return Suite{e.Mechanism, e.Alg, e.EAlg} }

// List is what one header field lists, whatever its order and however many lines it came in.
type List struct {
	Entries []Entry
	Media   []Entry // mechanisms of the media plane, which have the parameter mediasec (TS 24.229 7.2A.7)
}

// Empty reports whether the list has no mechanism of the signalling plane.
func (l *List) Empty() bool { return len(l.Entries) == 0 }

// IPsec returns the first ipsec-3gpp entry: SPIs and ports are the same in all of them.
func (l *List) IPsec() (Entry, bool) {
	i := slices.IndexFunc(l.Entries, func(e Entry) bool { return e.Mechanism == IPsec3GPP })
	if i < 0 {
		return Entry{}, false
	}
	return l.Entries[i], true
}

// byName orders parameters.
func byName(a, b Parameter) int { return strings.Compare(a.Name, b.Name) }
