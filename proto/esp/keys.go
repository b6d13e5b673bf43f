package esp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"hash"
	"slices"

	"imsafe/proto/aka"
)

// The input of the key derivation for the salts: FC, P0 and the length of P0 (TS 33.203 Annex I, TS 33.220 Annex B).
const (
	saltGMAC = "\x58" + "AES_GMAC_SALT" + "\x00\x0d"
	saltGCM  = "\x59" + "AES_GCM_SALT" + "\x00\x0c"
)

// salt is the low 32 bits of what the key derivation function gives for s (TS 33.220 Annex B.2: HMAC-SHA-256 under
// CK || IK).
func salt(ck *aka.CK, ik *aka.IK, s string) (out [4]byte) {
	var key [32]byte
	copy(key[:16], ck[:])
	copy(key[16:], ik[:])
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte(s))
	sum := mac.Sum(key[:0]) // the MAC has taken the key
	copy(out[:], sum[len(sum)-4:])
	return out
}

// chain is a CBC mode whose IV can be set again, as the standard library's can: one object for all packets.
type chain interface {
	cipher.BlockMode
	SetIV([]byte)
}

// Keys derives the keys of a pair for somebody else who opens and seals: integrity and encryption as Annex I says, that of AES-GCM or
// AES-GMAC with its salt behind it, and none where the pair has none.
func Keys(t Transform, ck *aka.CK, ik *aka.IK) (integrity, encryption []byte) {
	switch t.Integrity {
	case HMACSHA1:
		integrity = make([]byte, sha1.Size) // IK and 32 zero bits
		copy(integrity, ik[:])
	case HMACMD5:
		integrity = append(integrity, ik[:]...)
	case AESGMAC:
		s := salt(ck, ik, saltGMAC)
		integrity = slices.Concat(ik[:], s[:])
	}
	switch t.Encryption {
	case AESCBC:
		encryption = append(encryption, ck[:]...)
	case AESGCM:
		s := salt(ck, ik, saltGCM)
		encryption = slices.Concat(ck[:], s[:])
	case DESEDE3CBC:
		// todo TS 33.203 Annex I: that the third key is the first half of CK again is recalled.
		encryption = append(append(encryption, ck[:]...), ck[:8]...)
	}
	return integrity, encryption
}

// expanded is an agreement's keys ready for use. All four associations share them (TS 33.203 7.2 note 3), so an agreement
// has one. It has scratch memory, so the agreement's lock guards it. It never prints: it has no exported field and no String.
type expanded struct {
	t     Transform
	aead  cipher.AEAD
	nonce [12]byte // salt, IV
	mac   hash.Hash
	sum   [sha1.Size]byte
	block cipher.Block
	enc   chain
	dec   chain
}

// expand makes ready the keys of Annex I.
func expand(t Transform, ck *aka.CK, ik *aka.IK) (*expanded, error) {
	if !t.sound() {
		return nil, ErrTransform // somebody else opens and seals
	}
	k := &expanded{t: t}
	integrity, encryption := Keys(t, ck, ik)
	defer clear(integrity)
	defer clear(encryption)
	if t.combined() {
		key := slices.Concat(integrity, encryption) // one of them is empty
		defer clear(key)
		copy(k.nonce[:], key[len(key)-4:])
		return k, k.useGCM(key[:len(key)-4])
	}
	var err error
	switch t.Integrity {
	case HMACSHA1:
		k.mac = hmac.New(sha1.New, integrity)
	case HMACMD5:
		k.mac = hmac.New(md5.New, integrity)
	}
	switch t.Encryption {
	case AESCBC:
		k.block, err = aes.NewCipher(encryption)
	case DESEDE3CBC:
		k.block, err = des.NewTripleDESCipher(encryption)
	}
	if err == nil && k.block != nil {
		var zero [aes.BlockSize]byte
		k.enc, _ = cipher.NewCBCEncrypter(k.block, zero[:k.block.BlockSize()]).(chain)
		k.dec, _ = cipher.NewCBCDecrypter(k.block, zero[:k.block.BlockSize()]).(chain)
	}
	return k, err
}

