package durability

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"imsafe/test/live"
)

func TestMain(m *testing.M) {
	RunIfChild()
	os.Exit(m.Run())
}

// kills is how often the node is killed. IMSAFE_KILLS=n asks for more or fewer. The race detector sees the same code each time, slowly.
func kills(t *testing.T) int {
	text := os.Getenv("IMSAFE_KILLS")
	if text == "" && raceEnabled {
		return 20
	}
	if text == "" {
		return 100
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("IMSAFE_KILLS: %v", err)
	}
	return n
}

// directory is a short one: the path of a Unix socket has 108 octets at most.
func directory(t testing.TB) string {
	dir, err := os.MkdirTemp("", "imsafe-kill-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the node's directory stays: %s", dir)
		} else if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestKills(t *testing.T) {
	p, err := newProcess(t, directory(t))
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	d, err := newDriver(p, 16, 8)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	ctx := context.Background()
	start := func() error {
		begin := time.Now()
		if err := p.start(); err != nil {
			return err
		}
		if rand.IntN(8) == 0 { // now and then it dies on its way up
			time.Sleep(time.Duration(rand.Int64N(int64(80 * time.Millisecond))))
			if err := p.kill(); err != nil {
				return err
			}
			begin = time.Now()
			if err := p.start(); err != nil {
				return err
			}
		}
		err := p.awaitDoor(live.Patience)
		d.counts.Latest.Store(max(d.counts.Latest.Load(), int64(time.Since(begin))))
		return err
	}
	if err := start(); err != nil {
		t.Fatal(err)
	}
	if err := d.provision(ctx); err != nil {
		t.Fatal(err)
	}
	for n := range kills(t) {
		if err := d.round(ctx, int64(n), start); err != nil {
			t.Fatalf("kill %d: %v", n+1, err)
		}
	}
	t.Logf("note: %d kills: %s", kills(t), &d.counts)
	if got, want := d.counts.Writes(), int64(100*kills(t)); got < want {
		t.Errorf("%d acknowledged writes are too few, want %d", got, want)
	}
}

// round loads the node, kills it, starts it and compares. The kill comes some writes after the start, none to 300, in ten rounds once as many as each tenth
// of that, and up to some milliseconds after the last of them: often while others are on their way to the disk.
func (d *driver) round(ctx context.Context, n int64, start func() error) error {
	loading, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- d.load(loading) }()
	for goal, limit := d.counts.Writes()+30*(n%10)+rand.Int64N(30), time.Now().Add(live.Patience); d.counts.Writes() < goal && time.Now().Before(limit); {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(time.Duration(rand.Int64N(int64(15 * time.Millisecond))))
	err := d.p.kill()
	stop()
	if failed := <-done; failed != nil {
		return failed
	}
	if err != nil {
		return err
	}
	if err := start(); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	return d.compare(ctx)
}
