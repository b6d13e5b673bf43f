package node

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"strings"
	"testing"
	"time"

	"imsafe/iface/clientims"
	"imsafe/proto/secagree"
	"imsafe/proto/shard"
)

// TestExplain_unanswered: who asks why a client over TLS does not register is told that it never answered the challenge, and what that comes from. Inside IPsec the
// associations tell, and after an answer there is nothing to tell.
func TestExplain_unanswered(t *testing.T) {
	challenged := clientims.Chapter{Step: clientims.StepAnswered, Status: 401}
	for name, c := range map[string]struct {
		access string
		more   []clientims.Chapter
		want   string
	}{
		"over TLS":     {"tls", nil, "by now: no answer to the challenge has come for 7s"},
		"inside IPsec": {secagree.IPsec3GPP, nil, ""},
		"answered":     {"tls", []clientims.Chapter{{Step: clientims.StepRegister, Answers: true}, {Step: clientims.StepAnswered, Status: 200}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			clock := shard.NewFake(time.Unix(1_800_000_000, 0))
			s := newStories(clock, nil, func() *clientims.Door { return nil })
			for _, chapter := range append([]clientims.Chapter{{Step: clientims.StepRegister}, challenged}, c.more...) {
				chapter.IMPI, chapter.Access = "alice@x", c.access
				s.Tell(chapter)
			}
			clock.Advance(7 * time.Second)
			r, err := s.explain(context.Background(), UserName{Name: "alice@x"})
			if err != nil {
				t.Fatal(err)
			}
			events := r.Attempts[0].Events
			last := events[len(events)-1]
			if c.want == "" && last.Code == "no-answer" || c.want != "" && (last.What != c.want || !strings.Contains(last.Do, "imsafe doctor user")) {
				t.Errorf("%+v", events)
			}
		})
	}
}

// TestJudgeCertificate: a node that starts with a certificate which clients turn away from says so, and one with a good one says nothing.
func TestJudgeCertificate(t *testing.T) {
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		from, until time.Time
		want        string
	}{
		"good":  {now.AddDate(0, -1, 0), now.AddDate(0, 1, 0), ""},
		"ended": {now.AddDate(-1, 0, 0), now.AddDate(0, 0, -1), "not valid any more since 2026-11-30"},
		"to be": {now.AddDate(0, 0, 1), now.AddDate(1, 0, 0), "valid only from 2026-12-02T12:00:00Z on"},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			n := &Node{o: Options{Clock: shard.NewFake(now), Log: slog.New(slog.NewTextHandler(&log, nil)),
				Certificate: &tls.Certificate{Leaf: &x509.Certificate{NotBefore: c.from, NotAfter: c.until}}}}
			n.judgeCertificate()
			if told := log.String(); c.want == "" && told != "" || !strings.Contains(told, c.want) {
				t.Errorf("%q", told)
			}
		})
	}
}
