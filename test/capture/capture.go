// Package capture lets tshark listen on loopback while a test plays, and judge what was sent: nothing malformed, no warning of its
// experts.
//
// For tests only. It needs tshark and the right to capture, which a test has in a namespace of its own (peer.InNamespace). The
// functions belong to the goroutine of the test.
package capture

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
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"imsafe/test/peer"
)

// patience is how long tshark may take to begin, or to write down what it has heard.
const patience = time.Minute

// Capture is what is heard.
type Capture struct {
	File   string
	Decode []string // further arguments of tshark, which say what is spoken where: "-d", "udp.port==5060,sip"
}

// New makes a capture that has heard nothing yet.
func New(t testing.TB, decode ...string) Capture {
	t.Helper()
	return Capture{File: filepath.Join(t.TempDir(), "lo.pcapng"), Decode: decode}
}

// During captures everything on lo while play runs. If the test fails, KEEP_CAPTURE names a file that the capture is copied to.
func (c Capture) During(t testing.TB, play func()) {
	t.Helper()
	t.Cleanup(func() { // what fails later is kept too
		if keep := os.Getenv("KEEP_CAPTURE"); t.Failed() && keep != "" {
			data, _ := os.ReadFile(c.File)
			_ = os.WriteFile(keep, data, 0o600)
		}
	})
	end := begin(t, c.File)
	defer end() // of a test that ends in the middle too
	play()
}

var dropped = regexp.MustCompile(`[1-9][0-9]* packets? dropped`)

// begin begins to capture and returns what ends it.
func begin(t testing.TB, file string) (end func()) {
	t.Helper()
	cmd := exec.Command(peer.Need(t, "tshark"), "-i", "lo", "-B", "64", "-q", "-w", file)
	complaints, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	lines := bufio.NewScanner(complaints)
	for begun := false; !begun; {
		if !lines.Scan() {
			t.Fatalf("tshark does not capture: %v", cmd.Wait())
		}
		begun = strings.Contains(lines.Text(), "Capture started") || strings.Contains(lines.Text(), "File:")
	}
	late.Stop()
	return func() {
		t.Helper()
		fence(t, file)
		_ = cmd.Process.Signal(os.Interrupt)
		for lines.Scan() {
			if said := lines.Text(); dropped.MatchString(said) {
				t.Errorf("the capture has gaps: %s", said)
			}
		}
		_ = cmd.Wait()
	}
}

// fence sends a last packet and waits until the capture has it: what the program has not read when it is told to stop is lost.
func fence(t testing.TB, file string) {
	t.Helper()
	last := []byte("the last packet: " + rand.Text())
	conn, err := net.Dial("udp", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		_, _ = conn.Write(last) // answered by an error of ICMP, which the next write would report
		<-time.After(100 * time.Millisecond)
		if data, err := os.ReadFile(file); err == nil && bytes.Contains(data, last) {
			return
		}
	}
	t.Error("the capture does not come to an end")
}

// Tshark reads the capture and returns what it writes.
func (c Capture) Tshark(t testing.TB, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, peer.Need(t, "tshark"), append(append([]string{"-r", c.File}, c.Decode...), args...)...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v\n%s", err, cmd.Stderr)
	}
	return string(out)
}

// Judge reads the messages of a protocol, "sip" or "diameter", that a filter names by their sender. It returns how many frames
// have such messages, and what tshark says against them.
func (c Capture) Judge(t testing.TB, protocol, sentBy string) (frames int, against []string) {
	t.Helper()
	for line := range strings.Lines(c.Tshark(t, "-Y", protocol+" && ("+sentBy+")", "-T", "fields", "-e", "frame.number", "-e", "_ws.malformed",
		"-e", "_ws.expert.severity", "-e", "_ws.expert.message", "-E", "aggregator=|")) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(f) != 4 {
			t.Fatalf("tshark wrote %q", line)
		}
		frames++
		if f[1] != "" {
			against = append(against, fmt.Sprintf("frame %s is malformed: %s", f[0], f[1]))
		}
		against = append(against, complaints(f[0], f[2], f[3])...)
	}
	return frames, against
}

// complaints picks what weighs from what tshark's experts say about a frame; severities and messages stand in the same order.
func complaints(frame, severities, messages string) (against []string) {
	const warning = 6 << 20 // the number that tshark gives to it; errors are above
	texts := strings.Split(messages, "|")
	for i, s := range strings.Split(severities, "|") {
		severity, _ := strconv.Atoi(s)
		if severity >= warning && i < len(texts) {
			against = append(against, fmt.Sprintf("frame %s: %s", frame, texts[i]))
		}
	}
	return against
}

// Good is Judge for a test that wants so many frames at least and nothing against them.
func (c Capture) Good(t testing.TB, protocol, sentBy string, atLeast int) {
	t.Helper()
	frames, against := c.Judge(t, protocol, sentBy)
	t.Logf("tshark read %d frames of %s where %s", frames, protocol, sentBy)
	if frames < atLeast {
		t.Errorf("tshark saw %d frames of %s where %s", frames, protocol, sentBy)
	}
	for _, complaint := range against[:min(len(against), 20)] {
		t.Error(complaint)
	}
}
