package attack

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"imsafe/proto/aka"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// keysSniff: somebody who reads the wires looks for the keys of a registration.
func keysSniff() Attack {
	return Attack{
		ID: "core.keys.sniff", Number: "ZB-01", Title: "session keys read on the way",
		Text:     "whoever has CK and IK reads and forges everything inside the associations that they made",
		Services: []Service{Confidentiality}, Stride: Disclosing, Threats: []Threat{Disclosure}, Module: InfrastructureControl,
		Source: "TS 33.203 6.1.1", Access: both(),
		Bounds: Bounds{Packets: 20, Bytes: 20_000, Conns: 1, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "gm", Position: OnPath, Run: sniffKeys, Controls: []secure.ControlID{secure.CIConfidentialityKeyEgress},
				Card: "CK and IK are keys of AKA", NoAblation: "nothing in the program writes these keys into a message, so there is nothing to switch on"},
			{Name: "mw", Position: CoreNode, Access: []Access{Mw}, Run: asksForKeys, Controls: []secure.ControlID{secure.CoreConfidentialityMTLS}},
		},
	}
}

// sniffKeys reads all that the edge says to carol while she registers, in clear: what is inside TLS and ESP too.
func sniffKeys(ctx context.Context, f *Field, o *Outcome) error {
	found, challenges, octets := 0, 0, 0
	const times = 5
	for range times {
		var heard bytes.Buffer
		carol, err := f.witness(ctx, Carol, &heard)
		if err != nil {
			return err
		}
		if err := carol.Register(ctx); err != nil {
			return err
		}
		carol.Close()
		octets += heard.Len()
		keys, err := keysIn(heard.String(), carol.User)
		if err != nil {
			return err
		}
		challenges += len(keys)
		found += leaks(heard.String(), keys)
	}
	if challenges == 0 {
		return fmt.Errorf("attack: no challenge was read in %d registrations", times)
	}
	o.Arrived("%d registrations read", times)
	o.Users = min(found, 1)
	o.Wire(found > 0, "%d registrations, %d octets from the edge, %d keys looked for, %d found", times, octets, challenges, found)
	return nil
}

// asksForKeys is the edge, broken into: its clients come over TLS, so that it has no need of keys. In the name of alice it asks for a challenge as a
// client in clear would get one, beside which a P-CSCF is told CK and IK.
func asksForKeys(ctx context.Context, f *Field, o *Outcome) error {
	h, heard, err := f.onMw(ctx, &f.Edge)
	if err != nil {
		return err
	}
	const times = 5
	last := 0
	for range times {
		alice := f.Users[Alice]
		r := Registering{User: alice, IMPU: alice.IMPU, IMPI: alice.IMPI, Contact: "<sip:alice@192.0.2.1>", Expires: 600, Lines: f.ofEdge()}
		answer, err := h.Ask(ctx, h.Registers(r, h.NoResponse(alice.IMPI)))
		if err != nil {
			return err
		}
		last = answer.Status()
	}
	h.Close()
	o.Arrived("%d REGISTERs of the edge, the last answered %d", times, last)
	keys, err := keysIn(heard.String(), f.Users[Alice])
	if err != nil {
		return err
	}
	found := leaks(heard.String(), keys)
	o.Users = min(found, 1)
	o.Wire(found > 0, "%d challenges and %d octets from the core, the last answer is %d; %d keys of alice in them", len(keys)/3, heard.Len(), last, found)
	return nil
}

// leaks counts the keys that stand in a text, as octets or written out.
func leaks(text string, keys [][]byte) (found int) {
	for _, key := range keys {
		digits := hex.EncodeToString(key)
		for _, form := range []string{string(key), digits, strings.ToUpper(digits), base64.StdEncoding.EncodeToString(key)} {
			if strings.Contains(text, form) {
				found++
			}
		}
	}
	return found
}

// keysIn computes CK, IK and RES of each challenge in a text.
func keysIn(text string, u *User) (keys [][]byte, err error) {
	for rest := text; ; {
		_, after, more := strings.Cut(rest, "\r\nWWW-Authenticate: ")
		if !more {
			return keys, nil
		}
		value, _, _ := strings.Cut(after, "\r\n")
		c, err := sip.ParseChallenge([]byte(value))
		if err != nil {
			return nil, fmt.Errorf("attack: %w", err)
		}
		nonce, err := aka.ParseNonce(c.Nonce)
		if err != nil {
			return nil, fmt.Errorf("attack: %w", err)
		}
		res, ck, ik, _ := aka.NewMilenage(u.K, u.OPc).F2345(nonce.RAND)
		keys = append(keys, res.Append(nil), ck[:], ik[:])
		rest = after
	}
}
