package node

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"imsafe/proto/shard"
	"imsafe/proto/siptransport"
)

// silent is told of a connection and wants nothing of it.
type silent struct{ opened chan struct{} }

func (silent) Packet(siptransport.Flow, []byte)                 {}
func (s silent) Opened(siptransport.Flow, *tls.ConnectionState) { close(s.opened) }
func (silent) Closed(siptransport.Flow, error)                  {}

// TestCloseStreams: a node that ends waits a second for what it has to say; that a peer does not read until then is written down, and no failure.
func TestCloseStreams(t *testing.T) {
	for name, reads := range map[string]bool{"read": true, "not read": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				n := &Node{o: Options{Log: slog.New(slog.NewTextHandler(&log, nil))}}
				s := siptransport.NewStreams(siptransport.Options{})
				n.accesses = []*access{{streams: s}}
				sh := shard.New(shard.Config{Clock: shard.RealClock()})
				running, stop := context.WithCancel(t.Context())
				defer stop()
				go func() { _ = sh.Run(running) }()
				ours, theirs := net.Pipe()
				defer func() { _ = theirs.Close() }()
				to := silent{make(chan struct{})}
				f := s.DialBy(t.Context(), sh, netip.MustParseAddrPort("192.0.2.1:5060"), to, func(context.Context) (net.Conn, error) { return ours, nil })
				<-to.opened
				if reads {
					go func() { _, _ = bytes.NewBuffer(nil).ReadFrom(theirs) }()
				}
				if err := f.Send([]byte("the last word")); err != nil {
					t.Fatal(err)
				}
				if err := n.closeStreams(t.Context()); err != nil {
					t.Error(err)
				}
				if cut := strings.Contains(log.String(), "cut off"); cut == reads {
					t.Errorf("what is written down: %q", log.String())
				}
			})
		})
	}
}
