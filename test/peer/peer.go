// Package peer finds the foreign programs that tests talk to: SIPp, tshark and whoever comes next.
//
// The table peers.tsv says which program comes from which Debian package and what it is for;
// test/setup.sh reads the same table and installs. A test asks with [Need] and gets a path. When
// the program is not there the test is skipped loudly, and test/summary counts it; with CI=true
// it fails, because a skip nobody sees is how an interoperability test dies.
//
// The package starts no programs and installs nothing. It is for tests only. Need may be called
// from parallel tests.
package peer

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

//go:embed peers.tsv
var table string

// Peer is one row of the table.
type Peer struct {
	Name     string   // the program's file name, as Need asks for it
	Packages []string // the Debian packages that bring it
	UsedBy   string   // what is not tested without it
}

// Peers returns the rows of peers.tsv in order. It returns an error that names the line if the
// table is malformed. The caller owns the slice.
func Peers() ([]Peer, error) {
	var peers []Peer
	for i, line := range strings.Split(table, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(line, "\t")
		if len(fields) != 3 || fields[0] == "" || fields[1] == "" || fields[2] == "" {
			return nil, fmt.Errorf("peer: peers.tsv:%d: want program, packages and use between tabs, have %q", i+1, line)
		}
		peers = append(peers, Peer{fields[0], strings.Fields(fields[1]), fields[2]})
	}
	return peers, nil
}

// SkipPrefix begins the reason of every skip that a missing peer caused; test/summary looks for it.
const SkipPrefix = "peer missing: "

// Need returns the path of the program called name, which must stand in peers.tsv. Without the
// program it skips the test and says what is not tested, or fails it when CI=true.
func Need(t testing.TB, name string) string {
	t.Helper()
	peers, err := Peers()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range peers {
		if p.Name != name {
			continue
		}
		if path := Find(name); path != "" {
			return path
		}
		Missing(t, fmt.Sprintf("%s (Debian: %s): not tested here: %s; run test/setup.sh as root", p.Name, strings.Join(p.Packages, " "), p.UsedBy))
	}
	t.Fatalf("peer: %q is not in test/peer/peers.tsv: add a row, so that setup installs it", name)
	return ""
}

// Missing ends the test because what, which is no program, is not there: failed with CI=true, skipped loudly elsewhere.
func Missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(SkipPrefix + what)
	}
	t.Skip(SkipPrefix + what)
}

// Find returns the path of a program, "" if it is not there. It looks in PATH and then where Debian puts daemons, which PATH lacks for
// ordinary users.
func Find(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	return unpacked(name)
}

// unpacked looks where test/setup.sh unpacks what is not installed.
func unpacked(name string) string {
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
			continue
		}
		path := filepath.Join(dir, ".cache", "peers", name)
		if _, err := os.Stat(path); err != nil {
			return ""
		}
		return path
	}
	return ""
}
