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
	Scheme           string // of AKA
	K                aka.K
	OP               aka.OP
	OPc              aka.OPc
	Card             aka.Algorithm
}

// The schemes of AKA that the tests use: foreign clients know the first, which is for lab-udp; over TLS it must be the second
// (TS 33.203 X.2).
const (
	AKAv1 = "AKAv1-MD5"
	AKAv2 = "AKAv2-SHA-256"
)

// Provision adds subscribers with random keys, called prefix0, prefix1 and so on, as an operator would import them.
func (n *Node) Provision(ctx context.Context, prefix string, count int, scheme string) ([]*User, error) {
	users := make([]*User, count)
	var lines bytes.Buffer
	for i := range users {
		u := NewUser(fmt.Sprintf("%s%d", prefix, i), scheme)
		users[i] = u
		// Written by hand: the HSS's own types do not encode keys.
		err := json.NewEncoder(&lines).Encode(map[string]any{"impi": u.IMPI, "k": fmt.Sprintf("%x", u.K[:]), "op": fmt.Sprintf("%x", u.OP[:]),
			"scheme": u.Scheme, "public": []map[string]string{{"impu": u.IMPU}}})
		if err != nil {
			return nil, err
		}
	}
	report, err := n.HSS.Import(ctx, &lines, false)
	if err == nil && report.Added != count {
		err = fmt.Errorf("live: %d of %d subscribers were imported", report.Added, count)
	}
	return users, err
}

// NewUser makes a subscriber that no node knows yet.
func NewUser(name, scheme string) *User {
	u := &User{Name: name, IMPI: name + "@" + Domain, IMPU: "sip:" + name + "@" + Domain, Scheme: scheme}
	rand.Read(u.K[:]) // never fails
	rand.Read(u.OP[:])
	u.OPc = aka.DeriveOPc(u.K, u.OP)
	u.Card = aka.NewMilenage(u.K, u.OPc)
	return u
}
