// Package doctor examines an installation: what is wrong, why it matters, and what to do, each under a code that stays the same.
//
// It decides and words; it touches nothing itself. The machine comes in as a [Host], names as a [Resolver], the running node as what it
// answered at its management door. It changes nothing, and what it prints holds no key. `imsafe doctor` prints what [Examine] and
// [ExamineUser] find; docs/doctor.md is made of the same table ([Codes]). Imported by cmd. Not safe for concurrent use; an examination has
// no state that outlives it.
package doctor

import (
	"context"
	"fmt"
	"io/fs"
	"net/netip"
	"time"

	"imsafe/config"
	"imsafe/node"
)

// Level is how much a finding matters.
type Level string

// The levels.
const (
	Fine      Level = "fine"
	Hint      Level = "hint"      // works, and could be better, or is worth knowing
	Unchecked Level = "unchecked" // could not be found out here
	Breaks    Level = "breaks"    // somebody is not served
)

// Finding is what one look has found.
type Finding struct {
	Code  string `json:"code"`
	Level Level  `json:"level"`
	What  string `json:"what"`
	Why   string `json:"why,omitempty"`
	Do    string `json:"do,omitempty"`
	Page  string `json:"page,omitempty"` // in the tree
}

// Host is the machine. Errors are those of the operating system, so that errors.Is tells them apart.
type Host interface {
	Wall() time.Time
	// Synchronised says whether the kernel holds its clock for synchronised, as a time service tells it.
	Synchronised() (bool, error)
	ReadFile(name string) ([]byte, error)
	Stat(name string) (fs.FileInfo, error)
	// Owner returns the user that a file belongs to, and the user of this process.
	Owner(info fs.FileInfo) (file, process int)
	// Free returns the octets that this process may still write to the file system of a directory.
	Free(directory string) (uint64, error)
	// Bind opens a socket, "udp" or "tcp", and closes it.
	Bind(network string, at netip.AddrPort) error
	// KnockUDP sends one octet that means nothing (RFC 3948 2.3) and returns the error that comes back within a moment.
	KnockUDP(ctx context.Context, at netip.AddrPort) error
	// LoopESP opens a raw socket for ESP at an address, and sends itself a packet over it.
	LoopESP(ctx context.Context, at netip.Addr) error
	// LoopFragments sends a UDP datagram of size octets to itself in fragments of IP.
	LoopFragments(ctx context.Context, at netip.Addr, size int) error
	// Interface returns the interface that has an address, and its MTU in octets.
	Interface(at netip.Addr) (name string, mtu int, err error)
	// Translations returns the rules of this machine that rewrite source addresses, as its packet filter shows them.
	Translations(ctx context.Context) ([]string, error)
}

// Resolver answers what names lead to. An empty answer is no error.
type Resolver interface {
	Addresses(ctx context.Context, name string) ([]netip.Addr, error)
	Services(ctx context.Context, name string) ([]Service, error)
	NamingAuthority(ctx context.Context, name string) ([]NamingAuthority, error)
}

// Service is a record SRV (RFC 2782).
type Service struct {
	Target string
	Port   uint16
}

// NamingAuthority is a record NAPTR as SIP uses it (RFC 3263 4.1).
type NamingAuthority struct{ Service, Replacement string }

// Patient is what is examined, as far as the caller could find it.
type Patient struct {
	Path        string // of the configuration
	Config      *config.Config
	ConfigErr   error  // why there is none
	Credentials string // directory of the system's credentials
	Node        *Running
	// Blind says that whether a node runs cannot be seen: this user may not open its socket.
	Blind bool
	// What opening its store gave, where no node runs.
	StoreErr error
	NoStore  bool // there is none yet
	// What the kernel lacks for ESP and for dropping sources, where the configuration wants it and no node runs; nil if nothing.
	KernelErr, DropErr error
	// What opening every sealed key gave.
	KeysErr error
	Cards   int
	// The authority of the network, as ca show tells it; nil where it could not be asked.
	Authority *node.AuthorityView
}

// Running is what a running node answered. What it could not be asked is nil.
type Running struct {
	Status *node.Status
	Health *node.Health
	Policy *node.PolicyReport
}

// examination collects findings.
type examination struct {
	ctx      context.Context
	host     Host
	resolver Resolver
	*Patient
	found []Finding
}

// Examine looks at everything and returns what it found, in the order in which things depend on each other.
func Examine(ctx context.Context, h Host, r Resolver, p *Patient) []Finding {
	x := &examination{ctx: ctx, host: h, resolver: r, Patient: p}
	x.clock()
	if !x.configuration() {
		return x.found
	}
	x.files()
	x.store()
	x.addresses()
	x.mediaPorts()
	x.certificates()
	x.encapsulation()
	x.path()
	x.names()
	x.life()
	return x.found
}

// Broken reports whether something is broken.
func Broken(found []Finding) bool {
	for _, f := range found {
		if f.Level == Breaks {
			return true
		}
	}
	return false
}

// add keeps a finding, with what the table says about its code.
func (x *examination) add(code Code, level Level, format string, args ...any) *Finding {
	f := Finding{Code: string(code), Level: level, What: fmt.Sprintf(format, args...)}
	if t := explained[code]; level != Fine {
		f.Page = Page(code)
		if level != Unchecked { // there it is not known whether there is anything to do
			f.Why, f.Do = t.Why, t.Do
		}
	}
	x.found = append(x.found, f)
	return &x.found[len(x.found)-1]
}

func (x *examination) fine(code Code, format string, args ...any) { x.add(code, Fine, format, args...) }

func (x *examination) hint(code Code, format string, args ...any) { x.add(code, Hint, format, args...) }

// unchecked says what could not be looked at, and how it can be.
func (x *examination) unchecked(code Code, how, format string, args ...any) {
	x.add(code, Unchecked, format, args...).Do = how
}

// How to look at what could not be looked at.
const (
	asTheNode   = "run this as root, or as the user of the node"
	withRaw     = "run this as root, or with CAP_NET_RAW"
	onTheHost   = "look on the host that this container runs on"
	notNeeded   = "nothing, if telephones get the P-CSCF from the packet core (PCO); else look at /etc/resolv.conf and the resolver in it"
	credentials = "systemd gives the node its credentials; here, CREDENTIALS_DIRECTORY names the directory that has the file under that name"
	byHand      = "`nft list ruleset | grep -i -e masquerade -e snat` and `iptables-save -t nat`, as root, here and on the packet gateway"
	lookAgain   = "try again; docs/doctor.md says how it is done by hand"
)

func (x *examination) breaks(code Code, format string, args ...any) {
	x.add(code, Breaks, format, args...)
}

// instead says something more fitting to do than the table.
func (f *Finding) instead(format string, args ...any) { f.Do = fmt.Sprintf(format, args...) }
