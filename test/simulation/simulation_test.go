package simulation

import (
	"fmt"
	"os"
	"strconv"
	"testing"
)

// seeds are played by every test run. IMSAFE_SEED=n plays one, IMSAFE_SEEDS=n the first n.
func seeds(t *testing.T) []uint64 {
	number := func(name string) (uint64, bool) {
		text := os.Getenv(name)
		if text == "" {
			return 0, false
		}
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return n, true
	}
	if n, given := number("IMSAFE_SEED"); given {
		return []uint64{n}
	}
	count, given := number("IMSAFE_SEEDS")
	if !given {
		count = 4
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
			result, err := Run(Plan{Seed: seed})
			t.Logf("seed %d: trace %s, %+v", seed, result.Trace, result.Counts)
			if err != nil {
				t.Fatalf("seed %d: %v\nplay it again with IMSAFE_SEED=%d; the last events:\n%s", seed, err, seed, result.History)
			}
		})
	}
}
