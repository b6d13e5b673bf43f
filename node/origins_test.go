package node

import (
	"bytes"
	"log/slog"
	"net"
	"strings"
	"testing"

	"imsafe/config"
	"imsafe/proto/shard"
	"imsafe/store"
)

// TestOrigins: nodes that share a store say when they are reached by different https origins, each once, and again when that changes; a node that the
// configuration does not name is none of theirs.
func TestOrigins(t *testing.T) {
	db, err := store.InMemory(shard.RealClock())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	open := func(name, other, origin string) (*Node, *bytes.Buffer) {
		c, said := config.Default(), &bytes.Buffer{}
		c.Node.Name, c.HTTPS.Origin, c.Mw.Nodes = name, origin, []config.MwNode{{Name: other}}
		s := &Sockets{}
		if origin != "" {
			s.HTTPS = ln
		}
		return &Node{o: Options{Config: &c, Store: db, Sockets: s, Log: slog.New(slog.NewTextHandler(said, nil))}}, said
	}
	keep := func(n *Node, said *bytes.Buffer, want string) {
		t.Helper()
		said.Reset()
		if err := n.keepOrigins(); err != nil {
			t.Fatal(err)
		}
		if (want == "") != (said.Len() == 0) || !strings.Contains(said.String(), want) {
			t.Errorf("%s says %q, want %q", n.o.Config.Node.Name, said, want)
		}
	}
	const one, two = "https://cs.ims.example", "https://cs.ims.example:8443"
	a, aSaid := open("a", "b", one)
	b, bSaid := open("b", "a", two)
	stranger, strangerSaid := open("c", "d", "https://elsewhere.example")
	keep(stranger, strangerSaid, "")
	keep(a, aSaid, "") // the other has not run yet
	keep(b, bSaid, "a: "+one+", b: "+two)
	keep(a, aSaid, "a: "+one+", b: "+two)
	keep(a, aSaid, "")
	without, withoutSaid := open("b", "a", "")
	keep(without, withoutSaid, "a: "+one+", b: none")
	keep(a, aSaid, "b: none")
	mended, mendedSaid := open("b", "a", one)
	keep(mended, mendedSaid, "")
	keep(a, aSaid, "")
	if all := *a.origins.Load(); len(all) != 2 || all["a"] != one || all["b"] != one {
		t.Errorf("in the end it knows %v", all)
	}
}
