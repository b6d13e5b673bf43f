package target

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"imsafe/proof/attack"
)

// sound is a file with nothing wrong. Tests edit it.
const sound = `format = 1
name = "lab"
domain = "ims.example.org"
ranges = ["192.168.7.0/24"]
[owner]
name = "Ada"
statement = "It is my system, and it may be attacked."
until = 2026-12-31
[entry]
udp = "192.168.7.5:5060"
tcp = "127.0.0.3:5060"
[subscribers.alice]
impi = "alice@ims.example.org"
impu = "sip:alice@ims.example.org"
keys = "env:ALICE"
[subscribers.bob]
impi = "bob@ims.example.org"
impu = "sip:bob@ims.example.org"
keys = "file:bob.key"
[subscribers.carol]
impi = "carol@ims.example.org"
impu = "sip:carol@ims.example.org"
keys = "env:CAROL"
[subscribers.mallory]
impi = "mallory@ims.example.org"
impu = "sip:mallory@ims.example.org"
keys = "env:MALLORY"
`

const goodKeys = "00112233445566778899aabbccddeeff ffeeddccbbaa99887766554433221100"

var errNoFile = errors.New("no such file")

func means() Means {
	return Means{Today: time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC),
		Keys:      func(string) ([]byte, error) { return []byte(goodKeys + "\n"), nil },
		Authority: func(string) ([]byte, error) { return nil, errNoFile }}
}

func TestRead(t *testing.T) {
	x, err := Read([]byte(sound), means())
	if err != nil {
		t.Fatal(err)
	}
	s := &x.Site
	if !s.Foreign || s.Domain != "ims.example.org" || s.UDP != netip.MustParseAddrPort("192.168.7.5:5060") || s.TCP != netip.MustParseAddrPort("127.0.0.3:5060") ||
		s.TLS.IsValid() || s.Scheme.String() != "AKAv1-MD5" {
		t.Errorf("%+v", s)
	}
	if len(s.Users) != 4 || s.Users[attack.Bob].K[15] != 0xff || s.Users[attack.Bob].OPc[15] != 0 {
		t.Errorf("%d users", len(s.Users))
	}
	if x.Owner != "Ada, until 2026-12-31" || len(x.Config) != 64 || x.Start != nil {
		t.Errorf("%+v", x)
	}
	if l := x.Limits; l != (Limits{Rate: 200, Packets: 4000, Octets: 20_000_000, Sockets: 700, Time: 10 * time.Minute}) {
		t.Errorf("%+v", l)
	}
}

// TestRead_refuses: what is wrong is said with its key, and what to write instead.
func TestRead_refuses(t *testing.T) {
	for _, c := range []struct{ name, was, is, says string }{
		{"a public address", "192.168.7.5:5060", "198.51.100.7:5060", "entry.udp: 198.51.100.7:5060 is a public address"},
		{"a public address in the clothes of IPv6", "192.168.7.5:5060", "[::ffff:198.51.100.7]:5060", "entry.udp: 198.51.100.7:5060 is a public address"},
		{"one of everybody's", "192.168.7.5:5060", "0.0.0.0:5060", "entry.udp: 0.0.0.0:5060 is a public address"},
		{"link-local", "192.168.7.5:5060", "169.254.1.1:5060", "entry.udp: 169.254.1.1:5060 is a public address"},
		{"a name", "192.168.7.5:5060", "pcscf.example.org:5060", "entry.udp: \"pcscf.example.org:5060\" is no address"},
		{"a private address that is not listed", "192.168.7.5:5060", "10.1.2.3:5060", "entry.udp: 10.1.2.3:5060 is in none of the file's ranges"},
		{"IPv6", "192.168.7.5:5060", "[::1]:5060", "speak IPv4"},
		{"everything in ranges", "192.168.7.0/24", "0.0.0.0/0", "ranges: 0.0.0.0/0 is not private"},
		{"more than is private", "192.168.7.0/24", "192.0.0.0/8", "ranges: 192.0.0.0/8 is not private"},
		{"no range", "192.168.7.0/24", "lab", "ranges: \"lab\" is no range"},
		{"no way in", "udp = \"192.168.7.5:5060\"\ntcp = \"127.0.0.3:5060\"", "", "entry: no way in"},
		{"TLS of nobody", "tcp = ", "tls = ", "entry.tls_authority"},
		{"nobody's system", "name = \"Ada\"", "", "owner.name"},
		{"a statement that says nothing", "It is my system, and it may be attacked.", "ok", "owner.statement"},
		{"a leave that is over", "2026-12-31", "2026-11-25", "the leave of Ada ended with 2026-11-25"},
		{"a leave for ever", "2026-12-31", "2099-12-31", "owner.until: more than a year ahead"},
		{"a leave without an end", "until = 2026-12-31\n", "", "owner.until: the last day"},
		{"another form", "format = 1", "format = 2", "format: it must be 1"},
		{"a way out", "format = 1", "format = 1\nallow_public = true", "line 2: there is no key [allow_public]"},
		{"no TOML", "format = 1", "format", "line 1"},
		{"no attacker", "[subscribers.mallory]", "[subscribers.eve]", "subscribers.mallory: the cast needs"},
		{"a key in the file", "env:ALICE", goodKeys, "subscribers.alice.keys: where they are"},
		{"a subscriber with an address that is none", "sip:alice@ims.example.org", "alice", "subscribers.alice: it needs impi"},
		{"a scheme of the old days", "format = 1", "format = 1\nscheme = \"MD4\"", "scheme: \"MD4\" is none"},
		{"a card where passwords are", "format = 1", "format = 1\nscheme = \"MD5\"", "subscribers.alice.keys: who has no card"},
		{"everything at once", "[owner]", "[limits]\nrate = 1000000\n[owner]", "limits.rate: from 1 to 5000"},
		{"for ever", "[owner]", "[limits]\ntime = \"24h\"\n[owner]", "limits.time"},
		{"two targets", "[owner]", "[start]\nprogram = \"imsafe\"\ncontrols = \"on\"\n[owner]", "start: what is started"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(sound, c.was) {
				t.Fatal("the edit changes nothing")
			}
			_, err := Read([]byte(strings.Replace(sound, c.was, c.is, 1)), means())
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
			if err != nil && strings.Contains(err.Error(), goodKeys[:32]) {
				t.Error("a key is told")
			}
		})
	}
}

