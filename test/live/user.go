package live

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"

	"imsafe/proto/aka"
)

// User is a subscriber whose keys the test knows.
type User struct {
	Name, IMPI, IMPU string
	Scheme           string // of AKA; SHA256 or MD5 without a card
	Password         string // without a card
	Instance         string // URN of the user's device (RFC 5626 4.1)
	K                aka.K
	OP               aka.OP
	OPc              aka.OPc
	AMF              aka.AMF
	Card             aka.Algorithm
}

// The schemes of AKA that the tests use: foreign clients know the first, which is for lab-udp; over TLS it must be the second
// (TS 33.203 X.2).
const (
	AKAv1 = "AKAv1-MD5"
	AKAv2 = "AKAv2-SHA-256"
	// Without a card, where the configuration admits that: [ci.digest] and [ci.digest_md5].
	SHA256 = "SHA-256"
	MD5    = "MD5"
)

// Provision adds subscribers to the HSS, as an operator would import them.
func (n *Node) Provision(ctx context.Context, users ...*User) error {
	var lines bytes.Buffer
	for _, u := range users {
		// Written by hand: the HSS's own types do not encode keys.
		s := map[string]any{"impi": u.IMPI, "scheme": u.Scheme, "public": []map[string]string{{"impu": u.IMPU}}}
		if u.Password != "" {
			s["password"] = u.Password
		} else {
			s["k"], s["op"], s["amf"] = fmt.Sprintf("%x", u.K[:]), fmt.Sprintf("%x", u.OP[:]), fmt.Sprintf("%x", u.AMF[:])
		}
		if err := json.NewEncoder(&lines).Encode(s); err != nil {
			return err
		}
	}
	report, err := n.HSS.Import(ctx, bytes.NewReader(lines.Bytes()), false, nil)
	if err == nil && report.Added != len(users) {
		err = fmt.Errorf("live: %d of %d subscribers were imported", report.Added, len(users))
	}
	return err
}

// NewUsers makes subscribers with random keys that no node knows yet, called prefix0, prefix1 and so on.
func NewUsers(prefix string, count int, scheme string) []*User {
	users := make([]*User, count)
	for i := range users {
		name := fmt.Sprintf("%s%d", prefix, i)
		u := &User{Name: name, IMPI: name + "@" + Domain, IMPU: "sip:" + name + "@" + Domain, Scheme: scheme}
		var device [6]byte
		if scheme == SHA256 || scheme == MD5 {
			u.Password = rand.Text()
		}
		rand.Read(u.K[:]) // never fails
		rand.Read(u.OP[:])
		rand.Read(device[:])
		u.Instance = fmt.Sprintf("urn:uuid:00000000-0000-1000-8000-%x", device)
		u.Derive()
		users[i] = u
	}
	return users
}

// Derive computes OPc and the card from K and OP: after a test has chosen other keys.
func (u *User) Derive() {
	u.OPc = aka.DeriveOPc(u.K, u.OP)
	u.Card = aka.NewMilenage(u.K, u.OPc)
}
