package attack

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"imsafe/secure"
)

// logRead: an account of the host that may read the log looks up who the subscribers are.
func logRead() Attack {
	return Attack{
		ID: "mgmt.log.read", Number: "MG-04", Title: "whoever reads the log of a node learns who its subscribers are",
		Text:     "a log goes where its subscribers' names should not: to a collector, into a report of a defect, to every account of the host that may read it",
		Services: []Service{Confidentiality}, Stride: Disclosing, Threats: []Threat{Removal, Disclosure}, Module: InfrastructureAdmin,
		Source: "OWASP ASVS V7.1; CWE-532", Access: both(), Debug: true,
		Bounds:   Bounds{Packets: 10, Bytes: 10_000, Conns: 1, Time: 3 * time.Second},
		Variants: []Variant{{Position: LocalAccount, Controls: []secure.ControlID{secure.ManagementConfidentialityRedact}, Run: readsLog, Ours: ownLog}},
	}
}

// ownLog says why another system cannot be asked.
const ownLog = "the log of another system is for its owner to read"

// readsLog waits until the log tells of a registration, and looks for names and keys in it.
func readsLog(ctx context.Context, f *Field, o *Outcome) error {
	carol, err := f.Carol(ctx)
	if err != nil {
		return err
	}
	text, err := f.logged(ctx, "state=answered", carol.tag)
	if err != nil {
		return err
	}
	o.Arrived("%d octets of the log, which tells of a registration that the attacker knows to be there", len(text))
	for _, u := range f.Users {
		if strings.Contains(text, u.IMPU) || strings.Contains(text, u.IMPI) {
			o.Users++
		}
	}
	o.Wire(o.Users > 0, "the log has the identities of %d of %d subscribers", o.Users, len(f.Users))
	keys := 0
	for _, u := range f.Users {
		if k := hex.EncodeToString(u.K[:]); u.Password == "" && strings.Contains(strings.ToLower(text), k) {
			keys++
		}
	}
	o.Wire(keys > 0, "and the keys of %d", keys)
	return nil
}

// logged waits until a line of the target's log has all of these words, and returns the log.
func (f *Field) logged(ctx context.Context, words ...string) (string, error) {
	for {
		text := f.log()
		for line := range strings.Lines(text) {
			if hasAll(line, words) {
				return text, nil
			}
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("attack: no line of the log has %q: %w", words, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func hasAll(line string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(line, w) {
			return false
		}
	}
	return true
}
