package doctor

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io/fs"
	"net/netip"
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

// serves lets the node have pages, certified by an authority whose intermediate was made at a time and lives for a year; none at the zero time.
func (w *ward) serves(at time.Time) {
	w.Config.HTTPS.Listen = config.Address{AddrPort: netip.AddrPortFrom(address, 8443)}
	w.Authority = &node.AuthorityView{}
	if !at.IsZero() {
		w.Authority.Root = &node.CertificateView{NotBefore: at, NotAfter: at.AddDate(10, 0, 0)}
		w.Authority.Issuers = []node.CertificateView{{NotBefore: at, NotAfter: at.AddDate(1, 0, 0)}}
	}
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
