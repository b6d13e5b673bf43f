package doctor

import (
	"encoding/pem"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"imsafe/node"
)

// situation is one thing that is not as it should be.
type situation struct {
	name   string
	change func(*ward)
	code   Code
	level  Level
	word   string
}

// situations are all of them, in the order of [Examine].
func situations(t *testing.T) []situation {
	return slices.Concat(groundSituations(t), addressSituations(), certificateSituations(t), pathSituations(), nameSituations(), lifeSituations())
}

// health changes what a running node tells of itself.
func health(change func(*node.Health)) func(*ward) {
	return func(w *ward) { w.runs(); change(w.Node.Health) }
}

// refuse gives err for the sockets of some addresses.
func refuse(err error, section func(netip.AddrPort) bool) func(*ward) {
	return func(w *ward) {
		w.host.bind = func(_ string, at netip.AddrPort) error {
			if section(at) {
				return err
			}
			return nil
		}
	}
}

// groundSituations are those of clock, configuration, files and store.
func groundSituations(t *testing.T) []situation {
	return []situation{
		{"the clock stands at its beginning", func(w *ward) {
			w.host.wall = time.Unix(86400, 0)
			w.certificate(t, time.Unix(0, 0), time.Hour*48, "pcscf."+home)
		}, ClockSane, Breaks, "before this program"},
		{"no time service", func(w *ward) { w.host.synced = false }, ClockService, Hint, "not synchronised"},
		{"the kernel does not tell", func(w *ward) { w.host.syncedErr = errors.ErrUnsupported }, ClockService, Unchecked, "unsupported"},
		{"the clock was set while the node ran", health(func(h *node.Health) { h.ClockJump = -time.Hour }), ClockJump, Hint, "-1h0m0s"},

		{"no configuration", func(w *ward) { w.Config, w.ConfigErr = nil, &fs.PathError{Op: "open", Path: "x", Err: fs.ErrNotExist} }, Config, Breaks, "no configuration at /etc/imsafe.toml"},
		{"a configuration with a mistake", func(w *ward) { w.Config, w.ConfigErr = nil, errors.New("ims.domian: there is no such key") }, Config, Breaks, "domian"},
		{"the profile for handsets", func(w *ward) { w.Config.CI.IPsec.Profile = "handset" }, ConfigWeak, Hint, "ipsec-handset"},
		{"no sealing key", func(w *ward) { delete(w.host.files, "/etc/sealing") }, ConfigFiles, Breaks, "hss.sealing_key_file"},
		{"a key that others can read", func(w *ward) { w.host.modes["/etc/sealing"] = 0o644 }, ConfigFiles, Breaks, "for its owner alone"},
		{"a credential of systemd", func(w *ward) { w.Config.HSS.SealingKeyFile = "credential:sealing" }, ConfigFiles, Unchecked, "credentials directory"},
		{"a store whose key is a credential", func(w *ward) {
			w.Config.HSS.SealingKeyFile, w.StoreErr, w.KeysErr = "credential:sealing", errors.New("no credentials directory"), errors.New("no credentials directory")
		}, Store, Unchecked, "without the sealing key"},
		{"a data directory of somebody else", func(w *ward) { w.host.owner = 8 }, DataDirectory, Breaks, "belongs to user 8"},
		{"a data directory for all", func(w *ward) { w.host.modes["/data"] = fs.ModeDir | 0o755 }, DataDirectory, Breaks, "0755"},
		{"a file for a data directory", func(w *ward) { w.host.modes["/data"] = 0o600 }, DataDirectory, Breaks, "no directory"},
		{"a full disk", func(w *ward) { w.host.free = 5 << 20 }, DataSpace, Breaks, "5 MB are left"},
		{"a disk that is nearly full", func(w *ward) { w.host.free = 1 << 30 }, DataSpace, Hint, "1024 MB"},
		{"a store that another process has", func(w *ward) { w.StoreErr = errors.New("in use by process 1") }, Store, Breaks, "process 1"},
		{"a lab for a production configuration", func(w *ward) { w.runs(); w.Node.Status.Lab = true }, Store, Breaks, "another kind"},
		{"no store yet", func(w *ward) { w.NoStore = true; delete(w.host.modes, "/data") }, Store, Fine, "first run makes it"},
		{"the sealing key of another store", func(w *ward) { w.KeysErr = errors.New("keys of x: unknown key") }, SealingKey, Breaks, "unknown key"},
	}
}

