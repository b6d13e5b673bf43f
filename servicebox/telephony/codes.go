package telephony

import (
	"context"
	"regexp"
	"strconv"
	"strings"

	"imsafe/proto/sip"
)

// code is a feature code as a user dials it (TS 22.030 6.5.2): *SC*SI# turns a service on, #SC# turns it off.
type code struct {
	on      bool
	service string
	info    []string // supplementary information: a target, and more
}

var codeForm = regexp.MustCompile(`^(\*\*?|##?)([0-9]{2,3})((?:\*[+0-9a-z._-]*)*)#?$`)

// codeOf reads a feature code out of a Request-URI; false if it is none.
func codeOf(uri string) (code, bool) {
	u, err := sip.ParseURI([]byte(uri))
	if err != nil || len(u.User) > 64 {
		return code{}, false
	}
	dialled := strings.NewReplacer("%23", "#", "%2A", "*", "%2a", "*", "%2B", "+", "%2b", "+").Replace(string(u.User))
	parts := codeForm.FindStringSubmatch(dialled)
	if parts == nil {
		return code{}, false
	}
	c := code{on: parts[1][0] == '*', service: parts[2]}
	if parts[3] != "" {
		c.info = strings.Split(parts[3][1:], "*")
	}
	return c, true
}

// obey does what a code asks for, and says what was done.
func (t *Telephony) obey(ctx context.Context, identity string, c code) string {
	change, done := t.change(c)
	if change == nil {
		return done
	}
	if err := t.store.Change(ctx, identity, change); err != nil {
		return "not done: the settings cannot be changed now"
	}
	return "done: " + done
}

// change returns what a code changes, nil if it is unknown, and words for it (TS 22.030 annex B).
func (t *Telephony) change(c code) (change func(*Settings), words string) {
	diversions := map[string]struct {
		words string
		where func(*Settings) *string
	}{
		"21": {"all calls", func(s *Settings) *string { return &s.Unconditional }},
		"67": {"calls when busy", func(s *Settings) *string { return &s.Busy }},
		"61": {"calls without an answer", func(s *Settings) *string { return &s.NoAnswer }},
		"62": {"calls when not reachable", func(s *Settings) *string { return &s.NotReachable }},
	}
	switches := map[string]struct {
		words string
		where func(*Settings) *bool
	}{
		"31": {"the number is hidden", func(s *Settings) *bool { return &s.HideCaller }},
		"33": {"outgoing calls are barred", func(s *Settings) *bool { return &s.BarOutgoing }},
		"35": {"incoming calls are barred", func(s *Settings) *bool { return &s.BarIncoming }},
		"77": {"anonymous calls are barred", func(s *Settings) *bool { return &s.BarAnonymous }},
	}
	if d, is := diversions[c.service]; is {
		target := ""
		if c.on {
			if target = t.target(c); target == "" {
				return nil, "not done: forward to whom?"
			}
			d.words += " are forwarded to " + target
		} else {
			d.words += " are not forwarded"
		}
		return func(s *Settings) {
			*d.where(s) = target
			switch c.service {
			case "61":
				s.NoReply = c.seconds()
			case "62": // away counts as not reachable
				s.NotRegistered = target
			}
		}, d.words
	}
	if w, is := switches[c.service]; is {
		if !c.on {
			w.words = "no longer: " + w.words
		}
		return func(s *Settings) { *w.where(s) = c.on }, w.words
	}
	return nil, "not done: there is no service " + c.service
}

// target makes a URI of the first piece of information: a number or a name of the home domain.
func (t *Telephony) target(c code) string {
	if len(c.info) == 0 || c.info[0] == "" {
		return ""
	}
	if strings.HasPrefix(c.info[0], "+") {
		return "tel:" + c.info[0]
	}
	return "sip:" + c.info[0] + "@" + t.svc.Domain()
}

// seconds is the time in *61*target*11*seconds#; 0 is the default.
func (c code) seconds() Seconds {
	if len(c.info) < 3 {
		return 0
	}
	n, err := strconv.ParseUint(c.info[2], 10, 16)
	if err != nil {
		return 0
	}
	return Seconds(n)
}
