package handset

import (
	"net"
	"net/netip"
	"net/rpc"
	"net/rpc/jsonrpc"
	"time"
)

// Name is that of the service in JSON-RPC: "Handset.On", "Handset.Challenge" and so on.
const Name = "Handset"

// Config is what a telephone is made of.
type Config struct {
	Device  string     // the network device that leads to the P-CSCF
	Local   netip.Addr // its address, which it puts on the device
	Proxy   netip.Addr // the P-CSCF's
	Gateway netip.Addr // what it is reached by, if not at its address: then the telephone does ESP in UDP (TS 33.203 Annex M)
	Port    uint16     // its unprotected one

	Domain, IMPI, IMPU string
	K, OPc             [16]byte

	Pairs  []Pair // of algorithms, in the order of Security-Client
	Client uint16 // the first protected client port: each authentication takes the next
	Server uint16 // the protected server port
	SPI    uint32 // the first SPI: each authentication takes the next two
	TCP    bool   // its contact says transport=tcp
	Deaf   bool   // it takes no TCP connections
	Open   bool   // it keeps its unprotected port when it has associations
	Terse  bool   // it writes compact forms (RFC 3261 7.3.3)
}

// Pair is what Security-Client calls alg and ealg (TS 33.203 Annex H).
type Pair struct{ Alg, EAlg string }

// Asking says how a request goes out. Set counts the sets of associations of this telephone from 0; Clear is outside all of them.
type Asking struct {
	Transport string // "udp" or "tcp"
	Set       int
	Expires   int           // of a REGISTER, in seconds
	Patience  time.Duration // for an answer; 0: enough for any

	Method, To, Body string // of other requests
}

// Clear is no set of associations.
const Clear = -1

// Status is a final response, or the challenge that REGISTER got.
type Status struct {
	Code       int
	Set        int    // of a challenge: the set that was made of it
	Chosen     Pair   // and its algorithms
	Expires    int    // of a 200 to REGISTER, as its Contact says
	Identities string // P-Associated-URI
	Dialog     string // of a 200 to INVITE: for Hangup
	Body       string
}

// Heard is a request that came, and was answered.
type Heard struct {
	Method, From, Asserted, Body string
	Transport                    string // "udp" or "tcp"
	Set                          int    // that it came over, by its ports
	ByUs                         bool   // over a connection that the telephone opened
	Dialog                       string
}

// Plain is SIP in clear.
type Plain struct {
	Transport string
	From      uint16 // 0: a free port
	To        uint16
	Raw       bool // past the kernel's policies
	Methods   []string
	Wait      time.Duration
}

// Nothing is an argument or a result that there is not.
type Nothing struct{}

// Serve is the telephones of this machine. It does not return.
func Serve(l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go serve(c)
	}
}

func serve(c net.Conn) {
	h := newHandset()
	defer h.off()
	s := rpc.NewServer()
	if err := s.RegisterName(Name, h); err != nil {
		panic(err) // its methods have another form
	}
	s.ServeCodec(jsonrpc.NewServerCodec(c))
}
