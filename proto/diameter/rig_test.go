package diameter

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"imsafe/proto/shard"
)

const realm = "ims.example"

// The application of the tests is Cx with one command.
var grammarTest = Grammar{{SessionID, 1, 1}, {OriginHost, 1, 1}, {OriginRealm, 1, 1}, {DestinationRealm, 1, 1},
	{DestinationHost, 0, 1}, {UserName, 0, 1}, {VendorSpecificApplicationID, 0, 1}, {AuthSessionState, 0, 1}}

// house is a Node in a bubble, with a shard that runs.
type house struct {
	*Node
	t      testing.TB
	sh     *shard.Shard
	served chan string // User-Names, when the handler is its own
	stop   func()
}

// network connects nodes by pipes. Dialling a host that is nil fails.
type network struct {
	t     testing.TB
	mu    sync.Mutex
	nodes map[string]*house // guarded by mu where others dial
	// wire may change what a pipe is, for each dialling.
	wire func(from, to string) (net.Conn, net.Conn)
	// proven is how often a listener was told that the peer of a connection is no stranger.
	proven int
}

func (w *network) dial(from, to string) func(context.Context) (net.Conn, error) {
	return func(context.Context) (net.Conn, error) {
		w.mu.Lock()
		h := w.nodes[to]
		w.mu.Unlock()
		if h == nil {
			return nil, errors.New("nobody there")
		}
		a, b := net.Pipe()
		if w.wire != nil {
			a, b = w.wire(from, to)
		}
		h.Accept(b, false)
		return a, nil
	}
}

// Serve answers with success, unless the test has a handler of its own.
func (h *house) Serve(r *Request) {
	name := string(r.Identity(UserName))
	r.Reply.Send(success(r.Message, h.Us(), name))
	if h.served != nil {
		h.served <- name
	}
}

func success(m Message, us Identities, name string) []byte {
	h := m.Header()
	h.Flags &= FlagProxiable
	w := Begin(nil, h)
	w.Octets(SessionID, m.Identity(SessionID))
	w.Unsigned32(ResultCode, uint32(ResultSuccess))
	w.Text(OriginHost, us.Host)
	w.Text(OriginRealm, us.Realm)
	w.TextIf(UserName, name)
	b, _ := w.End()
	return b
}

// config is a sound configuration; peers may send the one command.
func config(host string, peers ...PeerConfig) Config {
	for i := range peers {
		peers[i].Realm, peers[i].Cleartext = realm, true
		if peers[i].Role.Requests == nil {
			peers[i].Role = Role{Name: "test", Requests: map[Application][]Command{AppCx: {UAR}}}
		}
	}
	return Config{Identities: Identities{host, realm}, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Product: "test",
		Random: rand.Reader, Peers: peers, Sleep: time.Sleep}
}

// start makes and runs a node. Without applications it speaks the tests' own.
func (w *network) start(c Config) *house {
	w.t.Helper()
	h := &house{t: w.t}
	h.sh = shard.New(shard.Config{Clock: shard.RealClock(), OnPanic: func(v any, stack []byte) { w.t.Errorf("%v\n%s", v, stack) }})
	c.Shard = h.sh
	if c.Applications == nil {
		c.Applications = []ApplicationConfig{{ID: AppCx, Vendor: Vendor3GPP, Accepts: map[Command]Grammar{UAR: grammarTest}, Handler: h}}
	}
	n, err := New(c)
	if err != nil {
		w.t.Fatal(err)
	}
	h.Node = n
	ctx, cancel := context.WithCancel(context.Background())
	shardCtx, endShard := context.WithCancel(context.Background())
	shardDone, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(shardDone)
		_ = h.sh.Run(shardCtx) // its error is that of the context
	}()
	go func() {
		defer close(done)
		_ = n.Run(ctx) // returns nil
	}()
	stopped := false
	h.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		<-done
		endShard()
		<-shardDone
		h.sh.Close()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes[c.Host] = h
	return h
}

// bubble runs a test in virtual time and stops all nodes at its end.
func bubble(t *testing.T, fn func(t *testing.T, w *network)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &network{t: t, nodes: map[string]*house{}}
		defer func() {
			for _, h := range w.nodes {
				h.stop()
			}
		}()
		fn(t, w)
	})
}

// request encodes the one command.
func request(n *Node, name string, change func(w *Writer)) []byte {
	w := Begin(nil, Header{Flags: FlagRequest | FlagProxiable, Command: UAR, Application: AppCx})
	w.Octets(SessionID, n.AppendSessionID(nil))
	w.Text(OriginHost, n.Us().Host)
	w.Text(OriginRealm, n.Us().Realm)
	w.Text(DestinationRealm, realm)
	w.TextIf(UserName, name)
	if change != nil {
		change(&w)
	}
	b, _ := w.End()
	return b
}

// ask sends a request and returns the answer.
func (h *house) ask(out Outgoing) (m Message, err error) {
	h.t.Helper()
	if out.Realm == "" {
		out.Realm = realm
	}
	if e := h.sh.Call(context.Background(), func(t *shard.Task) { m, err = h.Do(t, &out) }); e != nil {
		h.t.Fatal(e)
	}
	return m, err
}

// wantAnswer asks and wants a result.
func (h *house) wantAnswer(what string, out Outgoing, want Result) Message {
	h.t.Helper()
	m, err := h.ask(out)
	if err != nil {
		h.t.Fatalf("%s: %v", what, err)
	}
	if r, vendor, _ := ResultOf(m); r != want || vendor != 0 {
		h.t.Errorf("%s: %v of vendor %d, want %v", what, r, vendor, want)
	}
	if m.Flags()&FlagError != 0 != want.Protocol() {
		h.t.Errorf("%s: flags %x with %v", what, m.Flags(), want)
	}
	return m
}

// status returns what is known of a peer.
func (h *house) status(host string) PeerStatus {
	h.t.Helper()
	all, err := h.Peers(context.Background())
	if err != nil {
		h.t.Fatal(err)
	}
	for _, s := range all {
		if s.Host == host {
			return s
		}
	}
	h.t.Fatalf("no peer %s", host)
	return PeerStatus{}
}

func (h *house) wantState(what, host, state string) {
	h.t.Helper()
	synctest.Wait()
	if s := h.status(host); s.State != state {
		h.t.Errorf("%s: %s is %s, want %s", what, host, s.State, state)
	}
}
