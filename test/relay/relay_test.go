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

// speak sends n numbered datagrams and returns what came back, in order of arrival, until a silence.
func speak(t *testing.T, to netip.AddrPort, name string, n int, silence time.Duration) (heard []string) {
	t.Helper()
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(to))
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
	for {
		if err := conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
			t.Fatal(err)
		}
		k, err := conn.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return heard
		}
		if err != nil {
			t.Fatal(err)
		}
		heard = append(heard, string(buf[:k]))
	}
}

func TestAGoodNetworkCarriesEverythingToItsOwner(t *testing.T) {
	r := Start(t, echo(t), Options{})
	for _, name := range []string{"alice", "bob"} {
		heard := speak(t, r.Address(), name, 50, 200*time.Millisecond)
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
	heard := speak(t, r.Address(), "alice", 200, 300*time.Millisecond)
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
		r := Start(t, to, Options{Delay: 50 * time.Millisecond, Jitter: 50 * time.Millisecond})
		speak(t, r.Address(), "alice", 20, time.Millisecond)
	}) // goleak sees what is left
}