func (k *expanded) useGCM(key []byte) (err error) {
	if k.block, err = aes.NewCipher(key); err == nil {
		k.aead, err = cipher.NewGCM(k.block)
	}
	return err
}

// seal encrypts and signs p, a whole packet whose IV is filled in and whose last octets are room for the ICV.
func (k *expanded) seal(p []byte) {
	body, end := headerSize+k.t.iv(), len(p)-k.t.icv()
	switch {
	case k.t.Encryption == AESGCM: // RFC 4106 3 and 5: the header is authenticated, the IV is part of the nonce
		copy(k.nonce[4:], p[headerSize:body])
		k.aead.Seal(p[body:body], k.nonce[:], p[body:end], p[:headerSize])
		return
	case k.t.Integrity == AESGMAC: // RFC 4543 3: all of the packet, with the IV, is authenticated
		copy(k.nonce[4:], p[headerSize:body])
		k.aead.Seal(p[end:end], k.nonce[:], nil, p[:end])
		return
	}
	if k.t.Encryption != NoEncryption {
		k.encrypter(p[headerSize:body]).CryptBlocks(p[body:end], p[body:end])
	}
	copy(p[end:], k.sign(p[:end])[:k.t.icv()])
}

// open checks the ICV of p in constant time and, if it is good, decrypts in place what lies between IV and ICV. After a
// bad ICV p holds nothing of use. The length of p was checked.
func (k *expanded) open(p []byte) bool {
	body, end := headerSize+k.t.iv(), len(p)-k.t.icv()
	switch {
	case k.t.Encryption == AESGCM:
		copy(k.nonce[4:], p[headerSize:body])
		_, err := k.aead.Open(p[body:body], k.nonce[:], p[body:], p[:headerSize])
		return err == nil
	case k.t.Integrity == AESGMAC:
		copy(k.nonce[4:], p[headerSize:body])
		_, err := k.aead.Open(k.sum[:0], k.nonce[:], p[end:], p[:end])
		return err == nil
	}
	if !hmac.Equal(k.sign(p[:end])[:k.t.icv()], p[end:]) {
		return false
	}
	if k.t.Encryption != NoEncryption {
		k.decrypter(p[headerSize:body]).CryptBlocks(p[body:end], p[body:end])
	}
	return true
}

// openForged decrypts p after a bad ICV, for a laboratory that wants to see what would happen. GCM encrypts by counter, from 2 on (NIST
// SP 800-38D 7.1).
func (k *expanded) openForged(p []byte) {
	body, end := headerSize+k.t.iv(), len(p)-k.t.icv()
	switch {
	case k.t.Encryption == AESGCM:
		var counter [aes.BlockSize]byte
		copy(counter[:], k.nonce[:4])
		copy(counter[4:], p[headerSize:body])
		counter[aes.BlockSize-1] = 2
		cipher.NewCTR(k.block, counter[:]).XORKeyStream(p[body:end], p[body:end])
	case k.t.Encryption != NoEncryption:
		k.decrypter(p[headerSize:body]).CryptBlocks(p[body:end], p[body:end])
	}
}

// sign gives the whole HMAC, in scratch memory.
func (k *expanded) sign(p []byte) []byte {
	k.mac.Reset()
	k.mac.Write(p)
	return k.mac.Sum(k.sum[:0])
}

func (k *expanded) encrypter(iv []byte) cipher.BlockMode {
	if k.enc == nil { // a library whose modes are of one use
		return cipher.NewCBCEncrypter(k.block, iv)
	}
	k.enc.SetIV(iv)
	return k.enc
}

func (k *expanded) decrypter(iv []byte) cipher.BlockMode {
	if k.dec == nil {
		return cipher.NewCBCDecrypter(k.block, iv)
	}
	k.dec.SetIV(iv)
	return k.dec
}