// TestRead_keys: what is wrong with keys is said without them.
func TestRead_keys(t *testing.T) {
	for _, text := range []string{"", "00112233445566778899aabbccddeeff", goodKeys + " ff", "g0112233445566778899aabbccddeeff ffeeddccbbaa99887766554433221100"} {
		m := means()
		m.Keys = func(string) ([]byte, error) { return []byte(text), nil }
		_, err := Read([]byte(sound), m)
		if err == nil || !strings.Contains(err.Error(), "subscribers.bob.keys") || strings.Contains(err.Error(), "112233") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestFence(t *testing.T) {
	f := Fence{netip.MustParsePrefix("192.168.7.0/24")}
	for address, want := range map[string]bool{"127.9.9.9": true, "::1": true, "192.168.7.9": true, "::ffff:192.168.7.9": true, "192.168.8.1": false,
		"198.51.100.7": false, "::ffff:198.51.100.7": false, "fe80::1%eth0": false, "224.0.0.1": false} {
		if f.Holds(netip.MustParseAddr(address)) != want {
			t.Errorf("%s: %v", address, !want)
		}
	}
	if f.Holds(netip.Addr{}) {
		t.Error("no address is inside")
	}
}

// TestProfiles: those that start something are whole, the others want an owner first.
func TestProfiles(t *testing.T) {
	for _, name := range Profiles() {
		text, _ := Profile(name)
		x, err := Read([]byte(text), means())
		switch {
		case err == nil && x.Start == nil:
			t.Errorf("%s lets somebody's system be attacked without his leave", name)
		case err != nil && !strings.Contains(err.Error(), "owner.statement"):
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzRead: whatever stands in a file, nothing outside the fence is a target.
func FuzzRead(f *testing.F) {
	f.Add([]byte(sound))
	for _, name := range Profiles() {
		text, _ := Profile(name)
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := Read(data, means())
		if err != nil {
			return
		}
		for _, access := range []attack.Access{attack.UDP, attack.TCP, attack.TLS} {
			at := x.Site.At(access)
			if at.IsValid() && !at.Addr().IsLoopback() && (!at.Addr().IsPrivate() || !x.Fence.Holds(at.Addr())) {
				t.Errorf("%v is a target", at)
			}
		}
		if x.Limits.Rate < 1 || x.Limits.Time <= 0 || x.Owner == "" {
			t.Errorf("no end: %+v", x)
		}
	})
}

// TestRead_passwords: with a scheme for passwords nobody has a card, and the target is no IMS.
func TestRead_passwords(t *testing.T) {
	m := means()
	m.Keys = func(string) ([]byte, error) { return []byte("secret\n"), nil }
	for _, scheme := range []string{"MD5", "SHA-256"} {
		x, err := Read([]byte(strings.Replace(sound, "format = 1", "format = 1\nscheme = \""+scheme+"\"", 1)), m)
		if err != nil {
			t.Fatal(err)
		}
		if !x.Site.Passwords() || x.Site.Scheme.String() != scheme || x.Site.Users[attack.Alice].Password != "secret" {
			t.Errorf("%s: %v", scheme, x.Site.Scheme)
		}
	}
	m.Keys = func(string) ([]byte, error) { return []byte(`a"b`), nil }
	if _, err := Read([]byte(strings.Replace(sound, "format = 1", "format = 1\nscheme = \"MD5\"", 1)), m); err == nil || strings.Contains(err.Error(), `a"b`) {
		t.Errorf("%v", err)
	}
}
