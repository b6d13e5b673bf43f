package target

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"imsafe/proof/attack"
	"imsafe/proto/aka"
)

// checker goes through a file and notes all that is wrong.
type checker struct {
	file   *file
	means  Means
	target *Target
	wrong  []error

	at     map[string]netip.AddrPort
	roots  *x509.CertPool
	shown  *tls.Certificate // to a server that asks for the client's
	scheme aka.DigestAlgorithm
}

func (c *checker) no(key, format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Errorf("%s: "+format, append([]any{key}, args...)...))
}

func (c *checker) check() {
	f := c.file
	if f.Format != Format {
		c.no("format", "it must be %d", Format)
	}
	if f.Start != nil {
		c.start()
		return
	}
	if f.Name == "" || strings.ContainsAny(f.Name, "/\\ \n") {
		c.no("name", "a word by which records call the target")
	}
	if f.Domain == "" || strings.ContainsAny(f.Domain, " @:/<>\"\r\n") {
		c.no("domain", "the home domain, as it stands behind sip:")
	}
	c.owner()
	c.fence()
	c.entries()
	c.limits()
	c.schemes()
	users := c.subscribers()
	if f.Premium != "" && !isURI(f.Premium) {
		c.no("premium", "a number that belongs to carol, as a tel or sip URI")
	}
	c.target.Site = c.site(users)
}

// start: the target is this program, on loopback, with subscribers of its own. Whoever calls it owns it.
func (c *checker) start() {
	f := c.file
	if f.Domain != "" || len(f.Ranges) > 0 || f.Owner != (owner{}) || f.Entry != (entry{}) || len(f.Subscribers) > 0 || f.Scheme != "" || f.Premium != "" {
		c.no("start", "what is started has a domain, addresses and subscribers of its own: of the other keys only format, name and limits go with it")
	}
	if f.Start.Program != "imsafe" || f.Start.Controls != "on" && f.Start.Controls != "off" {
		c.no("start", `program = "imsafe", and controls = "on" or "off"`)
	}
	c.limits()
	c.target.Start, c.target.Owner = &Start{Open: f.Start.Controls == "off"}, "whoever starts it"
	c.target.Site = attack.Site{Foreign: true, TLS: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 1), Premium: "tel:+0",
		Users: map[string]*attack.User{attack.Dave: {Name: attack.Dave, Password: "promised"}}}
}

// owner: nobody's system is attacked because somebody typed its address.
func (c *checker) owner() {
	o := &c.file.Owner
	if o.Name == "" {
		c.no("owner.name", "who owns the system and answers for this, with an address at which he is reached")
	}
	if len(strings.TrimSpace(o.Statement)) < 20 {
		c.no("owner.statement", "a sentence of the owner's: that it is his system, and that he lets it be attacked. Nothing is attacked without")
	}
	end := o.Until.AsTime(c.means.Today.Location()).AddDate(0, 0, 1)
	switch today := c.means.Today; {
	case o.Until.Year <= 1:
		c.no("owner.until", "the last day on which it is allowed, 2027-01-31 for example")
	case !today.Before(end):
		c.no("owner.until", "the leave of %s ended with %s; ask again", cmp.Or(o.Name, "the owner"), o.Until)
	case end.Sub(today) > 366*24*time.Hour:
		c.no("owner.until", "more than a year ahead: nobody knows today what stands at these addresses then")
	}
	c.target.Owner = fmt.Sprintf("%s, until %s", o.Name, o.Until)
}

// private are the ranges of which a file may list its own (RFC 1918 3, RFC 4193 3.1), and loopback.
func private() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("10.0.0.0/8"),
		netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("fc00::/7")}
}

const noPublic = "attacks go to loopback and to private ranges (10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7) that the file lists, and no option changes that"

