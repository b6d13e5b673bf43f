package doctor

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"imsafe/ca"
	"imsafe/config"
	"imsafe/node"
)

const home = "ims.mnc001.mcc001.3gppnetwork.org"

var (
	now     = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	address = netip.MustParseAddr("192.0.2.1")
)

// fakeHost is a machine on which all is well, until a test says otherwise.
type fakeHost struct {
	wall      time.Time
	synced    bool
	syncedErr error
	files     map[string][]byte
	modes     map[string]fs.FileMode
	owner     int
	free      uint64
	bind      func(network string, at netip.AddrPort) error
	knock     error
	esp       error
	fragments error
	mtu       int
	rules     []string
	rulesErr  error
	denied    string // a file that this user may not read
}

var _ Host = (*fakeHost)(nil)

func (h *fakeHost) Wall() time.Time                                { return h.wall }
func (h *fakeHost) Synchronised() (bool, error)                    { return h.synced, h.syncedErr }
func (h *fakeHost) Owner(fs.FileInfo) (file, process int)          { return h.owner, 7 }
func (h *fakeHost) Free(string) (uint64, error)                    { return h.free, nil }
func (h *fakeHost) Bind(network string, at netip.AddrPort) error   { return h.bind(network, at) }
func (h *fakeHost) KnockUDP(context.Context, netip.AddrPort) error { return h.knock }
func (h *fakeHost) LoopESP(context.Context, netip.Addr) error      { return h.esp }
func (h *fakeHost) LoopFragments(context.Context, netip.Addr, int) error {
	return h.fragments
}
func (h *fakeHost) Interface(netip.Addr) (string, int, error)      { return "eth0", h.mtu, nil }
func (h *fakeHost) Translations(context.Context) ([]string, error) { return h.rules, h.rulesErr }

func (h *fakeHost) ReadFile(name string) ([]byte, error) {
	if name == h.denied {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	if data, there := h.files[name]; there {
		return slices.Clone(data), nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

func (h *fakeHost) Stat(name string) (fs.FileInfo, error) {
	if mode, there := h.modes[name]; there {
		return fakeInfo{name, mode}, nil
	}
	if _, there := h.files[name]; there {
		return fakeInfo{name, 0o600}, nil
	}
	return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
}

// fakeInfo is a file.
type fakeInfo struct {
	name string
	mode fs.FileMode
}

func (i fakeInfo) Name() string       { return i.name }
func (i fakeInfo) Size() int64        { return 0 }
func (i fakeInfo) Mode() fs.FileMode  { return i.mode }
func (i fakeInfo) ModTime() time.Time { return time.Time{} }
func (i fakeInfo) IsDir() bool        { return i.mode.IsDir() }
func (i fakeInfo) Sys() any           { return nil }

// fakeNames is the DNS.
type fakeNames struct {
	addresses map[string][]netip.Addr
	services  map[string][]Service
	pointers  []NamingAuthority
	err       error
}

func (n *fakeNames) Addresses(_ context.Context, name string) ([]netip.Addr, error) {
	return n.addresses[name], n.err
}
func (n *fakeNames) Services(_ context.Context, name string) ([]Service, error) {
	return n.services[name], n.err
}
func (n *fakeNames) NamingAuthority(context.Context, string) ([]NamingAuthority, error) {
	return n.pointers, n.err
}

// ward is what a test examines: all is well there.
type ward struct {
	host *fakeHost
	dns  *fakeNames
	*Patient
}

func newWard(t *testing.T) *ward {
	t.Helper()
	c := config.Default()
	c.IMS.MCC, c.IMS.MNC = "001", "01"
	c.Node.DataDir = "/data"
	c.HSS.SealingKeyFile = "/etc/sealing"
	c.CI.IPsec.Listen = []config.Address{{AddrPort: netip.AddrPortFrom(address, 5060)}}
	c.CI.IPsec.ESP = "on"
	c.CI.TLS.Listen = []config.Address{{AddrPort: netip.AddrPortFrom(address, 5061)}}
	c.CI.TLS.CertificateFile, c.CI.TLS.KeyFile = "/etc/crt", "/etc/private"
	c.CS.Listen = []config.Address{{AddrPort: netip.AddrPortFrom(address, 20000)}}
	if problems := c.Validate(); len(problems) > 0 {
		t.Fatal(problems)
	}
	w := &ward{Patient: &Patient{Path: "/etc/imsafe.toml", Config: &c, Cards: 3}}
	w.host = &fakeHost{wall: now, synced: true, owner: 7, free: 100 << 30, mtu: 1500, bind: func(string, netip.AddrPort) error { return nil },
		files: map[string][]byte{"/etc/sealing": nil, "/proc/sys/net/core/rmem_max": []byte("4194304\n"), "/proc/sys/net/core/wmem_max": []byte("4194304\n"),
			"/proc/net/udp": []byte(strings.NewReplacer(" 7\n", " 0\n", " 5\n", " 0\n").Replace(udpSockets))},
		modes: map[string]fs.FileMode{"/data": fs.ModeDir | 0o700}}
	w.dns = &fakeNames{addresses: map[string][]netip.Addr{"pcscf." + home: {address}},
		services: map[string][]Service{"_sip._udp." + home: {{"pcscf." + home, 5060}}},
		pointers: []NamingAuthority{{"SIP+D2U", "_sip._udp." + home}}}
	w.certificate(t, now.AddDate(-1, 0, 0), 2*365*24*time.Hour, "pcscf."+home)
	return w
}

// certificate gives the node one, made at a time.
func (w *ward) certificate(t *testing.T, at time.Time, life time.Duration, name string) {
	t.Helper()
	root, err := ca.New(rand.Reader, func() time.Time { return at }, home, life)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := root.Server(life, []string{name}, nil)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	w.host.files["/etc/crt"] = append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}), root.PEM()...)
	w.host.files["/etc/private"] = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
}