// addressSituations are those of addresses, ports and media ports.
func addressSituations() []situation {
	media := func(at netip.AddrPort) bool { return at.Port() >= 20000 }
	esp5061 := func(at netip.AddrPort) bool { return at.Port() == 5061 }
	return []situation{
		{"an address that is not here", refuse(syscall.EADDRNOTAVAIL, esp5061), AddressHere, Breaks, "no address 192.0.2.1"},
		{"a port that is taken", refuse(syscall.EADDRINUSE, esp5061), PortFree, Breaks, "taken"},
		{"a port for root alone", refuse(syscall.EACCES, esp5061), PortFree, Breaks, "below 1024"},
		{"a port that cannot be tried", refuse(syscall.EMFILE, esp5061), PortFree, Unchecked, "too many open files"},
		{"a node that does not listen", func(w *ward) { w.runs(); w.host.bind = func(string, netip.AddrPort) error { return nil } }, PortFree, Breaks, "another configuration"},
		{"ports for media that others have", refuse(syscall.EADDRINUSE, func(at netip.AddrPort) bool { return media(at) && at.Port() < 20010 }), MediaPorts, Hint, "10 are taken"},
		{"no port for media", refuse(syscall.EADDRINUSE, media), MediaPorts, Breaks, "all UDP ports"},
		{"media at an address that is not here", refuse(syscall.EADDRNOTAVAIL, media), AddressHere, Breaks, "[cs] 192.0.2.1:20000"},
		{"ports for media that cannot be tried", refuse(syscall.EMFILE, media), MediaPorts, Unchecked, "too many open files"},
	}
}

// certificateSituations are those of certificates and of the authority.
func certificateSituations(t *testing.T) []situation {
	return []situation{
		{"no certificate", func(w *ward) { delete(w.host.files, "/etc/crt") }, CertFile, Breaks, "/etc/crt"},
		{"the key of another certificate", func(w *ward) {
			key := w.host.files["/etc/private"]
			w.certificate(t, now, time.Hour, "pcscf."+home)
			w.host.files["/etc/private"] = key
		}, CertFile, Breaks, "does not match"},
		{"a certificate that has ended", func(w *ward) { w.certificate(t, now.AddDate(-2, 0, 0), 365*24*time.Hour, "pcscf."+home) }, CertExpiry, Breaks, "not valid any more since 2025-12-01"},
		{"a certificate of tomorrow", func(w *ward) { w.certificate(t, now.AddDate(0, 0, 1), 365*24*time.Hour, "pcscf."+home) }, CertExpiry, Breaks, "only from"},
		{"a certificate that ends soon", func(w *ward) { w.certificate(t, now.AddDate(-1, 0, 10), 365*24*time.Hour, "pcscf."+home) }, CertExpiry, Hint, "days from now"},
		{"a certificate of another name", func(w *ward) { w.certificate(t, now, 365*24*time.Hour, "sip."+home) }, CertName, Breaks, "DNS names: sip."},
		{"the authority of another chain", func(w *ward) {
			other := newWard(t).host.files["/etc/crt"]
			own, _ := pem.Decode(w.host.files["/etc/crt"])
			_, authority := pem.Decode(other)
			w.host.files["/etc/crt"] = append(pem.EncodeToMemory(own), authority...)
		}, CertChain, Breaks, "is not signed by the one behind it"},
		{"no authority", func(w *ward) { w.serves(time.Time{}) }, Authority, Hint, "no authority yet"},
		{"no authority before there is a store", func(w *ward) { w.serves(time.Time{}); w.NoStore, w.Authority = true, nil }, Authority, Hint, "no authority yet"},
		{"an authority that nobody tells of", func(w *ward) { w.serves(now); w.Authority = nil }, Authority, Unchecked, "cannot be seen"},
		{"an intermediate that has ended", func(w *ward) { w.serves(now.AddDate(-1, 0, -1)) }, Authority, Breaks, "the intermediate that issues is not valid any more since 2026-11-30"},
		{"an intermediate that ends soon", func(w *ward) { w.serves(now.AddDate(-1, 0, 10)) }, Authority, Hint, "10 days from now"},
		{"an authority", func(w *ward) { w.serves(now) }, Authority, Fine, "the root of the network's authority is valid until 2036"},
	}
}

