package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

func loopback(port uint16) Address {
	return Address{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)}
}

func mustAddress(s string) Address { return Address{netip.MustParseAddrPort(s)} }

// findings collects problems by key.
type findings struct{ problems Problems }

// refuse adds a problem if bad.
func (f *findings) refuse(bad bool, key, hint, format string, args ...any) {
	if bad {
		f.problems = append(f.problems, Problem{Key: key, Text: fmt.Sprintf(format, args...), Hint: hint})
	}
}

// Validate finds what cannot work: values out of their range, and values that contradict each other. It
// looks at the values alone, not at files or interfaces. The problems have no positions; Parse adds them.
func (c *Config) Validate() Problems {
	f := &findings{}
	c.validateNode(f)
	c.validateIMS(f)
	c.validateCI(f)
	c.validateMw(f)
	c.validateCx(f)
	c.validateIS(f)
	c.validateSh(f)
	c.validateCS(f)
	c.validateRegistration(f)
	c.validateNumbers(f)
	c.validateManagement(f)
	c.validateTimers(f)
	f.refuse(c.HasRole("hss") && c.HSS.SealingKeyFile == "", "hss.sealing_key_file", `write sealing_key_file = "/etc/imsafe/sealing.key"`, "the sealing key is missing")
	f.refuse(c.HSS.SealingKeyFile != "" && inside(string(c.HSS.SealingKeyFile), c.Node.DataDir), "hss.sealing_key_file", "keep it elsewhere: whoever copies the data would have the key with it", "the sealing key lies in data_dir")
	c.validateStore(f)
	f.refuse(c.Store.Window.Std() > 100*time.Millisecond, "store.window", "", "%s is more than 100ms: every registration would wait that long", c.Store.Window)
	f.refuse(c.Store.Cache < 1<<20, "store.cache", "", "%s is less than 1MiB", c.Store.Cache)
	f.refuse(c.Metrics.Listen.IsValid() && !c.Metrics.Listen.Addr().IsLoopback(), "metrics.listen", "listen on 127.0.0.1 and let a server with a login forward to it", "metrics have no login, so they stay on loopback")
	f.refuse(c.Page.Ladders < 0 || c.Page.Ladders > 1024, "page.ladders", "64 is what one person looks through", "%d is not between 0 and 1024: one may take 100 kB of memory", c.Page.Ladders)
	oneOf(f, "log.level", c.Log.Level, "debug", "info", "warn", "error")
	oneOf(f, "log.format", c.Log.Format, "text", "json")
	return f.problems
}

func oneOf(f *findings, key, value string, values ...string) {
	f.refuse(!slices.Contains(values, value), key, "one of "+strings.Join(values, ", "), "%q is not known here", value)
}

var nodeName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func (c *Config) validateNode(f *findings) {
	f.refuse(!nodeName.MatchString(c.Node.Name), "node.name", "lower-case letters, digits and hyphens, at most 63", "%q is no name of a host", c.Node.Name)
	f.refuse(c.Node.Number == 0, "node.number", "", "a node has a number from 1")
	f.refuse(!filepath.IsAbs(c.Node.DataDir), "node.data_dir", "where the process is started must not decide which data it finds", "%q is no absolute path", c.Node.DataDir)
	f.refuse(c.Node.Shards < 0 || c.Node.Shards > 256, "node.shards", "", "%d is not between 0 and 256", c.Node.Shards)
	f.refuse(c.Node.Heap < 0, "node.heap", "", "%s is less than nothing", c.Node.Heap)
}

var (
	mcc   = regexp.MustCompile(`^\d{3}$`)
	mnc   = regexp.MustCompile(`^\d{2,3}$`)
	label = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	// threeGPP is the form that TS 23.003 13.2 gives the home domain.
	threeGPP = regexp.MustCompile(`^ims\.mnc\d{3}\.mcc\d{3}\.3gppnetwork\.org$`)
)

func (c *Config) validateIMS(f *findings) {
	codes := c.IMS.MCC != "" || c.IMS.MNC != ""
	switch {
	case codes && c.IMS.Domain != "":
		f.refuse(true, "ims.domain", "remove one of the two", "domain and mcc with mnc both name the home network")
	case !codes && c.IMS.Domain == "":
		f.refuse(true, "ims.domain", `write domain = "ims.example.org", or mcc and mnc`, "the home network has no domain")
	case codes:
		f.refuse(!mcc.MatchString(c.IMS.MCC), "ims.mcc", "", "%q is not three digits", c.IMS.MCC)
		f.refuse(!mnc.MatchString(c.IMS.MNC), "ims.mnc", "as the network writes it: \"01\" is not \"1\"", "%q is not two or three digits", c.IMS.MNC)
	default:
		why, hint := badDomain(c.IMS.Domain)
		f.refuse(why != "", "ims.domain", hint, "%q %s", c.IMS.Domain, why)
	}
}

