// Package attack is the catalogue of attacks on an IMS: what each one does, from where, what must stop it, and the driver that does it.
//
// A driver runs from outside, over real sockets that the runner hands in and limits. For the honest half of a protocol it uses the
// client; it knows nothing of the defence, not even its types, so that it cannot share a mistake with it. What it reports are sights:
// what an honest party or the attacker's own socket saw. Whether that is a block is judged by proof/runner.
//
// A driver reaches its goal or does not; it never takes a refusal for a success of the defence. One file holds one attack; docs/attacks.md
// says how another one is added.
//
// Imports: secure for the names of controls, proto, client. One Field belongs to one run and one goroutine.
package attack

import (
	"context"
	"fmt"
	"time"

	"imsafe/secure"
)

// PackVersion names the state of the catalogue. It changes when a row or a driver does: evidence of another version is stale.
const PackVersion = "23"

// Position is what the attacker holds.
type Position uint8

// The positions.
const (
	OffPath          Position = iota // P0: can send packets to exposed addresses
	Subscriber                       // P1: a registered client
	OnPath                           // P2: the path between client and edge, or an inner link
	Platform                         // P3: a service platform without credentials
	EnrolledPlatform                 // P4: an enrolled service platform
	CoreNode                         // P5: a peer core node
	LocalAccount                     // P6: a user of the host
)

// String returns "P0" and so on.
func (p Position) String() string { return fmt.Sprintf("P%d", uint8(p)) }

// Holds says what the runner hands to an attacker in this position.
func (p Position) Holds() []string {
	switch p {
	case Subscriber:
		return []string{"one subscription of his own"}
	case OnPath:
		return []string{"a relay in the path"}
	case Platform:
		return []string{"reach of the addresses of services and nodes"}
	case EnrolledPlatform:
		return []string{"invitations to enrol, or the certificates of approved services and what these were granted", "one subscription of his own"}
	case CoreNode:
		return []string{"a valid certificate of another node"}
	case LocalAccount:
		return []string{"an account on the host: the operator's socket, and the right to write the files of the log of decisions"}
	}
	return []string{}
}

// Service is a security service that an attack is aimed at.
type Service string

// The security services. Authorization counts as authentication.
const (
	Availability    Service = "availability"
	Integrity       Service = "integrity"
	Confidentiality Service = "confidentiality"
	Authentication  Service = "authentication"
)

// Stride is the kind of a threat to a system.
type Stride string

// The kinds.
const (
	Spoofing    Stride = "spoofing"
	Tampering   Stride = "tampering"
	Repudiation Stride = "repudiation"
	Disclosing  Stride = "information disclosure"
	Denial      Stride = "denial of service"
	Elevation   Stride = "elevation of privilege"
)

// Threat is one of the five threats of ITU-T X.805 9.
type Threat string

// The threats.
const (
	Destruction  Threat = "destruction"
	Corruption   Threat = "corruption"
	Removal      Threat = "removal" // or theft
	Disclosure   Threat = "disclosure"
	Interruption Threat = "interruption"
)

// Module is a layer and a plane of ITU-T X.805 7, 8: "services, control" for example.
type Module string

// The modules that the rows name.
const (
	InfrastructureControl  Module = "infrastructure, control"
	InfrastructureUser     Module = "infrastructure, end-user"
	InfrastructureAdmin    Module = "infrastructure, management"
	ServicesManagement     Module = "services, management"
	ServicesControl        Module = "services, control"
	ServicesUser           Module = "services, end-user"
	ApplicationsManagement Module = "applications, management"
	ApplicationsControl    Module = "applications, control"
	ApplicationsUser       Module = "applications, end-user"
)

// Access is how the attacker and his victims reach the edge.
type Access string

// The accesses.
const (
	TLS   Access = "tls"
	IPsec Access = "ipsec-3gpp" // ESP in UDP: it needs no privilege
	Cx    Access = "cx"         // not a client's: Diameter between nodes, over mutual TLS; clients come over TLS
	Sh    Access = "sh"         // the same between services and the HSS
	Enrol Access = "enrol"      // not a client's: HTTPS, where service platforms ask to be approved; clients come over TLS
	ISC   Access = "isc"        // not a client's: SIP between core and service platforms, over mutual TLS; clients come over TLS
	Admin Access = "management" // not a client's: the operator's socket, of a node that another account owns; clients come over TLS
	Page  Access = "page"       // not a client's: the page of a node for its operator, over HTTP on loopback; clients come over TLS
	Mw    Access = "mw"         // not a client's: SIP between nodes, over mutual TLS, of a target whose P-CSCF is a node of its own; clients come over TLS
	Clear Access = "lab-udp"    // lab only: UDP and TCP
	UDP   Access = "udp"        // of a target that is not ours, in clear
	TCP   Access = "tcp"        // the same
)

// The modes of a target: how its functions pass on what they have for each other. In wire the P-CSCF is a node of its own.
const (
	Direct = "direct"
	Strict = "strict"
	Wire   = "wire"
)

// QuickT1 is what a target with quick timers takes for T1 (RFC 3261 17.1.1.1).
const QuickT1 = 20 * time.Millisecond

