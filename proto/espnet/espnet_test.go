package espnet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"imsafe/proto/esp"
	"imsafe/proto/shard"
)

// TestEcho: a megabyte there and back, begun by either end, over every kind of path.
func TestEcho(t *testing.T) {
	for _, tunnel := range []bool{false, true} {
		for _, f := range []family{v4, v6} {
			for _, tr := range []esp.Transform{gcm, gmac, sha1, cbc} {
				t.Run(fmt.Sprintf("%v tunnel=%v %v", f.ue, tunnel, tr), func(t *testing.T) {
					r := newRig(t, f, tunnel, Config{}, Config{})
					a := r.agree(0, tr)
					c, s := r.pair(r.listen(&r.p, ps), a)
					echo(t, c, s, 1<<20)
					m, u := connect(t, &r.p, a.p, r.listen(&r.ue, us))
					echo(t, m, u, 1<<20)
					whose(t, s, a.p, a.pG.Owner, esp.Server)
					whose(t, m, a.p, a.pG.Owner, esp.Client)
					whose(t, c, a.ue, a.ueG.Owner, esp.Client)
					whose(t, u, a.ue, a.ueG.Owner, esp.Server)
					if want := netip.AddrPortFrom(f.ue, uc).String(); s.RemoteAddr().String() != want || c.LocalAddr().String() != want {
						t.Errorf("uc is %v, %v", s.RemoteAddr(), c.LocalAddr())
					}
				})
			}
		}
	}
}

func whose(t *testing.T, c *Conn, want esp.Ref, owner shard.Place, side esp.Side) {
	t.Helper()
	if r, o, s := c.Agreement(); r != want || o != owner || s != side {
		t.Errorf("the connection is of %v %v %v", r, o, s)
	}
}

