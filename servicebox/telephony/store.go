package telephony

import (
	"context"
	"sync"
	"time"
)

// Settings are the supplementary services of one public identity. The zero value has none of them active.
type Settings struct {
	// Diversion (TS 24.604): where calls go, a SIP or tel URI each; "" is not active.
	Unconditional string `json:"unconditional,omitempty"`  // CFU
	Busy          string `json:"busy,omitempty"`           // CFB
	NoAnswer      string `json:"no_answer,omitempty"`      // CFNR
	NotReachable  string `json:"not_reachable,omitempty"`  // CFNRc
	NotRegistered string `json:"not_registered,omitempty"` // CFNL
	// NoReply is how long a call rings before NoAnswer; 0 is DefaultNoReply.
	NoReply Seconds `json:"no_reply_seconds,omitempty"`
	// Deflection lets the device send a call elsewhere with a 302 (CD).
	Deflection bool `json:"deflection,omitempty"`
	// Announce tells callers that they are diverted (181), Whereto also where; Unseen does not tell whom they are diverted to who was called.
	Announce bool `json:"announce,omitempty"`
	Whereto  bool `json:"whereto,omitempty"`
	Unseen   bool `json:"unseen,omitempty"`

	// Barring (TS 24.611).
	BarOutgoing  bool `json:"bar_outgoing,omitempty"`  // OCB
	BarIncoming  bool `json:"bar_incoming,omitempty"`  // ICB
	BarAnonymous bool `json:"bar_anonymous,omitempty"` // ACR

	// Identities (TS 24.607, TS 24.608).
	HideCaller   bool `json:"hide_caller,omitempty"`   // OIR: whoever he calls is not shown who calls
	NoCaller     bool `json:"no_caller,omitempty"`     // he has no OIP: he is not shown who calls
	HideAnswerer bool `json:"hide_answerer,omitempty"` // TIR: whoever calls him is not shown who answers
	NoConnected  bool `json:"no_connected,omitempty"`  // he has no TIP: he is not shown who answers
}

// Seconds is a time in whole seconds.
type Seconds uint16

// DefaultNoReply is how long a call rings (TS 24.604 4.9.1.1 lets a user choose between 5 and 180 s).
const DefaultNoReply = 20 * time.Second

// noReply is the time in force.
func (s *Settings) noReply() time.Duration {
	if s.NoReply == 0 {
		return DefaultNoReply
	}
	return min(max(time.Duration(s.NoReply)*time.Second, 5*time.Second), 180*time.Second)
}

// Store keeps settings by public identity, in canonical form. Safe for concurrent use. An error of Settings refuses the request that asked:
// who cannot be known to be barred is not let through.
type Store interface {
	// Settings returns those of an identity; the zero value if it has none.
	Settings(ctx context.Context, identity string) (Settings, error)
	// Change changes them, as one step.
	Change(ctx context.Context, identity string, change func(*Settings)) error
}

// Memory is a Store that forgets with its process. Make it with NewMemory.
type Memory struct {
	mu  sync.RWMutex
	all map[string]Settings
}

var _ Store = (*Memory)(nil)

// NewMemory returns an empty one.
func NewMemory() *Memory { return &Memory{all: map[string]Settings{}} }

// Settings implements Store.
func (m *Memory) Settings(_ context.Context, identity string) (Settings, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.all[identity], nil
}

// Change implements Store.
func (m *Memory) Change(_ context.Context, identity string, change func(*Settings)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.all[identity]
	change(&s)
	m.all[identity] = s
	return nil
}