func (c *checker) fence() {
	for _, text := range c.file.Ranges {
		r, err := netip.ParsePrefix(text)
		if err != nil {
			c.no("ranges", "%q is no range: write 192.168.7.0/24 for example", text)
			continue
		}
		within := func(p netip.Prefix) bool { return p.Contains(r.Addr()) && p.Bits() <= r.Bits() }
		if !slices.ContainsFunc(private(), within) {
			c.no("ranges", "%s is not private: %s", r, noPublic)
			continue
		}
		c.target.Fence = append(c.target.Fence, r.Masked())
	}
}

func (c *checker) entries() {
	e := &c.file.Entry
	c.at, c.roots = map[string]netip.AddrPort{}, x509.NewCertPool()
	for _, way := range []struct{ key, text string }{{"udp", e.UDP}, {"tcp", e.TCP}, {"tls", e.TLS}} {
		if way.text != "" {
			c.entry(way.key, way.text)
		}
	}
	if e.UDP == "" && e.TCP == "" && e.TLS == "" {
		c.no("entry", "no way in: give the address of the P-CSCF or the SIP server as udp, tcp or tls")
	}
	if e.TLS == "" {
		if e.TLSCert != "" || e.TLSKey != "" {
			c.no("entry.tls_certificate", "it is shown over TLS, and there is no entry.tls")
		}
		return
	}
	c.certificate()
	if e.TLSAuthority == "" {
		c.no("entry.tls_authority", "the file, in PEM, of whom clients trust: honest clients connect to nobody without")
		return
	}
	pem, err := c.means.Authority(e.TLSAuthority)
	if err == nil && !c.roots.AppendCertsFromPEM(pem) {
		err = errors.New("no certificate in PEM is in it")
	}
	if err != nil {
		c.no("entry.tls_authority", "%w", err)
	}
}

