package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"imsafe/config"
	"imsafe/doctor"
	"imsafe/test/peer"
)

const quickDomain = "ims.mnc001.mcc001.3gppnetwork.org"

// emptyDesk is a desk on which nothing lies yet. Its configuration is where quickstart writes it.
func emptyDesk(t *testing.T) *desk {
	t.Helper()
	dir, err := os.MkdirTemp("", "imsafe")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return &desk{t: t, dir: dir, config: filepath.Join(dir, "etc", configName)}
}

// quickstart runs the verb, with more arguments.
func (d *desk) quickstart(args ...string) outcome {
	return d.call(context.Background(), "", append([]string{"quickstart", "--mcc", "001", "--mnc", "01", "--listen", "127.0.0.1",
		"--dir", d.path("etc"), "--data-dir", d.path("store")}, args...)...)
}

// examined runs an examination and returns what it found.
func (d *desk) examined(status int, args ...string) map[string]doctor.Finding {
	d.t.Helper()
	o := d.try(append(args, "--json")...)
	if o.status != status {
		d.t.Errorf("imsafe %s: exit %d, want %d: %s%s", strings.Join(args, " "), o.status, status, o.stdout, o.stderr)
	}
	var x examined
	decode(d.t, o.stdout, &x)
	if x.Broken != (status == exitFailed) {
		d.t.Errorf("broken: %t", x.Broken)
	}
	all := map[string]doctor.Finding{}
	for _, f := range x.Findings {
		if had, there := all[f.Code]; !there || had.Level != doctor.Breaks {
			all[f.Code] = f
		}
	}
	return all
}

// TestQuickstart_to_a_registered_telephone is the first hour of an operator: a configuration, subscribers of another server, a node, and a
// client that does what a telephone does. The doctor has nothing to say in between, until something is broken.
func TestQuickstart_to_a_registered_telephone(t *testing.T) {
	if !peer.InNamespace(t) {
		return
	}
	d := emptyDesk(t)
	if o := d.quickstart("--volte", "--tls"); o.status != exitDone {
		t.Fatalf("%+v", o)
	}
	d.examined(exitDone, "doctor")
	const id = "001010000000001@" + quickDomain
	d.do("user", "import", "--format", "srsran", d.write("db", "ue1,mil,001010000000001,"+testK+",opc,"+testOPc+",8000,000000001234,7,dynamic\n"))
	before := d.examined(exitDone, "doctor", "user", "001010000000001")
	if before["D-USER-ATTEMPTS"].Level != doctor.Unchecked || before["D-USER-TEL"].Level != doctor.Hint {
		t.Errorf("%+v", before)
	}

	stop := d.start()
	defer stop()
	found := d.examined(exitDone, "doctor")
	for _, code := range []string{"D-NODE", "D-ESP-RAW", "D-ESP-LOOP", "D-ESP-UDP", "D-FRAGMENTS", "D-CERT", "D-CERT-NAME", "D-STORE", "D-SEALING-KEY", "D-PORT", "D-MEDIA-PORTS", "D-CLOCK-JUMP"} {
		if found[code].Level != doctor.Fine {
			t.Errorf("%+v", found[code])
		}
	}
	if none := d.examined(exitDone, "doctor", "user", "001010000000001")["D-USER-ATTEMPTS"]; !strings.Contains(none.What, "nobody has tried") {
		t.Errorf("%+v", none)
	}
	card, err := json.Marshal(map[string]any{"impi": id, "domain": quickDomain, "impus": []string{"sip:" + id}, "k": testK, "opc": testOPc, "scheme": "AKAv1-MD5"})
	if err != nil {
		t.Fatal(err)
	}
	register := []string{"ue", "register", "--transport", "ipsec", "--proxy", "127.0.0.1:5060", "--json", "--card"}
	e := events(t, d.do(append(register, d.write("card", string(card)))...))
	if p := e["registered"].Protection; !strings.HasPrefix(p, "IPsec ESP") {
		t.Errorf("protection %q", p)
	}
	after := d.examined(exitDone, "doctor", "user", "001010000000001", "--k-file", d.write("k", testK), "--opc-file", d.write("opc", testOPc))
	for _, code := range []string{"D-USER", "D-USER-KEYS", "D-USER-SCHEME", "D-USER-ATTEMPTS", "D-USER-IDENTITY"} {
		if after[code].Level != doctor.Fine {
			t.Errorf("%+v", after[code])
		}
	}

	d.otherPatients(string(card), register)
	d.callsATelephone()

	// The card of somebody else: the telephone refuses the network, and the doctor says what the keys say.
	wrong := strings.Replace(string(card), testK, otherK, 1)
	if o := d.try(append(register, d.write("wrong", wrong), "--patience", "1m")...); o.status != exitFailed {
		t.Errorf("a wrong K registered: %+v", o)
	}
	keys := d.examined(exitFailed, "doctor", "user", "001010000000001", "--k-file", d.write("k2", otherK), "--opc-file", d.path("opc"))
	if f := keys["D-USER-KEYS"]; f.Level != doctor.Breaks || f.Do == "" {
		t.Errorf("%+v", f)
	}
	if f := keys["D-USER-ATTEMPTS"]; f.Level != doctor.Hint {
		t.Errorf("%+v", f)
	}
	given := d.examined(exitFailed, "doctor", "user", "001010000000001", "--k-file", d.path("k"), "--op-file", d.path("opc"))
	if f := given["D-USER-KEYS"]; !strings.Contains(f.What, "either it is OPc") {
		t.Errorf("%+v", f)
	}
}

