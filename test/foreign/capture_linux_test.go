package foreign

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"imsafe/test/live"
	"imsafe/test/peer"
)

// capture captures everything on lo while load runs, and returns the file.
func capture(t *testing.T, load func()) string {
	t.Helper()
	file := t.TempDir() + "/lo.pcapng"
	cmd := exec.Command(peer.Need(t, "tshark"), "-i", "lo", "-B", "64", "-q", "-w", file)
	complaints, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(complaints); s.Scan(); {
			lines <- s.Text()
		}
	}()
	late := time.After(20 * time.Second)
	for begun := false; !begun; {
		select {
		case line, more := <-lines:
			if !more {
				t.Fatalf("tshark captures nothing: %v", cmd.Wait())
			}
			begun = strings.Contains(line, "Capture started") || strings.Contains(line, "File:")
		case <-late:
			_ = cmd.Process.Kill()
			t.Fatal("tshark does not begin to capture")
		}
	}
	load()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	for line := range lines {
		t.Log("tshark: " + line)
		if dropped.MatchString(line) {
			t.Error("the capture has gaps")
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("tshark: %v", err)
	}
	return file
}

var dropped = regexp.MustCompile(`[1-9][0-9]* packets? dropped`)

// judge lets tshark read the SIP messages in file that a filter names by their sender. It returns how many there are over each
// access, and what tshark says against them: malformed packets, and warnings and errors of its experts.
func judge(t *testing.T, file, keylog, sentBy string, n *live.Node) (messages map[string]int, against []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	lab, tls := n.Lab.Port(), n.TLS.Port()
	cmd := exec.CommandContext(ctx, peer.Need(t, "tshark"), "-r", file, "-o", "tls.keylog_file:"+keylog,
		"-d", fmt.Sprintf("udp.port==%d,sip", lab), "-d", fmt.Sprintf("tcp.port==%d,sip", lab), "-d", fmt.Sprintf("tls.port==%d,sip", tls),
		"-Y", "sip && ("+sentBy+")", "-T", "fields", "-e", "frame.number", "-e", "udp.srcport", "-e", "tcp.srcport", "-e", "_ws.malformed",
		"-e", "_ws.expert.severity", "-e", "_ws.expert.message", "-E", "aggregator=|")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v\n%s", err, cmd.Stderr)
	}
	messages = map[string]int{}
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(f) != 6 {
			t.Fatalf("tshark wrote %q", line)
		}
		switch {
		case f[1] != "":
			messages["udp"]++
		case f[2] == fmt.Sprint(tls):
			messages["tls"]++
		default:
			messages["tcp"]++
		}
		if f[3] != "" {
			against = append(against, fmt.Sprintf("frame %s is malformed: %s", f[0], f[3]))
		}
		against = append(against, complaint(f[0], f[4], f[5])...)
	}
	return messages, against
}

// complaint picks what weighs from what tshark's experts say about a frame; severities and messages stand in the same order.
func complaint(frame, severities, messages string) (against []string) {
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

// TestCapture plays a mixed load under a capture: registrations, calls and messages of SIPp over lab-udp and lab TCP and of phones
// over TLS. Then no key is found in it (ZB-01), nor in what was inside TLS, in the log or in the store, and tshark finds nothing
// malformed in what we sent.
func TestCapture(t *testing.T) {
	peer.Need(t, "sipp")
	peer.Need(t, "tshark")
	if !peer.InNamespace(t) {
		return
	}
	scale := 4
	if testing.Short() {
		scale = 1
	}
	m := newMix(t, scale)
	liar := ""
	file := capture(t, func() {
		liar = m.lie()
		m.play()
	})
	if t.Failed() {
		return
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("no key walks", func(t *testing.T) { m.findNoKeys(t, raw) })
	t.Run("nothing is malformed", func(t *testing.T) {
		lab, tls := m.node.Lab.Port(), m.node.TLS.Port()
		ours := fmt.Sprintf("udp.srcport == %d || tcp.srcport == %d || tcp.srcport == %d", lab, lab, tls)
		messages, against := judge(t, file, m.keylog.Name(), ours, m.node)
		t.Logf("tshark read what we sent: %v messages", messages)
		for _, access := range []string{"udp", "tcp", "tls"} {
			if messages[access] < 10 {
				t.Errorf("tshark sees %d messages over %s", messages[access], access)
			}
		}
		for _, complaint := range against[:min(len(against), 20)] {
			t.Error(complaint)
		}
		// The same judge sees what another sent that is not good: else he proves nothing.
		if _, against := judge(t, file, m.keylog.Name(), "udp.srcport == "+liar, m.node); len(against) == 0 {
			t.Error("tshark has nothing against what is malformed")
		}
	})
}
