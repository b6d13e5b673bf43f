package node

import (
	"context"
	"crypto/rand"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"imsafe/config"
	"imsafe/iface/clientims"
	"imsafe/policy"
	"imsafe/proto/secagree"
	"imsafe/proto/shard"
	"imsafe/store/seal"
)

// TestHealth_nat: of those who offer a security agreement, the ones whose Via has another address.
func TestHealth_nat(t *testing.T) {
	s := newStories(shard.NewFake(time.Unix(0, 0)), nil, nil)
	offer := &secagree.List{}
	for _, c := range []clientims.Chapter{
		{Offered: offer, BehindNAT: true}, {Offered: offer}, {BehindNAT: true}, // the third is a client without IPsec
		{Offered: offer, BehindNAT: true, Answers: true}, // not a first REGISTER
		{Offered: offer, BehindNAT: true, Step: clientims.StepAnswered, Status: 401},
	} {
		c.IMPI = "alice"
		s.Tell(c)
	}
	if translated, offers := s.throughNAT(); translated != 1 || offers != 2 {
		t.Errorf("%d of %d", translated, offers)
	}
}

// TestHealth_clock: a clock of the day that is set while the node runs is told, one that goes on is not.
func TestHealth_clock(t *testing.T) {
	c := config.Example()
	c.CI.TLS.Listen, c.Node.DataDir, c.Node.Shards = nil, filepath.Join(t.TempDir(), "store"), 1
	clock := shard.NewFake(time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC))
	st, err := OpenStore(&c, shard.RealClock(), slog.New(slog.DiscardHandler), "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}()
	ring, err := seal.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	n, err := New(Options{Config: &c, Clock: clock, Random: rand.Reader, Log: slog.New(slog.DiscardHandler), Store: st, Keyring: ring,
		Sockets: &Sockets{}, Policy: policy.Default()})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []struct {
		happens func()
		want    time.Duration
	}{
		{func() {}, 0},
		{func() { clock.Advance(time.Hour) }, 0},
		{func() { clock.JumpWall(-time.Minute) }, -time.Minute},
		{func() { clock.JumpWall(time.Hour) }, 59 * time.Minute},
	} {
		s.happens()
		if h, err := n.health(context.Background(), None{}); err != nil || h.ClockJump != s.want || h.HSS == nil {
			t.Errorf("%+v %v, want a jump of %v", h, err, s.want)
		}
	}
}
