// Package secure holds the words of imsafe's security: what a door proved (Proof), which protection
// refused (ControlID), what happened (Event), and the one place where a refusal is decided (Gate).
//
// It imports the standard library only and is safe for concurrent use. It makes no proof: only
// secure/mint does, and only doors (iface), the node listener of hop, and tests may import that.
package secure

import "imsafe/secure/internal/seal"

// Proof is what a door knows about the peer of a message. It cannot be made or changed outside
// secure/mint; its zero value proves nothing. Identity is read from it, never from a header.
type Proof = seal.Proof

// Association names the path to one client, as the C-I door keeps it.
type Association = seal.Association

// Kind says what stood behind a message.
type Kind = seal.Kind

// Generation says over which security associations of ipsec-3gpp a message came.
type Generation = seal.Generation

// The generations; see seal.Generation for what each means.
const (
	GenerationNone    = seal.GenerationNone
	GenerationNew     = seal.GenerationNew
	GenerationCurrent = seal.GenerationCurrent
	GenerationOld     = seal.GenerationOld
)

// The kinds of proof; see seal.Kind for what each means.
const (
	KindNone       = seal.KindNone
	KindAccess     = seal.KindAccess
	KindOrigin     = seal.KindOrigin
	KindNode       = seal.KindNode
	KindService    = seal.KindService
	KindCompiledIn = seal.KindCompiledIn
)
