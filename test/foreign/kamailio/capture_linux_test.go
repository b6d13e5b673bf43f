package kamailio

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"imsafe/test/peer"
)

// captured captures everything on loopback while play runs. Then tshark judges what was sent from the addresses of ours: SIP and
// Diameter, nothing malformed, no word of its experts.
func captured(t *testing.T, ours []string, play func()) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "lo.pcapng")
	end := capture(t, file)
	defer func() { // a test that failed in the middle is judged too: its capture says why
		end()
		if t.Failed() && testing.Verbose() {
			t.Logf("what was sent:\n%s", tshark(t, "-r", file, "-Y", "sip || diameter", "-T", "fields", "-e", "frame.time_relative", "-e", "ip.src", "-e", "ip.dst",
				"-e", "_ws.col.Info"))
		}
		if t.Failed() && os.Getenv("KEEP_CAPTURE") != "" {
			data, _ := os.ReadFile(file)
			_ = os.WriteFile(os.Getenv("KEEP_CAPTURE"), data, 0o600)
		}
		judge(t, file, ours)
	}()
	play()
}

// capture begins to capture and returns what ends it.
func capture(t *testing.T, file string) (end func()) {
	t.Helper()
	cmd := exec.Command(peer.Need(t, "tshark"), "-i", "lo", "-B", "16", "-q", "-w", file)
	complaints, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = func() {
		t.Helper()
		fence(t, file)
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	}
	late := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	for s := bufio.NewScanner(complaints); s.Scan(); {
		if strings.Contains(s.Text(), "Capture started") || strings.Contains(s.Text(), "File:") {
			late.Stop()
			return end
		}
	}
	t.Fatal("tshark does not capture")
	return nil
}

// fence sends a last packet and waits until the capture has it: what the program has not read when it is told to stop is lost.
func fence(t *testing.T, file string) {
	t.Helper()
	last := []byte("the last packet: " + rand.Text())
	conn, err := net.Dial("udp", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		_, _ = conn.Write(last) // answered by an error of ICMP, which the next write would report
		<-time.After(100 * time.Millisecond)
		if data, err := os.ReadFile(file); err == nil && bytes.Contains(data, last) {
			return
		}
	}
	t.Error("the capture does not come to an end")
}

// tshark reads a capture.
func tshark(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, peer.Need(t, "tshark"), append([]string{"-d", "udp.port==5060,sip", "-d", "tcp.port==3868,diameter"}, args...)...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	return string(out)
}

// judge reports what tshark has against the messages that came from some addresses, which must be there.
func judge(t *testing.T, file string, from []string) {
	t.Helper()
	seen := map[string]int{}
	for line := range strings.Lines(tshark(t, "-r", file, "-Y", "sip || diameter", "-T", "fields", "-e", "frame.number", "-e", "ip.src", "-e", "_ws.malformed",
		"-e", "_ws.expert.severity", "-e", "_ws.expert.message", "-E", "aggregator=|")) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(f) != 5 || !slices.Contains(from, f[1]) {
			continue
		}
		seen[f[1]]++
		if f[2] != "" {
			t.Errorf("frame %s is malformed: %s", f[0], f[2])
		}
		for _, c := range complaints(f[3], f[4]) {
			t.Errorf("frame %s from %s: %s", f[0], f[1], c)
		}
	}
	for _, address := range from {
		if seen[address] < 10 {
			t.Errorf("tshark saw %d messages from %s", seen[address], address)
		}
	}
	t.Logf("tshark read what we sent: %v", fmt.Sprint(seen))
}

// complaints picks what weighs from what tshark's experts say; severities and messages stand in the same order.
func complaints(severities, messages string) (all []string) {
	const warning = 6 << 20 // the number that tshark gives to it; errors are above
	texts := strings.Split(messages, "|")
	for i, s := range strings.Split(severities, "|") {
		if n, _ := strconv.Atoi(s); n >= warning && i < len(texts) {
			all = append(all, texts[i])
		}
	}
	return all
}