// pathSituations are those of ESP, buffers, and the path of packets.
func pathSituations() []situation {
	return []situation{
		{"no right to a raw socket", func(w *ward) { w.host.esp = os.ErrPermission }, ESPRaw, Breaks, "does not hear"},
		{"no right to one, and none is asked for", func(w *ward) { w.host.esp = os.ErrPermission; w.Config.CI.IPsec.ESP = "auto" }, ESPRaw, Hint, "does not hear"},
		{"a node without a raw socket", health(func(h *node.Health) { h.IPsec[0].ESP = false }), ESPRaw, Breaks, "the node that runs has no raw socket"},
		{"a kernel without ESP", func(w *ward) { w.Config.CI.IPsec.Backend, w.KernelErr = "kernel", errors.New("no ESP for IPv4") }, ESPKernel, Breaks, "no ESP for IPv4"},
		{"a kernel without ESP that need not have it", func(w *ward) { w.Config.CI.IPsec.Backend, w.KernelErr = "auto", errors.New("no ESP for IPv4") }, ESPKernel, Hint, "no ESP for IPv4"},
		{"a kernel with ESP", func(w *ward) { w.Config.CI.IPsec.Backend, w.host.esp = "kernel", os.ErrPermission }, ESPKernel, Fine, "carries ESP"},
		{"a node whose kernel could not", func(w *ward) { w.runs(); w.Config.CI.IPsec.Backend = "auto" }, ESPKernel, Hint, "does ESP itself"},
		{"a kernel that cannot be asked", func(w *ward) { w.Config.CI.IPsec.Backend, w.Blind = "kernel", true }, ESPKernel, Unchecked, "cannot be seen"},
		{"a kernel without nf_tables", func(w *ward) { w.Config.CI.Drop.Enabled, w.DropErr = true, errors.New("no nf_tables") }, KernelDrop, Breaks, "no nf_tables"},
		{"a kernel with nf_tables", func(w *ward) { w.Config.CI.Drop.Enabled = true }, KernelDrop, Fine, "takes rules"},
		{"ESP is dropped", func(w *ward) { w.host.esp = ErrNoEcho }, ESPLoop, Breaks, "drops IP protocol 50"},
		{"ESP cannot be tried", func(w *ward) { w.host.esp = errors.ErrUnsupported }, ESPLoop, Unchecked, "unsupported"},
		{"nobody on UDP 4500", func(w *ward) { w.runs(); w.host.knock = syscall.ECONNREFUSED }, ESPNAT, Breaks, "192.0.2.1:4500"},
		{"small buffers", func(w *ward) { w.host.files["/proc/sys/net/core/rmem_max"] = []byte("212992\n") }, UDPBuffers, Hint, "rmem_max is 212992"},
		{"no view of the buffers", func(w *ward) { delete(w.host.files, "/proc/sys/net/core/wmem_max") }, UDPBuffers, Unchecked, "wmem_max"},
		{"datagrams without room", func(w *ward) { w.runs(); w.host.files["/proc/net/udp"] = []byte(udpSockets) }, UDPDrops, Hint, "dropped 12 datagrams that came to the node's UDP sockets, most of them at port 5060: 7"},
		{"room for all datagrams but those of another", func(w *ward) { w.runs() }, UDPDrops, Fine, "no datagram"},
		{"no view of the drops", func(w *ward) { w.runs(); delete(w.host.files, "/proc/net/udp") }, UDPDrops, Unchecked, "cannot be seen"},
		{"a small MTU", func(w *ward) { w.host.mtu = 1420 }, PathMTU, Hint, "1420"},
		{"a tiny MTU", func(w *ward) { w.host.mtu = 576 }, PathMTU, Breaks, "576"},
		{"fragments are dropped", func(w *ward) { w.host.fragments = ErrNoEcho }, Fragments, Breaks, "drops fragments"},
		{"no right to try fragments", func(w *ward) { w.host.fragments = os.ErrPermission }, Fragments, Unchecked, "CAP_NET_RAW"},
		{"masquerading", func(w *ward) { w.host.rules = []string{`oifname "eth0" masquerade`} }, NATRules, Hint, "masquerade"},
		{"telephones behind a NAT", health(func(h *node.Health) { h.Offers, h.Translated = 10, 3 }), NATRules, Hint, "3 of 10 registrations"},
		{"a packet filter that cannot be read", func(w *ward) { w.host.rulesErr = os.ErrPermission }, NATRules, Unchecked, "cannot be read"},
	}
}

