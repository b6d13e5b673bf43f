package node

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"

	"imsafe/config"
	"imsafe/proto/shard"
	"imsafe/store"
	"imsafe/store/postgres"
	"imsafe/store/seal"
	"imsafe/store/sqlite"
)

// OpenStore opens the store that c names, making it if it is not there. credentials is the system's directory of credentials, "" without one. Until it
// is closed, one in data_dir is locked, since one process writes it; in a database the number of the node is.
func OpenStore(c *config.Config, clock shard.Clock, log *slog.Logger, credentials string) (store.Engine, error) {
	if c.Store.Shared() {
		return openDatabase(c, clock, log, credentials)
	}
	if err := os.MkdirAll(c.Node.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("node: data directory: %w", err)
	}
	db, err := sqlite.Open(c.Node.DataDir, store.Options{Clock: clock, Random: rand.Reader, Log: log, Lab: c.Node.Lab, Tables: Tables(),
		Window: c.Store.Window.Std(), CacheBytes: int64(c.Store.Cache)})
	if err != nil {
		return nil, err // not a nil *store.DB in an interface
	}
	return db, nil
}

// openDatabase opens this node's end of the store in a database.
func openDatabase(c *config.Config, clock shard.Clock, log *slog.Logger, credentials string) (store.Engine, error) {
	password := ""
	if c.Store.PasswordFile != "" {
		path, err := c.Store.PasswordFile.Path(credentials)
		if err != nil {
			return nil, err
		}
		if password, err = readSecret(path); err != nil {
			return nil, fmt.Errorf("node: password of the database: %w", err)
		}
	}
	target, err := postgres.ParseTarget(c.Store.URL, password, c.Store.Weaken)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Node.DataDir, 0o700); err != nil { // the management socket and the log of decisions are there
		return nil, fmt.Errorf("node: data directory: %w", err)
	}
	db, err := postgres.Open(postgres.Options{Target: target, Node: c.Node.Number, Clock: clock, Random: rand.Reader, Log: log, Lab: c.Node.Lab, Tables: Tables(),
		Window: c.Store.Window.Std(), CacheBytes: int64(c.Store.Cache)})
	if err != nil {
		return nil, err
	}
	return db, nil
}

// readSecret reads the one line of a file that is for its owner alone.
func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if err := config.CheckSecret(info); err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(f, 4096))
	return strings.TrimRight(string(text), "\r\n"), err
}

// LoadKeyring reads the sealing keys that c names. credentials is the system's directory of credentials, "" without one.
// A node without an HSS seals nothing and gets an empty ring.
func LoadKeyring(c *config.Config, credentials string) (*seal.Keyring, error) {
	if !c.HasRole("hss") {
		return new(seal.Keyring), nil
	}
	path, err := c.HSS.SealingKeyFile.Path(credentials)
	if err != nil {
		return nil, err
	}
	keyring, err := seal.Load(path)
	if errors.Is(err, seal.ErrNotFound) {
		return nil, fmt.Errorf("node: there is no sealing key in %s: `imsafe key new %s` makes one; keep a copy where no attacker of this host finds it", path, path)
	}
	return keyring, err
}

// LoadCertificate reads the certificate of the P-CSCF.
func LoadCertificate(c *config.Config, credentials string) (*tls.Certificate, error) {
	if len(c.CI.TLS.Listen) == 0 {
		return nil, nil
	}
	key, err := c.CI.TLS.KeyFile.Path(credentials)
	if err != nil {
		return nil, err
	}
	certificate, err := tls.LoadX509KeyPair(c.CI.TLS.CertificateFile, key)
	if err != nil {
		return nil, fmt.Errorf("node: certificate of the P-CSCF: %w", err)
	}
	return &certificate, nil
}

// LoadIdentity reads what this node shows to other nodes; nil if it has no wire, or one in clear.
func LoadIdentity(c *config.Config, credentials string) (*Identity, error) {
	mw, cx := c.Mw.Listen.IsValid() && !c.Mw.Clear, (c.Cx.Listen.IsValid() || c.Cx.Server.IsValid()) && !c.Cx.LabCleartextKeys
	if !mw && !cx && !c.Sh.Listen.IsValid() {
		return nil, nil
	}
	key, err := c.Mw.KeyFile.Path(credentials)
	if err != nil {
		return nil, err
	}
	id := &Identity{}
	if id.Certificate, err = tls.LoadX509KeyPair(c.Mw.CertificateFile, key); err != nil {
		return nil, fmt.Errorf("node: certificate towards other nodes: %w", err)
	}
	if mw || cx || c.Sh.CAFile == "" {
		if id.Authority, err = loadAuthority("network", c.Mw.CAFile); err != nil {
			return nil, err
		}
	}
	if c.Sh.CAFile != "" {
		id.Services, err = loadAuthority("application servers", c.Sh.CAFile)
	}
	return id, err
}

// loadAuthority reads the certificates of an authority.
func loadAuthority(of, path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("node: authority of the %s: %w", of, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("node: authority of the %s: %s holds no certificate in PEM", of, path)
	}
	return pool, nil
}

// rolesOf returns the functions that c gives this process.
func rolesOf(c *config.Config) (r Roles) {
	for name, role := range map[string]Role{"pcscf": RolePCSCF, "icscf": RoleICSCF, "scscf": RoleSCSCF, "hss": RoleHSS} {
		if c.HasRole(name) {
			r = r.With(role)
		}
	}
	return r
}

// Shards returns how many shards c asks for: one for each processor if it leaves that open.
func Shards(c *config.Config) int {
	if c.Node.Shards > 0 {
		return c.Node.Shards
	}
	return runtime.GOMAXPROCS(0)
}