// certificate reads what clients show where the target asks for it. Its key is secret like those of subscribers.
func (c *checker) certificate() {
	e := &c.file.Entry
	switch {
	case e.TLSCert == "" && e.TLSKey == "":
		return
	case e.TLSCert == "" || e.TLSKey == "":
		c.no("entry.tls_certificate", "it goes with tls_key: a certificate alone proves nothing, a key alone shows nothing")
		return
	case !isReference(e.TLSKey):
		c.no("entry.tls_key", noKeysHere)
		return
	}
	chain, err := c.means.Authority(e.TLSCert)
	if err != nil {
		c.no("entry.tls_certificate", "%w", err)
		return
	}
	key, err := c.means.Keys(e.TLSKey)
	if err != nil {
		c.no("entry.tls_key", "%w", err)
		return
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil { // whose text may quote what it has read
		c.no("entry.tls_certificate", "certificate and key, in PEM, are none, or no pair")
		return
	}
	c.shown = &pair
}

// entry takes one address. A name is none: it may lead anywhere, and elsewhere tomorrow.
func (c *checker) entry(key, text string) {
	name := "entry." + key
	at, err := netip.ParseAddrPort(text)
	if err != nil || at.Port() == 0 {
		c.no(name, "%q is no address with a port; write the address itself, for a name may lead anywhere: 192.168.7.5:5060", text)
		return
	}
	at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	isPrivate := slices.ContainsFunc(private(), func(p netip.Prefix) bool { return p.Contains(at.Addr()) })
	switch {
	case !isPrivate:
		c.no(name, "%s is a public address: %s", at, noPublic)
	case !c.target.Fence.Holds(at.Addr()):
		c.no(name, "%s is in none of the file's ranges; add the network of the lab to ranges, if it is that", at)
	case !at.Addr().Is4():
		c.no(name, "%s: attackers and telephones here speak IPv4", at)
	default:
		c.at[key] = at
	}
}

func (c *checker) limits() {
	l := &c.file.Limits
	t, err := time.ParseDuration(cmp.Or(l.Time, "10m"))
	if err != nil || t <= 0 || t > 2*time.Hour {
		c.no("limits.time", "how long everything may take together, 10m for example and 2h at most")
	}
	pause, err := time.ParseDuration(cmp.Or(l.Pause, "0s"))
	if err != nil || pause < 0 || pause > 10*time.Minute {
		c.no("limits.pause", "how long to wait between two runs, 0s without it and 10m at most")
	}
	c.target.Limits = Limits{Time: t, Pause: pause}
	for _, v := range []struct {
		key           string
		given         int
		usual, atMost int
		to            *int
	}{
		{"rate", l.Rate, 200, 5000, &c.target.Limits.Rate}, {"packets", l.Packets, 4000, 10_000, &c.target.Limits.Packets},
		{"octets", l.Octets, 20_000_000, 50_000_000, &c.target.Limits.Octets}, {"sockets", l.Sockets, 700, 1000, &c.target.Limits.Sockets},
	} {
		if *v.to = cmp.Or(v.given, v.usual); *v.to < 1 || *v.to > v.atMost {
			c.no("limits."+v.key, "from 1 to %d; %d without it", v.atMost, v.usual)
		}
	}
}

func (c *checker) schemes() {
	text := cmp.Or(c.file.Scheme, aka.AKAv1MD5.String())
	var known bool
	if c.scheme, known = aka.ParseDigestAlgorithm([]byte(text)); !known {
		c.no("scheme", "%q is none of AKAv1-MD5, AKAv2-MD5, AKAv2-SHA-256 for subscribers with cards, and MD5, SHA-256 for such with passwords", text)
	}
}

func (c *checker) subscribers() map[string]*attack.User {
	users := map[string]*attack.User{}
	cast := attack.Telephones()
	for _, name := range cast {
		if _, there := c.file.Subscribers[name]; !there {
			c.no("subscribers."+name, "the cast needs %s, each with a lab subscription: alice the victim, bob who talks with her, carol a witness, mallory the attacker",
				strings.Join(cast, ", "))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.file.Subscribers)) {
		s, key := c.file.Subscribers[name], "subscribers."+name
		if !slices.Contains(append(cast, attack.Dave), name) {
			c.no(key, "nobody of this name is in the cast: %s, and %s without a card", strings.Join(cast, ", "), attack.Dave)
			continue
		}
		if s.IMPI == "" || !isURI(s.IMPU) || strings.ContainsAny(s.IMPI, " \"\r\n") {
			c.no(key, "it needs impi, the private identity, and impu, the public one as a sip URI")
			continue
		}
		u := &attack.User{Name: name, IMPI: s.IMPI, IMPU: s.IMPU}
		if err := c.keys(u, s.Keys); err != nil {
			c.no(key+".keys", "%w", err)
		}
		users[name] = u
	}
	return users
}

// keys reads K and OPc, or a password where the scheme is one for passwords. What is wrong is said without what was read.
func (c *checker) keys(u *attack.User, reference string) error {
	if !isReference(reference) {
		return errors.New(noKeysHere)
	}
	text, err := c.means.Keys(reference)
	if err != nil {
		return err
	}
	words := strings.Fields(string(text))
	if u.Name == attack.Dave || !c.scheme.AKA() {
		if len(words) != 1 || strings.ContainsAny(words[0], "\"\\") {
			return errors.New("who has no card has a password here: one word, and nothing else")
		}
		u.Password = words[0]
		return nil
	}
	if len(words) != 2 {
		return errors.New("two words, K and OPc, each of 32 hexadecimal digits")
	}
	var wrongK, wrongOPc error
	u.K, wrongK = aka.ParseK(words[0])
	u.OPc, wrongOPc = aka.ParseOPc(words[1])
	if wrongK != nil || wrongOPc != nil {
		return errors.New("they have 32 hexadecimal digits each, K and OPc")
	}
	return nil
}

const noKeysHere = "where they are: file:NAME, for its owner alone, or env:NAME; they never stand in this file"

func isReference(text string) bool {
	return strings.HasPrefix(text, "file:") || strings.HasPrefix(text, "env:")
}

func isURI(text string) bool {
	scheme, rest, _ := strings.Cut(text, ":")
	return (scheme == "sip" || scheme == "sips" || scheme == "tel") && rest != "" && !strings.ContainsAny(rest, " <>\"\r\n;?")
}