// badDomain returns why a name cannot be a home domain (RFC 3261 25.1 hostname, RFC 1123 2.1), and what to do.
func badDomain(d string) (why, hint string) {
	labels := strings.Split(d, ".")
	_, err := netip.ParseAddr(d)
	switch {
	case err == nil:
		return "is an address", "a home network has a name; for a lab, ims.test will do"
	case d != strings.ToLower(d):
		return "has capital letters", "write it in lower case, so that it is the same everywhere"
	case len(d) > 253 || len(labels) < 2 || slices.ContainsFunc(labels, func(l string) bool { return !label.MatchString(l) }):
		return "is no domain name", "labels of letters, digits and hyphens, joined by dots, at least two"
	case strings.HasSuffix(d, ".3gppnetwork.org") && !threeGPP.MatchString(d):
		return "is not of the form ims.mncNNN.mccNNN.3gppnetwork.org", "both codes have three digits there, a zero in front of a short mnc; better write mcc and mnc and leave the domain out"
	}
	return "", ""
}

// HomeDomain returns the domain of the home network: the one given, or that of mcc and mnc, whose mnc is
// padded to three digits (TS 23.003 13.2).
func (c *Config) HomeDomain() string {
	if c.IMS.Domain != "" {
		return c.IMS.Domain
	}
	return fmt.Sprintf("ims.mnc%03s.mcc%s.3gppnetwork.org", c.IMS.MNC, c.IMS.MCC)
}

func (c *Config) validateCI(f *findings) {
	tls, udp := c.CI.TLS, c.CI.LabUDP
	f.refuse(c.HasRole("pcscf") && len(tls.Listen) == 0 && len(udp.Listen) == 0 && len(c.CI.IPsec.Listen) == 0, "ci.tls.listen", `write listen = ["192.0.2.1:5061"], or the same with port 5060 in [ci.ipsec]`, "no client can reach this node")
	c.validateIPsec(f)
	c.validateBudget(f)
	if len(tls.Listen) > 0 {
		f.refuse(tls.CertificateFile == "", "ci.tls.certificate_file", "", "TLS needs a certificate")
		f.refuse(tls.KeyFile == "", "ci.tls.key_file", "", "TLS needs the certificate's key")
	}
	oneOf(f, "ci.tls.min_version", tls.MinVersion, "1.3", "1.2")
	f.refuse(len(udp.Listen) > 0 && !c.Node.Lab, "ci.lab_udp.listen", "remove it; production clients use TLS. For a lab, set lab = true in [node] on a store of its own", "SIP in clear is for a lab only")
	for _, a := range udp.Listen {
		f.refuse(!a.Addr().IsLoopback(), "ci.lab_udp.listen", "listen on 127.0.0.1 or [::1]", "%s is not loopback", a)
	}
	noTLS := c.HasRole("pcscf") && len(tls.Listen) == 0 && !c.Node.Lab
	f.refuse(c.CI.Digest.Enabled && noTLS, "ci.digest.enabled", "listen in [ci.tls]", "SIP Digest is for TLS only, and no client can reach this node over TLS")
	f.refuse(c.CI.DigestMD5.Enabled && noTLS, "ci.digest_md5.enabled", "listen in [ci.tls]", "SIP Digest is for TLS only, and no client can reach this node over TLS")
	for key, list := range map[string][]Address{"ci.tls.listen": tls.Listen, "ci.lab_udp.listen": udp.Listen, "ci.ipsec.listen": c.CI.IPsec.Listen} {
		for i, a := range list {
			f.refuse(!a.IsValid(), key, "", "an address is empty")
			f.refuse(a.IsValid() && a.Port() == 0, key, "5061 is the port of SIP over TLS, 5060 that of SIP", "%s has no port", a)
			f.refuse(slices.Index(list, a) < i, key, "", "%s stands twice", a)
		}
	}
}

