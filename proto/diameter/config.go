package diameter

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"imsafe/proto/shard"
)

// Config is what a Node is made of. The zero value is refused.
type Config struct {
	Identities
	Addresses   []netip.Addr // Host-IP-Address, at least one
	Vendor      uint32       // Vendor-Id of the maker, 0 if it has none
	Product     string       // Product-Name
	Firmware    uint32       // Firmware-Revision, 0 leaves it out
	OriginState uint32       // Origin-State-Id: grows with each start that lost state; 0 leaves it out

	Applications []ApplicationConfig
	Peers        []PeerConfig
	// TLS is for both directions: Certificates, RootCAs for those we dial, ClientCAs for those who dial us. Whatever else it says,
	// TLS 1.3 is the floor, and who dials us without a certificate gets through the handshake and is refused behind it, where Refuse
	// is asked. Nil: only peers with Cleartext.
	TLS *tls.Config
	// Refuse is asked at the point of each refusal for security, on the shard; false lets it pass, which is for a laboratory
	// that shows what happens then. Nil refuses all.
	Refuse func(Refusal) bool
	// Changed is told, on the shard, when a peer comes into service or leaves it. It may be nil.
	Changed func(host string, up bool)
	// Unresponsive is told, on the shard, when a peer that is alive leaves requests unanswered. It may be nil.
	Unresponsive func(host string)

	Shard  *shard.Shard        // where the Node lives. It must outlive Run
	Random io.Reader           // seeds jitter and identifiers
	Sleep  func(time.Duration) // how a reader waits for a full shard; nil closes the connection instead

	Watchdog     time.Duration // Tw; default 30 s, at least 6 s (RFC 3539 3.4.1)
	Reconnect    time.Duration // Tc, the longest wait between attempts; default 30 s (RFC 6733 12)
	Capabilities time.Duration // from connecting to the end of the capabilities exchange; default 10 s
	Goodbye      time.Duration // wait for a DPA; default 2 s
	Timeout      time.Duration // of a request, failover included; default 10 s

	MaxMessage    int           // octets; default 512 KiB. Before the capabilities exchange it is 4 KiB
	MaxQueue      int           // octets waiting for one peer; default 4 MiB. Who lets it fill up is closed
	MaxPending    int           // our requests without answer, per peer; default 4096
	MaxServing    int           // requests of a peer without answer; default 1024, above it 3004
	MaxHandshakes int           // accepted connections that are not peers yet; default 64
	MaxDuplicates int           // answers that are kept for duplicates; default 4096
	Duplicates    time.Duration // how long; default 4 min, as long as an End-to-End Identifier is unique (RFC 6733 3)

	Counters *Counters // nil: its own
}

// ApplicationConfig is an application that the Node speaks.
type ApplicationConfig struct {
	ID     Application
	Vendor uint32 // it is advertised in Vendor-Specific-Application-Id; 0: in Auth-Application-Id
	// Accepts are the requests that it takes, each with its grammar. Others get 3001. It may be empty.
	Accepts map[Command]Grammar
	Handler Handler // needed with Accepts
}

// PeerConfig is a peer that is expected. There are no others: who is not in the list gets no service.
type PeerConfig struct {
	Host  string // its DiameterIdentity, and a DNS name of its certificate
	Realm string // it serves this one
	// Realms are others that can be reached through it, if it is an agent.
	Realms []string
	// Dial opens a connection to it, without TLS. Nil: it connects to us. Any goroutine.
	Dial func(ctx context.Context) (net.Conn, error)
	// Priority: the lowest number in service gets the requests; equals take turns.
	Priority int
	Role     Role
	// Agent: requests that it forwards have Origin-Hosts of others.
	Agent bool
	// Cleartext lets it do without TLS. For laboratories and for links inside IPsec.
	Cleartext bool
}

// Role is what a peer may send us. The zero value is nothing but the base protocol.
type Role struct {
	Name     string
	Requests map[Application][]Command
	// AVPs of the dictionary that may stand in its requests, on the top level. Nil: all. What the dictionary does not know has no
	// effect on anybody.
	AVPs map[ID]bool
}

func (r *Role) may(a Application, c Command) bool {
	for _, x := range r.Requests[a] {
		if x == c {
			return true
		}
	}
	return false
}

func (c Config) withDefaults() Config {
	def(&c.Watchdog, 30*time.Second)
	def(&c.Reconnect, 30*time.Second)
	def(&c.Capabilities, 10*time.Second)
	def(&c.Goodbye, 2*time.Second)
	def(&c.Timeout, 10*time.Second)
	def(&c.MaxMessage, 512<<10)
	def(&c.MaxQueue, 4<<20)
	def(&c.MaxPending, 4096)
	def(&c.MaxServing, 1024)
	def(&c.MaxHandshakes, 64)
	def(&c.MaxDuplicates, 4096)
	def(&c.Duplicates, 4*time.Minute)
	if c.Counters == nil {
		c.Counters = new(Counters)
	}
	if c.TLS != nil {
		c.TLS = c.TLS.Clone()
		c.TLS.MinVersion = tls.VersionTLS13
		c.TLS.ClientAuth = tls.VerifyClientCertIfGiven
		c.TLS.SessionTicketsDisabled = true // each connection proves itself, so a revocation takes effect
	}
	return c
}

// def sets *v to d if it is zero.
func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func (c *Config) validate() error {
	switch {
	case !isIdentity([]byte(c.Host)) || !isIdentity([]byte(c.Realm)):
		return errors.New("diameter: host and realm are needed, as domain names")
	case len(c.Addresses) == 0:
		return errors.New("diameter: an address for Host-IP-Address is needed (RFC 6733 5.3.1)")
	case c.Shard == nil || c.Random == nil:
		return errors.New("diameter: shard and randomness are needed")
	case c.Watchdog < 6*time.Second:
		return errors.New("diameter: Tw is at least 6 s (RFC 3539 3.4.1)")
	}
	for _, a := range c.Applications {
		if len(a.Accepts) > 0 && a.Handler == nil {
			return fmt.Errorf("diameter: application %d accepts requests without a handler", a.ID)
		}
		for cmd, g := range a.Accepts {
			if len(g) > maxRules {
				return fmt.Errorf("diameter: grammar of command %d has more than %d rules", cmd, maxRules)
			}
		}
	}
	seen := map[string]bool{}
	for i := range c.Peers {
		p := &c.Peers[i]
		host := strings.ToLower(p.Host)
		switch {
		case !isIdentity([]byte(p.Host)) || !isIdentity([]byte(p.Realm)):
			return errors.New("diameter: a peer needs host and realm, as domain names")
		case seen[host] || strings.EqualFold(p.Host, c.Host):
			return fmt.Errorf("diameter: peer %s stands twice", p.Host)
		case c.TLS == nil && !p.Cleartext:
			return fmt.Errorf("diameter: peer %s needs TLS, and there is no TLS configuration", p.Host)
		}
		seen[host] = true
	}
	return nil
}
