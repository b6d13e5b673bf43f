package mmsg

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

// pair is a socket that is read and one that sends to it, on an address of loopback.
func pair(t *testing.T, host string) (to, from *net.UDPConn) {
	t.Helper()
	for _, c := range []**net.UDPConn{&to, &from} {
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(host)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		*c = conn
	}
	return to, from
}

func addressOf(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

func buffers(n, size int) (all [][]byte) {
	for range n {
		all = append(all, make([]byte, size))
	}
	return all
}

func TestBatches(t *testing.T) {
	for _, host := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(host, func(t *testing.T) {
			to, from := pair(t, host)
			bufs := buffers(4, 8)
			r, ok := NewReader(to, bufs)
			if !ok {
				t.Fatal("a socket without a Reader")
			}
			r.Stamp()
			w, _ := NewWriter(from, 6)
			begun := time.Now()
			for i := range 6 {
				w.Set(i, fmt.Append(nil, i), addressOf(to))
			}
			w.Set(5, []byte("012345678"), addressOf(to)) // longer than its buffer
			if sent, err := w.Send(0, 6); sent != 6 || err != nil {
				t.Fatalf("%d of 6 are sent: %v", sent, err)
			}
			for _, want := range []int{4, 2} {
				n, err := r.Read()
				if n != want || err != nil {
					t.Fatalf("%d are read, %d wanted: %v", n, want, err)
				}
				if age := begun.UnixNano() - r.Came(); r.Came() == 0 || age > int64(time.Minute) || age < -int64(time.Minute) {
					t.Errorf("the oldest came at %d, sent at %d", r.Came(), begun.UnixNano())
				}
				for i := range n {
					if r.From(i) != addressOf(from) {
						t.Errorf("datagram %d is from %v", i, r.From(i))
					}
					if last := want == 2 && i == 1; r.Cut(i) != last || last && r.Size(i) != 8 {
						t.Errorf("datagram %d of %d octets, cut: %v", i, r.Size(i), r.Cut(i))
					}
				}
				if want == 4 && string(bufs[0][:r.Size(0)]) != "0" {
					t.Errorf("the first is %q", bufs[0][:r.Size(0)])
				}
			}
		})
	}
}

// TestRefused is a datagram among others that the kernel does not take.
func TestRefused(t *testing.T) {
	to, from := pair(t, "127.0.0.1:0")
	w, _ := NewWriter(from, 3)
	w.Set(0, []byte("a"), addressOf(to))
	w.Set(1, make([]byte, 70000), addressOf(to))
	w.Set(2, []byte("c"), addressOf(to))
	sent, err := w.Send(0, 3)
	if sent != 1 || err != nil {
		t.Fatalf("%d are sent before the one that is too long: %v", sent, err)
	}
	if sent, err = w.Send(1, 3); sent != 0 || !errors.Is(err, syscall.EMSGSIZE) {
		t.Errorf("70000 octets: %d, %v", sent, err)
	}
	if sent, err = w.Send(2, 3); sent != 1 || err != nil {
		t.Errorf("the one behind it: %d, %v", sent, err)
	}
}

func TestClosed(t *testing.T) {
	to, _ := pair(t, "127.0.0.1:0")
	r, _ := NewReader(to, buffers(1, 8))
	done := make(chan error)
	go func() {
		_, err := r.Read()
		done <- err
	}()
	_ = to.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("a socket that is closed: %v", err)
	}
	a, b := net.Pipe()
	defer func() { _, _ = a.Close(), b.Close() }()
	if _, ok := NewReader(a, buffers(1, 8)); ok {
		t.Error("what is no socket has a Reader")
	}
	if _, ok := NewWriter(a, 1); ok {
		t.Error("what is no socket has a Writer")
	}
}

func TestAllocations(t *testing.T) {
	to, from := pair(t, "127.0.0.1:0")
	r, _ := NewReader(to, buffers(2, 64))
	r.Stamp()
	w, _ := NewWriter(from, 2)
	peer, text := addressOf(to), []byte("hello")
	if n := testing.AllocsPerRun(100, func() {
		w.Set(0, text, peer)
		if sent, err := w.Send(0, 1); sent != 1 || err != nil {
			t.Fatal(err)
		}
		if n, err := r.Read(); n != 1 || err != nil || r.Came() == 0 || !r.From(0).IsValid() {
			t.Fatal(n, err)
		}
	}); n > 0 {
		t.Errorf("%v allocations for a datagram there", n)
	}
}
