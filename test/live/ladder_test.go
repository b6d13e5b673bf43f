package live_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"imsafe/client/ue"
	"imsafe/test/live"
	"imsafe/trace/ladder"
)

// crossed are the arrows of a story in short: "UE>P-CSCF REGISTER ESP".
func crossed(s *ladder.Story) (all []string) {
	for i := range s.Arrows {
		a := &s.Arrows[i]
		from, _ := a.From.MarshalText()
		to, _ := a.To.MarshalText()
		all = append(all, string(from)+">"+string(to)+" "+a.What+" "+string(a.Cover))
	}
	return all
}

// has reports whether arrows are there, in this order.
func has(t *testing.T, s *ladder.Story, want ...string) {
	t.Helper()
	rest := crossed(s)
	for _, w := range want {
		i := slices.Index(rest, w)
		if i < 0 {
			t.Errorf("%q is not on the ladder, or comes earlier:\n%s", w, s.Text())
			return
		}
		rest = rest[i+1:]
	}
}

// story waits for one that is as it must be: the last answer is on its way while the client goes on already.
func story(t *testing.T, ctx context.Context, n *live.Node, of, what string, done func(*ladder.Story) bool) *ladder.Story {
	t.Helper()
	for {
		changed := n.Ladders().Changed()
		for _, s := range n.Ladders().Find(of) {
			if s.What == what && done(&s) {
				return &s
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("there is no %s of %s", what, of)
		}
	}
}

// TestLadder: a registration inside IPsec and one over TLS, a call between the two, as the node draws them.
func TestLadder(t *testing.T) {
	n := live.Start(t, live.Options{Configure: anchors, Ladders: 16})
	ctx, cancel := context.WithTimeout(context.Background(), 3*live.Patience)
	defer cancel()
	all := registeredUEs(t, ctx, n, ue.IPsecUDP, ue.TLS)
	a, b := all[0], all[1]
	registered := func(s *ladder.Story) bool { return s.Head().Status == 200 }
	s := story(t, ctx, n, a.User.IMPI, "REGISTER", registered)
	has(t, s, "UE>P-CSCF REGISTER clear", "P-CSCF>I-CSCF REGISTER in process", "I-CSCF>HSS User-Authorization-Request in process", "S-CSCF>HSS Multimedia-Auth-Request in process",
		"P-CSCF>UE 401 Unauthorized clear", "UE>P-CSCF REGISTER ESP", "S-CSCF>HSS Server-Assignment-Request in process", "S-CSCF>I-CSCF 200 OK in process", "P-CSCF>UE 200 OK ESP")
	passed := func(s *ladder.Story, control string) bool {
		return slices.ContainsFunc(s.Arrows, func(a ladder.Arrow) bool {
			return slices.ContainsFunc(a.Checks, func(c ladder.Check) bool { return c.Control == control && c.Did == ladder.Passed })
		})
	}
	for _, control := range []string{"ci.integrity.esp", "ci.authentication.aka"} {
		if !passed(s, control) {
			t.Errorf("%s has passed, and the ladder does not say so:\n%s", control, s.Text())
		}
	}
	has(t, story(t, ctx, n, b.User.IMPU, "REGISTER", registered), "UE>P-CSCF REGISTER TLS", "P-CSCF>UE 200 OK TLS")

	out, _ := talk(t, ctx, a, b)
	out.Hangup()
	call := story(t, ctx, n, b.User.IMPU, "INVITE", func(s *ladder.Story) bool { return slices.Contains(crossed(s), "P-CSCF>media Release in process") })
	has(t, call, "UE>P-CSCF INVITE ESP", "P-CSCF>media Reserve audio in process", "I-CSCF>HSS Location-Info-Request in process", "P-CSCF>peer INVITE TLS", "peer>P-CSCF 200 OK TLS",
		"P-CSCF>UE 200 OK ESP", "P-CSCF>peer ACK TLS", "UE>P-CSCF BYE ESP", "P-CSCF>peer BYE TLS", "peer>P-CSCF 200 OK TLS")

	for _, s := range n.Ladders().All() {
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"nonce", "response=", "a=crypto", "fingerprint", "tag="} {
			if strings.Contains(string(text), secret) {
				t.Errorf("%q is on a ladder:\n%s", secret, text)
			}
		}
	}
}
