package simulation

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"imsafe/test/lab"
)

// number reads a variable of the environment, or returns standard.
func number(t *testing.T, name string, standard uint64) uint64 {
	text := os.Getenv(name)
	if text == "" {
		return standard
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// seeds are played by every test run: three that are always the same, and one that nobody has seen yet. IMSAFE_SEED=n plays one,
// IMSAFE_SEEDS=n the first n.
func seeds(t *testing.T) []uint64 {
	if n := number(t, "IMSAFE_SEED", 0); n != 0 {
		return []uint64{n}
	}
	count := number(t, "IMSAFE_SEEDS", 0)
	if count == 0 {
		return []uint64{1, 2, 3, 1 + rand.Uint64N(1<<40)}
	}
	var all []uint64
	for n := range count {
		all = append(all, n+1)
	}
	return all
}

func TestSimulation(t *testing.T) {
	for _, seed := range seeds(t) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			result, err := Run(Plan{Seed: seed, Keep: int(number(t, "IMSAFE_EVENTS", 120))})
			t.Logf("note: seed %d: trace %s, %+v", seed, result.Trace, result.Counts)
			if err != nil {
				t.Fatalf("seed %d: %v\nplay it again with IMSAFE_SEED=%d; the last events:\n%s", seed, err, seed, result.History)
			}
		})
	}
}

// TestBadNetwork: nothing fails but the network, which loses, doubles and delays far more than in a storm. Every call ends in one way, the
// same at both ends, with its records and no more; and when all is silent nothing is left.
func TestBadNetwork(t *testing.T) {
	for _, seed := range seeds(t) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			result, err := Run(Plan{Seed: seed, Network: true, Storm: 2 * time.Minute, Keep: int(number(t, "IMSAFE_EVENTS", 120))})
			t.Logf("note: seed %d: trace %s, %+v", seed, result.Trace, result.Counts)
			if err != nil {
				t.Fatalf("seed %d: %v\nplay it again with IMSAFE_SEED=%d; the last events:\n%s", seed, err, seed, result.History)
			}
			if c := result.Counts; c.Talked < 10 || c.Calls < c.Talked+10 || c.Records < 4*c.Talked {
				t.Errorf("too little happened: %+v", c)
			}
		})
	}
}

// TestOneSeedIsOneRun plays a seed twice. Whatever takes its order from a map, a goroutine or a seed of the process shows here.
func TestOneSeedIsOneRun(t *testing.T) {
	plan := Plan{Seed: 1000, Storm: 2 * time.Minute}
	first, err := Run(plan)
	if err != nil {
		t.Fatalf("seed %d: %v\n%s", plan.Seed, err, first.History)
	}
	second, _ := Run(plan)
	if second.Trace != first.Trace {
		t.Errorf("seed %d: trace %s, then %s: %s", plan.Seed, first.Trace, second.Trace, parting(first.History, second.History))
	}
}

// parting returns where two histories part.
func parting(a, b string) string {
	first, second := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(first), len(second)) {
		if first[i] != second[i] {
			from := max(i-3, 0)
			return "after\n" + strings.Join(first[from:i], "\n") + "\nonce\n" + first[i] + "\nand once\n" + second[i]
		}
	}
	return "one is longer than the other"
}

// TestLyingDiskIsNoticed: the same nodes on disks that promise what they do not keep. If nobody noticed, the witness would be blind.
func TestLyingDiskIsNoticed(t *testing.T) {
	for seed := range uint64(20) {
		if _, err := Run(Plan{Seed: seed + 1, Lying: true}); err != nil {
			t.Logf("seed %d: %v", seed+1, err)
			return
		}
	}
	t.Error("the disks lied, nodes lost their power, and nobody noticed in 20 runs")
}

// TestWallClockJumps: the lives of registrations are counted on the monotonic clock.
func TestWallClockJumps(t *testing.T) {
	for name, jump := range map[string]time.Duration{"forward": 24 * time.Hour, "back": -24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			w, err := lab.New(lab.Options{Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			n := w.Nodes[0]
			alice, err := n.AddUser(lab.User{Name: "alice"})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := alice.Register(); err != nil {
				t.Fatal(err)
			}
			look := func(after time.Duration, want int) {
				w.Advance(after)
				if err := n.Sweep(); err != nil {
					t.Fatal(err)
				}
				w.Settle()
				if got := n.Core.SCSCF.Registered(); got != want {
					t.Errorf("%d registrations after another %v, want %d", got, after, want)
				}
			}
			w.Clock.JumpWall(jump)
			look(590*time.Second, 1)
			w.Clock.JumpWall(-jump)
			look(15*time.Second, 0)
		})
	}
}
