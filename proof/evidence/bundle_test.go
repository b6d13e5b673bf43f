package evidence_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"imsafe/proof/evidence"
)

// key makes a runner's key of a name.
func key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func signed(t *testing.T) evidence.Bundle {
	t.Helper()
	b := evidence.Bundle{"tables/a.toml": []byte("a = 1\n")}
	c := &evidence.Case{Subject: evidence.Subject{Seeds: []uint64{1}, Modes: []string{"direct"}}, Attacks: []evidence.Attack{{ID: "ci.identity.asserted"}},
		Policy: []evidence.Control{{ID: "a.b"}}, Records: []*evidence.Record{record()}}
	if err := b.PutCase(c); err != nil {
		t.Fatal(err)
	}
	if err := b.Sign(key("runner"), "2026-11-25T20:00:00Z"); err != nil {
		t.Fatal(err)
	}
	return b
}

func public(name string) ed25519.PublicKey { return key(name).Public().(ed25519.PublicKey) }

func TestBundle(t *testing.T) {
	b := signed(t)
	m, err := b.Verify(public("runner"))
	if err != nil || m.Files["tables/a.toml"] != evidence.Sum(b["tables/a.toml"]) || len(m.Files) != len(b)-2 {
		t.Fatalf("%+v, %v", m, err)
	}
	if !reflect.DeepEqual(b, signed(t)) {
		t.Error("the same bundle signed twice is not the same")
	}
	c, err := b.Case()
	if err != nil || len(c.Records) != 1 || !c.Records[0].Signed || c.Records[0].Attack != "ci.identity.asserted" || len(c.Policy) != 1 {
		t.Errorf("read back: %+v, %v", c, err)
	}
	if _, err := b.Verify(public("another"), public("runner")); err != nil {
		t.Errorf("one of two pinned keys: %v", err)
	}
	if _, err := b.Verify(public("another")); err == nil || !strings.Contains(err.Error(), "not pinned") {
		t.Errorf("signed by another: %v", err)
	}
}

// TestBundle_altered: one octet, anywhere, and Verify says where.
func TestBundle_altered(t *testing.T) {
	whole := signed(t)
	for name, text := range whole {
		places := []int{0, len(text) / 2, len(text) - 2}
		if name == evidence.SignatureFile { // it is small, and has bits that mean nothing
			places = nil
			for at := range text {
				places = append(places, at)
			}
		}
		for _, at := range places {
			b := maps.Clone(whole)
			b[name] = slices.Clone(text)
			b[name][at] ^= 1
			_, err := b.Verify(public("runner"))
			if err == nil {
				t.Errorf("octet %d of %s was changed, and nobody sees it", at, name)
				continue
			}
			if says := err.Error(); !strings.Contains(says, name) && name != evidence.ManifestFile {
				t.Errorf("octet %d of %s was changed: %v", at, name, err)
			}
		}
		b := maps.Clone(whole)
		delete(b, name)
		if _, err := b.Verify(public("runner")); err == nil {
			t.Errorf("%s was removed, and nobody sees it", name)
		}
	}
	b := maps.Clone(whole)
	b["records/more.json"] = []byte("{}")
	if _, err := b.Verify(public("runner")); err == nil || !strings.Contains(err.Error(), "records/more.json was added") {
		t.Errorf("a file was added: %v", err)
	}
	// Who signs it anew has another key.
	b = maps.Clone(whole)
	b["tables/a.toml"] = []byte("a = 2\n")
	if err := b.Sign(key("forger"), "2026-11-25T20:00:00Z"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Verify(public("runner")); err == nil {
		t.Error("a forger's bundle is good")
	}
}

// TestBundle_misplaced: a record stands where it says that it belongs.
func TestBundle_misplaced(t *testing.T) {
	b := signed(t)
	for name := range b {
		if strings.HasPrefix(name, evidence.RecordsDir) {
			b["records/direct/2/elsewhere.json"] = b[name]
		}
	}
	if _, err := b.Case(); err == nil || !strings.Contains(err.Error(), "records/direct/2/elsewhere.json") {
		t.Errorf("a record in another's place: %v", err)
	}
}

func TestKey(t *testing.T) {
	text := evidence.FormatKey(public("runner"))
	if got, err := evidence.ParseKey(" " + text + "\n"); err != nil || !got.Equal(public("runner")) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "imsafe-runner-ed25519:", "imsafe-runner-ed25519:AAAA", strings.TrimPrefix(text, "imsafe-runner-")} {
		if _, err := evidence.ParseKey(bad); err == nil {
			t.Errorf("%q is a key", bad)
		}
	}
}
