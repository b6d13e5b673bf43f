package relay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers every datagram with itself, until the test ends.
func echo(t *testing.T) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if _, err := conn.WriteToUDPAddrPort(buf[:n], from); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// speak sends n numbered datagrams and returns what came back, in order of arrival, when all of it has come.
func speak(t *testing.T, r *Relay, name string, n int) (heard []string) {
	t.Helper()
	before := r.Counts()
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(r.Address()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for i := range n {
		if _, err := fmt.Fprintf(conn, "%s %03d", name, i); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 2048)
	for late := time.Now().Add(time.Minute); ; {
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		k, err := conn.Read(buf)
		switch {
		case err == nil:
			heard = append(heard, string(buf[:k]))
		case !errors.Is(err, os.ErrDeadlineExceeded):
			t.Fatal(err)
		case r.carried(before, n, len(heard)):
			return heard
		case time.Now().After(late):
			t.Fatalf("%d came back: %+v", len(heard), r.Counts())
		}
	}
}

// carried says whether nothing is under way any more, when n datagrams were sent to echo since before and so many copies have come back: each copy that was
// delivered was either received once more, from echo, or has come back.
func (r *Relay) carried(before Counts, n, back int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.inFlight) == 0 && r.counts.Delivered-before.Delivered == r.counts.Received-before.Received-n+back
}

func TestAGoodNetworkCarriesEverythingToItsOwner(t *testing.T) {
	r := Start(t, echo(t), Options{})
	for _, name := range []string{"alice", "bob"} {
		heard := speak(t, r, name, 50)
		if len(heard) != 50 || !slices.IsSorted(heard) || heard[0] != name+" 000" || heard[49] != name+" 049" {
			t.Errorf("%s heard %v", name, heard)
		}
	}
	if got := r.Counts(); got != (Counts{Received: 200, Delivered: 200}) {
		t.Errorf("%+v", got)
	}
}

func TestABadNetworkDropsDuplicatesAndReorders(t *testing.T) {
	r := Start(t, echo(t), Options{Seed: 1, Loss: 0.2, Duplicate: 0.2, Delay: 5 * time.Millisecond, Jitter: 40 * time.Millisecond})
	heard := speak(t, r, "alice", 200)
	got := r.Counts()
	if got.Dropped < 30 || got.Duplicated < 30 || got.Overtaken < 30 || got.Received != got.Dropped+got.Delivered-got.Duplicated {
		t.Errorf("%+v", got)
	}
	if slices.IsSorted(heard) || len(slices.Compact(slices.Sorted(slices.Values(heard)))) == len(heard) {
		t.Errorf("heard in order, or nothing twice: %v", heard)
	}
}

func TestTheSameSeedGivesTheSameFates(t *testing.T) {
	o := Options{Seed: 7, Loss: 0.3, Duplicate: 0.3, Delay: time.Millisecond, Jitter: time.Second}
	fates := func(o Options) (all [][]time.Duration) {
		for d := newDice(o); len(all) < 100; {
			all = append(all, d.draw())
		}
		return all
	}
	first, second := fmt.Sprint(fates(o)), fmt.Sprint(fates(o))
	o.Seed = 8
	if first != second || first == fmt.Sprint(fates(o)) {
		t.Error("fates do not follow from the seed")
	}
}

func TestEndsWithDatagramsUnderWay(t *testing.T) {
	to := echo(t)
	t.Run("inner", func(t *testing.T) {
		r := Start(t, to, Options{Delay: time.Hour})
		conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(r.Address()))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		for r.Counts().Received == 0 {
			if _, err := conn.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
	}) // goleak sees what is left
}
