package management

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"
)

// asked reports whether something is asked on the youngest connection.
func (n *Newest) asked() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.open[len(n.open)-1].active
}

// TestNewest: whoever comes is served, and the oldest connection on which nothing is asked goes for him; one on which something is asked stays.
func TestNewest(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := NewNewest(inner, 3)
	watching := make(chan struct{})
	server := &http.Server{ConnState: ln.State, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/live" {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-watching
		}
	})}
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(func() { close(watching); _ = server.Close() })
	ask := func(path string) (net.Conn, *bufio.Reader) {
		t.Helper()
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: here\r\n\r\n", path)
		r := bufio.NewReader(c)
		answer, err := http.ReadResponse(r, nil)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v", path, err)
		}
		for path == "/" && ln.asked() { // an answer is heard before the server has put its connection to rest
			<-time.After(time.Millisecond)
		}
		return c, r
	}
	live, _ := ask("/live")
	_, first := ask("/")
	second, more := ask("/")
	_, _ = ask("/")
	if _, err := first.ReadByte(); err == nil {
		t.Error("the oldest that asks nothing is still there")
	}
	fmt.Fprintf(second, "GET / HTTP/1.1\r\nHost: here\r\n\r\n")
	if _, err := http.ReadResponse(more, nil); err != nil {
		t.Errorf("a younger one is gone: %v", err)
	}
	if _, err := live.Write([]byte(" ")); err != nil {
		t.Errorf("whoever watches is gone: %v", err)
	}
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if n := len(ln.open); n != 3 {
		t.Errorf("%d are counted", n)
	}
}
