package node

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"

	"imsafe/store"
)

// Nodes that share a store have one origin by which clients reach the door where they fetch: it stands in what each of them signs, and is compared with what comes to the
// others. No configuration sees that of another node, so each writes its own into the store, and compares.

// TableOrigin keeps the https origin of each node that shares the store, by its name; "" is a node without that door.
const TableOrigin store.Table = 169

// keepOrigins writes that of this node where others read it, and reads theirs. It waits for the store.
func (n *Node) keepOrigins() error {
	return errors.Join(n.declareOrigin(), n.readOrigins())
}

// declareOrigin writes that of this node, if it is another than before.
func (n *Node) declareOrigin() error {
	origin, key := httpsOrigin(n.o.Config, n.o.Sockets), []byte(n.o.Config.Node.Name)
	rec, err := n.o.Store.Get(TableOrigin, key)
	switch {
	case err == nil && string(rec.Value) == origin:
		return nil
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return err
	}
	return n.o.Store.Apply("origins", store.Op{Table: TableOrigin, Key: key, Value: []byte(origin)})
}

// readOrigins reads those of this node and of the others that the configuration names, and logs it if they differ. A node that has not run since there is this
// table has none.
func (n *Node) readOrigins() error {
	c, all := n.o.Config, map[string]string{}
	names := []string{c.Node.Name}
	for _, other := range c.Mw.Nodes {
		names = append(names, other.Name)
	}
	for _, name := range names {
		rec, err := n.o.Store.Get(TableOrigin, []byte(name))
		switch {
		case err == nil:
			all[name] = string(rec.Value)
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
	}
	if old := n.origins.Swap(&all); old != nil && maps.Equal(*old, all) {
		return nil
	}
	if differ := DifferingOrigins(all); differ != "" {
		n.o.Log.Error("nodes that share a store are reached by different https origins: what one of them signs is refused at the other", "origins", differ)
	}
	return nil
}

// DifferingOrigins says by which https origin each of several nodes is reached, "" if that is the same for all.
func DifferingOrigins(all map[string]string) string {
	var text []string
	different := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		different[all[name]] = true
		text = append(text, name+": "+cmp.Or(all[name], "none"))
	}
	if len(different) < 2 {
		return ""
	}
	return strings.Join(text, ", ")
}
