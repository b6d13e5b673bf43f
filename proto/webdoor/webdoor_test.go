package webdoor_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"imsafe/proto/webdoor"
)

// pipes is a listener whose connections are pipes, so that time is that of the bubble.
type pipes struct {
	come   chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.come:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// serve serves h until the test ends, and returns how a client connects.
func serve(t *testing.T, h http.HandlerFunc) func() net.Conn {
	ctx, stop := context.WithCancel(t.Context())
	ln := &pipes{make(chan net.Conn), make(chan struct{})}
	done := make(chan error, 1)
	go func() { done <- webdoor.Serve(ctx, ln, h, 1<<10, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return func() net.Conn {
		mine, theirs := net.Pipe()
		ln.come <- theirs
		return mine
	}
}

// TestServe_deadlines: a header that does not end, a body that does not come, an answer that nobody reads and a connection that says nothing more are each let go.
func TestServe_deadlines(t *testing.T) {
	const request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, c := range map[string]struct {
		says  string
		reads bool
		want  time.Duration
	}{
		"a header without an end":     {"GET / HTTP/1.1\r\nHost:", true, webdoor.Patience / 2},
		"a body that does not come":   {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n", true, webdoor.Patience},
		"nothing after a request":     {request, true, webdoor.Patience},
		"an answer that nobody reads": {request, false, webdoor.Patience},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ended := make(chan struct{})
				dial := serve(t, func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					_, err := w.Write(make([]byte, 1<<20))
					if err != nil || !c.reads {
						close(ended)
					}
				})
				conn := dial()
				defer conn.Close()
				begun := time.Now()
				if _, err := io.WriteString(conn, c.says); err != nil {
					t.Fatal(err)
				}
				if c.reads {
					_, _ = io.Copy(io.Discard, conn) // until the server ends it
				} else {
					<-ended
				}
				if took := time.Since(begun); took != c.want {
					t.Errorf("ends after %v, want %v", took, c.want)
				}
			})
		})
	}
}

// TestServe_header: a header that is too long is refused with the standard's answer (RFC 6585 5), and honest requests are served.
func TestServe_header(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
		for header, want := range map[string]int{"": http.StatusNoContent, "X-Long: " + strings.Repeat("x", 8<<10) + "\r\n": http.StatusRequestHeaderFieldsTooLarge} {
			conn := dial()
			go func() {
				_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+header+"\r\n")
			}() // the rest of a long one is not read
			r, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			if r.Body.Close(); r.StatusCode != want {
				t.Errorf("%d octets: %d, want %d", len(header), r.StatusCode, want)
			}
			_, _ = io.Copy(io.Discard, conn) // until the server has ended it
			conn.Close()
		}
	})
}

// TestServe_broken: a listener that fails is told.
func TestServe_broken(t *testing.T) {
	broken := errors.New("broken")
	if err := webdoor.Serve(t.Context(), failing{broken}, http.NotFoundHandler(), 1<<10, slog.New(slog.DiscardHandler)); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

type failing struct{ err error }

func (f failing) Accept() (net.Conn, error) { return nil, f.err }
func (failing) Close() error                { return nil }
func (failing) Addr() net.Addr              { return &net.TCPAddr{} }
