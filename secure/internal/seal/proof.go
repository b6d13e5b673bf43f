// Package seal holds the one constructor of secure.Proof.
//
// It is internal to secure, so the Go toolchain itself refuses an import from anywhere but secure
// and its children; the floor plan refuses every child but secure/mint. It knows no protocol.
package seal

import (
	"log/slog"
	"slices"
	"unique"
)

// Kind says what stood behind a message when a door admitted it.
type Kind uint8

// The kinds of proof. The zero value proves nothing and is refused everywhere.
const (
	KindNone       Kind = iota
	KindAccess          // a client on C-I: a TLS connection, a set of security associations, a lab address
	KindOrigin          // a function of this process speaks for itself
	KindNode            // another node of this core, by mutual TLS
	KindService         // a service platform, by mutual TLS on I-S
	KindCompiledIn      // a service compiled into this process: still a service, with its own manifest
)

// String returns the name used in logs, events and evidence.
func (k Kind) String() string {
	switch k {
	case KindAccess:
		return "access"
	case KindOrigin:
		return "origin"
	case KindNode:
		return "node"
	case KindService:
		return "service"
	case KindCompiledIn:
		return "compiled-in"
	}
	return "none"
}

// Association names one protected (or, in a lab profile, merely known) path to a client: the place of
// its record in the C-I door. Its fields are those of shard.Place. The zero value names no association.
type Association struct {
	Node  uint16
	Shard uint8
	Slot  uint32
	Gen   uint16
}

// IsZero reports whether a names no association.
func (a Association) IsZero() bool { return a == Association{} }

// Generation says over which security associations of ipsec-3gpp a message came (TS 33.203 7.4).
type Generation uint8

// The generations.
const (
	GenerationNone    Generation = iota // none: a TLS connection, a lab path, an unprotected port
	GenerationNew                       // those that the authentication under way has made
	GenerationCurrent                   // those of the latest successful one
	GenerationOld                       // those of one before, or that have to be renewed: they carry what is under way and vouch for no REGISTER
)

// String returns the name used in logs and events.
func (g Generation) String() string {
	switch g {
	case GenerationNew:
		return "new"
	case GenerationCurrent:
		return "current"
	case GenerationOld:
		return "old"
	}
	return "none"
}

// Facts is what a door found out about its peer before it let a message in.
type Facts struct {
	Peer        string      // certificate name, function name, or the address of a client
	IMPI        string      // private identity that authenticated on the association, "" before
	IMPUs       []string    // its implicit registration set, the default one first
	Claimed     string      // private identity in whose name the associations were made; it proves nothing
	Profile     Word        // access profile: "tls", "lab-udp", "ipsec-3gpp"
	Association Association // C-I only
	Kind        Kind        // the small ones together: there is one for each user
	Protected   bool        // integrity holds on this path, and confidentiality unless its profile gives that up by name
	Registered  bool        // an authenticated registration is bound to the association
}

// Word is a text that many facts have in common: half the room, and each is in memory once. The zero value is "".
type Word struct{ of unique.Handle[string] }

// WordOf returns the word of a text.
func WordOf(text string) Word { return Word{unique.Make(text)} }

// String returns the text.
func (w Word) String() string {
	if w == (Word{}) {
		return ""
	}
	return w.of.Value()
}

// Proof is the sealed form of Facts, with the security associations that a message came over: immutable, copied freely, two words.
type Proof struct {
	f    *Facts
	over Generation // with ipsec-3gpp
}

var none Facts

// New seals f. The caller gives up f.IMPUs.
func New(f Facts) Proof { return Proof{f: &f} }

// Over is p for a message that came over security associations of its client. The zero Proof stays what it is.
func Over(p Proof, g Generation) Proof {
	if p.f != nil {
		p.over = g
	}
	return p
}

func (p Proof) facts() *Facts {
	if p.f == nil {
		return &none
	}
	return p.f
}

// Kind returns what kind of peer the door found; KindNone for the zero Proof.
func (p Proof) Kind() Kind { return p.facts().Kind }

// Peer returns the peer's name as the door verified it.
func (p Proof) Peer() string { return p.facts().Peer }

// IMPI returns the private identity that authenticated on the path, or "".
func (p Proof) IMPI() string { return p.facts().IMPI }

// Claimed returns the private identity in whose name the security associations were made that the message came over, or "". It proves nothing:
// it says who may not suddenly be somebody else.
func (p Proof) Claimed() string {
	if p.over == GenerationNone {
		return ""
	}
	return p.facts().Claimed
}

// DefaultIMPU returns the first public identity of the implicit registration set, or "".
func (p Proof) DefaultIMPU() string {
	if f := p.facts(); len(f.IMPUs) > 0 {
		return f.IMPUs[0]
	}
	return ""
}

// Owns reports whether impu (canonical form) is in the proven implicit registration set.
func (p Proof) Owns(impu []byte) bool {
	for _, have := range p.facts().IMPUs {
		if have == string(impu) {
			return true
		}
	}
	return false
}

// IMPUs returns a copy of the proven implicit registration set.
func (p Proof) IMPUs() []string { return slices.Clone(p.facts().IMPUs) }

// IsOf reports whether this is the proof of a registration of impi with exactly these identities, in this order.
func (p Proof) IsOf(impi string, impus []string) bool {
	f := p.facts()
	return f.Registered && f.IMPI == impi && slices.Equal(f.IMPUs, impus)
}

// Association returns the path on C-I, zero elsewhere.
func (p Proof) Association() Association { return p.facts().Association }

// Profile returns the access profile.
func (p Proof) Profile() string { return p.facts().Profile.String() }

// Generation returns which security associations the message came over.
func (p Proof) Generation() Generation { return p.over }

// Protected reports whether the path has integrity, and confidentiality unless its profile gives that up by name. Security associations have.
func (p Proof) Protected() bool { return p.over != GenerationNone || p.facts().Protected }

// Registered reports whether an authenticated registration is bound to the path.
func (p Proof) Registered() bool { return p.facts().Registered }

// LogValue shows kind and profile only: identities are not for logs.
func (p Proof) LogValue() slog.Value {
	f := p.facts()
	return slog.GroupValue(slog.String("kind", f.Kind.String()), slog.String("profile", f.Profile.String()),
		slog.Bool("registered", f.Registered))
}