// callsATelephone: of two telephones inside security associations, to which the network offers a profile that the simplest of them knows, both can do better: media have
// keys, though a waiver would let them go without.
func (d *desk) callsATelephone() {
	d.t.Helper()
	for _, name := range []string{"caller", "callee"} {
		d.do("user", "add", name, "--random", "--scheme", "AKAv1-MD5", "--card-out", d.path(name))
	}
	telephone := func(verb, card string, more ...string) []string {
		return append([]string{"ue", verb, "--transport", "ipsec", "--proxy", "127.0.0.1:5060", "--json", "--card", d.path(card)}, more...)
	}
	callee := d.background("registered", telephone("answer", "callee", "--tone", "620", "--hear", "440", "--wait", "20s")...)
	caller := d.call(context.Background(), "", telephone("call", "caller", "callee", "--tone", "440", "--hear", "620", "--for", "300ms")...)
	for _, o := range []outcome{caller, callee()} {
		if p := events(d.t, o.stdout)["call"].Protection; o.status != exitDone || !strings.HasPrefix(p, "DTLS-SRTP") {
			d.t.Errorf("media are protected by %q: %+v", p, o)
		}
	}
}

// otherPatients are subscribers of the node that runs: one whom it does not know, one who is barred, and one whose card has seen later numbers than the HSS
// gives out.
func (d *desk) otherPatients(card string, register []string) {
	d.t.Helper()
	if f := d.examined(exitFailed, "doctor", "user", "999")["D-USER"]; f.Level != doctor.Breaks || !strings.Contains(f.What, "not provisioned") {
		d.t.Errorf("nobody: %+v", f)
	}
	const barred, behind = "001010000000002@" + quickDomain, "001010000000003@" + quickDomain
	d.do("user", "import", d.write("barred", fmt.Sprintf(`{"impi":%q,"k":%q,"opc":%q,"scheme":"AKAv1-MD5","public":[{"impu":"sip:%s"},{"impu":"tel:+4915100","barred":true}]}`+"\n",
		barred, testK, testOPc, barred)))
	if f := d.examined(exitDone, "doctor", "user", barred)["D-USER-BARRED"]; f.Level != doctor.Hint || !strings.Contains(f.What, "tel:+4915100 is barred") {
		d.t.Errorf("barred: %+v", f)
	}
	d.do("user", "import", "--format", "srsran", d.write("behind", "ue3,mil,001010000000003,"+testK+",opc,"+testOPc+",8000,000000000020,7,dynamic\n"))
	d.write("ahead.seq", d.read("card.seq")) // of the same keys, and the numbers that the first card has seen
	d.do(append(register, d.write("ahead", strings.ReplaceAll(card, "001010000000001", "001010000000003")))...)
	if f := d.examined(exitDone, "doctor", "user", behind)["D-USER-SQN"]; f.Level != doctor.Hint || !strings.Contains(f.What, "asked for resynchronisation") || !strings.Contains(f.What, " behind") {
		d.t.Errorf("a card that is ahead: %+v", f)
	}
	if f := d.examined(exitDone, "doctor")["D-SQN"]; !strings.Contains(f.What, "1 resynchronisation") {
		d.t.Errorf("%+v", f)
	}
}

