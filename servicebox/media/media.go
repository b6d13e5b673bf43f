// Package media is the media server of services: audio that ends at a service, under DTLS-SRTP. It implements refpoint/mr; servicebox/as uses it
// for whoever writes a service.
//
// Standards: offer and answer (RFC 3264) with DTLS-SRTP (RFC 5763, RFC 5764; the profiles of RFC 7714 first), G.711 in frames of 20 ms (RFC 3551),
// digits as events (RFC 4733) and in the voice (ITU-T Q.23, Q.24). Each call has a port, a certificate and keys of its own. Nothing weaker is
// answered, whatever is offered, and no setting lowers that; nothing is sent before the peer has shown the certificate of its description, and
// nothing is believed that does not open with its keys (proto/rtpport).
//
//	socket -> rtpport: source, rate, payload type, tag, replay -> in order, 20 ms -> loop | record | digits, tones | mix | Listen
//	Tick   -> recording tone | mix | what is played | Send -> rtpport: seal -> socket
//
// It does no codec but G.711 and transcodes between its two laws alone; no video, no ICE, no jitter buffer: what comes late is dropped. It knows
// nothing of SIP and of scopes; what a call may do is said in mr.Terms.
//
// It has no clock: whoever owns it calls Tick. Each open channel has the goroutines of its leg. It imports refpoint/mr and proto. All methods are
// safe for concurrent use.
package media

import (
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"imsafe/proto/rtpport"
	"imsafe/proto/shard"
	"imsafe/refpoint/mr"
)

// Config is what a media server is made of. Address, Clock, Rand and Listen are required.
type Config struct {
	// Address is where it receives, as descriptions say it.
	Address netip.Addr
	// First and Calls are the UDP ports that calls take, one each: Calls of them from First on. With First 0 the system chooses. Calls bounds
	// how many there are at a time; 0 means DefaultCalls.
	First uint16
	Calls int
	// Longest bounds a recording; 0 means DefaultLongest.
	Longest time.Duration
	// Rate bounds what one peer may send; the zero value means DefaultRate.
	Rate rtpport.Rate
	// Profiles are the SRTP profiles, best first; nil means rtpport's.
	Profiles []rtpport.Profile

	Clock shard.Clock
	// Rand gives ports, names and numbers. It must be unpredictable.
	Rand io.Reader
	// Listen opens a socket at an address, for one call alone: net.ListenUDP, without SO_REUSEPORT.
	Listen func(at netip.AddrPort) (net.PacketConn, error)
}

// What a Config that says nothing means.
const (
	DefaultCalls   = 200
	DefaultLongest = 5 * time.Minute // 2.4 MB
)

// DefaultRate is more than twice what G.711 in packets of 10 ms takes, with digits beside it.
func DefaultRate() rtpport.Rate { return rtpport.Rate{Packets: 250, Octets: 40_000} }

// Server is a media server.
type Server struct {
	cfg      Config
	counters Counters
	legs     sync.WaitGroup

	mu          sync.Mutex
	closed      bool
	free        []uint16 // in an order drawn at the start; what comes back goes to the end
	channels    []*channel
	conferences []*mix     // those that have members
	snapshot    []*channel // of Tick alone
	mixing      []*mix     // of Tick alone
}

// Counters count calls. They only grow, but for Open. Safe for concurrent use.
type Counters struct {
	Open    atomic.Int64  // channels that hold a port
	Opened  atomic.Uint64 // channels that were opened
	Refused atomic.Uint64 // offers that could not be answered
	Full    atomic.Uint64 // those that there was no room for
	Failed  atomic.Uint64 // channels whose media failed: no handshake, or another certificate than the description's
	Dropped atomic.Uint64 // frames that nobody took in time
}

var _ mr.Server = (*Server)(nil)

// New makes a media server without channels.
func New(c Config) (*Server, error) {
	if !c.Address.IsValid() || c.Clock == nil || c.Rand == nil || c.Listen == nil {
		return nil, fmt.Errorf("media: Address, Clock, Rand and Listen are required")
	}
	if c.Calls <= 0 {
		c.Calls = DefaultCalls
	}
	if c.Longest <= 0 {
		c.Longest = DefaultLongest
	}
	if c.Rate == (rtpport.Rate{}) {
		c.Rate = DefaultRate()
	}
	s := &Server{cfg: c}
	if c.First == 0 {
		s.free = make([]uint16, c.Calls) // the system's choice, so many times
		return s, nil
	}
	if int(c.First)+c.Calls > 1<<16 {
		return nil, fmt.Errorf("media: %d ports from %d on are more than there are", c.Calls, c.First)
	}
	for i := range c.Calls {
		s.free = append(s.free, c.First+uint16(i))
	}
	return s, s.shuffle()
}

// shuffle puts the ports into an order that nobody can guess.
func (s *Server) shuffle() error {
	var b [4]byte
	for i := len(s.free) - 1; i > 0; i-- {
		if _, err := io.ReadFull(s.cfg.Rand, b[:]); err != nil {
			return fmt.Errorf("media: randomness: %w", err)
		}
		j := int(binary.BigEndian.Uint32(b[:]) % uint32(i+1))
		s.free[i], s.free[j] = s.free[j], s.free[i]
	}
	return nil
}

// Counters returns the counters.
func (s *Server) Counters() *Counters { return &s.counters }

// Free is how many more calls there may be.
func (s *Server) Free() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.free)
}

// take opens the socket of a call. A port that somebody else has is put back, and the next one is tried, a few times.
func (s *Server) take() (net.PacketConn, uint16, error) {
	const attempts = 8
	for range attempts {
		s.mu.Lock()
		if s.closed || len(s.free) == 0 {
			s.mu.Unlock()
			break
		}
		port := s.free[0]
		s.free = s.free[1:]
		s.mu.Unlock()
		pc, err := s.cfg.Listen(netip.AddrPortFrom(s.cfg.Address, port))
		if err == nil {
			return pc, port, nil
		}
		s.giveBack(port)
	}
	s.counters.Full.Add(1)
	return nil, 0, mr.ErrFull
}

func (s *Server) giveBack(port uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, port)
}

// remove takes a channel off the list.
func (s *Server) remove(c *channel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.channels = slices.DeleteFunc(s.channels, func(d *channel) bool { return d == c })
}

// Tick implements mr.Server. One caller at a time.
func (s *Server) Tick(now time.Duration) {
	s.mu.Lock()
	s.snapshot = append(s.snapshot[:0], s.channels...)
	s.mixing = append(s.mixing[:0], s.conferences...)
	s.mu.Unlock()
	for _, m := range s.mixing {
		m.tick(now)
	}
	for _, c := range s.snapshot {
		c.tick(now)
	}
	clear(s.snapshot) // what was closed is not held
	clear(s.mixing)
}

// Close implements mr.Server.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	all := slices.Clone(s.channels)
	s.mu.Unlock()
	for _, c := range all {
		c.Close()
	}
	s.legs.Wait()
}

// number is a session identifier (RFC 8866 5.2) below 2^62, which every reader can hold.
func (s *Server) number() (uint64, error) {
	var b [8]byte
	_, err := io.ReadFull(s.cfg.Rand, b[:])
	return binary.BigEndian.Uint64(b[:]) >> 2, err
}

// token is a name for a DTLS association (RFC 8842 4): 120 bits and more.
func (s *Server) token() (string, error) {
	var b [20]byte
	_, err := io.ReadFull(s.cfg.Rand, b[:])
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:])), err
}
