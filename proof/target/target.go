// Package target reads the file that says which system of somebody's attacks are aimed at, and refuses what must not be.
//
// A file names the owner, who has allowed it and until when; the addresses, which lie on loopback or in private ranges (RFC 1918, RFC 4193) that the
// file itself lists; lab subscribers, whose keys stand elsewhere; and what may be sent. A public address is refused, and nothing switches that
// off. A [Fence] holds the same for every socket that is opened later, whatever a message says.
//
// It does no input or output: keys and certificates come by a function of the caller's. Imports: proof/attack for what it makes, proto/aka, go-toml.
// Nothing in a Target changes after it is read; reading it is safe for concurrent use.
package target

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/pelletier/go-toml/v2"

	"imsafe/proof/attack"
)

// MaxFile is how many octets a file, and each that it names, may have.
const MaxFile = 64 << 10

// Format is the form of the file.
const Format = 1

// file is what stands in it. Every key is known: another one is an error.
type file struct {
	Format      int                   `toml:"format"`
	Name        string                `toml:"name"`
	Domain      string                `toml:"domain"`
	Ranges      []string              `toml:"ranges"`
	Scheme      string                `toml:"scheme"`
	Premium     string                `toml:"premium"`
	Owner       owner                 `toml:"owner"`
	Start       *start                `toml:"start"`
	Entry       entry                 `toml:"entry"`
	Limits      limits                `toml:"limits"`
	Subscribers map[string]subscriber `toml:"subscribers"`
}

type owner struct {
	Name      string         `toml:"name"`
	Statement string         `toml:"statement"`
	Until     toml.LocalDate `toml:"until"`
}

// start is in the place of owner, entry and subscribers.
type start struct {
	Program  string `toml:"program"`
	Controls string `toml:"controls"`
}

type entry struct {
	UDP          string `toml:"udp"`
	TCP          string `toml:"tcp"`
	TLS          string `toml:"tls"`
	TLSName      string `toml:"tls_name"`
	TLSAuthority string `toml:"tls_authority"`
	TLSCert      string `toml:"tls_certificate"`
	TLSKey       string `toml:"tls_key"`
}

type limits struct {
	Rate    int    `toml:"rate"`
	Packets int    `toml:"packets"`
	Octets  int    `toml:"octets"`
	Sockets int    `toml:"sockets"`
	Time    string `toml:"time"`
	Pause   string `toml:"pause"`
}

type subscriber struct {
	IMPI string `toml:"impi"`
	IMPU string `toml:"impu"`
	Keys string `toml:"keys"`
}

// Target is one that may be attacked.
type Target struct {
	Name   string
	Owner  string // who has allowed it, and until when
	Config string // SHA-256 of the file, in hexadecimal digits
	Site   attack.Site
	Fence  Fence
	Limits Limits
	// Start says that the target is imsafe itself, to be started for each run. Site then promises what it will have, without addresses and keys.
	Start *Start
}

// Start is how imsafe is started.
type Start struct {
	Open bool // without the controls that must stop the row
}

// Limits are what may be sent. Those of a row hold beside them.
type Limits struct {
	Rate    int           // packets of the attacker's in a second
	Packets int           // of one run of one row
	Octets  int           // of these
	Sockets int           // of one run
	Time    time.Duration // of everything together
	Pause   time.Duration // between two runs, so that budgets of the target's for one user fill up again
}

// Means are what a file is read with.
type Means struct {
	Today time.Time
	// Keys returns what a subscriber's keys=, or tls_key=, names: "file:" and a path, or "env:" and a name of the environment.
	Keys func(reference string) ([]byte, error)
	// Authority returns the certificates, in PEM, that tls_authority or tls_certificate names.
	Authority func(path string) ([]byte, error)
}

// Read reads a file. An error names every key that is wrong, and says what to write; it never has a key of a subscriber in it.
func Read(data []byte, m Means) (*Target, error) {
	var f file
	d := toml.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, unreadable(err)
	}
	sum := sha256.Sum256(data)
	t := &Target{Name: f.Name, Config: hex.EncodeToString(sum[:])}
	c := &checker{file: &f, means: m, target: t}
	c.check()
	if len(c.wrong) > 0 {
		return nil, fmt.Errorf("the target is refused:\n%w", errors.Join(c.wrong...))
	}
	return t, nil
}

// unreadable says where a file is no TOML, or has a key that nobody knows. It quotes names of keys and no values.
func unreadable(err error) error {
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) {
		var all []error
		for _, e := range unknown.Errors {
			row, _ := e.Position()
			all = append(all, fmt.Errorf("line %d: there is no key %v", row, e.Key()))
		}
		return errors.Join(all...)
	}
	var wrong *toml.DecodeError
	if errors.As(err, &wrong) {
		row, column := wrong.Position()
		return fmt.Errorf("line %d, column %d: this is no TOML of the form that docs/target.md shows", row, column)
	}
	return errors.New("this is no TOML of the form that docs/target.md shows")
}

// site is what the drivers see.
func (c *checker) site(users map[string]*attack.User) attack.Site {
	return attack.Site{Foreign: true, Domain: c.file.Domain, Name: c.file.Entry.TLSName, Premium: c.file.Premium, UDP: c.at["udp"], TCP: c.at["tcp"], TLS: c.at["tls"],
		Roots: c.roots, Certificate: c.shown, EnrolRoots: x509.NewCertPool(), Scheme: c.scheme, Users: users}
}

// Fence is where packets may go.
type Fence []netip.Prefix

// Holds reports whether an address lies inside.
func (f Fence) Holds(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if a.IsLoopback() {
		return true
	}
	for _, r := range f {
		if r.Contains(a) {
			return true
		}
	}
	return false
}
