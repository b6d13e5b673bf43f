package kamailio

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"imsafe/ca"
	"imsafe/proof/evidence"
	"imsafe/proof/target"
)

// TestTarget_plainTLS aims attacks at Kamailio over TLS, by the profile that ships for it: as a server that asks nobody for a certificate, and as one that hears
// nobody without. A capture has nothing to read; what a run says must be what the server has written down.
func TestTarget_plainTLS(t *testing.T) {
	by := confirmedOverTLS()
	t.Run("asks for none", func(t *testing.T) {
		x, k, _ := plainTLS(t, false)
		agree(t, aim(t, x, by[:1]), by, noted(t, k), 1)
	})
	t.Run("asks for one", func(t *testing.T) {
		x, k, without := plainTLS(t, true)
		for _, row := range aim(t, without, by[:1]) { // who has none is not heard, and nothing can be said
			t.Logf("%s %s: %s", row.Outcome, row.Name(), row.Saw)
			if row.Outcome != evidence.Inconclusive {
				t.Errorf("%s without a certificate is %s: %s", row.Name(), row.Outcome, row.Saw)
			}
		}
		if frames := noted(t, k); len(frames) > 0 {
			t.Errorf("the server served clients without a certificate %d times: %s", len(frames), frames[0].text)
		}
		agree(t, aim(t, x, by), by, noted(t, k), len(by))
	})
}

// confirmedOverTLS are rows with what the server has written down if one gets through: what it has passed on, or a REGISTER by which it has bound somebody.
func confirmedOverTLS() []confirmation {
	bound := func(f *frame, whom, contact string) bool {
		return strings.HasPrefix(f.text, "REGISTER ") && strings.Contains(f.header("To"), "sip:"+whom+"@") && strings.Contains(f.header("Contact"), contact)
	}
	return []confirmation{
		{"ci.digest.crack", func(f *frame) bool { return bound(f, "dave", "sip:") }, 0},
		{"ci.register.hijack", func(f *frame) bool { return bound(f, "alice", "sip:mallory@") }, 0},
		{"ci.identity.asserted", confirmed()[0].shown, 0},
	}
}

// plainTLS starts Kamailio with TLS, which may want a certificate of its clients, and reads the profile with one and without.
func plainTLS(t *testing.T, asks bool) (x *target.Target, k *Program, without *target.Target) {
	t.Helper()
	need(t)
	authority, err := ca.New(rand.Reader, time.Now, plainDomain, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	server, err := authority.Server(time.Hour, []string{plainDomain}, []net.IP{net.ParseIP(addresses["plain"])})
	if err != nil {
		t.Fatal(err)
	}
	client, err := authority.Node(time.Hour, []string{"telephones." + plainDomain})
	if err != nil {
		t.Fatal(err)
	}
	keys, words := passwords()
	k = run(t, "plain", func(s *Setting) {
		s.Domain, s.Passwords, s.Algorithm, s.TCP, s.TLS = plainDomain, words, "SHA-256", true, true
		chain, key := inPEM(t, &server)
		if s.Certificate = chain + key; asks {
			s.Authority = string(authority.PEM())
		}
	})
	files := map[string][]byte{"ca.pem": authority.PEM()}
	without = plainFile(t, "SHA-256", "tls", keys, files)
	if !asks {
		return without, k, without
	}
	chain, key := inPEM(t, &client)
	files["client.pem"], keys["file:client.key"] = []byte(chain), key
	return plainFile(t, "SHA-256", "tls", keys, files), k, without
}

func inPEM(t *testing.T, c *tls.Certificate) (chain, key string) {
	t.Helper()
	for _, der := range c.Certificate {
		chain += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return chain, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// noted are the messages over TLS that the server has written down.
func noted(t *testing.T, k *Program) (frames []frame) {
	t.Helper()
	log, err := os.ReadFile(k.Log)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(log)) {
		_, rest, is := strings.Cut(line, ": noted ")
		words := strings.Fields(rest) // when, over what, what
		if !is || len(words) != 3 || words[1] != "tls" {
			continue
		}
		at, err1 := strconv.ParseFloat(words[0], 64)
		text, err2 := hex.DecodeString(words[2])
		if err1 != nil || err2 != nil {
			t.Fatalf("%q: %v, %v", line[:min(len(line), 200)], err1, err2)
		}
		frames = append(frames, frame{time.UnixMicro(int64(at * 1e6)), string(text)})
	}
	return frames
}
