// Package ladder is the story of a call or a registration as people draw it: a column for each party, an arrow for each message, each arrow
// with the protection that it had and with the checks that passed or refused it.
//
// It has the words (Story, Arrow, Check), a bounded Ring that keeps the last stories, and two ways to draw one: SVG and Text. It knows no SIP, no node
// and no clock: whoever sees the messages tells it (node), and keeps keys and bodies out of what he tells. It imports the standard library alone.
// A Ring is safe for concurrent use; a Story that it has handed out belongs to whoever asked.
package ladder

import (
	"slices"
	"time"
)

// Party is a column.
type Party uint8

// The parties, from left to right. Whoever is called, or is another client than the first of a story, stands at the right.
const (
	UE Party = iota
	PCSCF
	ICSCF
	SCSCF
	HSS
	AS
	Media
	Node // another process of this core, where it cannot be said which function of it
	Peer // the other client
	parties
)

// String returns what stands above the column.
func (p Party) String() string {
	return [...]string{"UE", "P-CSCF", "I-CSCF", "S-CSCF", "HSS", "AS", "media", "node", "UE"}[min(p, Peer)]
}

// short is String where there is little room.
func (p Party) short() string {
	return [...]string{"UE", "P", "I", "S", "HSS", "AS", "media", "node", "UE"}[min(p, Peer)]
}

// MarshalText writes the name; the two columns of clients are told apart.
func (p Party) MarshalText() ([]byte, error) {
	if p == Peer {
		return []byte("peer"), nil
	}
	return []byte(p.String()), nil
}

// UnmarshalText reads what MarshalText wrote; anything else is Node.
func (p *Party) UnmarshalText(text []byte) error {
	*p = Node
	for i := range parties {
		if name, _ := i.MarshalText(); string(name) == string(text) {
			*p = i
		}
	}
	return nil
}

// Cover is what protects a message on its way.
type Cover string

// The covers.
const (
	ESP     Cover = "ESP"        // inside security associations (TS 33.203)
	TLS     Cover = "TLS"        // the server has shown a certificate
	MTLS    Cover = "mTLS"       // both have
	Process Cover = "in process" // it was on no wire
	Clear   Cover = "clear"      // everybody on the way may read and change it
	Unknown Cover = "unknown"    // its association has gone meanwhile
)

// Check is what a control did about a message.
type Check struct {
	Control string `json:"control"`
	Reason  string `json:"reason,omitempty"` // why it refused; of one that passed, what it has seen
	Did     Did    `json:"did"`
}

// Did is what a control did.
type Did string

// What a control may do. LetPass is of one that is off: with it the message would have been refused.
const (
	Passed  Did = "passed"
	Refused Did = "refused"
	LetPass Did = "let pass"
)

// Arrow is a message. Its lines are headers without keys, without parameters and without the body.
type Arrow struct {
	At     time.Time `json:"at"`
	From   Party     `json:"from"`
	To     Party     `json:"to"`
	What   string    `json:"what"`             // "INVITE", "200 OK", "User-Authorization"
	Status int       `json:"status,omitempty"` // of a response
	Cover  Cover     `json:"cover"`
	Sender string    `json:"sender,omitempty"` // what was proven about who sent it
	Lines  []string  `json:"lines,omitempty"`
	Checks []Check   `json:"checks,omitempty"`
}

// Worst is what matters most of what the checks did: LetPass, Refused, Passed, or "" where none has said anything.
func (a *Arrow) Worst() (worst Did) {
	for _, did := range []Did{Passed, Refused, LetPass} {
		if a.has(did) {
			worst = did
		}
	}
	return worst
}

func (a *Arrow) has(did Did) bool {
	return slices.ContainsFunc(a.Checks, func(c Check) bool { return c.Did == did })
}

// Story is what belongs together: the messages of one Call-ID, and what was asked of the HSS and of media because of them.
type Story struct {
	ID     uint64   `json:"id"`
	Call   string   `json:"call_id"`
	What   string   `json:"what"` // the method that it began with
	Who    []string `json:"who"`  // identities, the first is that of whoever began
	Arrows []Arrow  `json:"arrows"`
	// More is how many messages came after the story was full.
	More int `json:"more,omitempty"`
}

// Head is a Story in one line of a list.
type Head struct {
	ID      uint64    `json:"id"`
	Call    string    `json:"call_id"`
	What    string    `json:"what"`
	Who     []string  `json:"who"`
	Began   time.Time `json:"began"`
	Arrows  int       `json:"arrows"`
	Status  int       `json:"status"`            // of the last final response of the first sender
	Refused string    `json:"refused,omitempty"` // the control by which a message went no further
}

// Head sums a story up.
func (s *Story) Head() Head {
	h := Head{ID: s.ID, Call: s.Call, What: s.What, Who: s.Who, Arrows: len(s.Arrows) + s.More}
	for at := range s.Arrows {
		a := &s.Arrows[at]
		if at == 0 {
			h.Began = a.At
		}
		if a.Status >= 200 && a.To == UE {
			h.Status = a.Status
		}
		if i := slices.IndexFunc(a.Checks, func(c Check) bool { return c.Did == Refused }); i >= 0 && s.stopped(at) {
			h.Refused = a.Checks[i].Control
		}
	}
	return h
}
