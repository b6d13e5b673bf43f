package siptransport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestDial(t *testing.T) {
	for _, withTLS := range []bool{false, true} {
		t.Run(fmt.Sprint("TLS=", withTLS), func(t *testing.T) {
			var so, co Options
			if withTLS {
				so.TLS, co.TLS = certificate(t)
			}
			s := listen(t, so)
			s.on(echo)
			r := newRecorder()
			f := Dial(context.Background(), testShard(t, 1, 0), s.addr, r, co)
			if err := f.Send([]byte(message("early"))); err != nil {
				t.Fatal(err)
			}
			if got := await(t, r.opened); got != f || !f.Via.Local().IsValid() {
				t.Errorf("opened %v, local %v", got, f.Via.Local())
			}
			if state := await(t, r.states); withTLS && state.Version != tls.VersionTLS13 {
				t.Errorf("state %v", state)
			}
			if got := await(t, r.packets); got.data != message("early") || got.flow != f {
				t.Errorf("got %+v", got)
			}
			_ = f.Send([]byte("\r\n\r\n"))
			await(t, r.pongs)
			f.Via.(*Conn).Close()
			if err := await(t, r.closed); !errors.Is(err, ErrClosed) {
				t.Errorf("closed: %v", err)
			}
			if err := await(t, s.closed); !errors.Is(err, io.EOF) {
				t.Errorf("other end: %v", err)
			}
		})
	}
}

// TestDialBy: a connection that the caller opens, and what carries it.
func TestDialBy(t *testing.T) {
	s := listen(t, Options{})
	s.on(echo)
	r := newRecorder()
	streams := NewStreams(Options{Dialer: func(context.Context, netip.AddrPort) (net.Conn, error) { return nil, errors.New("not this one") }})
	var mine net.Conn
	peer := netip.MustParseAddrPort("192.0.2.1:5999")
	f := streams.DialBy(context.Background(), testShard(t, 1, 0), peer, r, func(ctx context.Context) (c net.Conn, err error) {
		mine, err = new(net.Dialer).DialContext(ctx, "tcp", s.addr.String())
		return mine, err
	})
	if got := await(t, r.opened); got != f || got.Peer != peer || got.Via.(*Conn).NetConn() != mine {
		t.Errorf("opened %v over %v", got, got.Via.(*Conn).NetConn())
	}
	if err := f.Send([]byte(message("x"))); err != nil {
		t.Fatal(err)
	}
	if got := await(t, r.packets); got.data != message("x") {
		t.Errorf("got %+v", got)
	}
	if there := await(t, s.opened).Via.(*Conn).NetConn(); there == nil || there.RemoteAddr().String() != mine.LocalAddr().String() {
		t.Errorf("accepted over %v", there)
	}
	f.Via.(*Conn).Close()
	await(t, r.closed)
}

func TestDialThatFails(t *testing.T) {
	_, clientTLS := certificate(t)
	stranger, _ := certificate(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := addrPort(ln.Addr())
	_ = ln.Close()
	for name, tt := range map[string]struct {
		peer netip.AddrPort
		o    Options
		err  error
	}{
		"nobody listens":            {nobody, Options{}, ErrDial},
		"certificate of a stranger": {listen(t, Options{TLS: stranger}).addr, Options{TLS: clientTLS}, ErrHandshake},
		"no TLS there":              {listen(t, Options{}).addr, Options{TLS: clientTLS, Handshake: 50 * time.Millisecond}, ErrHandshake},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRecorder()
			f := Dial(context.Background(), testShard(t, 1, 0), tt.peer, r, tt.o)
			if err := await(t, r.closed); !errors.Is(err, tt.err) {
				t.Errorf("closed: %v", err)
			}
			if err := f.Send([]byte("x")); !errors.Is(err, ErrClosed) {
				t.Errorf("Send: %v", err)
			}
		})
	}
	t.Run("given up", func(t *testing.T) {
		dialler := NewStreams(Options{})
		r, dialling, cut := newRecorder(), make(chan struct{}), make(chan error, 1)
		dialler.DialBy(context.Background(), testShard(t, 1, 0), nobody, r, func(ctx context.Context) (net.Conn, error) {
			close(dialling)
			<-ctx.Done()
			cut <- ctx.Err()
			return nil, ctx.Err()
		})
		await(t, dialling)
		if err := dialler.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := await(t, cut); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		await(t, r.closed)
	})
	t.Run("too many", func(t *testing.T) {
		s := listen(t, Options{})
		dialler := NewStreams(Options{MaxConns: 1})
		r, sh := newRecorder(), testShard(t, 1, 0)
		dialler.Dial(context.Background(), sh, s.addr, r)
		await(t, r.opened)
		dialler.Dial(context.Background(), sh, s.addr, r)
		if err := await(t, r.closed); !errors.Is(err, ErrLimit) {
			t.Errorf("closed: %v", err)
		}
		if err := dialler.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}
