package diameter

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"imsafe/proto/diameter"
	"imsafe/test/peer"
)

// recorder keeps what was written to connections in clear.
type recorder struct {
	mu  sync.Mutex
	all []byte
}

func (r *recorder) add(p []byte) {
	r.mu.Lock()
	r.all = append(r.all, p...)
	r.mu.Unlock()
}

// recorded is a connection whose writes are kept.
type recorded struct {
	net.Conn
	to *recorder
}

// Write implements net.Conn.
func (c recorded) Write(p []byte) (int, error) {
	c.to.add(p)
	return c.Conn.Write(p)
}

// recordedListener records what is written to those who come.
type recordedListener struct {
	net.Listener
	to *recorder
}

// Accept implements net.Listener.
func (l recordedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		c = recorded{c, l.to}
	}
	return c, err
}

// messages cuts what was recorded.
func (r *recorder) messages(t *testing.T) (all []diameter.Message) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for b := r.all; len(b) > 0; {
		n, err := diameter.Length(b, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		m, err := diameter.Parse(b[:n])
		if err != nil {
			t.Fatal(err)
		}
		all, b = append(all, m), b[n:]
	}
	return all
}

// gaps are AVPs of TS 29.229 that tshark 4.0 does not know yet: RTR-Flags, P-CSCF-Subscription-Info, Registration-Time-Out.
var gaps = []string{unknown("659"), unknown("660"), unknown("661")}

func unknown(code string) string {
	return "Unknown AVP " + code + " (vendor=3GPP), if you know what this is you can add it to dictionary.xml"
}

// read gives what was recorded to tshark, which must know every octet of it, and wants at least some messages.
func (r *recorder) read(t *testing.T, least int) {
	t.Helper()
	tshark, convert := peer.Need(t, "tshark"), peer.Need(t, "text2pcap")
	all := r.messages(t)
	if len(all) < least {
		t.Errorf("%d messages recorded, want %d", len(all), least)
	}
	var dump bytes.Buffer
	for _, m := range all {
		for i, b := range m.Bytes() {
			if i%16 == 0 {
				fmt.Fprintf(&dump, "\n%06x", i)
			}
			fmt.Fprintf(&dump, " %02x", b)
		}
		dump.WriteByte('\n')
	}
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.txt"), filepath.Join(dir, "out.pcap")
	if err := os.WriteFile(in, dump.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := exec.Command(convert, "-T", "40000,3868", in, out).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	run := func(args ...string) string {
		b, err := exec.Command(tshark, append([]string{"-r", out}, args...)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b))
	}
	if got := run("-Y", "diameter", "-T", "fields", "-e", "diameter.cmd.code"); len(strings.Fields(got)) != len(all) {
		t.Errorf("tshark sees %q, we sent %d messages", got, len(all))
	}
	bad := run("-T", "fields", "-e", "frame.number", "-e", "diameter.cmd.code", "-e", "_ws.expert.message", "-Y", `_ws.malformed || (_ws.expert.severity >= "Warning" && diameter && !tcp.analysis.flags)`)
	for _, gap := range gaps {
		bad = strings.ReplaceAll(bad, gap, "")
	}
	if strings.Contains(bad, " ") {
		t.Errorf("tshark finds fault:\n%s", bad)
	}
}
