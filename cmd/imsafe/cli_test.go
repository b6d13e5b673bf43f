package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"imsafe/ca"
	"imsafe/proto/shard"
	"imsafe/test/port"
)

// TestMain lets the test binary be the program where it starts itself: targets of attacks are processes of their own.
func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

const asProgram = "IMSAFE_TEST_PROGRAM"

// Keys of the tests. No output of any verb may contain one.
const (
	testK   = "00112233445566778899aabbccddeeff"
	testOPc = "ffeeddccbbaa99887766554433221100"
)

const testDomain = "ims.example.org"

// desk is an operator's desk: a directory with a configuration, a sealing key and a certificate.
type desk struct {
	t      *testing.T
	dir    string
	config string
	proxy  string  // where a node of it listens for clients over TLS
	clear  string  // and in clear
	find   *finder // of its clients; nil: as on this machine
}

// newDesk makes one. Its path is short: a Unix socket has room for 107 octets.
func newDesk(t *testing.T) *desk {
	t.Helper()
	dir, err := os.MkdirTemp("", "imsafe")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	d := &desk{t: t, dir: dir, config: filepath.Join(dir, "imsafe.toml"), proxy: freePort(t), clear: freePort(t)}
	d.certificate()
	d.write("imsafe.toml", fmt.Sprintf(`
[node]
lab = true
data_dir = %q
[ims]
domain = %q
[ci.tls]
listen = [%q]
certificate_file = %q
key_file = %q
[ci.lab_udp]
listen = [%q]
[hss]
sealing_key_file = %q
[metrics]
listen = ""
[log]
level = "warn"
`, d.path("store"), testDomain, d.proxy, d.path("pcscf.crt"), d.path("pcscf.priv"), d.clear, d.path("sealing")))
	d.do("key", "new", d.path("sealing"))
	return d
}

func (d *desk) path(name string) string { return filepath.Join(d.dir, name) }

// write makes a file for its owner alone and returns its path.
func (d *desk) write(name, text string) string {
	d.t.Helper()
	if err := os.WriteFile(d.path(name), []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
	return d.path(name)
}

func (d *desk) certificate() {
	d.t.Helper()
	authority, err := ca.New(rand.Reader, shard.RealClock().Wall, testDomain, time.Hour)
	if err != nil {
		d.t.Fatal(err)
	}
	cert, err := authority.Server(time.Hour, []string{"pcscf." + testDomain}, []net.IP{net.IPv4(127, 0, 0, 1)})
	if err != nil {
		d.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		d.t.Fatal(err)
	}
	d.write("ca.crt", string(authority.PEM()))
	d.write("pcscf.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})))
	d.write("pcscf.priv", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

// freePort is an address on loopback that is the test's own until it ends.
func freePort(t *testing.T) string { return port.Free(t, "127.0.0.1").String() }

// outcome is what a verb did.
type outcome struct {
	status         int
	stdout, stderr string
}

// call runs a verb as a process would. A verb of the operator gets the desk's configuration.
func (d *desk) call(ctx context.Context, stdin string, args ...string) outcome {
	d.t.Helper()
	var stdout, stderr lockedBuffer
	a := &app{ctx: ctx, stdin: strings.NewReader(stdin), stdout: &stdout, stderr: &stderr, find: d.find, getenv: func(string) string { return "" }}
	o := outcome{status: realMain(a, args)}
	o.stdout, o.stderr = stdout.String(), stderr.String()
	for _, key := range []string{testK, testOPc} {
		if strings.Contains(o.stdout+o.stderr, key) {
			d.t.Errorf("%v: a key is printed", args)
		}
	}
	return o
}

// try runs a verb with the desk's configuration.
func (d *desk) try(args ...string) outcome {
	d.t.Helper()
	return d.call(context.Background(), "", d.configured(args)...)
}

func (d *desk) configured(args []string) []string {
	if args[0] == "ue" || args[0] == "bench" || args[0] == "key" && args[1] == "new" {
		return args
	}
	return append(args, "-c", d.config)
}

// do runs a verb that must succeed and returns what it printed.
func (d *desk) do(args ...string) string {
	d.t.Helper()
	o := d.try(args...)
	if o.status != exitDone {
		d.t.Fatalf("imsafe %s: exit %d: %s%s", strings.Join(args, " "), o.status, o.stdout, o.stderr)
	}
	return o.stdout
}

// refused runs a verb that must fail with a status, and say each of the words.
func (d *desk) refused(status int, words []string, args ...string) {
	d.t.Helper()
	wantRefused(d.t, d.try(args...), status, words, args)
}

func wantRefused(t *testing.T, o outcome, status int, words, args []string) {
	t.Helper()
	if o.status != status {
		t.Errorf("imsafe %s: exit %d, want %d: %s%s", strings.Join(args, " "), o.status, status, o.stdout, o.stderr)
	}
	for _, w := range words {
		if !strings.Contains(o.stderr, w) {
			t.Errorf("imsafe %s: %q is not in %q", strings.Join(args, " "), w, o.stderr)
		}
	}
}

// start runs a node until the function it returns is called.
func (d *desk) start() (stop func()) {
	d.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan outcome, 1)
	go func() { done <- d.call(ctx, "", "run", "-c", d.config) }()
	socket := filepath.Join(d.path("store"), "management.sock")
	for deadline := time.Now().Add(time.Minute); knock(ctx, socket) != nil; time.Sleep(5 * time.Millisecond) {
		select {
		case o := <-done:
			d.t.Fatalf("the node ended with %d: %s", o.status, o.stderr)
		default:
		}
		if time.Now().After(deadline) {
			d.t.Fatal("the node does not answer")
		}
	}
	return sync.OnceFunc(func() {
		cancel()
		if o := <-done; o.status != exitDone {
			d.t.Errorf("the node ended with %d: %s", o.status, o.stderr)
		}
	})
}

// client completes a verb of the client.
func (d *desk) client(verb, card string, args ...string) []string {
	return append([]string{"ue", verb, "--card", d.path(card), "--proxy", d.proxy, "--ca", d.path("ca.crt"), "--json"}, args...)
}

// events reads what a client printed with --json, by name; the last of each name stays.
func events(t *testing.T, text string) map[string]event {
	t.Helper()
	all := map[string]event{}
	for decoder := json.NewDecoder(strings.NewReader(text)); ; {
		var e event
		if err := decoder.Decode(&e); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		all[e.Event] = e
	}
}

// lockedBuffer is a buffer that a node and a test may use at the same time.
type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
