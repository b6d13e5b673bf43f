// Package proxy stands between the core and an application server that cannot prove who it is: a Kamailio, an Asterisk or whatever speaks SIP
// on loopback (`imsafe service proxy`). It has the platform's identity and shows it to the core; the server sees plain SIP from one neighbour.
//
// It keeps no state: everything that it must know again stands in what it sends. Towards the server, the core's route entries are given the
// proxy's address, so that a loose router gives the request back to it; towards the core, the server's own entries and contacts are given
// the platform's name, sealed with a key of the proxy's, so that a stranger cannot name addresses behind it. What the server may do is
// judged by the core. It imports proto/sip alone. A Translator never changes and is safe for concurrent use.
package proxy

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"imsafe/proto/sip"
)

// Config says between whom a Translator stands.
type Config struct {
	Host   string         // of the platform's endpoint: its name on I-S
	Local  netip.AddrPort // where the server finds the proxy
	Server netip.AddrPort // where the server is
	// Key seals what the core, and clients behind it, carry of the server's addresses: 32 octets that are the same after a restart.
	Key [32]byte
}

// Translator rewrites messages on their way between core and server.
type Translator struct{ c Config }

// New returns a Translator.
func New(c Config) *Translator { return &Translator{c} }

// Errors of a message that goes no further. A request is to be answered with 400 or 403, a response dropped.
var (
	ErrRoute = errors.New("proxy: the route does not lead on")
	ErrVia   = errors.New("proxy: the response is not to a request that went this way")
)

// The parameters that carry what is known again.
const (
	paramCore   = "core"   // of a route entry towards the server: the host of the core's entry
	paramServer = "server" // of an entry or contact towards the core: the server's own URI, sealed
)

// ToServer rewrites a message of the core for the server.
func (t *Translator) ToServer(m *sip.Message) error {
	if !m.IsRequest() {
		if err := t.popVia(m); err != nil {
			return err
		}
		m.Rewrite(sip.HdrRecordRoute, t.localise)
		return nil
	}
	own := t.takeOwn(m)
	m.Rewrite(sip.HdrRoute, t.localise)
	m.Rewrite(sip.HdrRecordRoute, t.localise)
	if own != "" {
		m.PrependString(sip.HdrRoute, "<"+own+">")
	}
	if server, sealed := t.open(m.RequestURI()); sealed {
		m.SetRequestURI([]byte(server))
	}
	t.pushVia(m, "UDP", t.c.Local.String())
	return nil
}

// ToCore rewrites a message of the server for the core.
func (t *Translator) ToCore(m *sip.Message) error {
	if !m.IsRequest() {
		if err := t.popVia(m); err != nil {
			return err
		}
		m.Rewrite(sip.HdrRecordRoute, t.globalise)
		m.Rewrite(sip.HdrContact, t.globaliseContact)
		return nil
	}
	m.Rewrite(sip.HdrRoute, t.globalise)
	if route := m.Get(sip.HdrRoute); route != nil && t.isOurs(route) {
		m.RemoveFirst(sip.HdrRoute) // a server that has the proxy for its outbound proxy
	}
	m.Rewrite(sip.HdrRecordRoute, t.globalise)
	m.Rewrite(sip.HdrContact, t.globaliseContact)
	t.pushVia(m, "TLS", t.c.Host)
	return nil
}

// localise gives an entry of the core the proxy's address; the platform's own becomes the server's again.
func (t *Translator) localise(v []byte) []byte {
	uri, err := uriOf(v)
	if err != nil {
		return v
	}
	if server, sealed := t.open(rawURI(v)); sealed {
		return []byte("<" + server + ">")
	}
	user := ""
	if len(uri.User) > 0 {
		user = string(uri.User) + "@"
	}
	return []byte("<sip:" + user + t.c.Local.String() + ";lr;" + paramCore + "=" + encode(hostPort(&uri)) + ">")
}

// globalise is the reverse for what comes from the server: the core's entries as they were, its own under the platform's name.
func (t *Translator) globalise(v []byte) []byte {
	uri, err := uriOf(v)
	if err != nil {
		return v
	}
	if core, there := sip.Param(uri.Params, paramCore); there && t.isOurs(v) {
		user := ""
		if len(uri.User) > 0 {
			user = string(uri.User) + "@"
		}
		if host, ok := decode(string(core)); ok {
			return []byte("<sip:" + user + host + ";lr>")
		}
		return v
	}
	if t.isOurs(v) || !t.isServers(&uri) {
		return v
	}
	return []byte("<sip:" + t.c.Host + ";lr;" + paramServer + "=" + t.seal(rawURI(v)) + ">")
}

