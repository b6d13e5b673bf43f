package runner

import (
	"context"
	"encoding/json"
	"time"

	"imsafe/proof/attack"
	"imsafe/proof/evidence"
	"imsafe/secure"
)

// Setup is what a target is asked to be.
type Setup struct {
	Off     []secure.ControlID // all others are on
	Media   bool               // media are anchored
	Digest  bool               // subscribers without a card are admitted
	NoCard  []string           // those of the cast who have none, with Digest
	Access  attack.Access      // that is open beside TLS
	Quick   bool               // SIP timers towards clients are attack.QuickT1
	Profile string             // of IPsec, by its name; "" is strict
	Tight   bool               // budgets of C-I are attack.TightSource and so on; else nobody reaches them
	Small   bool               // one shard, with room for attack.SmallPlaces procedures
	Hasty   bool               // connections of clients have attack.HastyTime, and there is room for attack.HastyConns of them
	Mode    string             // attack.Strict: each hop between functions encodes and parses; attack.Wire: the P-CSCF is a node of its own
	Debug   bool               // its log is at the level of debugging
	// LogFormat is that of its log; "" is the default.
	LogFormat string
	Viewer    bool     // this account may look at the operator's door
	Cast      []string // names of the lab subscribers, whose keys the target makes
	// Approved are the service platforms that its operator has approved.
	Approved []attack.Approved
}

// Target is one running IMS with one configuration, in a process of its own. Not safe for concurrent use.
type Target interface {
	// Site is where it is.
	Site() attack.Site
	// What describes it for the record.
	What() evidence.Target
	// Events returns what its gate has noted since it started.
	Events(ctx context.Context) ([]evidence.Event, error)
	// Operate is what its operator does with a service: attack.Revoke for example. It returns when the target says that it is done.
	Operate(ctx context.Context, verb, service string) error
	// Files are those of its log of decisions; nil for none.
	Files() attack.Files
	// Log is what it has written to its own log, or the end of it.
	Log() string
	// Close ends it and removes what it left. An error says that it did not end as it should: a defect, or a crash.
	Close() error
}

// Meter is a Target that knows what its process has cost so far.
type Meter interface {
	// CPU is the time of processors that it has taken since it started; false if this host does not tell.
	CPU() (time.Duration, bool)
}

// Drawer is a Target that can draw what passes between its functions. Drawing costs it time, so it does so during the attack alone.
type Drawer interface {
	// Draw begins.
	Draw(ctx context.Context) error
	// Drawn ends it and returns the ladders as JSON; nil for none.
	Drawn(ctx context.Context) (json.RawMessage, error)
}

// Launcher starts targets. Safe for concurrent use.
type Launcher interface {
	Launch(ctx context.Context, s Setup) (Target, error)
}

// cast is who lives on a target for attack a.
func cast(a *attack.Attack) []string {
	names := []string{attack.Alice, attack.Bob, attack.Carol, attack.Mallory}
	if a.Digest || len(a.Approved) > 0 {
		names = append(names, attack.Dave)
	}
	for i := range a.Crowd {
		names = append(names, attack.Accomplice(i))
	}
	return append(names, neighbours(a)...)
}

func neighbours(a *attack.Attack) (names []string) {
	for i := range a.Neighbours {
		names = append(names, attack.Neighbour(i))
	}
	return names
}

// noCard is who of the cast has no card.
func noCard(a *attack.Attack) []string {
	if !a.Digest {
		return nil
	}
	return append(neighbours(a), attack.Dave)
}
