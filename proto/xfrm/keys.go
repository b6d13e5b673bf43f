package xfrm

import (
	"imsafe/proto/aka"
	"imsafe/proto/esp"
)

// keys are the algorithms of a pair and their keys, as the kernel wants them (TS 33.203 Annex I). It never prints: it has no exported field
// and no String.
type keys struct {
	aead, auth, crypt   string // the kernel's names
	authKey, encryptKey []byte
	icv                 uint32 // bits
}

// kernelNames are those of the kernel's crypto API.
var (
	integrityNames  = [...]string{esp.HMACSHA1: "hmac(sha1)", esp.AESGMAC: "rfc4543(gcm(aes))", esp.HMACMD5: "hmac(md5)"}
	encryptionNames = [...]string{esp.NoEncryption: "ecb(cipher_null)", esp.AESCBC: "cbc(aes)", esp.AESGCM: "rfc4106(gcm(aes))", esp.DESEDE3CBC: "cbc(des3_ede)"}
)

// keysOf derives them.
func keysOf(t esp.Transform, ck *aka.CK, ik *aka.IK) *keys {
	k := &keys{icv: 96}
	k.authKey, k.encryptKey = esp.Keys(t, ck, ik)
	switch {
	case t.Encryption == esp.AESGCM:
		k.aead, k.icv = encryptionNames[t.Encryption], 128
	case t.Integrity == esp.AESGMAC:
		k.aead, k.icv, k.encryptKey = integrityNames[t.Integrity], 128, k.authKey
	default:
		k.auth, k.crypt = integrityNames[t.Integrity], encryptionNames[t.Encryption]
	}
	return k
}

// noKeys are keys of the right length that are none.
func noKeys(t esp.Transform) *keys { return keysOf(t, &aka.CK{}, &aka.IK{}) }

// wipe forgets the keys.
func (k *keys) wipe() {
	clear(k.authKey)
	clear(k.encryptKey)
}

// appendTo appends the algorithms to a request.
func (k *keys) appendTo(m *message) {
	algorithm := func(kind uint16, name string, key []byte, icv uint32) {
		head := sizeAlgorithm + 4
		if icv != 0 {
			head += 4
		}
		b := m.attribute(kind, head+len(key))
		copy(b, name)
		native.PutUint32(b[sizeAlgorithm:], uint32(8*len(key)))
		if icv != 0 {
			native.PutUint32(b[sizeAlgorithm+4:], icv)
		}
		copy(b[head:], key)
	}
	if k.aead != "" {
		algorithm(attrAEAD, k.aead, k.encryptKey, k.icv)
		return
	}
	algorithm(attrAuthTrunc, k.auth, k.authKey, k.icv)
	algorithm(attrCrypt, k.crypt, k.encryptKey, 0)
}
