package scscf

import (
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

// grValue is the value of gr in the public GRUUs of a device. A device that is named by its IMEI is not betrayed by it
// (TS 24.229 5.4.7A.2): it gets a name made from it (RFC 9562 5.8).
func grValue(impi, instance string) string {
	if strings.HasPrefix(instance, "urn:uuid:") && !strings.ContainsAny(instance, ";?&<>\"% ") {
		return instance
	}
	sum := sha256.Sum256([]byte(impi + "\x00" + instance))
	b := sum[:16]
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80
	return "urn:uuid:" + hex.EncodeToString(b[:4]) + "-" + hex.EncodeToString(b[4:6]) + "-" + hex.EncodeToString(b[6:8]) + "-" +
		hex.EncodeToString(b[8:10]) + "-" + hex.EncodeToString(b[10:])
}

// appendGRUUs appends the GRUU parameters of a Contact in a 200 to REGISTER (RFC 5627 5.3).
func (s *SCSCF) appendGRUUs(b []byte, a *assignment, c *contact, impu string) []byte {
	if c.instance == "" || !strings.HasPrefix(impu, "sip:") {
		return b
	}
	b = append(append(b, `;pub-gruu="`...), impu...)
	b = append(append(append(b, ";gr="...), grValue(a.impi, c.instance)...), `";temp-gruu="sip:`...)
	b = append(b, temporaryUser...)
	handle := deviceHandle(a.impi, c)
	// No limit is set for the table: Put does not fail.
	_ = s.owners.Put(handle[:], []byte(impu+"\n"+a.impi+"\n"+c.instance))
	n := s.gruus.Add(1)
	b = s.ports.Sealer.Seal(b, tokenGRUU, shard.Place{Node: binary.BigEndian.Uint16(handle[1:]), Slot: binary.BigEndian.Uint32(handle[3:]),
		Shard: uint8(n >> 16), Gen: uint16(n)})
	return append(append(append(b, '@'), s.cfg.Name...), `;gr"`...)
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
	sum := sha256.Sum256([]byte(impi + "\x00" + c.instance + "\x00" + c.callID + "\x00" + string(rune('0'+c.set))))
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
