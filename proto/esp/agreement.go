package esp

import (
	"errors"
	"net/netip"
	"sync"
	"time"

	"imsafe/proto/aka"
	"imsafe/proto/shard"
)

// Role is which end of Gm we are. It decides one bit of our nonces.
type Role uint8

// The roles.
const (
	UE Role = iota
	PCSCF
)

// Side names two of the four associations by our port at which they end (TS 33.203 7.1).
type Side uint8

// The sides. Over UDP a P-CSCF receives on Server (uc -> ps) and sends from Client (pc -> us); the rest is for TCP.
const (
	Client Side = iota // our client port <-> the peer's server port
	Server             // our server port <-> the peer's client port
)

// other is the peer's port of the same two associations.
func (s Side) other() Side { return 1 - s }

// Ends are what one end announces for its client and its server port, indexed by Side: a port, and the SPI of the association
// that arrives there.
type Ends struct {
	Port [2]uint16
	SPI  [2]uint32
}

// Agreement is what was agreed with one peer, as Install is told. The addresses are those of the packet that carried the first
// REGISTER (TS 33.203 7.1).
type Agreement struct {
	Role        Role
	Owner       shard.Place // comes back with every packet: the door's name for the agreement
	Local, Peer netip.Addr  // of the outer packets; Local is one of ours
	Here, There Ends        // our announcement and the peer's
	Transform   Transform
	CK          aka.CK
	IK          aka.IK
	// Life is how long the associations hold at most, from Install on: a hard limit, whatever becomes of the registration (TS 33.203
	// 7.4; reg-await-auth for new ones). Extend lengthens it. 0 is no limit.
	Life time.Duration
	// AllowWithdrawn admits MD5 and 3DES: only under a device exception.
	AllowWithdrawn bool
	// Outside says that somebody else opens and seals, a kernel: the engine only keeps SPIs, ports, owner and life, and no keys.
	Outside bool

	// Tunnel is UDP encapsulation (TS 33.203 Annex M): tunnel mode in UDP. The inner addresses are the public ones.
	Tunnel bool
	// PeerPort is the peer's outer UDP port: 4500 for a UE, 0 for a P-CSCF that has to learn it from the first packet.
	PeerPort uint16
	// Inner is our inner address if it is not Local: the public address of a UE behind a NAT.
	Inner netip.Addr
}

// Errors of Install and Reserve.
var (
	ErrAddress    = errors.New("esp: addresses are missing, of two families, IPv4 in IPv6, or have a zone")
	ErrPorts      = errors.New("esp: the four protected ports are not usable")
	ErrPortsInUse = errors.New("esp: the peer's address and port have associations already") // TS 33.203 7.1 rule 3
	ErrSPI        = errors.New("esp: SPIs are not reserved here, too small or not all different")
	ErrTransform  = errors.New("esp: the algorithms are unknown, no pair, or withdrawn")
	ErrLife       = errors.New("esp: a life needs a clock and is not negative")
	ErrRandom     = errors.New("esp: the random source gives no usable SPI")
	ErrFull       = errors.New("esp: no room for another agreement")
)

// validate checks what does not need the engine's tables.
func (g *Agreement) validate() error {
	for _, a := range []netip.Addr{g.Local, g.Peer, g.Inner} {
		if a == g.Inner && !a.IsValid() {
			continue // it is Local
		}
		if !a.IsValid() || a.Is4() != g.Peer.Is4() || a.Is4In6() || a.Zone() != "" {
			return ErrAddress
		}
	}
	for _, e := range []*Ends{&g.Here, &g.There} {
		for _, p := range e.Port {
			if p == 0 || p == 5060 || p == 5061 { // TS 33.203 7.1
				return ErrPorts
			}
		}
		if e.Port[Client] == e.Port[Server] {
			return ErrPorts
		}
	}
	spis := [4]uint32{g.Here.SPI[0], g.Here.SPI[1], g.There.SPI[0], g.There.SPI[1]}
	for i, s := range spis {
		for _, t := range spis[:i] {
			if s == t { // equal SPIs at both ends would let packets be reflected
				return ErrSPI
			}
		}
		if s < reservedSPIs {
			return ErrSPI
		}
	}
	if !g.Transform.sound() || g.Transform.Withdrawn() && !g.AllowWithdrawn {
		return ErrTransform
	}
	return nil
}

// reservedSPIs are those that no association may have (RFC 4303 2.1).
const reservedSPIs = 256

// inbound is one association that ends here.
type inbound struct {
	spi    uint32
	prefix uint32 // of the peer's nonces, once a packet came
	window window
}

// outbound is one association that starts here.
type outbound struct {
	spi    uint32
	seq    uint32 // the last number sent
	prefix uint32 // of our nonces
}

// agreement is an agreement at rest: no pointer, so that a hundred thousand of them are no work for the garbage collector, and
// no expanded key. mu guards all of it, and the expanded keys beside it.
type agreement struct {
	mu         sync.Mutex
	gen        uint32
	owner      shard.Place
	live       bool
	warm       bool // used since the last Cool
	role       Role
	local      uint8 // index of Engine.locals: the outer address
	tunnel     bool
	known      uint8  // bit per side: inbound.prefix is known
	noticed    Notice // given already
	outer      uint16 // the peer's outer UDP port, 0 = not known
	t          Transform
	ports      [2]struct{ here, there uint16 } // by Side: ours, and the peer's that it is joined to
	authFailed uint32
	until      time.Duration // on the engine's clock; 0 = no end
	peer       address
	here       address // our inner address; the outer one but for a UE behind a NAT
	ck         aka.CK
	ik         aka.IK
	in         [2]inbound
	out        [2]outbound
}

// Status is what an agreement has done.
type Status struct {
	Received   [2]uint32 // highest sequence number opened, by Side; 0 = none
	Sent       [2]uint32 // last sequence number sealed, by Side
	AuthFailed uint32    // packets with a wrong ICV: with Received at 0 the keys differ
	Peer       netip.AddrPort
}

// Used reports whether the peer has sent anything authentic.
func (s *Status) Used() bool { return s.Received[Client]|s.Received[Server] != 0 }

// chunkSize is how many agreements are allocated together.
const chunkSize = 256

// chunk holds agreements; the pointers are beside them.
type chunk struct {
	keys *[chunkSize]*expanded // first, so that the garbage collector stops here
	rest [chunkSize]agreement
}

// Ref names an agreement in its engine. The zero Ref names none, and an old one names none.
type Ref struct{ slot, gen uint32 }
