package hss

import (
	"context"
	"strings"
	"testing"
	"time"

	"imsafe/config"
	"imsafe/proof/attack"
	"imsafe/test/live"
)

// pair starts two HSSs with the same subscribers; each has sequence numbers of its own (TS 33.102 C.1.1.1).
func pair(t *testing.T, users ...*live.User) (n *network, first, second *foreign, again func() *foreign) {
	t.Helper()
	authority := newAuthority(t)
	one := setting{name: "hss", at: free(t), index: 1}
	first = run(t, authority, one)
	second = run(t, authority, setting{name: "hss2", at: free(t), index: 2})
	n = start(t, authority, []*foreign{first, second}, func(c *config.Config) {
		c.Cx.Alternate, c.Cx.AlternateName = config.Address{AddrPort: second.at}, second.host
		c.Cx.Watchdog = config.Of(6 * time.Second)
	})
	first.add(t, users...)
	second.add(t, users...)
	return n, first, second, func() *foreign {
		one.first = 1000 // what it had given out it has not forgotten
		restarted := run(t, authority, one)
		restarted.add(t, users...)
		return restarted
	}
}

// TestHSSDies: the first of two HSSs is killed in the middle of a registration. The second answers what the first did not, everybody is
// served by it, and the first is used again when it is back.
func TestHSSDies(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*live.Patience)
	defer cancel()
	users := live.NewUsers("dies", 3, live.AKAv1)
	n, first, second, again := pair(t, users...)
	alice, bob, carol := n.handset(t, users[0]), n.handset(t, users[1]), n.handset(t, users[2])
	register(ctx, t, alice, 600, 1)
	if second.happened("UAR") != 0 {
		t.Error("the second HSS is asked while the first is there")
	}

	first.ask(t, "ok", "{fault, 'MAR', silence}")
	result := make(chan error, 1)
	go func() {
		_, err := bob.Register(ctx, 600)
		result <- err
	}()
	first.waits(t, "MAR vector "+bob.IMPI, 1) // which it does not answer
	first.kill()
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	second.waits(t, "MAR vector "+bob.IMPI, 1)
	n.served(t, second)

	// Who registered with the first one stays registered at the S-CSCF; the second has never heard of him, and so where he is.
	register(ctx, t, alice, 600, 1)
	register(ctx, t, carol, 600, 1)
	live.Call(t, alice, bob, bob)
	live.Call(t, carol, alice, carol)

	back := again()
	n.served(t, back, second)
	register(ctx, t, carol, 600, 1)
	back.waits(t, "SAR type 2 "+carol.IMPI, 1)
	back.content(t)
	second.content(t)
}

// TestHSSHangs: the first of two HSSs stops in the middle of everything, and its connections stay. What it leaves unanswered moves to
// the second, the watchdog finds out (RFC 3539), and the first is used again when it answers.
func TestHSSHangs(t *testing.T) {
	t.Run("for a while", func(t *testing.T) { hangs(t, false) })
	// To who has given it up and comes back it answers watchdogs alone, for three of its own Tw (RFC 3539 3.4.1): users are served by
	// the second meanwhile.
	t.Run("until it was given up", func(t *testing.T) { hangs(t, true) })
}

func hangs(t *testing.T, long bool) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*live.Patience)
	defer cancel()
	users := live.NewUsers("hangs", 2, live.AKAv1)
	n, first, second, _ := pair(t, users...)
	alice, bob := n.handset(t, users[0]), n.handset(t, users[1])
	register(ctx, t, alice, 600, 1)
	first.freeze()
	t.Cleanup(first.thaw)
	register(ctx, t, bob, 600, 1)
	second.waits(t, "SAR type 1 "+bob.IMPI, 1)
	n.served(t, second)
	register(ctx, t, alice, 600, 1)
	live.Call(t, alice, bob, bob)
	if long {
		n.gaveUp(t, first)
	}
	first.thaw()
	n.served(t, first, second)
	register(ctx, t, bob, 600, 1)
	second.content(t)
}

// TestOnlyHSSDies: without its HSS everybody is told at once that he cannot be served; calls of who is registered need it too, to find
// the called. When it is back, so is the service.
func TestOnlyHSSDies(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*live.Patience)
	defer cancel()
	authority, one := newAuthority(t), setting{name: "hss", at: free(t)}
	hss := run(t, authority, one)
	n := start(t, authority, []*foreign{hss}, func(*config.Config) {})
	users := live.NewUsers("only", 2, live.AKAv1)
	hss.add(t, users...)
	alice, bob := n.handset(t, users[0]), n.handset(t, users[1])
	register(ctx, t, alice, 600, 1)
	register(ctx, t, bob, 600, 1)
	hss.kill()
	n.served(t)
	soon, end := attack.Bounded(ctx, 5*time.Second) // half of what a request waits for an HSS that is silent
	defer end()
	if _, err := bob.Register(ctx, 600); err == nil || !strings.Contains(err.Error(), ": 480 ") {
		t.Errorf("a registration without an HSS: %v", err)
	}
	live.Refused(t, alice, bob, 480)
	if soon.Err() != nil {
		t.Error("the refusals took as long as if somebody were waited for")
	}
	one.first = 1000
	hss = run(t, authority, one)
	hss.add(t, users...)
	n.served(t, hss)
	register(ctx, t, bob, 600, 1)
	register(ctx, t, alice, 600, 1)
	live.Call(t, alice, bob, bob)
	hss.content(t)
}
