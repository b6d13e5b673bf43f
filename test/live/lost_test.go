package live_test

import (
	"context"
	"strings"
	"testing"

	"imsafe/client/ue"
	"imsafe/test/live"
)

// TestLost_while_it_rings: the process of a caller ends without a word. Where his TLS session ends with it, whoever he has rung stops ringing at once, over whatever, and
// is told why (TS 24.229 5.2.8.1.1). His security associations outlive it, as they would a tunnel under a hill: nobody has said that he is lost, and the telephone rings on.
func TestLost_while_it_rings(t *testing.T) {
	n := live.Start(t, live.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 3*live.Patience)
	defer cancel()
	callees := registeredUEs(t, ctx, n, ue.TLS, ue.IPsecUDP, ue.IPsecTCP)
	for _, transport := range []ue.Transport{ue.TLS, ue.IPsecUDP, ue.IPsecTCP} {
		scheme := live.AKAv1
		if transport == ue.TLS {
			scheme = live.AKAv2
		}
		for _, callee := range callees {
			user := live.NewUsers("lost-"+callee.User.Name+"-"+string('a'+rune(transport)), 1, scheme)[0]
			if err := n.Provision(ctx, user); err != nil {
				t.Fatal(err)
			}
			caller, end, err := n.Visitor(user, transport, nil)
			if err != nil {
				t.Fatal(err)
			}
			in := rings(t, ctx, caller, callee)
			if err := end(); err != nil {
				t.Fatal(err)
			}
			if transport != ue.TLS {
				rung := in.Result()
				in.Reject(486)
				if <-in.Done(); rung.Reason != "" || in.Result().Code != 486 {
					t.Errorf("%s was told %+v before, %+v after", callee.User.Name, rung, in.Result())
				}
				continue
			}
			select {
			case <-in.Done():
			case <-ctx.Done():
				t.Fatalf("%s rings on", callee.User.Name)
			}
			if e := in.Result(); e.Code != 487 || !strings.Contains(e.Reason, "Client lost") {
				t.Errorf("%s is told %+v", callee.User.Name, e)
			}
		}
	}
}

// rings registers a caller and lets a client ring.
func rings(t *testing.T, ctx context.Context, caller, callee *live.UE) *ue.Call {
	t.Helper()
	if _, err := caller.Register(ctx); err != nil {
		t.Fatal(err)
	}
	out, err := caller.Call(ctx, callee.User.IMPU, ue.Voice{})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case in := <-callee.Calls:
		in.Ring()
		if _, err := out.Until(ctx, ue.Ringing); err != nil {
			t.Fatal(err)
		}
		return in
	case <-ctx.Done():
		t.Fatalf("%s does not ring: %+v", callee.User.Name, out.Result())
		return nil
	}
}
