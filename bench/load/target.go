package load

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"imsafe/proto/aka"
	"imsafe/proto/esp"
)

// Transport is how UEs reach the P-CSCF.
type Transport string

// The transports.
const (
	UDP Transport = "udp"
	TCP Transport = "tcp"
	TLS Transport = "tls"
	ESP Transport = "esp" // ipsec-3gpp (TS 33.203 Annex H), ESP in UDP (Annex M)
)

// Target is the IMS under load and its subscribers. Its form in a file is JSON with these names; see docs/bench.md.
type Target struct {
	Domain    string           `json:"domain"`       // home domain: Request-URI of REGISTER, and the realm
	Proxies   []netip.AddrPort `json:"proxies"`      // P-CSCFs; UE number i uses number i modulo their number
	Transport Transport        `json:"transport"`    // default udp
	TLS       TLSTarget        `json:"tls,omitzero"` // with transport tls
	ESP       ESPTarget        `json:"esp,omitzero"` // with transport esp
	Clients   Clients          `json:"clients"`      // addresses of the UEs
	Users     Users            `json:"subscribers"`  //
	Lenient   bool             `json:"lenient"`      // a plain SIP proxy: no Service-Route, no P-Asserted-Identity is missed
	Expires   int              `json:"expires"`      // seconds asked for in REGISTER; default 3600
	Agent     string           `json:"user_agent"`   // default imsafe-bench
}

// TLSTarget is whom UEs trust.
type TLSTarget struct {
	Authority string `json:"authority"` // PEM file; the system's authorities if it is empty
	Name      string `json:"name"`      // of the P-CSCF in its certificate
}

// ESPTarget is how UEs protect themselves.
type ESPTarget struct {
	Port      uint16 `json:"port"`      // of the P-CSCF for ESP in UDP; default 4500
	Integrity string `json:"integrity"` // alg of Security-Client; default null, which goes with aes-gcm
	Cipher    string `json:"cipher"`    // ealg of Security-Client; default aes-gcm
}

// Clients are the addresses and ports of UEs. Each UE has a pair of its own: there must be as many pairs as subscribers.
type Clients struct {
	Addresses netip.Prefix `json:"addresses"`  // of IPv4, all local to this host; default 127.1.0.0/16 towards loopback
	FirstPort uint16       `json:"first_port"` // default 20000
	Ports     int          `json:"ports"`      // from FirstPort on; default 1
	MediaPort uint16       `json:"media_port"` // of all UEs of a worker, every further worker has the next but one; default 49152
}

// Users are the subscribers: a file as `imsafe user import` takes it, or a range whose keys follow from a seed.
type Users struct {
	File  string `json:"file,omitempty"`
	Range Range  `json:"range,omitzero"`
}

// Range are subscribers with consecutive names.
type Range struct {
	Prefix string `json:"prefix"` // of the user part; default "u"
	Digits int    `json:"digits"` // of the number behind it; default 7
	First  int    `json:"first"`
	Count  int    `json:"count"`
	Seed   string `json:"seed"`   // 32 or more hexadecimal digits
	Scheme string `json:"scheme"` // AKAv1-MD5, AKAv2-SHA-256, MD5, SHA-256 (with passwords); default AKAv1-MD5
}

// Bounds of a target.
const (
	MaxTarget      = 64 << 10 // octets of its file
	MaxSubscribers = 4_000_000
)

