package hss

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"imsafe/config"
	"imsafe/test/live"
)

// Codes of AVPs that faults are about.
const (
	userName       = 1
	sessionID      = 263
	originHost     = 264
	resultCode     = 268
	experimental   = 297
	userData       = 606
	capabilities   = 603
	authDataItem   = 612
	vendorSpecific = 260
)

// faults are what the HSS does once, in the middle of a registration, and what the client hears then.
var faults = []struct {
	name    string
	command string // whose answer it is
	fault   string
	status  int // of the REGISTER
}{
	// RFC 6733 4.1: what is not understood is passed over, unless its M bit is set.
	{"an AVP nobody knows", "MAR", "{unknown, 0}", 200},
	{"an AVP nobody knows, in a group", "MAR", fmt.Sprintf("{unknown_in, %d, 0}", authDataItem), 200},
	{"an AVP nobody knows, in the UAA", "UAR", "{unknown, 0}", 200},
	{"an AVP nobody knows, in the SAA", "SAR", "{unknown, 0}", 200},
	{"an AVP nobody knows but everybody must", "MAR", "{unknown, 64}", 504},
	{"an AVP nobody knows but everybody must, in a group", "MAR", fmt.Sprintf("{unknown_in, %d, 64}", authDataItem), 504},
	{"an AVP nobody knows but everybody must, in the UAA", "UAR", "{unknown, 64}", 480},
	{"an AVP nobody knows but everybody must, in the SAA", "SAR", "{unknown, 64}", 504},
	// RFC 6733 3.2: but for what has a fixed place any order is good.
	{"the MAA backwards", "MAR", "backwards", 200},
	{"the UAA backwards", "UAR", "backwards", 200},
	{"the SAA backwards", "SAR", "backwards", 200},
	// Of two values neither is true (TS 29.229 6.1).
	{"two names", "MAR", fmt.Sprintf("{twice, %d, %q}", userName, "somebody@else.example"), 504},
	{"two results", "MAR", fmt.Sprintf("{twice, %d, [0, 0, 16#13, 16#94]}", resultCode), 504},
	{"two results of the UAA", "UAR", fmt.Sprintf("{twice, %d, [0, 0, 1, 16#0a, 64, 0, 0, 12, 0, 0, 16#28, 16#af, 0, 0, 1, 16#2a, 64, 0, 0, 12, 0, 0, 16#13, 16#89]}", experimental), 480},
	{"two profiles", "SAR", fmt.Sprintf("{twice, %d, %q}", userData, "<IMSSubscription/>"), 504},
	{"two hosts", "UAR", fmt.Sprintf("{twice, %d, %q}", originHost, "hss.elsewhere.example"), 480},
	// RFC 6733 7.1.5: lengths.
	{"an AVP longer than its group", "MAR", fmt.Sprintf("{overrun_in, %d}", authDataItem), 504},
	{"an AVP longer than its group, in the SAA", "SAR", fmt.Sprintf("{overrun_in, %d}", 618), 504},
	{"an AVP longer than its group, in the UAA", "UAR", fmt.Sprintf("{overrun_in, %d}", experimental), 480},
	{"an AVP shorter than its header", "MAR", fmt.Sprintf("{stunted, %d}", originHost), 504},
	// What must be there.
	{"no result", "MAR", fmt.Sprintf("{without, %d}", resultCode), 504},
	{"no result of the UAA", "UAR", fmt.Sprintf("{without, %d}", experimental), 480},
	{"no vector", "MAR", fmt.Sprintf("{without, %d}", authDataItem), 504},
	{"no profile", "SAR", fmt.Sprintf("{without, %d}", userData), 504},
	{"no session", "MAR", fmt.Sprintf("{without, %d}", sessionID), 504},
	// RFC 6733 7.1.3: there is nobody else to ask.
	{"not to be delivered", "UAR", "{protocol, 3002}", 480},
	{"too busy", "MAR", "{protocol, 3004}", 503},
}

// TestFaults: the HSS answers with what the standard does not allow, or with what it allows and few send. The one request fails or
// not, as the standard has it; the connection stays, and so do other users.
func TestFaults(t *testing.T) {
	authority := newAuthority(t)
	hss := run(t, authority, setting{name: "hss", at: free(t)})
	n := start(t, authority, []*foreign{hss}, func(*config.Config) {})
	ctx, cancel := context.WithTimeout(t.Context(), 3*live.Patience)
	defer cancel()
	users := live.NewUsers("faults", len(faults)+2, live.AKAv1)
	hss.add(t, users...)
	bystander, friend := n.handset(t, users[len(faults)]), n.handset(t, users[len(faults)+1])
	register(ctx, t, bystander, 600, 1)
	register(ctx, t, friend, 600, 1)
	for i, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			hss.ask(t, "ok", "{fault, '%s', %s}", f.command, f.fault)
			h := n.handset(t, users[i])
			_, err := h.Register(ctx, 600)
			switch {
			case f.status == 200 && err != nil:
				t.Error(err)
			case f.status != 200 && (err == nil || !strings.Contains(err.Error(), fmt.Sprintf(": %d ", f.status))):
				t.Errorf("%v, want %d", err, f.status)
			}
			if _, err := h.Register(ctx, 600); err != nil {
				t.Errorf("once more: %v", err)
			}
		})
	}
	live.Call(t, bystander, friend, friend)
	if hss.waits(t, "up", 2); hss.happened("up") != 2 || hss.happened("down") != 0 {
		t.Error("a connection did not stay")
	}
	hss.content(t)
}