// runs lets a node run.
func (w *ward) runs() {
	w.Node = &Running{Status: &node.Status{Running: true, Node: "imsafe", Domain: home}, Policy: &node.PolicyReport{},
		Health: &node.Health{HSS: map[string]uint64{"vectors": 100}, IPsec: []node.IPsecHealth{{Listen: netip.AddrPortFrom(address, 5060), ESP: true}}}}
	w.host.bind = func(string, netip.AddrPort) error { return syscall.EADDRINUSE }
}

func (w *ward) examine() []Finding { return Examine(context.Background(), w.host, w.dns, w.Patient) }

// TestExamine: one thing is wrong, and that one is found.
func TestExamine(t *testing.T) {
	for _, s := range situations(t) {
		t.Run(s.name, func(t *testing.T) {
			w := newWard(t)
			s.change(w)
			found := w.examine()
			ok := false
			for _, f := range found {
				ok = ok || f.Code == string(s.code) && f.Level == s.level && strings.Contains(f.What, s.word)
				if f.Level == Breaks && s.level != Breaks {
					t.Errorf("broken besides: %+v", f)
				}
				if f.Level != Fine && (f.Why == "" && f.Level != Unchecked || f.Do == "" || f.Page == "") {
					t.Errorf("neither why nor what to do: %+v", f)
				}
			}
			if !ok {
				t.Errorf("%s %s with %q was not found in %+v", s.level, s.code, s.word, found)
			}
			if Broken(found) != (s.level == Breaks) {
				t.Errorf("broken: %t", Broken(found))
			}
		})
	}
}

// TestExamine_well: nothing is found where all is well, with a node and without.
func TestExamine_well(t *testing.T) {
	for _, running := range []bool{false, true} {
		w := newWard(t)
		if running {
			w.runs()
		}
		for _, f := range w.examine() {
			if f.Level != Fine && Code(f.Code) != NodeAnswers {
				t.Errorf("running %t: %+v", running, f)
			}
		}
	}
}

// TestEveryCodeIsFound: no code of the table is a promise alone.
func TestEveryCodeIsFound(t *testing.T) {
	found := map[Code]bool{}
	for _, s := range situations(t) {
		found[s.code] = true
	}
	for _, s := range complaints() {
		found[s.code] = true
	}
	for _, c := range Codes() {
		if !found[c] {
			t.Errorf("no situation shows %s", c)
		}
	}
}

// situation is one thing that is not as it should be.
type situation struct {
	name   string
	change func(*ward)
	code   Code
	level  Level
	word   string
}

func situations(t *testing.T) []situation {
	refuse := func(err error, section func(netip.AddrPort) bool) func(*ward) {
		return func(w *ward) {
			w.host.bind = func(_ string, at netip.AddrPort) error {
				if section(at) {
					return err
				}
				return nil
			}
		}
	}
	media := func(at netip.AddrPort) bool { return at.Port() >= 20000 }
	esp5061 := func(at netip.AddrPort) bool { return at.Port() == 5061 }
	health := func(change func(*node.Health)) func(*ward) {
		return func(w *ward) { w.runs(); change(w.Node.Health) }
	}
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

		{"an address that is not here", refuse(syscall.EADDRNOTAVAIL, esp5061), AddressHere, Breaks, "no address 192.0.2.1"},
		{"a port that is taken", refuse(syscall.EADDRINUSE, esp5061), PortFree, Breaks, "taken"},
		{"a port for root alone", refuse(syscall.EACCES, esp5061), PortFree, Breaks, "below 1024"},
		{"a port that cannot be tried", refuse(syscall.EMFILE, esp5061), PortFree, Unchecked, "too many open files"},
		{"a node that does not listen", func(w *ward) { w.runs(); w.host.bind = func(string, netip.AddrPort) error { return nil } }, PortFree, Breaks, "another configuration"},
		{"ports for media that others have", refuse(syscall.EADDRINUSE, func(at netip.AddrPort) bool { return media(at) && at.Port() < 20010 }), MediaPorts, Hint, "10 are taken"},
		{"no port for media", refuse(syscall.EADDRINUSE, media), MediaPorts, Breaks, "all UDP ports"},
		{"media at an address that is not here", refuse(syscall.EADDRNOTAVAIL, media), AddressHere, Breaks, "[cs] 192.0.2.1:20000"},
		{"ports for media that cannot be tried", refuse(syscall.EMFILE, media), MediaPorts, Unchecked, "too many open files"},

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
		{"a defect", health(func(h *node.Health) { h.Defects = 1 }), Troubles, Hint, "1 procedures ended with a defect"},
	}
}

// udpSockets are those of a node, and one of somebody else: two shards at 5060, a port of the media anchor.
const udpSockets = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  316: 010200C0:13C4 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1371 2 0000000000000000 7
  317: 010200C0:13C4 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1372 2 0000000000000000 0
  890: 010200C0:4E20 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1373 2 0000000000000000 5
  911: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1374 2 0000000000000000 99
`

// FuzzDrops: whatever the kernel shows is read without a panic, and no more is counted than there are lines.
func FuzzDrops(f *testing.F) {
	f.Add(udpSockets)
	f.Fuzz(func(t *testing.T, text string) {
		if n := len(dropsOf(text)); n > strings.Count(text, "\n")+1 {
			t.Errorf("%d ports in %q", n, text)
		}
	})
}

// TestReference: each code has one section.
func TestReference(t *testing.T) {
	for _, c := range Codes() {
		if strings.Count(Reference(), fmt.Sprintf("\n## %s\n", c)) != 1 {
			t.Errorf("%s is not there once", c)
		}
	}
}
