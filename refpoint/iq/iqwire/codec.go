package iqwire

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"net/netip"

	"imsafe/proto/sdp"
	"imsafe/refpoint/iq"
)

// Bounds of what a frame holds. Descriptions have narrower ones.
const (
	maxFrame        = 16 << 10 // octets, without the length
	maxText         = 1024
	maxReason       = 64
	maxSetup        = 8 << 10
	maxFingerprints = 16
	maxSuites       = 8
	maxValues       = 64
)

// coder goes through the fields of a message, writing or reading them: the form of each is said once.
type coder struct {
	b       []byte // what was written, or what is left to read
	reading bool
	bad     bool // over a bound, or not what a writer writes
}

// take returns the next n octets of what is read.
func (c *coder) take(n int) []byte {
	if c.bad || len(c.b) < n {
		c.bad = true
		return nil
	}
	b := c.b[:n]
	c.b = c.b[n:]
	return b
}

func (c *coder) u8(v *uint8) {
	if !c.reading {
		c.b = append(c.b, *v)
	} else if b := c.take(1); b != nil {
		*v = b[0]
	}
}

func (c *coder) u16(v *uint16) {
	if !c.reading {
		c.b = binary.BigEndian.AppendUint16(c.b, *v)
	} else if b := c.take(2); b != nil {
		*v = binary.BigEndian.Uint16(b)
	}
}

func (c *coder) u32(v *uint32) {
	if !c.reading {
		c.b = binary.BigEndian.AppendUint32(c.b, *v)
	} else if b := c.take(4); b != nil {
		*v = binary.BigEndian.Uint32(b)
	}
}

func (c *coder) u64(v *uint64) {
	if !c.reading {
		c.b = binary.BigEndian.AppendUint64(c.b, *v)
	} else if b := c.take(8); b != nil {
		*v = binary.BigEndian.Uint64(b)
	}
}

// small is a number with few values.
func (c *coder) small(v *uint8, most uint8) {
	c.u8(v)
	c.bad = c.bad || *v > most
}

// flag is a boolean, which has two forms and no more.
func (c *coder) flag(v *bool) {
	var b uint8
	if *v {
		b = 1
	}
	c.small(&b, 1)
	*v = b == 1
}

// octets are at most so many.
func (c *coder) octets(v *[]byte, most int) {
	n := uint16(min(len(*v), most+1))
	if c.u16(&n); int(n) > most {
		c.bad = true
	}
	switch {
	case c.bad:
	case c.reading:
		*v = bytes.Clone(c.take(int(n)))
	default:
		c.b = append(c.b, *v...)
	}
}

func (c *coder) text(v *string, most int) {
	b := []byte(*v)
	if c.octets(&b, most); c.reading {
		*v = string(b)
	}
}

// address is a port of IPv4 or IPv6, or none. One of IPv4 has one form, and a zone none.
func (c *coder) address(v *netip.AddrPort) {
	var family uint8
	a := v.Addr()
	switch {
	case !v.IsValid():
	case a.Is4():
		family = 4
	case a.Zone() != "":
		c.bad = true
	default:
		family = 6
	}
	c.u8(&family)
	port := v.Port()
	switch family {
	case 0:
		if c.reading {
			*v = netip.AddrPort{}
		}
		return
	case 4:
		b := [4]byte{}
		if !c.reading {
			b = a.As4()
		}
		c.array(b[:])
		a = netip.AddrFrom4(b)
	case 6:
		b := [16]byte{}
		if !c.reading {
			b = a.As16()
		}
		c.array(b[:])
		a = netip.AddrFrom16(b)
	default:
		c.bad = true
		return
	}
	c.u16(&port)
	*v = netip.AddrPortFrom(a, port)
}

// array is octets of a known number.
func (c *coder) array(v []byte) {
	if !c.reading {
		c.b = append(c.b, v...)
		return
	}
	copy(v, c.take(len(v)))
}

// list goes through the elements of one.
func list[T any](c *coder, v *[]T, most int, element func(*T)) {
	n := uint8(min(len(*v), most+1))
	if c.u8(&n); int(n) > most {
		c.bad = true
	}
	if c.bad {
		return
	}
	if c.reading {
		*v = nil
		if n > 0 {
			*v = make([]T, n)
		}
	}
	for i := range *v {
		element(&(*v)[i])
	}
}

