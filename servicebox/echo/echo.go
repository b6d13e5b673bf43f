// Package echo is a service that answers, gives back what it hears, and says which protections hold on each leg.
//
// It has a public service identity, sip:echo@<home domain>. A call to it is answered with media that end at the service, under DTLS-SRTP, and what the
// caller says comes back to him. A call with nothing that may be answered is one without media: every medium is declined (RFC 3264 6: port 0), the call stands,
// nothing is heard. What it has to say goes along as Warning 399, which the standard has for text that is to be shown to people (RFC 3261
// 20.43). A MESSAGE to it is answered by a MESSAGE. GET /protections over HTTPS says it too, to whom the network has given a token for echo.
//
// It is written with servicebox/as alone, and is enrolled like anybody's service.
package echo

import (
	"context"
	"crypto/tls"
	_ "embed" // the manifest
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"imsafe/servicebox/as"
)

//go:embed echo.service.toml
var manifest string

// Manifest returns what echo asks for in a home domain.
func Manifest(domain string) string { return strings.ReplaceAll(manifest, "ims.example", domain) }

// longest is how long a call is held for whoever forgot it.
const longest = 10 * time.Minute

// Setup gives a service the handlers of echo.
func Setup(svc *as.Service) {
	svc.Handle(as.Terminating, call)
	svc.HandleMessages(as.Terminating, message)
	svc.HandlePage("GET /protections", func(w http.ResponseWriter, r *http.Request, v as.Visitor) { page(svc, w, r, v) })
}

// page tells a visitor who he is here, and what holds between him, the core and echo.
func page(svc *as.Service, w http.ResponseWriter, r *http.Request, v as.Visitor) {
	lines := append(svc.Protections(), "C-I: the core vouches for "+v.Subject,
		"C-S: "+tls.VersionName(r.TLS.Version)+", a token of the core for this service alone, bound to your key, until "+v.Until.UTC().Format(time.TimeOnly)+" UTC")
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(struct { // who went away needs no answer
		Service     string   `json:"service"`
		Visitor     string   `json:"visitor"`
		Protections []string `json:"protections"`
	}{svc.Name(), v.Subject, lines})
}

// call answers, gives back what is heard, and holds the line until the caller hangs up. Who has offered nothing is offered what others offer: DTLS-SRTP.
func call(ctx context.Context, s *as.Session) error {
	keying, late := as.Keying(s.Message), len(s.Message) == 0
	media := s.Service().HasMedia() && s.Grants("media.send") && s.Grants("media.receive")
	switch {
	case late && !media: // the answer would have to offer something (RFC 3261 13.2.1)
		return s.RejectWith(488, "echo has no media to offer here")
	case late:
		keying = "DTLS-SRTP"
	case keying == "" || !media:
		return decline(ctx, s, keying)
	}
	c, err := s.AnswerMedia(ctx, nil, report(s, keying+", which ends here: what is said comes back")...)
	if err != nil {
		return err
	}
	if err := c.Loop(); err != nil {
		c.Hangup()
		return err
	}
	return hold(ctx, s, c.Leg)
}

// decline answers without media.
func decline(ctx context.Context, s *as.Session, keying string) error {
	if keying != "" {
		keying += ", declined: there is no media server here"
	}
	leg, err := s.Answer(ctx, as.Decline(s.Message), report(s, keying)...)
	if err != nil {
		return err
	}
	leg.Offers(as.Decline)
	return hold(ctx, s, leg)
}

// hold waits until somebody hangs up, at last itself.
func hold(ctx context.Context, s *as.Session, leg *as.Leg) error {
	if err := s.Service().Sleep(ctx, longest); err == nil {
		leg.Hangup()
	}
	return nil
}

// message tells the sender of a message.
func message(ctx context.Context, s *as.Session) error {
	if s.Caller == "" {
		return s.RejectWith(403, "echo answers only whom the core vouches for")
	}
	if err := s.Accept(); err != nil {
		return err
	}
	text := strings.Join(append([]string{string(s.Message)}, report(s, "")...), "\n")
	return s.Service().Send(context.WithoutCancel(ctx), s.Caller, "text/plain; charset=utf-8", []byte(text))
}

// report words what holds. Of the leg between client and core a service is told nothing (TS 24.229 leaves P-Access-Network-Info inside), so
// it says what the core vouches for, and no more.
func report(s *as.Session, keying string) []string {
	lines := s.Protections()
	switch {
	case s.Caller == "":
		lines = append(lines, "C-I: the core does not say who calls")
	case s.CallerHidden:
		lines = append(lines, "C-I: the core knows who calls, who does not want to be shown")
	default:
		lines = append(lines, "C-I: the core vouches for "+s.Caller)
	}
	if keying != "" {
		lines = append(lines, "C-S: media offered with "+keying)
	}
	return lines
}
