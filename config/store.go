package config

import (
	"regexp"
	"slices"
)

// The engines of the store.
const (
	Embedded = "embedded"
	Postgres = "postgres"
)

// Shared reports whether other nodes may use the store of this one.
func (s *Store) Shared() bool { return s.Engine == Postgres }

// storeWeakness says what each word of [store] weaken costs.
var storeWeakness = [...]Weakening{
	{"tls", "whoever is between this node and its database may be the database"},
	{"fsync-off", "a crash of the database's machine may lose or damage what was acknowledged"},
	{"synchronous-commit-off", "a crash of the database loses the last moments of what was acknowledged"},
	{"synchronous-commit-local", "a failover to the standby loses what it had not received"},
}

// withPassword finds a password in a URL or among words.
var withPassword = regexp.MustCompile(`(?i)^[a-z]+://[^/?@]*:[^/?]*@|\bpassword\s*=`)

// withoutPassword is a line of the file as it may be shown.
func withoutPassword(line string) string {
	return secretInLine.ReplaceAllString(line, "$1$3[redacted]$2")
}

var secretInLine = regexp.MustCompile(`(?i)(//[^/?@"':]*:)[^"'/?]*(@)|(\bpassword\s*=\s*)[^"&]*`)

func (c *Config) validateStore(f *findings) {
	s := &c.Store
	oneOf(f, "store.engine", s.Engine, Embedded, Postgres)
	f.refuse(s.Shared() && s.URL == "", "store.url", `write url = "postgres://imsafe@db.example.org/imsafe"`, "where the database is, is not said")
	f.refuse(!s.Shared() && (s.URL != "" || s.PasswordFile != "" || len(s.Weaken) > 0), "store.engine", `write engine = "postgres", or take the rest out`, "the embedded store has no server")
	f.refuse(withPassword.MatchString(s.URL), "store.url", "put it into a file of its own, and name that in password_file", "there is a password in it")
	for _, word := range s.Weaken {
		known := slices.ContainsFunc(storeWeakness[:], func(w Weakening) bool { return w.Name == word })
		f.refuse(!known, "store.weaken", "one of tls, fsync-off, synchronous-commit-off, synchronous-commit-local", "%q is not known here", word)
	}
}

// storeWeakenings are those that the operator has named.
func (c *Config) storeWeakenings() (all []Weakening) {
	for _, w := range storeWeakness {
		if slices.Contains(c.Store.Weaken, w.Name) {
			all = append(all, Weakening{"store-" + w.Name, w.Meaning})
		}
	}
	return all
}
