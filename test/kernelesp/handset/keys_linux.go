package handset

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// words say an algorithm pair and its keys to iproute2 (TS 33.203 Annex I; RFC 4106, RFC 4543).
func (p Pair) words(ck, ik [16]byte) (string, error) {
	x := hex.EncodeToString
	switch p {
	case Pair{"null", "aes-gcm"}:
		return fmt.Sprintf("aead rfc4106(gcm(aes)) 0x%x%x 128", ck, salt(ck, ik, 0x59, "AES_GCM_SALT")), nil
	case Pair{"aes-gmac", "null"}:
		return fmt.Sprintf("aead rfc4543(gcm(aes)) 0x%x%x 128", ik, salt(ck, ik, 0x58, "AES_GMAC_SALT")), nil
	}
	encryption, known := map[string]string{"null": `ecb(cipher_null) ""`, "aes-cbc": "cbc(aes) 0x" + x(ck[:]),
		"des-ede3-cbc": "cbc(des3_ede) 0x" + x(ck[:]) + x(ck[:8])}[p.EAlg]
	integrity, knownToo := map[string]string{"hmac-sha-1-96": "hmac(sha1) 0x" + x(ik[:]) + "00000000", "hmac-md5-96": "hmac(md5) 0x" + x(ik[:])}[p.Alg]
	if !known || !knownToo {
		return "", fmt.Errorf("no such pair: %s/%s", p.Alg, p.EAlg)
	}
	return "auth-trunc " + integrity + " 96 enc " + encryption, nil
}

// salt is the low 32 bits of the key derivation of TS 33.220 Annex B with one parameter: FC || P0 || L0.
func salt(ck, ik [16]byte, fc byte, p0 string) []byte {
	m := hmac.New(sha256.New, append(ck[:], ik[:]...))
	m.Write([]byte{fc})
	m.Write([]byte(p0))
	m.Write([]byte{byte(len(p0) >> 8), byte(len(p0))})
	return m.Sum(nil)[28:]
}
