package media

import "imsafe/proto/g711"

// Codec turns linear samples into octets and back: G.711.
type Codec = g711.Codec

// ALaw returns G.711 A-law, RTP name PCMA.
func ALaw() Codec { return g711.ALaw() }

// MuLaw returns G.711 mu-law, RTP name PCMU.
func MuLaw() Codec { return g711.MuLaw() }

// CodecByName returns the codec for an RTP encoding name in upper case; ok is false for others.
func CodecByName(name string) (c Codec, ok bool) { return g711.ByName(name) }
