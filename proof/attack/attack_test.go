package attack

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"imsafe/proto/aka"
)

func TestFind(t *testing.T) {
	for _, x := range All() {
		for _, name := range []string{x.ID, x.Number, strings.ToLower(x.Number)} {
			if found, known := Find(name); !known || found.ID != x.ID {
				t.Errorf("%q finds %q", name, found.ID)
			}
		}
		if x.Bounds.Time-x.Bounds.Wait > 4*time.Second {
			t.Errorf("%s may take %v: a row is bounded to 4 s, besides what it waits for", x.ID, x.Bounds.Time)
		}
	}
	if _, known := Find(""); known {
		t.Error("an attack without a name was found")
	}
}

func TestWithoutLines(t *testing.T) {
	const message = "REGISTER sip:a SIP/2.0\r\nSecurity-Client: ealg=aes-gcm\r\nSecurity-Client: ealg=aes-cbc\r\nSubject: ealg=aes-gcm\r\n\r\nSecurity-Client: ealg=aes-gcm"
	const want = "REGISTER sip:a SIP/2.0\r\nSecurity-Client: ealg=aes-cbc\r\nSubject: ealg=aes-gcm\r\n\r\nSecurity-Client: ealg=aes-gcm"
	if got := withoutLines(message, "ealg=aes-gcm", "Security-Client", "Security-Server"); got != want {
		t.Errorf("%q", got)
	}
}

func TestLineOf(t *testing.T) {
	const text = "MESSAGE sip:a SIP/2.0\r\nSubject: Call-ID: no\r\nCall-ID: yes\r\n\r\n"
	if got := lineOf(text, "Call-ID: "); got != "yes" {
		t.Errorf("%q", got)
	}
}

// TestHiding: each way says where a reader may find an end, and no two are the same.
func TestHiding(t *testing.T) {
	seen := map[string]bool{}
	for _, lines := range append(hiding(77), append(disguises(), injected()...)...) {
		if seen[lines] || strings.HasSuffix(lines, "\r\n") {
			t.Errorf("%q", lines)
		}
		seen[lines] = true
	}
}

// TestLeaks: keys that stand in what was read are found, in every form, and none elsewhere.
func TestLeaks(t *testing.T) {
	u := &User{K: aka.K{1}, OPc: aka.OPc{2}}
	var v aka.Vector
	if err := aka.Generate(aka.NewMilenage(u.K, u.OPc), strings.NewReader(strings.Repeat("r", 64)), aka.SQN(32), aka.AMF{0x80}, &v); err != nil {
		t.Fatal(err)
	}
	text := "SIP/2.0 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"a\",nonce=\"" + string(aka.AppendNonce(nil, v.RAND, v.AUTN, nil)) + "\",algorithm=AKAv1-MD5"
	keys, err := keysIn(text+"\r\n\r\n", u)
	if err != nil || len(keys) != 3 || leaks(text, keys) != 0 {
		t.Fatalf("%d keys, %v, %d leaks where there are none", len(keys), err, leaks(text, keys))
	}
	for name, leak := range map[string]string{"ck": fmt.Sprintf(",ck=\"%x\"", v.CK[:]), "ik": fmt.Sprintf(",ik=\"%X\"", v.IK[:]), "octets": string(v.CK[:])} {
		if leaks(text+leak, keys) != 1 {
			t.Errorf("%s is not found", name)
		}
	}
}

// TestMutated: the corpus is the same each time, and no message is left as it was.
func TestMutated(t *testing.T) {
	const seed = "REGISTER sip:a SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nCall-ID: a\r\nContent-Length: 0\r\n\r\n"
	a, b := rand.New(rand.NewPCG(1, 0)), rand.New(rand.NewPCG(1, 0))
	same := 0
	for range 1000 {
		x := mutated(a, seed)
		if x != mutated(b, seed) {
			t.Fatal("one seed gives two messages")
		}
		if x == seed {
			same++
		}
	}
	if same > 20 {
		t.Errorf("%d of 1000 mutations change nothing", same)
	}
}