// Weakenings returns what of the configuration makes this node weaker than its default, one line each: it is logged at each
// start and told by "imsafe config check".
func (c *Config) Weakenings() []Weakening {
	var all []Weakening
	if c.Node.Lab {
		all = append(all, Weakening{"lab", "this is a laboratory: AKAv1 and digest answers are accepted in clear, and controls may be switched off"})
	}
	all = append(all, c.ipsecWeakenings()...)
	all = append(all, c.storeWeakenings()...)
	all = append(all, c.mediaWeakenings()...)
	if c.CI.DigestMD5.Enabled {
		all = append(all, Weakening{"digest-md5", "subscribers with scheme MD5 prove themselves by a digest that is cheap to guess offline"})
	}
	if c.CI.TLS.MinVersion == "1.2" {
		all = append(all, Weakening{"tls-1.2", "clients may use TLS 1.2, whose handshake is in clear"})
	}
	if c.Mw.Clear && c.Mw.Listen.IsValid() {
		all = append(all, Weakening{"mw-clear", "CSCFs on other nodes are known by their address alone, and what they are told is read by whoever listens"})
	}
	if c.Cx.LabCleartextKeys {
		all = append(all, Weakening{"cx-cleartext-keys", "the session keys of every challenge go over Diameter in clear: who listens owns every security association"})
	}
	return all
}

// Weakening is one of them: a short name, which is a label of metrics too, and what it means.
type Weakening struct{ Name, Meaning string }

func (c *Config) validateRegistration(f *findings) {
	r := c.Registration
	f.refuse(r.MinExpires.Std() < time.Second, "registration.min_expires", "", "%s is less than a second", r.MinExpires)
	f.refuse(r.DefaultExpires.Std() < r.MinExpires.Std(), "registration.default_expires", "", "%s is less than min_expires, %s", r.DefaultExpires, r.MinExpires)
	f.refuse(r.MaxExpires.Std() < r.DefaultExpires.Std(), "registration.max_expires", "", "%s is less than default_expires, %s", r.MaxExpires, r.DefaultExpires)
	f.refuse(r.MaxExpires.Std() > 30*24*time.Hour, "registration.max_expires", "", "%s is more than 30 days", r.MaxExpires)
	f.refuse(r.Reauthenticate.Std() < time.Minute, "registration.reauthenticate", "", "%s is less than a minute: every refresh would be two", r.Reauthenticate)
}

func (c *Config) validateManagement(f *findings) {
	m := c.Management
	f.refuse(m.Socket != "" && !filepath.IsAbs(m.Socket), "management.socket", "", "%q is no absolute path", m.Socket)
	// sun_path of a Unix socket holds 107 octets and a zero.
	f.refuse(len(c.ManagementSocket()) > 107, "management.socket", "choose a shorter one", "the path has more than 107 octets")
	role := map[uint32]string{}
	for _, list := range []struct {
		key  string
		uids []uint32
	}{{"management.operators", m.Operators}, {"management.viewers", m.Viewers}} {
		for _, uid := range list.uids {
			f.refuse(role[uid] != "", list.key, "", "user %d already has a role in %s", uid, role[uid])
			role[uid] = list.key
		}
	}
}

// ManagementSocket returns the path of the operator's socket.
func (c *Config) ManagementSocket() string {
	return cmp.Or(c.Management.Socket, filepath.Join(c.Node.DataDir, "management.sock"))
}

func (c *Config) validateTimers(f *findings) {
	f.refuse(c.Timers.Drain.Std() > 10*time.Minute, "timers.drain", "", "%s is more than 10 minutes", c.Timers.Drain)
	for key, t := range map[string]SIPTimers{"timers.gm": c.Timers.Gm, "timers.core": c.Timers.Core} {
		f.refuse(t.T1.Std() < 10*time.Millisecond || t.T1.Std() > 10*time.Second, key+".t1", "", "%s is not between 10ms and 10s", t.T1)
		f.refuse(t.T2.Std() < t.T1.Std(), key+".t2", "", "%s is less than t1, %s", t.T2, t.T1)
		f.refuse(t.T4.Std() < t.T1.Std() || t.T4.Std() > time.Minute, key+".t4", "", "%s is not between t1, %s, and a minute", t.T4, t.T1)
	}
}

// inside reports whether path lies in directory, by their names.
func inside(path, directory string) bool {
	rel, err := filepath.Rel(directory, path)
	return err == nil && path != "" && rel != ".." && !strings.HasPrefix(rel, "../")
}
