package postgres_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"imsafe/store/postgres"
	"imsafe/store/storetest"
	"imsafe/test/port"
	server "imsafe/test/postgres"
)

// TestFailover: the database's machine dies while two nodes write, and its synchronous standby is promoted. What was acknowledged is there, no change is
// made twice, nobody hangs, and both nodes go on by themselves.
func TestFailover(t *testing.T) {
	primary := server.Start(t)
	standby := primary.Standby()
	primary.SQL("alter system set synchronous_standby_names = '*'")
	primary.SQL("select pg_reload_conf()")
	eventually(t, "the standby is synchronous", func() bool {
		return primary.SQL("select count(*) from pg_stat_replication where sync_state in ('sync', 'quorum')") == "1"
	})
	target, err := postgres.ParseTarget(standby.Either(primary), "", nil) // the standby is asked first, and says that it is none
	if err != nil {
		t.Fatal(err)
	}
	const workers = 6
	var nodes [2]*postgres.DB
	for i := range nodes {
		o := options(t, primary, uint16(i+1))
		o.Target, o.Patience = target, 2*time.Second
		nodes[i] = open(t, o)
	}
	var acknowledged, failed [workers]atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			keepsWriting(ctx, t, nodes[w%2], string(rune('A'+w)), &acknowledged[w], &failed[w])
		})
	}
	progress := func(what string) {
		t.Helper()
		var before [workers]int64
		for w := range before {
			before[w] = acknowledged[w].Load()
		}
		eventually(t, what, func() bool {
			for w := range before {
				if acknowledged[w].Load() < before[w]+5 {
					return t.Failed()
				}
			}
			return true
		})
	}
	progress("all write")
	primary.Kill()
	killed := time.Now()
	for _, n := range nodes {
		eventually(t, "the nodes say that no server takes writes", func() bool { return n.Failure() != nil })
	}
	standby.Promote()
	promoted := time.Now()
	progress("all write to the standby that was promoted")
	t.Logf("all write again %v after the kill, %v after the promotion", time.Since(killed).Round(time.Millisecond), time.Since(promoted).Round(time.Millisecond))
	stop()
	group.Wait()
	total := int64(0)
	for w := range workers {
		rec, err := nodes[w%2].Get(storetest.Loud, []byte{byte('A' + w)})
		least, most := acknowledged[w].Load(), acknowledged[w].Load()+failed[w].Load()
		if got := int64(len(rec.Value)); err != nil || got < least || got > most {
			t.Errorf("%c: %d changes are there, %d were acknowledged, %d unknown, %v", 'A'+w, got, least, failed[w].Load(), err)
		}
		total += least
	}
	t.Logf("%d changes acknowledged over a failover", total)
}

// TestTLS: a server over TCP proves to be the one, or the node does not start and says what to do.
func TestTLS(t *testing.T) {
	s, at := server.Start(t), port.Free(t, "127.0.0.1")
	dir := t.TempDir()
	root, cert, key := certified(t, "db.example.org")
	other, _, _ := certified(t, "db.example.org")
	right, wrong := filepath.Join(dir, "root.crt"), filepath.Join(dir, "other.crt")
	for path, text := range map[string][]byte{right: root, wrong: other} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.Listen(at, "ssl_cert_file="+s.Put("server.crt", cert), "ssl_key_file="+s.Put("server.key", key))
	try := func(url string) error {
		t.Helper()
		target, err := postgres.ParseTarget(url, "", nil)
		if err != nil {
			return err
		}
		o := options(t, s, 1)
		o.Target = postgres.LookUp(target, "127.0.0.1")
		db, err := postgres.Open(o)
		if err == nil {
			err = db.Close()
		}
		return err
	}
	url := func(host, more string) string {
		return fmt.Sprintf("host=%s port=%d user=imsafe dbname=postgres %s", host, at.Port(), more)
	}
	refused := func(what, url, advice string) {
		t.Helper()
		if err := try(url); !errors.Is(err, postgres.ErrWeak) || !strings.Contains(err.Error(), advice) {
			t.Errorf("%s: %v; want it refused with %q", what, err, advice)
		}
	}
	refused("a server without TLS", url("db.example.org", "sslrootcert="+right), "ssl = on")
	refused("in clear to another machine", url("db.example.org", "sslmode=disable"), `name "tls" in weaken`)
	s.Set("ssl=on")
	if err := try(url("db.example.org", "sslrootcert="+right)); err != nil {
		t.Errorf("verify-full, with the right authority and name: %v", err)
	}
	refused("the wrong authority", url("db.example.org", "sslrootcert="+wrong), "sslrootcert=FILE")
	refused("the wrong name", url("127.0.0.1", "sslmode=verify-full sslrootcert="+right), "another name")
}

// certified makes an authority, and a certificate of it with its key, in PEM.
func certified(t *testing.T, name string) (root, cert, private []byte) {
	t.Helper()
	block := func(kind string, der []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	authorityKey, key := newKey(), newKey()
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{name}, NotBefore: authority.NotBefore, NotAfter: authority.NotAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, authority, authority, authorityKey.Public(), authorityKey)
	root = block("CERTIFICATE", der, err)
	der, err = x509.CreateCertificate(rand.Reader, leaf, authority, key.Public(), authorityKey)
	cert = block("CERTIFICATE", der, err)
	der, err = x509.MarshalPKCS8PrivateKey(key)
	return root, cert, block("PRIVATE KEY", der, err)
}
