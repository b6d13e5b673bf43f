package openssl

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"imsafe/proto/rtpport"
	"imsafe/proto/sdp"
	"imsafe/proto/shard"
	"imsafe/test/peer"
	"imsafe/test/port"
)

// far is a far end whose handshake OpenSSL does: one address, behind which DTLS goes to the program and everything else to a leg that gets its keys.
type far struct {
	t           *testing.T
	program     string
	key, cert   string // files
	fingerprint sdp.Fingerprint

	front *net.UDPConn // what the anchor sees
	back  *net.UDPConn // what the program and the leg see
	dtls  atomic.Pointer[netip.AddrPort]
	srtp  atomic.Pointer[netip.AddrPort]
	near  netip.AddrPort // the anchor's port

	mu     sync.Mutex
	output bytes.Buffer
	heard  int
}

// newFar makes the far end and a certificate for it.
func newFar(t *testing.T) *far {
	t.Helper()
	f := &far{t: t, program: peer.Need(t, "openssl"), front: listen(t), back: listen(t)}
	dir := t.TempDir()
	f.key, f.cert = filepath.Join(dir, "key.pem"), filepath.Join(dir, "cert.pem")
	out, err := exec.CommandContext(t.Context(), f.program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
		"-subj", "/CN=far", "-days", "1", "-keyout", f.key, "-out", f.cert).CombinedOutput()
	if err != nil {
		t.Fatalf("no certificate: %v\n%s", err, out)
	}
	text, err := os.ReadFile(f.cert)
	must(t, err)
	block, _ := pem.Decode(text)
	f.fingerprint = sdp.NewFingerprint(block.Bytes)
	return f
}

func listen(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	return c
}

func addressOf(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

// lead carries datagrams between the anchor's port and what is behind the far end, by their first octet (RFC 7983 7).
func (f *far) lead(near netip.AddrPort) {
	f.near = near
	var wg sync.WaitGroup
	isDTLS := func(b []byte) bool { return len(b) > 0 && b[0] >= 20 && b[0] <= 63 }
	wg.Go(func() {
		pump(f.front, func(b []byte, _ netip.AddrPort) {
			to := f.srtp.Load()
			if isDTLS(b) {
				to = f.dtls.Load()
			}
			if to != nil {
				_, _ = f.back.WriteToUDPAddrPort(b, *to) // a program that has ended misses nothing
			}
		})
	})
	wg.Go(func() {
		pump(f.back, func(b []byte, from netip.AddrPort) {
			if isDTLS(b) {
				f.dtls.Store(&from)
			}
			_, _ = f.front.WriteToUDPAddrPort(b, near)
		})
	})
	f.t.Cleanup(func() {
		must(f.t, errors.Join(f.front.Close(), f.back.Close()))
		wg.Wait()
	})
}

func pump(c *net.UDPConn, each func(b []byte, from netip.AddrPort)) {
	for b := make([]byte, 4096); ; {
		n, from, err := c.ReadFromUDPAddrPort(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			each(b[:n], from)
		}
	}
}

// run starts a program of OpenSSL that speaks DTLS as the far end, and returns what waits for its end.
func (f *far) run(arguments ...string) (end func() error) {
	f.t.Helper()
	if arguments[0] == "s_client" {
		arguments = append(arguments, "-connect", addressOf(f.back).String())
	} else {
		to := port.Free(f.t, "127.0.0.1")
		f.dtls.Store(&to)
		arguments = append(arguments, "-accept", to.String(), "-Verify", "1", "-naccept", "1")
	}
	cmd := exec.CommandContext(f.t.Context(), f.program, append(arguments, "-cert", f.cert, "-key", f.key)...)
	stdin, err := cmd.StdinPipe() // held open: its end is the program's
	must(f.t, err)
	pipe, err := cmd.StdoutPipe()
	must(f.t, err)
	cmd.Stderr = cmd.Stdout
	must(f.t, cmd.Start())
	ended := make(chan error, 1)
	go func() {
		for lines := bufio.NewScanner(pipe); lines.Scan(); {
			f.mu.Lock()
			fmt.Fprintln(&f.output, lines.Text())
			f.mu.Unlock()
		}
		ended <- cmd.Wait()
		close(ended)
	}()
	f.t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Process.Kill() // it may have ended by itself
		<-ended
	})
	return func() error {
		select {
		case err := <-ended:
			return err
		case <-time.After(time.Minute):
			f.t.Fatalf("OpenSSL does not end:\n%s", f.said())
			return nil
		}
	}
}