// The budgets of a target with tight ones: so many at once. Of requests of a source and of a registered client, and of first REGISTERs of unproven sources half as many
// come back in a second; challenges in a minute, resynchronisations in an hour.
const (
	TightSource     = 40
	TightChallenges = 5
	TightResyncs    = 2
	TightUnproven   = 40
	TightClient     = 200
	TightSignalling = 32_000 // octets, and as many in a minute
	// Of a target that anchors media: pairs of ports, and calls that one user may have. A call between two users takes four pairs.
	TightPorts = 40
	TightCalls = 3
)

// SmallPlaces is how many procedures a small target has room for; another has room for 16,384 on each shard.
const SmallPlaces = 200

// What a hasty target gives to those who connect; another has seconds for each step, and room for 100,000.
const (
	HastyTime  = 600 * time.Millisecond
	HastyConns = 120
)

// both are the accesses of production.
func both() []Access { return []Access{TLS, IPsec} }

// Bounds are what one run may cost. The runner enforces them; a driver that needs more has a defect.
type Bounds struct {
	Packets int           // writes of all sockets of the attacker
	Bytes   int           // octets of these
	Conns   int           // sockets
	Time    time.Duration // from the first socket to the last answer, of the time that the machine gives (Bounded)
	Wait    time.Duration // of it, for a clock of the target: the end of a certificate, a time limit
}

// Attack is one row of the catalogue.
type Attack struct {
	ID       string // dotted; the door that is attacked stands first
	Number   string // never changes: "CI-07"
	Title    string // what the attacker does, in a few words
	Text     string // why that would be bad
	Services []Service
	Stride   Stride
	Threats  []Threat
	Module   Module
	Source   string   // where the standard, or whoever met it first, says so
	Access   []Access // by each of them, where a variant has no others
	Profile  string   // of the target's IPsec, by its name; "" is strict
	Tight    bool     // the target's budgets are small, so that a run needs few packets; else nobody reaches them
	Small    bool     // the target has room for SmallPlaces procedures, so that a run needs few packets
	Media    bool     // the target anchors media
	Digest   bool     // the target admits subscribers without a card, who are in the cast then
	Premium  bool     // it takes a number that pays whoever owns it
	// Neighbours are honest subscribers without a card beside the cast, with Digest.
	Neighbours int
	Crowd      int    // so many accomplices of the attacker have a subscription of their own
	Viewer     bool   // the account of who attacks may look at the operator's door, and no more
	Debug      bool   // its log is at the level of debugging, where a node tells most
	LogFormat  string // and of this form; "" is the default
	Approved   []Approved
	// Carried are further accesses by which it can be aimed at a target that is not ours. A row for both accesses of production is carried by all.
	Carried  []Access
	Bounds   Bounds
	Aimed    Bounds // what it may cost a target that is not ours; without packets it is Bounds
	Variants []Variant
}

// Aim returns a as it is at a target that is not ours.
func (a *Attack) Aim() Attack {
	aimed := *a
	if a.Aimed.Packets > 0 {
		aimed.Bounds = a.Aimed
	}
	return aimed
}

// Variant is one way of an attack. An attack has at least one; the only one of an attack may go without a name.
type Variant struct {
	Name     string
	Position Position
	Access   []Access // nil is the attack's
	// Controls must stop it, in the order in which they act. They are peeled off one by one: with the first off the second must stop
	// it, with all of them off the attack must succeed.
	Controls []secure.ControlID
	// NoAblation says why the controls cannot be switched off; "" if they can.
	NoAblation string
	// NotWire says why it is not run against a target on two nodes, by the access; it is run over those that are not there.
	NotWire map[Access]string
	// Card says what of AKA it is about; "" if a subscriber with a password can be its victim too.
	Card string
	// Quick: the target's SIP timers towards clients are quick, so that a run need not wait for half a minute until it forgets a request. Whoever is late by 64*T1
	// is late for good then, honest or not.
	Quick bool
	// Hasty: the target gives connections of clients HastyTime for a handshake and for a message, and has room for HastyConns of them.
	Hasty bool
	// Ours says why it can be aimed at imsafe alone; "" if any system can be asked, and the witnesses understand what it does.
	Ours string
	Run  func(ctx context.Context, f *Field, o *Outcome) error
}

// Accesses are the ways to the edge by which a variant is run, each for itself: that one holds says nothing of the others.
func (a *Attack) Accesses(v *Variant) []Access {
	if v.Access != nil {
		return v.Access
	}
	return a.Access
}

// Sight is what somebody outside the target saw.
type Sight struct {
	Wire    bool // on the attacker's own socket; else an honest party saw it
	Saw     string
	Reached bool // the goal, by this witness
}

// Outcome is what a driver reports.
type Outcome struct {
	Delivered string // what shows that the attack arrived
	Sights    []Sight
	Users     int // whom it has reached
}

// Arrived notes what shows that the attack arrived at the target: an answer to it, or what it did.
func (o *Outcome) Arrived(format string, args ...any) { o.Delivered = fmt.Sprintf(format, args...) }

// Peer notes what an honest party saw.
func (o *Outcome) Peer(reached bool, format string, args ...any) {
	o.Sights = append(o.Sights, Sight{Saw: fmt.Sprintf(format, args...), Reached: reached})
}

// Wire notes what came over the attacker's socket.
func (o *Outcome) Wire(reached bool, format string, args ...any) {
	o.Sights = append(o.Sights, Sight{Wire: true, Saw: fmt.Sprintf(format, args...), Reached: reached})
}
