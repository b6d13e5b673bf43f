package main

import (
	"strings"
	"testing"
)

// TestService provisions what nobody registers: a range of a user's identities, and a public service.
func TestService(t *testing.T) {
	d := newDesk(t)
	d.refused(exitUsage, []string{"no card"}, "user", "add", "chat", "--service", "--random", "--card-out", d.path("chat.card"))
	d.refused(exitUsage, []string{"--service"}, "user", "add", "chat", "--server", "sip:as.ims.example.org")
	d.refused(exitFailed, []string{"not a SIP URI"}, "user", "add", "chat", "--service", "--server", "as")
	d.refused(exitFailed, []string{"expression"}, "user", "add", "chat", "--service", "--impu", "sip:room-!(!@"+testDomain)
	d.do("user", "add", "chat", "--service", "--impu", "sip:room-!.*!@"+testDomain, "--server", "sip:as."+testDomain)
	if shown := d.do("user", "show", "sip:room-!.*!@"+testDomain); !strings.Contains(shown, "service") || !strings.Contains(shown, "sip:as.") {
		t.Errorf("show: %s", shown)
	}
	d.do("user", "add", "pbx", "--random", "--card-out", d.path("pbx.card"), "--impu", "sip:pbx@"+testDomain, "--impu", "sip:pbx-![0-9]{3}!@"+testDomain)
	d.do("user", "remove", "chat")
}