// ParseTarget reads a target file and fills in the defaults. Errors name the field.
func ParseTarget(data []byte) (*Target, error) {
	if len(data) > MaxTarget {
		return nil, fmt.Errorf("target: more than %d octets", MaxTarget)
	}
	t := &Target{}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(t); err != nil {
		return nil, fmt.Errorf("target: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("target: more than one object")
	}
	t.defaults()
	return t, t.validate()
}

func (t *Target) defaults() {
	set(&t.Transport, UDP)
	set(&t.Expires, 3600)
	set(&t.Agent, "imsafe-bench")
	set(&t.ESP.Port, 4500)
	set(&t.ESP.Integrity, "null")
	set(&t.ESP.Cipher, "aes-gcm")
	set(&t.Clients.FirstPort, 20000)
	set(&t.Clients.MediaPort, 49152)
	set(&t.Clients.Ports, 1)
	if len(t.Proxies) > 0 && t.Proxies[0].Addr().IsLoopback() && !t.Clients.Addresses.IsValid() {
		t.Clients.Addresses = netip.PrefixFrom(netip.AddrFrom4([4]byte{127, 1, 0, 0}), 16)
	}
	if t.Users.File == "" {
		r := &t.Users.Range
		set(&r.Prefix, "u")
		set(&r.Digits, 7)
		set(&r.Scheme, aka.AKAv1MD5.String())
	}
}

func set[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

func (t *Target) validate() error {
	switch {
	case !hostname(t.Domain):
		return fmt.Errorf("target: domain %q is no name in lower case", t.Domain)
	case len(t.Proxies) == 0:
		return errors.New("target: no proxies")
	case t.Expires < 0 || t.Expires > 1<<24:
		return errors.New("target: expires is out of range")
	case !plain(t.Agent):
		return errors.New("target: user_agent is no product token")
	}
	if _, sound := esp.TransformOf(t.ESP.Integrity, t.ESP.Cipher); !sound {
		return fmt.Errorf("target: esp.integrity %q and esp.cipher %q are no pair", t.ESP.Integrity, t.ESP.Cipher)
	}
	if t.Transport == TLS && !hostname(t.TLS.Name) {
		return errors.New("target: tls.name is the name of the P-CSCF in its certificate")
	}
	for _, p := range t.Proxies {
		if !p.Addr().Is4() || p.Port() == 0 {
			return fmt.Errorf("target: proxy %v is no IPv4 address with a port", p)
		}
	}
	switch t.Transport {
	case UDP, TCP, TLS, ESP:
	default:
		return fmt.Errorf("target: transport %q is none of udp, tcp, tls, esp", t.Transport)
	}
	return errors.Join(t.Clients.validate(), t.Users.validate())
}

func (c *Clients) validate() error {
	if !c.Addresses.IsValid() || !c.Addresses.Addr().Is4() {
		return errors.New("target: clients.addresses is no prefix of IPv4, such as 10.1.0.0/16")
	}
	if c.Ports < 1 || c.Ports > 1024 || int(c.FirstPort)+c.Ports > 1<<16 {
		return errors.New("target: clients.ports are 1 to 1024, within 65535")
	}
	return nil
}

// Len is how many UEs have an address. The first and the last address of a prefix are left out.
func (c *Clients) Len() int {
	hosts := 1 << (32 - c.Addresses.Bits())
	if hosts > 2 {
		hosts -= 2
	}
	return hosts * c.Ports
}

// At is the address of UE number i.
func (c *Clients) At(i int) netip.AddrPort {
	n := uint32(i / c.Ports)
	if c.Addresses.Bits() < 31 {
		n++
	}
	a := c.Addresses.Masked().Addr().As4()
	n += uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3])
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}), c.FirstPort+uint16(i%c.Ports))
}

func (u *Users) validate() error {
	if u.File != "" {
		if u.Range != (Range{}) {
			return errors.New("target: subscribers have a file or a range, not both")
		}
		return nil
	}
	r := &u.Range
	_, known := aka.ParseDigestAlgorithm([]byte(r.Scheme))
	_, err := hex.DecodeString(r.Seed)
	switch {
	case r.Count < 1 || r.Count > MaxSubscribers || r.First < 0 || r.First > 1e15:
		return fmt.Errorf("target: subscribers.range.count is 1 to %d", MaxSubscribers)
	case r.Digits < 1 || r.Digits > 15 || digits(r.First+r.Count-1) > r.Digits:
		return errors.New("target: subscribers.range.digits are too few for its numbers, or more than 15")
	case !token(r.Prefix):
		return errors.New("target: subscribers.range.prefix has letters, digits and hyphens")
	case err != nil || len(r.Seed) < 32:
		return errors.New("target: subscribers.range.seed is 32 or more hexadecimal digits")
	case !known:
		return fmt.Errorf("target: subscribers.range.scheme %q is not known", r.Scheme)
	}
	return nil
}

func digits(n int) int {
	d := 1
	for ; n > 9; n /= 10 {
		d++
	}
	return d
}

// token reports whether s may stand in a user part as it is.
func token(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.+") == ""
}

func plain(s string) bool {
	return token(strings.ReplaceAll(s, "/", ""))
}

func hostname(s string) bool {
	return s != "" && len(s) < 254 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-.") == ""
}