// nameSituations are those of the DNS.
func nameSituations() []situation {
	return []situation{
		{"no DNS", func(w *ward) { w.dns.err = os.ErrDeadlineExceeded }, DNSHome, Unchecked, "does not answer"},
		{"no records", func(w *ward) { *w.dns = fakeNames{addresses: w.dns.addresses} }, DNSHome, Hint, "neither NAPTR nor SRV"},
		{"a record that leads nowhere", func(w *ward) {
			w.dns.pointers = append(w.dns.pointers, NamingAuthority{"SIPS+D2T", "_sips._tcp." + home + "."})
		}, DNSHome, Breaks, "has no SRV record"},
		{"a server without an address", func(w *ward) { w.dns.services["_sip._tcp."+home] = []Service{{"x." + home, 5060}} }, DNSHome, Breaks, "has no address"},
		{"no name of the P-CSCF", func(w *ward) { delete(w.dns.addresses, "pcscf."+home); w.dns.services = nil; w.dns.pointers = nil }, DNSPCSCF, Hint, "does not know"},
		{"the P-CSCF elsewhere", func(w *ward) { w.dns.addresses["pcscf."+home] = []netip.Addr{netip.MustParseAddr("192.0.2.9")} }, DNSPCSCF, Breaks, "192.0.2.9"},
		{"the P-CSCF elsewhere, over TLS alone", func(w *ward) {
			w.dns.addresses["pcscf."+home] = []netip.Addr{netip.MustParseAddr("192.0.2.9")}
			w.Config.CI.IPsec.Listen = nil
		}, DNSPCSCF, Hint, "192.0.2.9"},
	}
}

// lifeSituations are those of what a running node has met.
func lifeSituations() []situation {
	return []situation{
		{"a user who may not see the node", func(w *ward) {
			w.Blind, w.host.owner, w.host.esp, w.host.bind = true, 8, os.ErrPermission, func(string, netip.AddrPort) error { return syscall.EADDRINUSE }
			w.host.denied = "/etc/private"
		}, NodeAnswers, Unchecked, "cannot be seen"},
		{"no node", func(*ward) {}, NodeAnswers, Hint, "no node runs"},
		{"a node of another domain", func(w *ward) { w.runs(); w.Node.Status.Domain = "ims.example.org" }, NodeAnswers, Breaks, "ims.example.org"},
		{"cards that resynchronise", health(func(h *node.Health) { h.HSS["resyncs"] = 50 }), Resyncs, Hint, "50 resynchronisations"},
		{"forged tokens", health(func(h *node.Health) { h.HSS["forged_auts"] = 2 }), Resyncs, Hint, "2 tokens"},
		{"ESP that does not open", health(func(h *node.Health) { h.Dropped = map[string]uint64{"auth": 4} }), ESPDropped, Hint, "auth 4"},
		{"refusals", func(w *ward) {
			w.runs()
			w.Node.Policy.Rows = []node.PolicyRow{{Control: "ci.integrity.esp", Refused: 9}}
		}, Refusals, Hint, "ci.integrity.esp 9"},
		{"another https origin at another node", health(func(h *node.Health) {
			h.Origins = map[string]string{"a": "https://cs.ims.example", "b": "https://cs.ims.example:8443"}
		}),
			Origin, Breaks, "b: https://cs.ims.example:8443"},
		{"a node without that door", health(func(h *node.Health) { h.Origins = map[string]string{"a": "https://cs.ims.example", "b": ""} }), Origin, Breaks, "b: none"},
		{"one https origin", health(func(h *node.Health) {
			h.Origins = map[string]string{"a": "https://cs.ims.example", "b": "https://cs.ims.example"}
		}), Origin, Fine, "2 nodes"},
		{"a defect", health(func(h *node.Health) { h.Defects = 1 }), Troubles, Hint, "1 procedures ended with a defect"},
	}
}
