package handset

import (
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"imsafe/proto/aka"
)

// authorize answers a challenge with AKAv1-MD5 (RFC 3310 3): the password is RES as it is.
func (h *Handset) authorize(challenge string) (authorization string, ck, ik [16]byte, err error) {
	p := parameters(strings.TrimPrefix(challenge, "Digest "), ",")
	nonce, err := base64.StdEncoding.DecodeString(p["nonce"])
	switch {
	case err != nil || len(nonce) < 32:
		return "", ck, ik, fmt.Errorf("nonce %q: %w", p["nonce"], err)
	case p["algorithm"] != "AKAv1-MD5":
		return "", ck, ik, fmt.Errorf("algorithm %q", p["algorithm"])
	case p["ck"] != "" || p["ik"] != "":
		return "", ck, ik, errors.New("keys in a challenge")
	}
	card := aka.NewMilenage(aka.K(h.c.K), aka.OPc(h.c.OPc))
	random, autn := [16]byte(nonce), [16]byte(nonce[16:])
	if _, err := aka.Open(card, random, autn); err != nil {
		return "", ck, ik, fmt.Errorf("the network is not genuine: %w", err)
	}
	res, cipher, integrity, _ := card.F2345(random)
	uri := "sip:" + h.c.Domain
	ha1 := fmt.Sprintf("%x", md5.Sum(res.Append([]byte(h.c.IMPI+":"+p["realm"]+":"))))
	ha2 := fmt.Sprintf("%x", md5.Sum([]byte("REGISTER:"+uri)))
	response, more := fmt.Sprintf("%x", md5.Sum([]byte(ha1+":"+p["nonce"]+":"+ha2))), "" // RFC 2069, where there is no qop
	if p["qop"] != "" {
		const count, cnonce = "00000001", "6b8b4567"
		response = fmt.Sprintf("%x", md5.Sum([]byte(strings.Join([]string{ha1, p["nonce"], count, cnonce, "auth", ha2}, ":"))))
		more = fmt.Sprintf(`,qop=auth,nc=%s,cnonce="%s"`, count, cnonce)
	}
	return fmt.Sprintf(`Digest username="%s",realm="%s",nonce="%s",uri="%s",response="%s",algorithm=AKAv1-MD5%s`, h.c.IMPI, p["realm"], p["nonce"], uri,
		response, more), [16]byte(cipher), [16]byte(integrity), nil
}

// first is the Authorization of a REGISTER that answers nothing (TS 24.229 5.1.1.2.2).
func (h *Handset) first() string {
	return fmt.Sprintf(`Digest username="%s",realm="%s",nonce="",uri="sip:%s",response=""`, h.c.IMPI, h.c.Domain, h.c.Domain)
}