// said is what the program has written.
func (f *far) said() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.output.String()
}

// find waits for a line of the program and returns what the expression has in parentheses.
func (f *far) find(what, expression string) string {
	f.t.Helper()
	var found []string
	if !soon(func() bool { found = regexp.MustCompile(expression).FindStringSubmatch(f.said()); return found != nil }) {
		f.t.Fatalf("OpenSSL does not say %s:\n%s", what, f.said())
	}
	return found[1]
}

// exports are the arguments that make OpenSSL export what SRTP takes for a suite (RFC 5764 4.2).
func exports(s sdp.Suite) []string {
	key, salt := s.Lengths()
	return []string{"-keymatexport", "EXTRACTOR-dtls_srtp", "-keymatexportlen", strconv.Itoa(2 * (key + salt))}
}

// speaks makes a leg of what OpenSSL has exported: the media of the far end.
func (f *far) speaks(s sdp.Suite, client bool) *rtpport.Leg {
	f.t.Helper()
	material, err := hex.DecodeString(f.find("what it exports", `Keying material: ([0-9A-F]+)`))
	must(f.t, err)
	key, salt := s.Lengths()
	part := func(at, size int) []byte { return material[at : at+size] }
	clients := slices.Concat(part(0, key), part(2*key, salt)) // client key, server key, client salt, server salt
	servers := slices.Concat(part(key, key), part(2*key+salt, salt))
	crypto := func(b []byte) sdp.Crypto {
		c, err := sdp.NewCrypto(bytes.NewReader(b), 1, s)
		must(f.t, err)
		return c
	}
	local, remote := crypto(clients), crypto(servers)
	if !client {
		local, remote = remote, local
	}
	certificate, err := rtpport.NewCertificate(rand.Reader, time.Now())
	must(f.t, err)
	l, err := rtpport.New(rtpport.Config{Conn: listen(f.t), Clock: shard.RealClock(), Rand: rand.Reader, Certificate: certificate, AllowSDES: true,
		Receive: func(*rtpport.Frame) { f.mu.Lock(); f.heard++; f.mu.Unlock() }})
	must(f.t, err)
	run(f.t, l)
	at := l.Local()
	f.srtp.Store(&at)
	must(f.t, l.StartSDES(sdp.Agreed{Keying: sdp.SDES, Codec: sdp.PCMA(), SendPT: 8, RecvPT: 8, Send: true, Receive: true, Remote: addressOf(f.back), RTCPMux: true},
		local, remote))
	<-l.Ready()
	return l
}

func run(t *testing.T, l *rtpport.Leg) {
	done := make(chan error, 1)
	go func() { done <- l.Run(t.Context()) }()
	t.Cleanup(func() { l.Close(); <-done })
}

// sees checks that the certificate the program was shown is the one that a description announces.
func (f *far) sees(fingerprints []sdp.Fingerprint) {
	f.t.Helper()
	text := f.find("which certificate it was shown", `(?s)(-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----)`)
	block, _ := pem.Decode([]byte(text))
	if shown := sdp.NewFingerprint(block.Bytes); len(fingerprints) != 1 || shown != fingerprints[0] {
		f.t.Errorf("OpenSSL was shown %v, the description says %v", shown, fingerprints)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// soon waits for a condition that must come.
func soon(met func() bool) bool {
	tick, limit := time.NewTicker(5*time.Millisecond), time.After(time.Minute)
	defer tick.Stop()
	for !met() {
		select {
		case <-tick.C:
		case <-limit:
			return false
		}
	}
	return true
}
