package scscf

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
)

// A GRUU names one device of a user (RFC 5627, TS 24.229 5.4.7A). The public one is the identity with the parameter gr. A temporary
// one tells nobody whose it is, and no two of them look alike: its user part is a token that only this S-CSCF opens, and its host is
// this S-CSCF, so that nobody need be asked for the way. Tokens of before a restart do not open, since the key of their seal is gone with the
// process: they lead to nobody (404), until the next REGISTER brings a new one.

const (
	tokenGRUU     = 'g'      // kind of the seal
	temporaryUser = "tgruu." // what the user part of a temporary GRUU begins with
)

// grValue is the value of gr in the public GRUUs of a device.
func grValue(impi, instance string) string {
	var b [128]byte
	return string(appendGR(b[:0], impi, instance))
}

// appendGR appends grValue. A device that is named by its IMEI is not betrayed by it (TS 24.229 5.4.7A.2): it gets a name made from it
// (RFC 9562 5.8).
func appendGR(b []byte, impi, instance string) []byte {
	if strings.HasPrefix(instance, "urn:uuid:") && !strings.ContainsAny(instance, ";?&<>\"% ") {
		return append(b, instance...)
	}
	sum := digestOf(impi, instance)
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80
	b = append(b, "urn:uuid:"...)
	from := 0
	for _, to := range [...]int{4, 6, 8, 10} {
		b = append(hex.AppendEncode(b, sum[from:to]), '-')
		from = to
	}
	return hex.AppendEncode(b, sum[from:16])
}

// digestOf is SHA-256 of texts with a NUL between, which none of them holds.
func digestOf(texts ...string) [sha256.Size]byte {
	var room [512]byte
	b := room[:0]
	for i, text := range texts {
		if i > 0 {
			b = append(b, 0)
		}
		b = append(b, text...)
	}
	return sha256.Sum256(b)
}

// appendGRUUs appends the GRUU parameters of a Contact in a 200 to REGISTER (RFC 5627 5.3).
func (s *SCSCF) appendGRUUs(b []byte, a *assignment, c *contact, impu string) []byte {
	if c.instance == "" || !strings.HasPrefix(impu, "sip:") {
		return b
	}
	b = append(append(b, `;pub-gruu="`...), impu...)
	b = appendGR(append(b, ";gr="...), a.impi, c.instance)
	b = append(append(b, `";temp-gruu="sip:`...), temporaryUser...)
	handle := deviceHandle(a.impi, c)
	s.handle(handle[:], impu, a.impi, c.instance)
	n := s.gruus.Add(1)
	b = s.ports.Sealer.Seal(b, tokenGRUU, shard.Place{Node: binary.BigEndian.Uint16(handle[1:]), Slot: binary.BigEndian.Uint32(handle[3:]),
		Shard: uint8(n >> 16), Gen: uint16(n)})
	return append(append(append(b, '@'), s.cfg.Name...), `;gr"`...)
}

// handle keeps whose device a handle stands for. A refresh finds it kept.
func (s *SCSCF) handle(handle []byte, impu, impi, instance string) {
	var is, be [512]byte
	value := append(append(append(append(append(be[:0], impu...), '\n'), impi...), '\n'), instance...)
	if kept, found := s.owners.Get(handle, is[:0]); !found || !bytes.Equal(kept, value) {
		_ = s.owners.Put(handle, value) // no limit is set for the table: it does not fail
	}
}

// publicGRUU returns the public GRUU of a device that asked for GRUUs, under the identity impu; "" if it did not, or impu is a number.
func (r *registration) publicGRUU(c *contact, impu string) string {
	if !c.gruu || !strings.HasPrefix(impu, "sip:") {
		return ""
	}
	return impu + ";gr=" + grValue(r.impi, c.instance)
}

// deviceHandle is the key under which the device of c stands while it is registered: a NUL, which no identity begins with, and 48
// bits. A device that registers with another Call-ID is another one: its temporary GRUUs end (RFC 5627 3.1).
func deviceHandle(impi string, c *contact) (key [7]byte) {
	sum := digestOf(impi, c.instance, c.callID, string(rune('0'+c.set)))
	copy(key[1:], sum[:])
	return key
}

// forgetGRUUs ends the temporary GRUUs of contacts that are gone.
func (s *SCSCF) forgetGRUUs(impi string, gone []contact) {
	for i := range gone {
		if gone[i].instance != "" {
			handle := deviceHandle(impi, &gone[i])
			s.owners.Delete(handle[:])
		}
	}
}

// called is what a Request-URI asks for: an identity, and with a GRUU one device of it.
type called struct {
	impu string
	gr   string // "" means every device
	gone bool   // a temporary GRUU that leads nowhere any more
}

// calledBy reads a Request-URI; false if it names no user.
func (s *SCSCF) calledBy(requestURI []byte) (called, bool) {
	impu, ok := sip.PublicIdentity(requestURI)
	if !ok {
		return called{}, false
	}
	uri, err := sip.ParseURI(requestURI)
	if err != nil || !uri.IsSIP() {
		return called{impu: impu}, err == nil
	}
	gr, isGRUU := uri.Param("gr")
	switch {
	case !isGRUU:
		return called{impu: impu}, true
	case len(gr) > 0:
		return called{impu: impu, gr: string(gr)}, true
	}
	token, temporary := strings.CutPrefix(string(uri.User), temporaryUser)
	place, genuine := s.ports.Sealer.Open(tokenGRUU, []byte(token))
	if !temporary || !genuine {
		return called{gone: true}, true
	}
	var key [7]byte
	binary.BigEndian.PutUint16(key[1:], place.Node)
	binary.BigEndian.PutUint32(key[3:], place.Slot)
	var buf [256]byte
	value, found := s.owners.Get(key[:], buf[:0])
	if !found {
		return called{gone: true}, true
	}
	parts := strings.SplitN(string(value), "\n", 3)
	return called{impu: parts[0], gr: grValue(parts[1], parts[2])}, true
}

// only keeps the devices that a GRUU names.
func (c *called) only(devices []device) []device {
	if c.gr == "" {
		return devices
	}
	return slices.DeleteFunc(devices, func(d device) bool {
		return d.instance == "" || !strings.EqualFold(grValue(d.flows[0].impi, d.instance), c.gr)
	})
}

// isGRUUHere reports whether a Request-URI is a temporary GRUU of this S-CSCF.
func (s *SCSCF) isGRUUHere(uri *sip.URI) bool {
	_, isGRUU := uri.Param("gr")
	return isGRUU && string(uri.Host) == string(s.cfg.Name)
}

// resolveGRUU puts the binding in the place of a GRUU that a request inside a dialog is addressed to (RFC 5627 4.4.1, 5.4): where the
// device has registered anew meanwhile, its new one.
func (s *SCSCF) resolveGRUU(t *shard.Task, m *sip.Message) {
	uri, err := sip.ParseURI(m.RequestURI())
	if err != nil {
		return
	}
	if _, isGRUU := uri.Param("gr"); !isGRUU {
		return
	}
	asked, ok := s.calledBy(m.RequestURI())
	if !ok || asked.gone {
		return
	}
	if devices := asked.only(devicesOf(s.findAll(t, asked.impu), asked.impu, true)); len(devices) > 0 {
		m.SetRequestURI([]byte(devices[0].flows[0].uri))
	}
}