// TestDoctor_certificates that have ended, are about to, or are of tomorrow, on the disk of a node.
func TestDoctor_certificates(t *testing.T) {
	if !peer.InNamespace(t) {
		return
	}
	d := emptyDesk(t)
	if o := d.quickstart("--tls"); o.status != exitDone {
		t.Fatalf("%+v", o)
	}
	const day = 24 * time.Hour
	for _, s := range []struct {
		name        string
		from, until time.Duration // from now
		status      int
		level       doctor.Level
		word        string
	}{
		{"ended", -400 * day, -day, exitFailed, doctor.Breaks, "not valid any more"},
		{"about to", -355 * day, 10*day + time.Hour, exitDone, doctor.Hint, "10 days from now"},
		{"of tomorrow, or the clock is wrong", day, 400 * day, exitFailed, doctor.Breaks, "or the clock is wrong"},
	} {
		d.certify("pcscf."+quickDomain, s.from, s.until)
		if f := d.examined(s.status, "doctor")["D-CERT-EXPIRY"]; f.Level != s.level || !strings.Contains(f.What, s.word) {
			t.Errorf("%s: %+v", s.name, f)
		}
	}
}

// certify puts a certificate of its own, for a time from now, into the place of the P-CSCF's.
func (d *desk) certify(name string, from, until time.Duration) {
	d.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		d.t.Fatal(err)
	}
	now := time.Now()
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name, quickDomain}, NotBefore: now.Add(from), NotAfter: now.Add(until)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		d.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		d.t.Fatal(err)
	}
	d.write("etc/"+certificate, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	d.write("etc/"+certificateKey, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

// TestDoctor_finds what is broken on a host, and a node with another configuration.
func TestDoctor_finds(t *testing.T) {
	if !peer.InNamespace(t) {
		return
	}
	d := emptyDesk(t)
	if none := d.examined(exitFailed, "doctor")["D-CONFIG"]; !strings.Contains(none.What, "no configuration") || !strings.Contains(none.Do, "quickstart") {
		t.Errorf("%+v", none)
	}
	if o := d.quickstart("--tls"); o.status != exitDone {
		t.Fatalf("%+v", o)
	}
	text := d.read("etc/" + configName)
	for _, s := range []struct{ name, old, new, code, word string }{
		{"an address of another host", `listen = ["127.0.0.1:5061"]`, `listen = ["192.0.2.1:5061"]`, "D-ADDRESS", "192.0.2.1"},
		{"a sealing key that is not there", sealingKey + `"`, `nothing"`, "D-FILES", "no such file"},
		{"a mistake", "mcc = ", "mmc = ", "D-CONFIG", "did you mean ims.mcc?"},
	} {
		if !strings.Contains(text, s.old) {
			t.Fatalf("%q is not in the configuration", s.old)
		}
		d.write("etc/"+configName, strings.Replace(text, s.old, s.new, 1))
		if f := d.examined(exitFailed, "doctor")[s.code]; f.Level != doctor.Breaks || !strings.Contains(f.What, s.word) {
			t.Errorf("%s: %+v", s.name, f)
		}
	}
	d.write("etc/"+configName, text)
	stop := d.start()
	defer stop()
	d.examined(exitDone, "doctor")
	d.write("etc/"+configName, strings.Replace(text, ":5061", ":5062", 1))
	if f := d.examined(exitFailed, "doctor")["D-PORT"]; f.Level != doctor.Breaks || !strings.Contains(f.What, "another configuration") {
		t.Errorf("%+v", f)
	}
	o := d.try("doctor")
	if o.status != exitFailed || !strings.Contains(o.stdout, "BREAKS    D-PORT") || !strings.Contains(o.stdout, "do: restart") || strings.Contains(o.stdout, "D-CLOCK-JUMP") {
		t.Errorf("%+v", o)
	}
	if o := d.try("doctor", "--all"); !strings.Contains(o.stdout, "fine      D-CLOCK-JUMP") {
		t.Errorf("%+v", o)
	}
}

// TestQuickstart_writes_over_nothing.
func TestQuickstart_writes_over_nothing(t *testing.T) {
	for _, name := range []string{configName, sealingKey, certificate, certificateKey, authority} {
		d := emptyDesk(t)
		if err := os.Mkdir(d.path("etc"), 0o755); err != nil {
			t.Fatal(err)
		}
		d.write("etc/"+name, "mine")
		wantRefused(t, d.quickstart("--tls"), exitFailed, []string{name + " is there already", "nothing else was made"}, nil)
		entries, err := os.ReadDir(d.path("etc"))
		if err != nil || len(entries) != 1 || d.read("etc/"+name) != "mine" {
			t.Errorf("%s: %v %v", name, entries, err)
		}
	}
}

// TestQuickstart_says_what_others_need: for each way.
func TestQuickstart_says_what_others_need(t *testing.T) {
	for _, s := range []struct {
		name         string
		args         []string
		words, never []string
	}{
		{"telephones", []string{"--volte", "--listen", "2001:db8::1"}, []string{"p-cscf:\n      - 127.0.0.1\n      - 2001:db8::1\n", "ipv4: 127.0.0.1", "QCI", "_sip._udp  IN SRV   0 0 5060 pcscf",
			"pcscf      IN AAAA  2001:db8::1", "AmbientCapabilities=CAP_NET_RAW\n", "no setting for the P-CSCF", "imsafe doctor -c", "IMSI@" + quickDomain, "must agree on AES-GCM",
			"127.0.0.1 is reached from this machine alone", "UDP ports 20000 to 29999", "TCP port 8443", "RTP in clear, over their encrypted radio bearer", "imsafe ca new", "cs         IN A     127.0.0.1"}, []string{"5061", "LoadCredential=", "weakening, logged", "2001:db8::1 is reached from this machine alone"}},
		{"telephones that can little", []string{"--volte", "--handset"}, []string{"a weakening, logged"}, []string{"must agree on AES-GCM"}},
		{"clients over TLS", nil, []string{"_sips._tcp IN SRV   0 0 5061 pcscf", "ca.crt", "CapabilityBoundingSet=\n", "UDP ports 20000 to 29999"}, []string{"p-cscf", "CAP_NET_RAW", "5060", "RTP in clear"}},
		{"systemd", []string{"--volte", "--tls", "--systemd"}, []string{"LoadCredential=sealing.key:", "LoadCredential=pcscf.key:", "User=imsafe", "KillMode=process", "CREDENTIALS_DIRECTORY=", "systemctl enable --now imsafe"}, []string{"\nimsafe run"}},
	} {
		t.Run(s.name, func(t *testing.T) {
			d := emptyDesk(t)
			o := d.quickstart(s.args...)
			if o.status != exitDone {
				t.Fatalf("%+v", o)
			}
			for _, w := range s.words {
				if !strings.Contains(o.stdout, w) {
					t.Errorf("%q is not in %s", w, o.stdout)
				}
			}
			for _, w := range s.never {
				if strings.Contains(o.stdout, w) {
					t.Errorf("%q is in %s", w, o.stdout)
				}
			}
			c, err := config.Parse(configName, []byte(d.read("etc/"+configName)))
			if err != nil || c.HomeDomain() != quickDomain || c.Node.Lab {
				t.Errorf("%+v %v", c, err)
			}
			if len(c.CS.Listen) == 0 || c.CS.Listen[0].String() != "127.0.0.1:20000" || c.HTTPS.Listen.String() != "127.0.0.1:8443" || len(c.CS.Waivers) > 0 != slices.Contains(s.args, "--volte") {
				t.Errorf("[cs] %+v, [https] %+v", c.CS, c.HTTPS)
			}
			weak := slices.ContainsFunc(c.Weakenings(), func(w config.Weakening) bool { return w.Name == "ipsec-handset" })
			if weak != slices.Contains(s.args, "--handset") {
				t.Errorf("weakened: %t", weak)
			}
			for _, secret := range []string{sealingKey, certificateKey} {
				if info, err := os.Stat(d.path("etc/" + secret)); err == nil && info.Mode().Perm() != 0o600 {
					t.Errorf("%s has the rights %o", secret, info.Mode().Perm())
				}
			}
		})
	}
}

// TestQuickstart_zone: a name server can read it, and everything in it leads to the node.
func TestQuickstart_zone(t *testing.T) {
	v := &quickstartCmd{Volte: true, TLS: true, Listen: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}}
	z, known := dns.NewZoneParser(strings.NewReader(zone(v, quickDomain)), "", ""), map[string]string{}
	for rr, ok := z.Next(); ok; rr, ok = z.Next() {
		name, to := rr.Header().Name, ""
		switch rr := rr.(type) {
		case *dns.NAPTR:
			name, to = name+rr.Service, rr.Replacement
		case *dns.SRV:
			to = fmt.Sprint(rr.Target, rr.Port)
		case *dns.A:
			to = rr.A.String()
		case *dns.AAAA:
			name, to = name+"6", rr.AAAA.String()
		}
		known[name] = to
	}
	if err := z.Err(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"SIP+D2U": "_sip._udp.", "SIP+D2T": "_sip._tcp.", "SIPS+D2T": "_sips._tcp."} {
		if got := known[quickDomain+"."+name]; got != want+quickDomain+"." {
			t.Errorf("%s leads to %q", name, got)
		}
	}
	for name, want := range map[string]string{"_sip._udp.": "pcscf.%s.5060", "_sip._tcp.": "pcscf.%s.5060", "_sips._tcp.": "pcscf.%s.5061"} {
		if got := known[name+quickDomain+"."]; got != fmt.Sprintf(want, quickDomain) {
			t.Errorf("%s leads to %q", name, got)
		}
	}
	if known["pcscf."+quickDomain+"."] != "192.0.2.1" || known["pcscf."+quickDomain+".6"] != "2001:db8::1" {
		t.Errorf("%v", known)
	}
}

// TestQuickstart_mistakes of who types.
func TestQuickstart_mistakes(t *testing.T) {
	d := emptyDesk(t)
	for _, s := range []struct {
		args  []string
		words []string
	}{
		{[]string{"--handset"}, []string{"give --volte too"}},
		{[]string{"--volte", "--listen", "0.0.0.0"}, []string{"0.0.0.0 is no address of one machine"}},
		{[]string{"--tls", "--listen", "224.0.0.1"}, []string{"224.0.0.1 is no address of one machine"}},
		{[]string{"--tls", "--listen", "fe80::1%eth0"}, []string{"fe80::1%eth0 is no address of one machine"}},
		{[]string{"--volte", "--mcc", "1"}, []string{"ims.mcc", "not three digits"}},
		{[]string{"--data-dir", d.path("etc")}, []string{"the sealing key lies in data_dir"}},
	} {
		wantRefused(t, d.quickstart(s.args...), exitUsage, s.words, s.args)
	}
	if _, err := os.Stat(d.path("etc")); err == nil {
		t.Error("something was written")
	}
	wantRefused(t, d.call(context.Background(), "", "doctor", "user", "x", "-c", d.config, "--op-file", "y"), exitUsage, []string{"give --k-file too"}, nil)
}
