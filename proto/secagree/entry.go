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

// EqualVerify reports whether a Security-Verify says what the Security-Server said: the same mechanisms with the
// same preferences, SPIs and ports, in any order (TS 33.203 7.2 and 7.3.2.3). The media plane is not compared.
func (l *List) EqualVerify(server *List) bool { return equal(l.Entries, server.Entries, true) }

// EqualClient reports whether two Security-Client lists say the same: mechanisms, algorithms, SPIs and ports. A
// preference in a client's list has no use, so a change of it is none (TS 33.203 7.2, Annex H).
func (l *List) EqualClient(first *List) bool { return equal(l.Entries, first.Entries, false) }

// equal compares two lists as multisets. They are short, at most MaxMechanisms, so the square costs nothing.
func equal(a, b []Entry, preference bool) bool {
	if len(a) != len(b) {
		return false
	}
	var taken [MaxMechanisms]bool
	for i := range a {
		j := 0
		for ; j < len(b); j++ {
			if j < len(taken) && !taken[j] && same(&a[i], &b[j], preference) {
				taken[j] = true
				break
			}
		}
		if j == len(b) {
			return false
		}
	}
	return true
}

// same compares two entries.
func same(a, b *Entry, preference bool) bool {
	if preference && (a.HasQ != b.HasQ || a.HasQ && a.Q != b.Q) {
		return false
	}
	return a.Mechanism == b.Mechanism && a.Alg == b.Alg && a.EAlg == b.EAlg && a.Prot == b.Prot && a.Mode == b.Mode &&
		a.SPIC == b.SPIC && a.SPIS == b.SPIS && a.PortC == b.PortC && a.PortS == b.PortS && slices.Equal(a.Other, b.Other)
}

// byName orders parameters.
func byName(a, b Parameter) int { return strings.Compare(a.Name, b.Name) }
