package budget_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"imsafe/proto/budget"
)

// crowded is a name with so many places.
type crowded struct {
	waiting []budget.Waiting
	places  int
}

func (c *crowded) comes(w budget.Waiting) {
	if len(c.waiting) == c.places {
		i := budget.Yields(c.waiting, w)
		c.waiting = slices.Delete(c.waiting, i, i+1)
	}
	c.waiting = append(c.waiting, w)
}

func at(network, address int) budget.Waiting {
	return budget.Waiting{Network: budget.Key(1 + network), Address: budget.Key(1 + 1000*network + address)}
}

// TestYields_crowd: whatever a crowd does that has fewer networks than there are places, one attempt of another network waits on.
func TestYields_crowd(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		c := crowded{places: 16}
		hers := at(999, 0)
		for range r.IntN(40) {
			c.comes(at(r.IntN(15), r.IntN(300)))
		}
		c.comes(hers)
		for range 500 {
			c.comes(at(r.IntN(15), r.IntN(300)))
		}
		if !slices.Contains(c.waiting, hers) || len(c.waiting) != c.places {
			t.Fatalf("seed %d: a crowd of 15 networks has pushed hers out of %d places", seed, len(c.waiting))
		}
	}
}

// TestYields_known: strangers push out nothing that comes from where the name is known, and are left half of the places.
func TestYields_known(t *testing.T) {
	c := crowded{places: 16}
	hers := at(999, 0)
	hers.Known = true
	c.comes(hers)
	for i := range 500 {
		c.comes(at(i, 0))
	}
	if !slices.Contains(c.waiting, hers) {
		t.Error("a crowd of very many networks has pushed out who is known")
	}
	stranger := at(5000, 0)
	c.comes(stranger)
	for i := range 500 {
		w := at(6000, i)
		w.Known = true
		c.comes(w)
	}
	known := 0
	for _, w := range c.waiting {
		if w.Known {
			known++
		}
	}
	if known != c.places/2 || !slices.Contains(c.waiting, stranger) {
		t.Errorf("%d of %d places are of who is known", known, c.places)
	}
}

// TestYields_order: of a network with most, the address with most; of an address, the oldest.
func TestYields_order(t *testing.T) {
	for _, x := range []struct {
		name    string
		waiting []budget.Waiting
		next    budget.Waiting
		want    int
	}{
		{"the oldest, where all are alone", []budget.Waiting{at(1, 0), at(2, 0), at(3, 0)}, at(4, 0), 0},
		{"the network with most", []budget.Waiting{at(1, 0), at(2, 0), at(2, 1)}, at(4, 0), 1},
		{"the newcomer's own", []budget.Waiting{at(1, 0), at(2, 0), at(3, 0)}, at(3, 5), 2},
		{"in it the address with most", []budget.Waiting{at(1, 0), at(2, 0), at(2, 1), at(2, 1)}, at(4, 0), 2},
		{"one", []budget.Waiting{at(1, 0)}, at(2, 0), 0},
	} {
		if got := budget.Yields(x.waiting, x.next); got != x.want {
			t.Errorf("%s: %d, want %d", x.name, got, x.want)
		}
	}
}

func BenchmarkYields(b *testing.B) {
	c := crowded{places: 64}
	for i := range c.places {
		c.comes(at(i%20, i))
	}
	b.ReportAllocs()
	for b.Loop() {
		budget.Yields(c.waiting, at(99, 0))
	}
}
