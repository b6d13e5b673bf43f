package attack

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
)

// relay stands between one honest client and the unprotected port of the edge, and edits what goes through.
type relay struct {
	client net.PacketConn
	edge   net.Conn
	edit   func(message string) string
	ended  sync.WaitGroup

	mu   sync.Mutex
	peer net.Addr // of the client
}

// relay opens one. Close it.
func (f *Field) relay(ctx context.Context, edit func(string) string) (*relay, error) {
	client, err := f.attacker.ListenPacket(f.Gm.Addr())
	if err != nil {
		return nil, err
	}
	edge, err := f.attacker.Dial(ctx, "udp", netip.Addr{}, f.Gm)
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	r := &relay{client: client, edge: edge, edit: edit}
	r.ended.Go(r.up)
	r.ended.Go(r.down)
	return r, nil
}

// at is where the client finds it.
func (r *relay) at() netip.AddrPort { return netip.MustParseAddrPort(r.client.LocalAddr().String()) }

// Close ends it.
func (r *relay) Close() {
	_ = r.client.Close()
	_ = r.edge.Close()
	r.ended.Wait()
}

func (r *relay) up() {
	buf := make([]byte, 65536)
	for {
		n, from, err := r.client.ReadFrom(buf)
		if err != nil {
			return
		}
		r.mu.Lock()
		r.peer = from
		r.mu.Unlock()
		if _, err := r.edge.Write([]byte(r.edit(string(buf[:n])))); err != nil {
			return
		}
	}
}

func (r *relay) down() {
	buf := make([]byte, 65536)
	for {
		n, err := r.edge.Read(buf)
		if err != nil {
			return
		}
		r.mu.Lock()
		to := r.peer
		r.mu.Unlock()
		if to == nil {
			continue
		}
		if _, err := r.client.WriteTo([]byte(r.edit(string(buf[:n]))), to); err != nil {
			return
		}
	}
}

// withoutLines takes header lines off that begin with one of names and have word in them.
func withoutLines(message, word string, names ...string) string {
	head, body, _ := strings.Cut(message, "\r\n\r\n")
	var kept []string
	for _, line := range strings.Split(head, "\r\n") {
		named := false
		for _, name := range names {
			named = named || strings.HasPrefix(line, name+":")
		}
		if !named || !strings.Contains(line, word) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\r\n") + "\r\n\r\n" + body
}
