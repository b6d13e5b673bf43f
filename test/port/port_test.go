package port_test

import (
	"net"
	"net/netip"
	"sync"
	"testing"

	"imsafe/test/port"
)

// TestFree: whoever asks at the same time, nobody is given what another has, and a port that somebody listens on is given to nobody.
func TestFree(t *testing.T) {
	var mu sync.Mutex
	var asking sync.WaitGroup
	given := map[netip.AddrPort]bool{}
	for range 8 {
		asking.Go(func() {
			for range 20 {
				a := port.Free(t, "127.0.0.1")
				mu.Lock()
				if given[a] {
					t.Errorf("%v twice", a)
				}
				given[a] = true
				mu.Unlock()
			}
		})
	}
	asking.Wait()
	for a := range given {
		ln, err := net.Listen("tcp", a.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ln.Close() })
	}
}

// TestRun: ports in a row are all the test's own, until it ends.
func TestRun(t *testing.T) {
	var at netip.AddrPort
	t.Run("has", func(t *testing.T) {
		at = port.Run(t, "127.0.0.1", 50)
		for i := range uint16(50) {
			if _, err := net.Listen("unix", "@imsafe-test-port-"+netip.AddrPortFrom(at.Addr(), at.Port()+i).String()[len("127.0.0.1:"):]); err == nil {
				t.Errorf("port %d is not kept", at.Port()+i)
			}
		}
	})
	kept, err := net.Listen("unix", "@imsafe-test-port-"+at.String()[len("127.0.0.1:"):])
	if err != nil {
		t.Errorf("port %d is kept after its test: %v", at.Port(), err)
	} else if err := kept.Close(); err != nil {
		t.Error(err)
	}
}
