package diameter

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// HeaderLen is the length of a Diameter header in octets (RFC 6733 3).
const HeaderLen = 20

// version is the only version there is.
const version = 1

// Flags are the command flags of a header (RFC 6733 3).
type Flags uint8

// The command flags. Reserved bits are ignored when received and never sent.
const (
	FlagRequest       Flags = 0x80 // R
	FlagProxiable     Flags = 0x40 // P
	FlagError         Flags = 0x20 // E: the answer reports a protocol error
	FlagRetransmitted Flags = 0x10 // T: sent again after a failover, perhaps a duplicate
)

// Command is a command code. A request and its answer share one (RFC 6733 3.1).
type Command uint32

// The commands, by the names of their requests.
const (
	CER Command = 257 // Capabilities-Exchange (RFC 6733 5.3)
	RAR Command = 258 // Re-Auth
	ACR Command = 271 // Accounting
	ASR Command = 274 // Abort-Session
	STR Command = 275 // Session-Termination
	DWR Command = 280 // Device-Watchdog (RFC 6733 5.5)
	DPR Command = 282 // Disconnect-Peer (RFC 6733 5.4)

	UAR Command = 300 // User-Authorization (TS 29.229 6.1.1)
	SAR Command = 301 // Server-Assignment (TS 29.229 6.1.3)
	LIR Command = 302 // Location-Info (TS 29.229 6.1.5)
	MAR Command = 303 // Multimedia-Auth (TS 29.229 6.1.7)
	RTR Command = 304 // Registration-Termination (TS 29.229 6.1.9)
	PPR Command = 305 // Push-Profile (TS 29.229 6.1.11)

	UDR Command = 306 // User-Data (TS 29.329 6.1.1)
	PUR Command = 307 // Profile-Update (TS 29.329 6.1.3)
	SNR Command = 308 // Subscribe-Notifications (TS 29.329 6.1.5)
	PNR Command = 309 // Push-Notification (TS 29.329 6.1.7)
)

// Application is an Application-Id (RFC 6733 2.4).
type Application uint32

// The applications.
const (
	AppCommon Application = 0          // the base protocol between peers
	AppCx     Application = 16777216   // Cx and Dx (TS 29.229 5.6)
	AppSh     Application = 16777217   // Sh (TS 29.329 5.6)
	AppRelay  Application = 0xffffffff // a relay or redirect agent: every application
)

// Vendor3GPP is the vendor of the 3GPP applications and AVPs.
const Vendor3GPP = 10415

// Header is a header to send. The length is computed.
type Header struct {
	Flags       Flags
	Command     Command
	Application Application
	HopByHop    uint32
	EndToEnd    uint32
}

// Errors of Parse and Length. After one of them the stream cannot be trusted: close it.
var (
	ErrShort   = errors.New("diameter: message shorter than its header")
	ErrLength  = errors.New("diameter: message length is wrong")
	ErrVersion = errors.New("diameter: unknown version")
)

// Length reads the first four octets of a message: its version and its length in octets, which is at least 20, a multiple of
// four and at most limit (RFC 6733 3).
func Length(b []byte, limit int) (int, error) {
	if len(b) < 4 {
		return 0, ErrShort
	}
	v := binary.BigEndian.Uint32(b)
	if v>>24 != version {
		return 0, ErrVersion
	}
	n := int(v & 0xffffff)
	if n < HeaderLen || n%4 != 0 || n > limit {
		return 0, ErrLength
	}
	return n, nil
}

// Message is a view of one whole message. It is valid as long as its octets are. The zero Message has no header: do not
// ask it anything but IsZero.
type Message struct{ b []byte }

// Parse makes a view of b, which must be exactly one message. It looks at the header only; Check judges the rest.
func Parse(b []byte) (Message, error) {
	n, err := Length(b, len(b))
	if err != nil {
		return Message{}, err
	}
	if n != len(b) {
		return Message{}, ErrLength
	}
	return Message{b}, nil
}

// IsZero says that there is no message.
func (m Message) IsZero() bool { return len(m.b) == 0 }

// Bytes returns the octets of the message itself, not a copy.
func (m Message) Bytes() []byte { return m.b }

// Flags returns the command flags with the reserved bits masked off: the receiver ignores them (RFC 6733 3).
func (m Message) Flags() Flags { return Flags(m.b[4] & 0xf0) }

// IsRequest says that the R bit is set.
func (m Message) IsRequest() bool { return m.Flags()&FlagRequest != 0 }

// Command returns the command code.
func (m Message) Command() Command { return Command(binary.BigEndian.Uint32(m.b[4:]) & 0xffffff) }

// Application returns the application id.
func (m Message) Application() Application { return Application(binary.BigEndian.Uint32(m.b[8:])) }

// HopByHop returns the identifier that matches an answer with its request on one connection.
func (m Message) HopByHop() uint32 { return binary.BigEndian.Uint32(m.b[12:]) }

// EndToEnd returns the identifier that together with Origin-Host finds duplicates.
func (m Message) EndToEnd() uint32 { return binary.BigEndian.Uint32(m.b[16:]) }

// Header returns all of it.
func (m Message) Header() Header {
	return Header{m.Flags(), m.Command(), m.Application(), m.HopByHop(), m.EndToEnd()}
}

// AVPs returns the AVPs of the message.
func (m Message) AVPs() AVPs { return AVPs{m.b[HeaderLen:]} }

// Find returns the first AVP with that name.
func (m Message) Find(id ID) (AVP, bool) { return m.AVPs().Find(id) }

// Identity returns the text of an AVP such as Origin-Host, nil without one. It is a view.
func (m Message) Identity(id ID) []byte {
	a, _ := m.Find(id)
	return a.Data
}

// String names the message for people; it prints no AVP.
func (m Message) String() string {
	if m.IsZero() {
		return "no message"
	}
	kind := "answer"
	if m.IsRequest() {
		kind = "request"
	}
	return fmt.Sprintf("%s %d of application %d", kind, m.Command(), m.Application())
}

// The identifiers and the T flag of an encoded message are written when it is sent.

func setHopByHop(b []byte, id uint32) { binary.BigEndian.PutUint32(b[12:], id) }
func setEndToEnd(b []byte, id uint32) { binary.BigEndian.PutUint32(b[16:], id) }
func setFlags(b []byte, set, clear Flags) {
	b[4] = b[4]&^byte(clear) | byte(set)
}