func (c *coder) session(v *iq.Session) {
	n := uint64(*v)
	c.u64(&n)
	*v = iq.Session(n)
}

func (c *coder) branch(v *iq.Branch) {
	n := uint64(*v)
	c.u64(&n)
	*v = iq.Branch(n)
}

// stream is the number of a stream within its session.
func (c *coder) stream(v *int) {
	n := uint8(*v)
	if !c.reading && (*v < 0 || *v > 255) {
		n = 255 // there is no such stream
	}
	c.u8(&n)
	*v = int(n)
}

func (c *coder) side(v *iq.Side) {
	n := uint8(*v)
	c.small(&n, uint8(iq.Core))
	*v = iq.Side(n)
}

func (c *coder) family(v *iq.Family) {
	n := uint8(*v)
	c.small(&n, uint8(iq.IPv6))
	*v = iq.Family(n)
}

func (c *coder) suite(v *sdp.Suite) {
	n := uint8(*v)
	c.small(&n, uint8(sdp.AESCM128SHA1))
	*v = sdp.Suite(n)
}

// crypto is a suite with its key; without a suite there is none.
func (c *coder) crypto(v *sdp.Crypto) {
	tag, suite := v.Tag, v.Suite
	c.u32(&tag)
	c.suite(&suite)
	if c.bad {
		return
	}
	k, s := suite.Lengths()
	b := make([]byte, 0, k+s)
	if !c.reading {
		key, salt := v.Key()
		b = append(append(b, key...), salt...)
	}
	b = b[:k+s]
	c.array(b)
	if c.reading {
		made, err := sdp.NewCrypto(bytes.NewReader(b), tag, suite)
		c.bad = c.bad || err != nil
		*v = made
	}
}

func (c *coder) fingerprint(v *sdp.Fingerprint) {
	n := uint8(v.Hash)
	if c.u8(&n); c.bad {
		return
	}
	switch h := crypto.Hash(n); h {
	case crypto.SHA256, crypto.SHA384, crypto.SHA512:
		v.Hash = h
		c.array(v.Sum[:h.Size()])
	default:
		c.bad = true
	}
}

func (c *coder) fingerprints(v *[]sdp.Fingerprint) { list(c, v, maxFingerprints, c.fingerprint) }

func (c *coder) medium(v *iq.Medium) {
	c.text(&v.User, maxText)
	c.text(&v.Kind, maxText)
	for side := range v.Families {
		c.family(&v.Families[side])
		c.flag(&v.Separate[side])
	}
	list(c, &v.Suites, maxSuites, c.suite)
}

func (c *coder) end(v *iq.End) {
	c.address(&v.Media)
	c.address(&v.Control)
	c.fingerprints(&v.Fingerprints)
	c.text(&v.TLSID, maxText)
	list(c, &v.Crypto, maxSuites, c.crypto)
	c.text(&v.Ufrag, maxText)
	c.text(&v.Password, maxText)
}

func (c *coder) remote(v *iq.Remote) {
	c.address(&v.Media)
	c.address(&v.Control)
	keying, role := uint8(v.Keying), uint8(v.Role)
	c.small(&keying, uint8(sdp.OtherKeying))
	c.small(&role, uint8(sdp.DTLSServer))
	v.Keying, v.Role = sdp.Keying(keying), sdp.Role(role)
	c.fingerprints(&v.Fingerprints)
	c.crypto(&v.Local)
	c.crypto(&v.Peer)
	c.text(&v.ICE, maxText)
	c.u64(&v.Types[0])
	c.u64(&v.Types[1])
	for i := range v.Beside.Extensions {
		c.u64(&v.Beside.Extensions[i])
	}
	c.u32(&v.Beside.Transport)
	c.u32(&v.Beside.Payload)
	c.flag(&v.Beside.Extended)
	c.flag(&v.Waived)
	c.flag(&v.Confidential)
	c.u64(&v.Kilobits)
	c.stream(&v.Within)
	c.text(&v.MID, maxReason)
	c.u8(&v.Extension)
}
