package scenario

import (
	"net/netip"
	"os"
	"regexp"
	"testing"

	"imsafe/test/lab"
)

// TestCharging_identity_is_kept holds the rules of P-Charging-Vector in the core, on the wire between P-CSCF and the rest: one icid-value
// for the whole of a call, the home network named on both sides, and nothing of it towards a client (TS 24.229 5.2.6, 5.4.3; RFC 7315 4.6).
func TestCharging_identity_is_kept(t *testing.T) {
	script, err := os.ReadFile("testdata/call.txt")
	if err != nil {
		t.Fatal(err)
	}
	invite := regexp.MustCompile(`(?s)\AINVITE .*P-Charging-Vector: icid-value="([^"]*)"(;orig-ioi=` + regexp.QuoteMeta(lab.Domain) + `)?\r\n`)
	ok := regexp.MustCompile(`(?s)\ASIP/2.0 200 .*CSeq: \d+ INVITE.*`)
	named := regexp.MustCompile(`P-Charging-Vector: icid-value="([^"]*)";orig-ioi=` + regexp.QuoteMeta(lab.Domain) + `;term-ioi=` + regexp.QuoteMeta(lab.Domain) + `\r\n`)
	icids, answers := map[string]int{}, 0
	tap := func(from, to netip.AddrPort, data []byte) {
		inside := from.Port() == 5070
		if found := invite.FindSubmatch(data); found != nil {
			icids[string(found[1])]++
			if !inside {
				t.Errorf("left for %v:\n%s", to, data)
			}
		}
		if ok.Match(data) && inside && to.Addr().As4()[3] == 1 {
			if found := named.FindSubmatch(data); found != nil {
				icids[string(found[1])]++
				answers++
			}
		}
	}
	Play(t, string(script), lab.Options{Seed: 1, Split: true, Tap: tap})
	if len(icids) != 1 || answers == 0 {
		t.Errorf("icid-values %v, %d answers that name both networks", icids, answers)
	}
}