// echo sends n octets from c to s and back, and closes c's half and then s.
func echo(t testing.TB, c, s *Conn, n int) {
	t.Helper()
	sent := make([]byte, n)
	for i := range sent {
		sent[i] = byte(i * 7 / 3)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := io.Copy(s, s); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() {
		if _, err := c.Write(sent); err != nil {
			t.Error(err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Error(err)
		}
	})
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d octets came back: %v", len(got), err)
	}
	wg.Wait()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// TestLoss: one packet in ten is lost each way, and what arrives is right all the same.
func TestLoss(t *testing.T) {
	r := newRig(t, v4, false, Config{}, Config{})
	c, s := r.pair(r.listen(&r.p, ps), r.agree(0, gcm))
	for _, e := range []*end{&r.ue, &r.p} {
		var mu sync.Mutex
		n := 0
		e.cable.loss = func([]byte) bool {
			mu.Lock()
			defer mu.Unlock()
			n++
			return n%10 == 0
		}
	}
	echo(t, c, s, 200_000)
}

// TestSegmentSize: no packet is larger than an Ethernet takes, with the most that can be around a segment.
func TestSegmentSize(t *testing.T) {
	r := newRig(t, v6, true, Config{}, Config{})
	largest := 0
	var mu sync.Mutex
	measure := func(p []byte) bool {
		mu.Lock()
		defer mu.Unlock()
		largest = max(largest, len(p)+8+40) // UDP, IPv6
		return false
	}
	r.ue.cable.loss, r.p.cable.loss = measure, measure
	c, s := r.pair(r.listen(&r.p, ps), r.agree(0, cbc))
	echo(t, c, s, 100_000)
	mu.Lock()
	defer mu.Unlock()
	if largest > 1492 || largest < 1400 {
		t.Errorf("the largest packet has %d octets", largest)
	}
}

// TestManyConnections: 200 agreements with two connections each, all at once.
func TestManyConnections(t *testing.T) {
	const n = 200
	r := newRig(t, v4, false, Config{}, Config{})
	toP, toUE := r.listen(&r.p, ps), r.listen(&r.ue, us)
	var all sync.WaitGroup
	for _, l := range []*Listener{toP, toUE} {
		for range n {
			all.Go(func() {
				c, err := l.Accept()
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := io.Copy(c, c); err != nil {
					t.Error(err)
				}
				_ = c.Close()
			})
		}
	}
	for i := range uint16(n) {
		a := r.agree(i, gcm)
		for e, ref := range map[*end]esp.Ref{&r.ue: a.ue, &r.p: a.p} {
			all.Go(func() {
				c, err := e.stack.Dial(t.Context(), ref)
				if err != nil {
					t.Error(err)
					return
				}
				defer func() { _ = c.Close() }()
				word := fmt.Sprintf("connection %d", i)
				if _, err := c.Write([]byte(word)); err != nil {
					t.Error(err)
				}
				if err := c.CloseWrite(); err != nil {
					t.Error(err)
				}
				if got, err := io.ReadAll(c); err != nil || string(got) != word {
					t.Errorf("%q: %q %v", word, got, err)
				}
			})
		}
	}
	all.Wait()
	if n := r.p.stack.Counters(); n.Accepted.Load() != 200 || n.Dialled.Load() != 200 || n.DropForeign.Load() != 0 {
		t.Errorf("%d accepted, %d dialled, %d foreign", n.Accepted.Load(), n.Dialled.Load(), n.DropForeign.Load())
	}
}

// isErr compares an error with the one that is wanted.
func isErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// TestReadWriteErrors: how connections end, as both ends see it.
func TestReadWriteErrors(t *testing.T) {
	r := newRig(t, v4, false, Config{}, Config{})
	l := r.listen(&r.p, ps)
	a := r.agree(0, gcm)
	buf := make([]byte, 10)
	t.Run("half close", func(t *testing.T) {
		c, s := r.pair(l, a)
		isErr(t, "close half", c.CloseWrite(), nil)
		_, err := s.Read(buf)
		isErr(t, "read the end", err, io.EOF)
		_, err = c.Write(buf)
		isErr(t, "write after closing half", err, syscall.EPIPE)
		if _, err := s.Write([]byte("still")); err != nil {
			t.Error(err)
		}
		if n, err := c.Read(buf); err != nil || string(buf[:n]) != "still" {
			t.Error(string(buf[:n]), err)
		}
		isErr(t, "close", s.Close(), nil)
		_, err = c.Read(buf)
		isErr(t, "read the other end", err, io.EOF)
		isErr(t, "close", c.Close(), nil)
		isErr(t, "close again", c.Close(), net.ErrClosed)
		_, err = c.Read(buf)
		isErr(t, "read after close", err, net.ErrClosed)
		_, err = c.Write(buf)
		isErr(t, "write after close", err, net.ErrClosed)
		isErr(t, "deadline after close", c.SetDeadline(time.Time{}), net.ErrClosed)
	})
	t.Run("reset", func(t *testing.T) {
		c, s := r.pair(l, a)
		s.Abort()
		for range 2 {
			_, err := c.Read(buf)
			isErr(t, "read", err, syscall.ECONNRESET)
		}
		_, err := c.Write(buf)
		isErr(t, "write", err, syscall.ECONNRESET)
		isErr(t, "close", c.Close(), nil)
	})
}

// TestWaiting: what ends the waiting for octets, or for room.
func TestWaiting(t *testing.T) {
	r := newRig(t, v4, false, Config{}, Config{})
	l := r.listen(&r.p, ps)
	a := r.agree(0, gcm)
	buf := make([]byte, 10)
	t.Run("deadline", func(t *testing.T) {
		c, s := r.pair(l, a)
		isErr(t, "set", c.SetReadDeadline(time.Now().Add(time.Millisecond)), nil)
		_, err := c.Read(buf)
		isErr(t, "read", err, os.ErrDeadlineExceeded)
		var ne net.Error
		if !errors.As(err, &ne) || !ne.Timeout() {
			t.Error("no timeout")
		}
		isErr(t, "set", c.SetDeadline(time.Now().Add(-time.Second)), nil)
		_, err = c.Read(buf)
		isErr(t, "read late", err, os.ErrDeadlineExceeded)
		_, err = c.Write(buf)
		isErr(t, "write late", err, os.ErrDeadlineExceeded)
		isErr(t, "unset", c.SetDeadline(time.Time{}), nil)
		if _, err := s.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		if _, err := c.Read(buf); err != nil {
			t.Error(err)
		}
		isErr(t, "set", c.SetWriteDeadline(time.Now().Add(20*time.Millisecond)), nil)
		n, err := c.Write(make([]byte, 1<<20)) // nobody reads
		isErr(t, "write into a full window", err, os.ErrDeadlineExceeded)
		if n == 0 || n > 4*64<<10 {
			t.Errorf("%d octets were taken", n)
		}
		c.Abort()
		_ = s.Close()
	})
	t.Run("try", func(t *testing.T) {
		c, s := r.pair(l, a)
		taken := 0
		for {
			n, err := c.TryWrite(make([]byte, 10_000))
			if err != nil {
				t.Fatal(err)
			}
			if taken += n; n == 0 { // nobody reads
				break
			}
		}
		if n, err := c.TryWrite(nil); n != 0 || err != nil {
			t.Error(n, err)
		}
		isErr(t, "deadline", c.SetDeadline(time.Now().Add(-1)), nil)
		got := 0
		for got < taken {
			n, err := s.Read(make([]byte, 5000))
			if err != nil {
				t.Fatal(err)
			}
			got += n
		}
		s.Abort()
		until(t, "a reset", func() bool { _, err := c.TryWrite([]byte("x")); return errors.Is(err, syscall.ECONNRESET) })
		isErr(t, "close", c.Close(), nil)
		_, err := c.TryWrite([]byte("x"))
		isErr(t, "try", err, net.ErrClosed)
	})
	t.Run("close wakes", func(t *testing.T) {
		c, s := r.pair(l, a)
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := c.Read(make([]byte, 1))
			isErr(t, "read", err, net.ErrClosed)
		})
		wg.Go(func() {
			_, err := c.Write(make([]byte, 1<<20))
			isErr(t, "write", err, net.ErrClosed)
		})
		until(t, "a write that waits", func() bool {
			n, err := c.TryWrite([]byte("x"))
			return n == 0 && err == nil
		})
		_ = c.Close()
		wg.Wait()
		s.Abort()
	})
}
