package main

import (
	"fmt"
	"strings"
	"time"
)

// event is one thing that a client did or saw. With --json each is an object of its own, as it happens.
type event struct {
	Event string `json:"event"` // registered, lost, moved, ringing, incoming, answered, refused, secured, call, failed, sent, message, deregistered

	Peer       string   `json:"peer,omitempty"`
	Asserted   bool     `json:"asserted,omitempty"` // the network asserts Peer
	Vouched    string   `json:"vouched,omitempty"`  // whom it has signed for, where the client checks that
	IMPUs      []string `json:"impus,omitempty"`
	Scheme     string   `json:"scheme,omitempty"`
	Leg        string   `json:"leg,omitempty"` // which connection the protection is of
	Protection string   `json:"protection,omitempty"`
	Proxy      string   `json:"proxy,omitempty"` // the P-CSCF
	Seconds    float64  `json:"seconds,omitempty"`
	Reason     string   `json:"reason,omitempty"`

	ContentType string `json:"content_type,omitempty"`
	Text        string `json:"text,omitempty"`

	Voice *voiceReport `json:"voice,omitempty"`
}

// voiceReport is what was known of the voice of a call when it ended.
type voiceReport struct {
	Codec      string            `json:"codec"`
	PacketsOut uint64            `json:"packets_out"`
	PacketsIn  uint64            `json:"packets_in"`
	Lost       uint64            `json:"lost"`
	Refused    map[string]uint64 `json:"refused,omitempty"` // packets that were not let in, by reason
	Heard      *toneReport       `json:"heard,omitempty"`
	Recorded   string            `json:"recorded,omitempty"` // file
}

// toneReport is the strongest frequency in the last fifth of a second that was heard.
type toneReport struct {
	Hz     float64 `json:"hz"`
	DBm0   float64 `json:"dbm0"`
	Purity float64 `json:"purity"` // near 1 for a clean tone
}

// happened prints an event.
func (a *app) happened(e event) {
	a.telling.Lock()
	defer a.telling.Unlock()
	if a.json {
		a.print(e)
		return
	}
	a.say("%s", e.text())
}

func (e event) text() string {
	parts := []string{fmt.Sprintf("%-12s", e.Event)}
	if e.Peer != "" {
		peer := e.Peer
		if (e.Event == "incoming" || e.Event == "message") && !e.Asserted {
			peer += " (the network does not vouch for that)"
		}
		parts = append(parts, peer)
	}
	if e.Proxy != "" && len(e.IMPUs) == 0 {
		parts = append(parts, "the P-CSCF "+e.Proxy)
	}
	if len(e.IMPUs) > 0 {
		parts = append(parts, "as "+strings.Join(e.IMPUs, ", "))
	}
	if e.Scheme != "" {
		parts = append(parts, e.Scheme)
	}
	if e.Seconds > 0 {
		parts = append(parts, time.Duration(e.Seconds*float64(time.Second)).Round(time.Second/10).String())
	}
	for _, s := range []string{e.Reason, e.Text} {
		if s != "" {
			parts = append(parts, printable(s))
		}
	}
	text := strings.Join(parts, "  ")
	if e.Vouched != "" {
		text += fmt.Sprintf("\n%-12s  %s", "", printable(e.Vouched))
	}
	if e.Protection != "" {
		leg := strings.TrimSpace(e.Leg + " " + e.Proxy)
		text += fmt.Sprintf("\n%-12s  %s: %s", "", leg, e.Protection)
	}
	if v := e.Voice; v != nil {
		text += fmt.Sprintf("\n%-12s  %s, %d packets out, %d in, %d lost", "", v.Codec, v.PacketsOut, v.PacketsIn, v.Lost)
		if v.Heard != nil {
			text += fmt.Sprintf("; heard %.0f Hz at %.1f dBm0", v.Heard.Hz, v.Heard.DBm0)
		}
		if v.Recorded != "" {
			text += "; recorded in " + v.Recorded
		}
	}
	return text
}

// printable keeps what others send from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (r < ' ' || r >= 0x7f && r < 0xa0) {
			return '\uFFFD'
		}
		return r
	}, s)
}
