package postgres

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// What an operator may name to be weaker than the default.
const (
	WeakenTLS         = "tls"                      // a server elsewhere whose certificate is not verified
	WeakenFsync       = "fsync-off"                // a crash of the database's machine may lose or damage what was acknowledged
	WeakenCommitOff   = "synchronous-commit-off"   // a crash of the database loses the last moments of what was acknowledged
	WeakenCommitLocal = "synchronous-commit-local" // a failover to the standby loses what it had not received
)

// Weakenings lists them.
func Weakenings() []string {
	return []string{WeakenTLS, WeakenFsync, WeakenCommitOff, WeakenCommitLocal}
}

// ErrWeak: the database would lose what it acknowledged, or anybody could be the server.
var ErrWeak = errors.New("postgres: too weak")

// Target is a database and how it is reached. Its password is in no error and no log.
type Target struct {
	config *pgx.ConnConfig
	weaken []string
	dialed time.Duration // longest time that a connection may take to stand
}

// connectWithin is how long it may take to connect: whoever waits for a change waits for that.
const connectWithin = 3 * time.Second

// ParseTarget reads where the database is: a URL (postgres://user@host/database) or words (host=... user=... dbname=...), as libpq takes them.
// password may be empty: then it is libpq's variables and files that tell (PGPASSWORD, PGPASSFILE), or none is needed. A server that is not on
// this machine must show a certificate for its name (sslmode=verify-full, which is the default here), unless weaken names "tls".
func ParseTarget(text, password string, weaken []string) (*Target, error) {
	for _, w := range weaken {
		if !slices.Contains(Weakenings(), w) {
			return nil, fmt.Errorf("postgres: nothing is weakened by %q: one of %s", w, strings.Join(Weakenings(), ", "))
		}
	}
	c, err := parse(text)
	if err != nil {
		return nil, err
	}
	if !local(c) && !strings.Contains(text, "sslmode=") {
		if c, err = parse(verified(text)); err != nil {
			return nil, err
		}
	}
	t := &Target{config: c, weaken: slices.Clone(weaken), dialed: connectWithin}
	if !local(c) && !authenticated(c) && !t.weakened(WeakenTLS) {
		return nil, fmt.Errorf("%w: the server of [store] url is on another machine and its certificate would not be verified: sslmode=verify-full, or name %q in weaken", ErrWeak, WeakenTLS)
	}
	if password != "" {
		c.Password = password
	}
	c.RuntimeParams["default_transaction_isolation"] = "read committed"   // commit.go counts on it: each statement sees what stands now
	c.RuntimeParams["idle_in_transaction_session_timeout"] = "5000"       // a node that is stopped keeps no rows locked
	c.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite // a standby answers with the past
	c.DefaultQueryExecMode, c.StatementCacheCapacity = pgx.QueryExecModeCacheStatement, 64
	return t, nil
}

// parse leaves the words of the driver away: they quote what was given.
func parse(text string) (*pgx.ConnConfig, error) {
	c, err := pgx.ParseConfig(text)
	if err != nil {
		return nil, errors.New(`postgres: [store] url cannot be read: write it like "postgres://imsafe@db.example.org/imsafe", or "host=/run/postgresql user=imsafe dbname=imsafe"; a file that it names must be there`)
	}
	return c, nil
}

func verified(text string) string {
	switch {
	case !strings.Contains(text, "://"):
		return text + " sslmode=verify-full"
	case strings.Contains(text, "?"):
		return text + "&sslmode=verify-full"
	}
	return text + "?sslmode=verify-full"
}

// local reports whether all servers are on this machine.
func local(c *pgx.ConnConfig) bool {
	for _, host := range hosts(c) {
		address, err := netip.ParseAddr(host)
		if !strings.HasPrefix(host, "/") && host != "localhost" && (err != nil || !address.IsLoopback()) {
			return false
		}
	}
	return true
}

func hosts(c *pgx.ConnConfig) []string {
	all := []string{c.Host}
	for _, f := range c.Fallbacks {
		all = append(all, f.Host)
	}
	return all
}

// authenticated reports whether each way to a server of another machine verifies its certificate and its name.
func authenticated(c *pgx.ConnConfig) bool {
	if c.TLSConfig == nil || c.TLSConfig.InsecureSkipVerify {
		return false
	}
	for _, f := range c.Fallbacks {
		if f.TLSConfig == nil || f.TLSConfig.InsecureSkipVerify {
			return false
		}
	}
	return true
}

// String says where the database is, without secrets.
func (t *Target) String() string {
	return fmt.Sprintf("%s at %s", t.config.Database, strings.Join(slices.Compact(hosts(t.config)), ", "))
}

func (t *Target) weakened(by string) bool { return slices.Contains(t.weaken, by) }

// dial connects, as who says, and judges what the server promises.
func (t *Target) dial(ctx context.Context, who string, change func(*pgx.ConnConfig)) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, t.dialed)
	defer cancel()
	c := t.config.Copy()
	c.RuntimeParams["application_name"] = who
	if change != nil {
		change(c)
	}
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return nil, advise(err)
	}
	if err := t.judge(ctx, conn); err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	return conn, nil
}

// advise adds to an error of connecting what is to be done about it, where the server did not prove to be the one.
func advise(err error) error {
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &authority):
		return fmt.Errorf("%w: the server's certificate is of an authority that is not trusted here: name the right one with sslrootcert=FILE in [store] url: %w", ErrWeak, err)
	case errors.As(err, &name):
		return fmt.Errorf("%w: the server's certificate is for another name: write a name that stands in it into [store] url, or give the server a certificate for this one: %w", ErrWeak, err)
	case errors.As(err, &invalid):
		return fmt.Errorf("%w: the server's certificate is not valid: give the server a new one: %w", ErrWeak, err)
	case strings.Contains(err.Error(), "server refused TLS"):
		return fmt.Errorf("%w: the server speaks no TLS: set ssl = on there, with a certificate for its name, or name %q in [store] weaken: %w", ErrWeak, WeakenTLS, err)
	}
	return err
}

// judge refuses a server that would lose what it acknowledged. It is asked at each connection, and again while one stands: roles and databases may
// override what the server says, and whoever edits its configuration is not asked to connect anew.
func (t *Target) judge(ctx context.Context, conn *pgx.Conn) error {
	var fsync, commit, standbys string
	err := conn.QueryRow(ctx, "select current_setting('fsync'), current_setting('synchronous_commit'), current_setting('synchronous_standby_names')").
		Scan(&fsync, &commit, &standbys)
	if err != nil {
		return err
	}
	return t.verdict(fsync, commit, standbys)
}

func (t *Target) verdict(fsync, commit, standbys string) error {
	weak := func(is, weakening string) error {
		return fmt.Errorf("%w: the database has %s, so it may lose what it acknowledged: change that for the server, the database and the role, or name %q in [store] weaken", ErrWeak, is, weakening)
	}
	switch {
	case fsync == "off" && !t.weakened(WeakenFsync):
		return weak("fsync = off", WeakenFsync)
	case commit == "off" && !t.weakened(WeakenCommitOff):
		return weak("synchronous_commit = off", WeakenCommitOff)
	case commit == "local" && standbys != "" && !t.weakened(WeakenCommitLocal):
		return weak("synchronous_commit = local beside a synchronous standby", WeakenCommitLocal)
	}
	return nil
}
