package as

import (
	"crypto/rand"
	"net"
	"strings"
	"testing"

	"imsafe/proto/shard"
)

// TestServePages: a service that was not granted pages, or has no certificate of its own, serves none.
func TestServePages(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for scope, want := range map[string]string{"session.answer": "not granted: scope=page.serve", "page.serve": ErrPages.Error()} {
		svc, err := InProcess(Parts{Manifest: []byte("manifest = 1\nservice = \"desk\"\nprovider = \"example\"\ndomain = \"ims.example\"\n" +
			"endpoint = \"sips:desk.as.ims.example:5061\"\nscopes = [\"" + scope + "\"]\nlimits = { cps = 1, sessions = 1 }\nexpires = 2099-12-31\n"),
			Clock: shard.RealClock(), Rand: rand.Reader})
		if err != nil {
			t.Fatal(err)
		}
		if err := svc.ServePages(ln, "", 0); err == nil || !strings.Contains(err.Error(), want) || svc.PagesAt() != "" {
			t.Errorf("%s: %v", scope, err)
		}
		svc.Close()
	}
}

func TestHome(t *testing.T) {
	for home, want := range map[Home][2]string{
		"":                      {"https://cs.ims.example", "cs.ims.example:443"},
		"192.0.2.1:443":         {"https://cs.ims.example", "192.0.2.1:443"},
		"192.0.2.1:8444":        {"https://cs.ims.example:8444", "192.0.2.1:8444"},
		"[2001:db8::1]:8444":    {"https://cs.ims.example:8444", "[2001:db8::1]:8444"},
		"door.ims.example:8444": {"https://cs.ims.example:8444", "door.ims.example:8444"},
	} {
		if origin, at := home.origin("ims.example"); origin != want[0] || at != want[1] {
			t.Errorf("%q: %s, %s", home, origin, at)
		}
	}
}
