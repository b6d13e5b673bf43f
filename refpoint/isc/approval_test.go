package isc_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
	"time"

	"imsafe/refpoint/isc"
)

// key makes an approval key from a number.
func key(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

func signed(t testing.TB) *isc.Approval {
	t.Helper()
	a := &isc.Approval{
		Service: "voicemail", Manifest: sha256.Sum256([]byte(voicemail)), Key: isc.FingerprintOf([]byte("key")),
		Granted: scopes(t, "session.answer", "media.send"), Approver: "Operator One", Time: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC), Serial: 3,
	}
	if err := a.Sign(key(1)); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestApproval(t *testing.T) {
	a := signed(t)
	if err := a.Verify(public(key(1))); err != nil {
		t.Error(err)
	}
	if err := a.Verify(public(key(2))); !errors.Is(err, isc.ErrApprovalSignature) {
		t.Errorf("another key: %v", err)
	}
	if err := a.Verify(nil); !errors.Is(err, isc.ErrApprovalSignature) {
		t.Errorf("no key: %v", err)
	}
	back, err := isc.ParseApproval(a.Marshal())
	if err != nil || back.Verify(public(key(1))) != nil || back.Granted.String() != a.Granted.String() || back.Serial != 3 || !back.Time.Equal(a.Time) {
		t.Errorf("comes back as %+v, %v", back, err)
	}
}

// TestApprovalTampered changes each part of a signed approval.
func TestApprovalTampered(t *testing.T) {
	for name, change := range map[string]func(*isc.Approval){
		"service":  func(a *isc.Approval) { a.Service = "other" },
		"manifest": func(a *isc.Approval) { a.Manifest[0]++ },
		"key":      func(a *isc.Approval) { a.Key[31]++ },
		"scopes":   func(a *isc.Approval) { a.Granted = scopes(t, "session.answer", "media.send", "media.record") },
		"users":    func(a *isc.Approval) { a.AllUsers = true },
		"approver": func(a *isc.Approval) { a.Approver = "Operator Two" },
		"time":     func(a *isc.Approval) { a.Time = a.Time.Add(time.Second) },
		"serial":   func(a *isc.Approval) { a.Serial++ },
	} {
		a := signed(t)
		change(a)
		if err := a.Verify(public(key(1))); !errors.Is(err, isc.ErrApprovalSignature) {
			t.Errorf("%s changed: %v", name, err)
		}
	}
	text := signed(t).Marshal()
	for i := range text {
		changed := bytes.Clone(text)
		changed[i] ^= 1
		if a, err := isc.ParseApproval(changed); err == nil && a.Verify(public(key(1))) == nil {
			t.Errorf("bit flipped at %d (%q): accepted", i, changed)
		}
	}
}

func TestApprovalCovers(t *testing.T) {
	m := parse(t, voicemail)
	a := signed(t)
	if err := a.Covers([]byte(voicemail), m); err != nil {
		t.Error(err)
	}
	if err := a.Covers([]byte(voicemail+"\n"), m); !errors.Is(err, isc.ErrApprovalManifest) {
		t.Errorf("a manifest that was changed: %v", err)
	}
	a.Granted = scopes(t, "session.proxy")
	if err := a.Covers([]byte(voicemail), m); !errors.Is(err, isc.ErrApprovalScopes) {
		t.Errorf("more than asked: %v", err)
	}
	a = signed(t)
	a.AllUsers = true
	if err := a.Covers([]byte(voicemail), m); !errors.Is(err, isc.ErrApprovalScopes) {
		t.Errorf("all users: %v", err)
	}
}

// TestApprovalHasOneText refuses names that would make two approvals out of one text.
func TestApprovalHasOneText(t *testing.T) {
	for _, approver := range []string{"", "a\nserial 9", strings.Repeat("a", 65), "ü"} {
		a := signed(t)
		a.Approver = approver
		if err := a.Sign(key(1)); !errors.Is(err, isc.ErrApprovalForm) {
			t.Errorf("approver %q: %v", approver, err)
		}
	}
	good := string(signed(t).Marshal())
	for _, text := range []string{"", "\n", good + "\n", good[:len(good)-1], strings.Replace(good, "serial 3", "serial 03", 1), strings.ToUpper(good), good + good} {
		if _, err := isc.ParseApproval([]byte(text)); !errors.Is(err, isc.ErrApprovalForm) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzApproval(f *testing.F) {
	f.Add(signed(f).Marshal())
	f.Fuzz(func(t *testing.T, text []byte) {
		if a, err := isc.ParseApproval(text); err == nil && !bytes.Equal(a.Marshal(), text) {
			t.Fatalf("%q is written %q", text, a.Marshal())
		}
	})
}
