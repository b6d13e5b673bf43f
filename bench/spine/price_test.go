package spine

import (
	"crypto/tls"
	"net"
	"testing"
	"time"
)

// controlTurns is how often the two nodes are measured in turn: what the machine does meanwhile meets both.
const controlTurns = 3

// BenchmarkControls is P19: a registration with all controls of the client interface that a laboratory can switch off switched off, beside the same
// with all of them on; both saturated, medians.
func BenchmarkControls(b *testing.B) {
	off, on := start(b, childControls+"=off"), start(b)
	clients := map[*server][]*client{off: crew(b, off, 0, window), on: crew(b, on, 0, window)}
	cpu := map[*server][]float64{}
	register := func(c *client, _ int) bool { return c.register() }
	b.ResetTimer()
	for range controlTurns {
		for _, s := range []*server{off, on} {
			drive(clients[s], 500, register) // what lay idle while the other worked is woken up
			before := s.cpu(b)
			if failed := drive(clients[s], b.N, register); failed > 0 {
				b.Errorf("%d of %d failed", failed, b.N)
			}
			cpu[s] = append(cpu[s], float64((s.cpu(b)-before).Microseconds())/float64(b.N))
		}
	}
	b.ReportMetric(median(cpu[off]), "us-cpu-off/op")
	b.ReportMetric(median(cpu[on])/median(cpu[off]), "times-cpu")
}

// BenchmarkHandshake is P7: a whole TLS 1.3 handshake of a client that is new, and the end of its connection.
func BenchmarkHandshake(b *testing.B) {
	for name, curve := range map[string]tls.CurveID{"X25519": tls.X25519, "X25519MLKEM768": tls.X25519MLKEM768} {
		b.Run(name, func(b *testing.B) {
			s := start(b)
			clients := crew(b, s, 0, 16)
			config := &tls.Config{RootCAs: s.trusted, ServerName: "pcscf." + domain, CurvePreferences: []tls.CurveID{curve}, MinVersion: tls.VersionTLS13}
			measure(b, clients, s, func(*client, int) bool {
				conn, err := (&tls.Dialer{NetDialer: &net.Dialer{Timeout: 5 * time.Second}, Config: config}).Dial("tcp", s.secured.String())
				if err != nil {
					b.Error(err)
					return false
				}
				return conn.Close() == nil
			})
		})
	}
}
