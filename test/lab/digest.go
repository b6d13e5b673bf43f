package lab

import (
	"encoding/hex"
	"fmt"

	"imsafe/proto/aka"
	"imsafe/proto/sip"
)

// digest are the algorithms of SIP Digest that the nodes admit.
func (o *Options) digest() []aka.DigestAlgorithm {
	if !o.Digest {
		return nil
	}
	return []aka.DigestAlgorithm{aka.SHA256, aka.MD5}
}

// answerDigest computes the response of a client with a password, for a request of that method and target. The count of a
// nonce rises with each use.
func (c *Client) answerDigest(challenge *sip.Challenge, algorithm aka.DigestAlgorithm, method, uri string, credentials *sip.Credentials) error {
	if c.Password == "" {
		return fmt.Errorf("%s has no password for a challenge of %s", c.Name, algorithm)
	}
	if c.counts == nil {
		c.counts = map[string]int{}
	}
	c.counts[string(challenge.Nonce)]++
	credentials.Realm, credentials.Nonce, credentials.Algorithm = challenge.Realm, challenge.Nonce, challenge.Algorithm
	credentials.QOP, credentials.NC = []byte("auth"), fmt.Appendf(nil, "%08x", c.counts[string(challenge.Nonce)])
	credentials.Cnonce, credentials.URI = []byte(hex.EncodeToString([]byte(c.Name))), []byte(uri)
	digest := aka.Digest{Algorithm: algorithm, Username: credentials.Username, Realm: credentials.Realm, Nonce: credentials.Nonce,
		URI: credentials.URI, Method: []byte(method), QOP: credentials.QOP, NC: credentials.NC, Cnonce: credentials.Cnonce}
	credentials.Response = digest.AppendResponse(nil, []byte(c.Password))
	c.rspauth = string(digest.AppendRspauth(nil, []byte(c.Password)))
	return nil
}

// AnswerProxy is an Edit that answers the challenge of a 407.
func (c *Client) AnswerProxy(challenged *sip.Message) Edit {
	return func(m *sip.Message) {
		challenge, err := sip.ParseChallenge(challenged.Get(sip.HdrProxyAuthenticate))
		algorithm, known := aka.ParseDigestAlgorithm(challenge.Algorithm)
		if err != nil || !known {
			return
		}
		credentials := sip.Credentials{Username: []byte(c.IMPI)}
		if err := c.answerDigest(&challenge, algorithm, string(m.MethodName()), string(m.RequestURI()), &credentials); err != nil {
			return
		}
		m.Set(sip.HdrProxyAuthorization, credentials.AppendTo(nil))
	}
}

// Again is an Edit that uses the credentials of the last request once more, as they were.
func (c *Client) Again(m *sip.Message) {
	h := sip.HdrProxyAuthorization
	if m.Method() == sip.REGISTER {
		h = sip.HdrAuthorization
	}
	m.SetString(h, c.said[h])
}

// note keeps the credentials of a request that leaves.
func (c *Client) note(m *sip.Message) {
	if c.said == nil {
		c.said = map[sip.HeaderID]string{}
	}
	for _, h := range []sip.HeaderID{sip.HdrAuthorization, sip.HdrProxyAuthorization} {
		if v := m.Get(h); v != nil {
			c.said[h] = string(v)
		}
	}
}

// Proven reports whether m shows that the network knows the password of the last answer.
func (c *Client) Proven(m *sip.Message) bool {
	info, err := sip.ParseAuthenticationInfo(m.Get(sip.HdrAuthenticationInfo))
	return err == nil && c.rspauth != "" && string(info.Rspauth) == c.rspauth
}
