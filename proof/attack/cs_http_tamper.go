package attack

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// httpTamper: somebody in the path changes what a client fetches.
func httpTamper() Attack {
	return Attack{
		ID: "cs.http.tamper", Number: "CS-13", Title: "a hand on the wire on which a client fetches",
		Text:     "whoever has the path decides what a user sees as his own, and what a service does for him",
		Services: []Service{Integrity}, Stride: Tampering, Threats: []Threat{Corruption}, Module: ServicesUser,
		Source: "TS 33.222 5.3; RFC 9449 11.7", Access: []Access{ISC},
		Approved: []Approved{{Name: tap, Manifest: rights("session.proxy", "page.serve")}},
		Bounds:   Bounds{Packets: 60, Bytes: 80_000, Conns: 8, Time: 3 * time.Second},
		Variants: []Variant{{Position: OnPath, Controls: sealedWeb(), NotWire: notOnNodes(), Run: tamperPage}},
	}
}

// tamperPage gives carol another page for the one that she asks for. What he cannot read he changes all the same: one bit in each record.
func tamperPage(ctx context.Context, f *Field, o *Outcome) error {
	const asked, given = "GET /registration HTTP", "GET /token/keys HTTP"
	var works atomic.Bool
	var heard eavesdropped
	way := f.carelessWeb(&heard, func(octets []byte) []byte {
		if !works.Load() {
			return octets
		}
		changed := bytes.ReplaceAll(octets, []byte(asked), []byte(given))
		if bytes.Equal(changed, octets) {
			changed[len(changed)-1] ^= 1
		}
		return changed
	})
	carol, err := f.over(ctx, way)
	if err != nil {
		return err
	}
	at := f.origin() + "/registration"
	own, err := carol.UE.Get(ctx, at)
	if err != nil {
		return err
	}
	if !strings.Contains(string(own.Body), carol.IMPU) {
		return errors.New("attack: carol does not get her own page")
	}
	_, octets := heard.has(asked)
	o.Arrived("carol fetches over the attacker, under TLS: %v; %d octets", way.sealed, octets)
	works.Store(true)
	page, failed := carol.UE.Get(ctx, at)
	if failed != nil && ctx.Err() != nil {
		return failed
	}
	other := failed == nil && page.Status == http.StatusOK && !strings.Contains(string(page.Body), carol.IMPU)
	if other {
		o.Users = 1
	}
	o.Wire(failed == nil && page.Status == http.StatusOK, "what the attacker has changed is answered %d (0: not at all)", page.Status)
	o.Peer(other, "carol reads another page as her own: %v", other)
	return nil
}
