package clientweb

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"imsafe/secure"
)

// heard keeps what a gate says.
type heard struct {
	mu     sync.Mutex
	events []secure.Event
}

// Refused implements secure.Sink.
func (h *heard) Refused(e secure.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, e)
}

func (h *heard) all() []secure.Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.events
}

// TestPlain: a connection that begins without TLS is closed without an answer, by one control and behind it by the other; with both off, in a
// laboratory, it is served. One that begins as TLS is TLS whatever is off.
func TestPlain(t *testing.T) {
	const request = "GET /certificates/known HTTP/1.1\r\nHost: origin.example\r\nConnection: close\r\n\r\n"
	for _, c := range []struct {
		name, octets string
		off          []secure.ControlID
		refused      []secure.ControlID // enforced
		served       bool
	}{
		{"in clear", request, nil, []secure.ControlID{secure.CSConfidentialityHTTPS}, false},
		{"the second layer", request, []secure.ControlID{secure.CSConfidentialityHTTPS}, []secure.ControlID{secure.CSIntegrityHTTPS}, false},
		{"both off", request, []secure.ControlID{secure.CSConfidentialityHTTPS, secure.CSIntegrityHTTPS}, nil, true},
		{"a record of TLS that is none", "\x16\x03\x01\x00\x05hello", []secure.ControlID{secure.CSConfidentialityHTTPS, secure.CSIntegrityHTTPS}, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, h := newOffice(t), new(heard)
			o.ports.Gate = secure.NewGate(c.off, h)
			answer := o.exchange(c.octets)
			if served := strings.Contains(answer, "chain"); served != c.served {
				t.Errorf("answered %q", answer)
			}
			if !c.served && strings.HasPrefix(answer, "HTTP/") {
				t.Errorf("who speaks in clear is answered %q", answer)
			}
			var refused []secure.ControlID
			for _, e := range h.all() {
				if e.Enforced {
					refused = append(refused, e.Control)
				}
			}
			if len(refused) != len(c.refused) || len(refused) > 0 && refused[0] != c.refused[0] {
				t.Errorf("refused by %v, wants %v", refused, c.refused)
			}
		})
	}
}

// TestFloor: who offers nothing above TLS 1.2 is refused by name, and gets the alert that the floor itself gives him; in a laboratory he is served.
func TestFloor(t *testing.T) {
	ours, theirs := net.Pipe()
	defer func() { _, _ = ours.Close(), theirs.Close() }()
	old := []uint16{tls.VersionTLS12, tls.VersionTLS11}
	both := []secure.ControlID{secure.CSConfidentialityHTTPS, secure.CSIntegrityHTTPS}
	for _, c := range []struct {
		name   string
		offers []uint16
		off    []secure.ControlID
		least  uint16
		events int
	}{
		{"1.3 among others", append([]uint16{tls.VersionTLS13}, old...), nil, tls.VersionTLS13, 0},
		{"1.2", old, nil, tls.VersionTLS13, 1},
		{"the second layer", old, both[:1], tls.VersionTLS13, 2},
		{"both off", old, both, tls.VersionTLS10, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, h := newOffice(t), new(heard)
			o.ports.Gate = secure.NewGate(c.off, h)
			floor := o.floor(&tls.Config{MinVersion: tls.VersionTLS13})
			got, err := floor.GetConfigForClient(&tls.ClientHelloInfo{SupportedVersions: c.offers, Conn: ours})
			if got == nil {
				got = floor
			}
			if err != nil || got.MinVersion != c.least || len(h.all()) != c.events {
				t.Errorf("%v, least %x, want %x; %v", err, got.MinVersion, c.least, h.all())
			}
		})
	}
}

// exchange serves one connection that says octets, and returns all that comes back.
func (o *office) exchange(octets string) string {
	o.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		o.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.Serve(ctx, ln) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			o.t.Error(err)
		}
	}()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		o.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, octets); err != nil {
		o.t.Fatal(err)
	}
	all, _ := io.ReadAll(conn) // until it is closed; a reset is one, too
	return string(all)
}