// globaliseContact gives a contact of the server's the platform's name. One that is somebody else's, as a proxy passes it on, stays.
func (t *Translator) globaliseContact(v []byte) []byte {
	uri, err := uriOf(v)
	if err != nil || !t.isServers(&uri) && !t.isOurs(v) {
		return v
	}
	user := ""
	if len(uri.User) > 0 {
		user = string(uri.User) + "@"
	}
	addr, err := sip.ParseNameAddr(v)
	if err != nil {
		return v
	}
	out := "<sip:" + user + t.c.Host + ";" + paramServer + "=" + t.seal(rawURI(v)) + ">"
	if len(addr.Params) > 0 {
		out += ";" + strings.TrimPrefix(string(addr.Params), ";")
	}
	return []byte(out)
}

// takeOwn takes the platform's own entry off the top of Route, and returns the server's that it stands for, "" if it stands for none.
func (t *Translator) takeOwn(m *sip.Message) string {
	v := m.Get(sip.HdrRoute)
	uri, err := uriOf(v)
	if err != nil || !bytes.EqualFold(uri.Host, []byte(t.c.Host)) {
		return ""
	}
	server, _ := t.open(rawURI(v))
	m.RemoveFirst(sip.HdrRoute)
	return server
}

// isOurs reports whether an entry is the proxy's as the server sees it.
func (t *Translator) isOurs(v []byte) bool {
	uri, err := uriOf(v)
	return err == nil && hostPort(&uri) == t.c.Local.String()
}

// isServers reports whether a URI leads to the server.
func (t *Translator) isServers(uri *sip.URI) bool {
	addr, err := netip.ParseAddr(strings.Trim(string(uri.Host), "[]"))
	return err == nil && addr == t.c.Server.Addr()
}

// pushVia puts the proxy's Via on top. Its branch is made of the one below, so that a CANCEL, an ACK of a failure and a retransmission have that of
// their request (RFC 3261 16.11).
func (t *Translator) pushVia(m *sip.Message, transport, sentBy string) {
	via, _ := m.TopVia()
	mac := t.mac(transport, string(via.Branch), string(via.Host))
	m.PrependString(sip.HdrVia, "SIP/2.0/"+transport+" "+sentBy+";branch=z9hG4bK"+base64.RawURLEncoding.EncodeToString(mac[:12]))
}

// popVia takes it off a response, if it is one that the proxy made for the Via below.
func (t *Translator) popVia(m *sip.Message) error {
	top, err := m.TopVia()
	if err != nil {
		return ErrVia
	}
	branch, transport := string(top.Branch), strings.ToUpper(string(top.Transport))
	m.RemoveFirst(sip.HdrVia)
	below, err := m.TopVia()
	if err != nil {
		return ErrVia
	}
	mac := t.mac(transport, string(below.Branch), string(below.Host))
	if !hmac.Equal([]byte(branch), []byte("z9hG4bK"+base64.RawURLEncoding.EncodeToString(mac[:12]))) {
		return ErrVia
	}
	return nil
}

// seal encodes a URI of the server's so that nobody else can name one.
func (t *Translator) seal(uri []byte) string {
	mac := t.mac("uri", string(uri))
	return encode(string(mac[:10]) + string(uri))
}

// open reads what seal wrote out of the parameter of a URI; it is false for anybody else's.
func (t *Translator) open(uri []byte) (string, bool) {
	u, err := sip.ParseURI(uri)
	if err != nil || !bytes.EqualFold(u.Host, []byte(t.c.Host)) {
		return "", false
	}
	value, there := sip.Param(u.Params, paramServer)
	if !there {
		return "", false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(string(value))
	if err != nil || len(raw) < 10 || bytes.ContainsAny(raw[10:], "<>\r\n\x00") {
		return "", false
	}
	text := string(raw)
	if mac := t.mac("uri", text[10:]); !hmac.Equal([]byte(text[:10]), mac[:10]) {
		return "", false
	}
	return text[10:], true
}

func (t *Translator) mac(parts ...string) []byte {
	h := hmac.New(sha256.New, t.c.Key[:])
	for _, p := range parts {
		_, _ = h.Write([]byte{byte(len(p) >> 8), byte(len(p))}) // a hash does not fail
		_, _ = h.Write([]byte(p))
	}
	return h.Sum(nil)
}

// encode writes text with letters that stand in a URI parameter as they are.
func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func decode(text string) (string, bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	return string(b), err == nil && !bytes.ContainsAny(b, "<>\r\n\x00")
}

// hostPort returns host and port as they stand in a URI.
func hostPort(u *sip.URI) string {
	host := string(u.Host)
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if u.Port != 0 {
		host += ":" + strconv.Itoa(int(u.Port))
	}
	return host
}

// rawURI returns the URI of a name-addr.
func rawURI(v []byte) []byte {
	addr, err := sip.ParseNameAddr(v)
	if err != nil {
		return nil
	}
	return addr.URI
}

func uriOf(v []byte) (sip.URI, error) {
	if v == nil {
		return sip.URI{}, ErrRoute
	}
	return sip.ParseURI(rawURI(v))
}
