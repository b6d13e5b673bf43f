package attack

import (
	"context"
	"strings"
	"time"

	"imsafe/secure"
)

// logForge: a stranger's REGISTER names a realm that is more than a name to the terminal on which somebody reads the log.
func logForge() Attack {
	controls := []secure.ControlID{secure.ManagementIntegrityLogLine}
	variant := func(name, octets, does string, by ...Access) Variant {
		return Variant{Name: name, Position: OffPath, Access: by, Controls: controls, Ours: ownLog, Run: forgesLog(octets, does)}
	}
	return Attack{
		ID: "mgmt.log.forge", Number: "MG-05", Title: "a stranger writes lines into the log that look like the node's own, or drives the terminal of whoever reads it",
		Text:     "what has happened would be denied, or blamed on somebody else: a terminal does what the octets say, from a second line to a screen that is wiped",
		Services: []Service{Integrity}, Stride: Tampering, Threats: []Threat{Destruction, Corruption}, Module: InfrastructureAdmin,
		Source: "CWE-117; CWE-150; RFC 3261 25.1 (quoted-pair)", Access: both(), Debug: true,
		LogFormat: "json", // which by itself lets through what is no control character of ASCII; the form for people quotes more
		Bounds:    Bounds{Packets: 10, Bytes: 10_000, Conns: 4, Time: 3 * time.Second},
		Variants: []Variant{
			// ESC E begins a line of its own (ECMA-48, NEL); a quoted string may have ESC behind a backslash.
			variant("line", "\x1bE", "a line of its own"),
			variant("c1", "\u0085", "a line of its own, by one character that no filter for ASCII knows", TLS),
			variant("terminal", "\x1b[2J", "an empty screen", TLS),
			variant("direction", "\u202e", "text that reads backwards from there on", TLS),
		},
	}
}

// forgesLog sends it, waits until the log tells of it, and looks what octets stand there.
func forgesLog(octets, does string) func(context.Context, *Field, *Outcome) error {
	return func(ctx context.Context, f *Field, o *Outcome) error {
		stranger, err := f.Stranger(ctx)
		if err != nil {
			return err
		}
		victim := f.Users[Alice]
		forged := octets + "time=2026-01-01T00:00:00.000Z level=ERROR msg=everybody_was_deregistered"
		said := strings.ReplaceAll(forged, "\x1b", "\\\x1b")
		credentials := strings.Replace(stranger.NoResponse(victim.IMPI), `realm="`+f.Domain, `realm="`+f.Domain+said, 1)
		if err := stranger.Write(stranger.Registers(Registering{IMPU: victim.IMPU, Expires: 600}, credentials)); err != nil {
			return err
		}
		log, err := f.logged(ctx, "registration", stranger.tag+stranger.instance)
		if err != nil {
			return err
		}
		o.Arrived("the log tells of the stranger's REGISTER")
		stands := strings.Contains(log, forged)
		if stands {
			o.Users = 1
		}
		o.Peer(stands, "whoever reads the log at a terminal sees %s: %v", does, stands)
		return nil
	}
}
