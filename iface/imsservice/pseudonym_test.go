package imsservice

import (
	"crypto/rand"
	"strings"
	"testing"

	"imsafe/proto/shard"
	"imsafe/store"
	"imsafe/store/seal"
)

const pseudonymDomain = "ims.example"

// house is a store with a keyring.
func house(t testing.TB) (st *store.DB, keys *seal.Keyring) {
	t.Helper()
	keys, err := seal.Generate(rand.Reader)
	if err == nil {
		st, err = store.InMemory(shard.RealClock())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st, keys
}

func pseudonyms(t testing.TB, st store.Store, keys *seal.Keyring) *Pseudonyms {
	t.Helper()
	p, err := NewPseudonyms(pseudonymDomain, PseudonymPorts{Store: st, Keys: func() *seal.Keyring { return keys }, Random: rand.Reader})
	if err == nil && st != nil {
		err = p.Load()
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestPseudonyms: a user has one pseudonym for a service, over restarts and new sealing keys, and another one for each other service.
func TestPseudonyms(t *testing.T) {
	st, keys := house(t)
	p := pseudonyms(t, st, keys)
	for _, uri := range []string{"sip:alice@" + pseudonymDomain, "sip:alice@elsewhere.example", "tel:+15550100", "sip:alice@" + pseudonymDomain + ";gr=urn:uuid:1", "sips:bob@192.0.2.1:5061;transport=tcp"} {
		known := p.of("a").cover(uri)
		if strings.Contains(known, "alice") || !strings.HasSuffix(known, "@pseudonym."+pseudonymDomain) {
			t.Errorf("%s is known as %s", uri, known)
		}
		if known != p.of("a").cover(uri) || known == p.of("b").cover(uri) {
			t.Errorf("%s: %s", uri, known)
		}
		if got := p.Uncover("a", known); got != uri {
			t.Errorf("%s is %s", known, got)
		}
		if got := p.Uncover("b", known); got != known {
			t.Errorf("another service finds %s", got)
		}
		if got := p.Uncover("a", known+";user=phone"); got != uri+";user=phone" {
			t.Errorf("with a parameter it is %s", got)
		}
		next, err := keys.Rotate(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys = next
		after := pseudonyms(t, st, keys)
		if n, err := after.Reseal(); n != 1 || err != nil {
			t.Fatalf("%d records were sealed anew, %v", n, err)
		}
		if n, err := after.Reseal(); n != 0 || err != nil {
			t.Errorf("%d records were sealed twice, %v", n, err)
		}
		keys = keys.Retire()
		if got := pseudonyms(t, st, keys).of("a").cover(uri); got != known {
			t.Errorf("after a restart it is %s, it was %s", got, known)
		}
	}
}

// TestPseudonyms_forged: what the core has not made is nobody's pseudonym.
func TestPseudonyms_forged(t *testing.T) {
	p := pseudonyms(t, nil, nil)
	known := p.of("a").cover("sip:alice@" + pseudonymDomain)
	user, host, _ := strings.Cut(strings.TrimPrefix(known, "sip:"), "@")
	for _, uri := range []string{"sip:" + user + "A@" + host, "sip:" + user[1:] + "@" + host, "sip:@" + host, "sip:alice@" + host, "sip:" + user + "@" + host + ":5060",
		"sip:" + user + "@" + host + "x", "sips:" + user + "@" + host, "tel:" + user, "sip:" + strings.Replace(user, user[20:21], "_", 1) + "@" + host} {
		if got, is := p.of("a").uncover(uri); is && got != "sip:alice@"+pseudonymDomain {
			t.Errorf("%s is %s", uri, got)
		} else if is && uri != known {
			t.Errorf("%s passes", uri)
		}
	}
}

// FuzzUncover: no text is a pseudonym but those that were made.
func FuzzUncover(f *testing.F) {
	p := newPseudonym(make([]byte, 32), "a", "pseudonym."+pseudonymDomain, pseudonymDomain)
	f.Add(p.cover("sip:alice@" + pseudonymDomain))
	f.Add(p.cover("tel:+15550100") + ";x")
	f.Fuzz(func(t *testing.T, uri string) {
		identity, is := p.uncover(uri)
		if !is {
			return
		}
		bare, _, _ := strings.Cut(identity, ";")
		if made := p.cover(bare); !strings.HasPrefix(uri, made[:len(made)-len(p.host)]) && !strings.Contains(identity, ";") && !strings.Contains(identity, "?") {
			t.Errorf("%s is %s, which is known as %s", uri, identity, made)
		}
	})
}

func BenchmarkVeil(b *testing.B) {
	p := pseudonyms(b, nil, nil).of("a")
	known := p.cover("sip:alice@" + pseudonymDomain)
	b.Run("cover", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p.cover("sip:alice@" + pseudonymDomain)
		}
	})
	b.Run("uncover", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p.uncover(known)
		}
	})
}
