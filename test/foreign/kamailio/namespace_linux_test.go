package kamailio

import (
	"os"
	"testing"

	"imsafe/test/peer"
)

// outside is why there are no namespaces; nil inside them.
var outside error

// TestMain runs the tests in a process with a network, mounts and process numbers of its own.
func TestMain(m *testing.M) {
	inside, err := Inside()
	if outside = err; inside {
		os.Exit(m.Run())
	}
	code, err := Enter()
	if err != nil {
		outside = err
		code = m.Run()
	}
	os.Exit(code)
}

// need ends a test that cannot be had here: skipped, or failed in CI. It returns Kamailio's program and the directory of its modules.
func need(t *testing.T) (program, modules string) {
	t.Helper()
	program = peer.Need(t, "kamailio")
	modules, err := Modules()
	switch {
	case outside != nil:
		peer.Missing(t, "namespaces to run Kamailio in: "+outside.Error())
	case err != nil:
		peer.Missing(t, err.Error())
	}
	return program, modules
}

// resolve says which address each name has, for the functions that look names up.
func resolve(t *testing.T, names map[string]string) {
	t.Helper()
	if err := Resolve(names); err != nil {
		t.Fatal(err)
	}
}
