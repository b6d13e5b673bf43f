package main

import (
	"net"
	"strings"
	"testing"
)

// TestComes_again: a client that is told when to come again does, and no more than that (RFC 3261 21.5.4).
func TestComes_again(t *testing.T) {
	d := newDesk(t)
	stop := d.start()
	defer stop()
	d.do("user", "add", "old", "--random", "--scheme", "AKAv1-MD5", "--card-out", d.path("old"))
	busy, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = busy.Close() }()
	asked := make(chan string, 10)
	go func() {
		defer close(asked)
		answers := []string{"503 Service Unavailable\r\nRetry-After: 1 (soon)", "503 Service Unavailable"}
		for b := make([]byte, 65536); ; {
			n, from, err := busy.ReadFrom(b)
			if err != nil {
				return
			}
			head := lines(string(b[:n]), "Via:", "From:", "To:", "Call-ID:", "CSeq:")
			asked <- lines(head, "CSeq:")
			_, _ = busy.WriteTo([]byte("SIP/2.0 "+answers[0]+"\r\n"+strings.Replace(head, "\r\nCall-ID", ";tag=b\r\nCall-ID", 1)+"Content-Length: 0\r\n\r\n"), from)
			if strings.Contains(head, "CSeq: 1 ") {
				answers = answers[1:]
			}
		}
	}()
	o := d.try("ue", "register", "--card", d.path("old"), "--proxy", busy.LocalAddr().String(), "--transport", "udp", "--lab")
	if o.status != exitFailed || !strings.Contains(o.stderr, "503") {
		t.Errorf("exit %d: %s%s", o.status, o.stdout, o.stderr)
	}
	_ = busy.Close()
	all := ""
	for a := range asked {
		all += a
	}
	if all != "CSeq: 1 REGISTER\r\nCSeq: 2 REGISTER\r\n" {
		t.Errorf("it asks %q", all)
	}
}

// lines are those of a message that begin with one of some words.
func lines(message string, words ...string) (some string) {
	for line := range strings.SplitSeq(message, "\r\n") {
		for _, w := range words {
			if strings.HasPrefix(line, w) {
				some += line + "\r\n"
			}
		}
	}
	return some
}
