package attack

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"sync"
)

// wiretap is the attacker in the path of a stream: all that goes through him he hears, and may change.
type wiretap struct {
	net.Conn
	edit func(octets []byte) []byte // of what goes to the core, if not nil
	*eavesdropped
}

// eavesdropped is what the attacker has heard on one or more connections. Safe for concurrent use.
type eavesdropped struct {
	mu    sync.Mutex
	heard bytes.Buffer
}

// inThePath opens a connection to an address that leads through the attacker, who keeps what he hears in heard.
func (f *Field) inThePath(ctx context.Context, to netip.AddrPort, heard *eavesdropped, edit func([]byte) []byte) (*wiretap, error) {
	conn, err := f.attacker.Dial(ctx, "tcp", netip.Addr{}, to)
	if err != nil {
		return nil, err
	}
	return &wiretap{Conn: conn, eavesdropped: heard, edit: edit}, nil
}

// Write implements net.Conn.
func (w *wiretap) Write(p []byte) (int, error) {
	w.hear(p)
	out := p
	if w.edit != nil {
		out = w.edit(p)
	}
	if _, err := w.Conn.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Read implements net.Conn.
func (w *wiretap) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.hear(p[:n])
	return n, err
}

func (w *eavesdropped) hear(p []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heard.Write(p)
}

// has reports whether the attacker has heard a text. octets is how much he has heard in all.
func (w *eavesdropped) has(text string) (found bool, octets int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Contains(w.heard.Bytes(), []byte(text)), w.heard.Len()
}
