package foreign

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"imsafe/proto/sip"
	"imsafe/test/live"
)

// mix is a load of everything that the node can be asked for, and everybody's keys.
type mix struct {
	t      *testing.T
	node   *live.Node
	scale  int
	keylog *os.File // the secrets of TLS, for tshark

	registering, callers, callees, senders, readers, phones []*live.User

	mu    sync.Mutex
	heard bytes.Buffer // what phones received inside TLS
}

func newMix(t *testing.T, scale int) *mix {
	m := &mix{t: t, scale: scale, registering: sippUsers("reg", 20*scale), callers: sippUsers("caller", 10*scale), callees: sippUsers("callee", 5),
		senders: sippUsers("sender", 10*scale), readers: sippUsers("reader", 5), phones: live.NewUsers("phone", 4, live.AKAv2)}
	m.node = start(t, m.users())
	var err error
	if m.keylog, err = os.Create(filepath.Join(t.TempDir(), "keylog")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.keylog.Close() })
	return m
}

func (m *mix) users() (all []*live.User) {
	for _, group := range [][]*live.User{m.registering, m.callers, m.callees, m.senders, m.readers, m.phones} {
		all = append(all, group...)
	}
	return all
}

// play plays all of it at once: half of each over UDP, half over TCP.
func (m *mix) play() {
	var runs []run
	for i, transport := range []string{"u1", "t1"} {
		half := func(users []*live.User) []*live.User {
			return users[i*len(users)/2 : (i+1)*len(users)/2]
		}
		for scenario, users := range map[string][]*live.User{"register": half(m.registering), "caller": half(m.callers), "sender": half(m.senders)} {
			callees := map[string][]*live.User{"caller": m.callees, "sender": m.readers}[scenario]
			runs = append(runs, run{scenario: scenario, transport: transport, users: inject(m.t, users, callees), calls: len(users), rate: 40,
				expires: 600, hold: 50 * time.Millisecond})
		}
	}
	present(m.t, m.node, "u1", "callee", m.callees, func() {
		present(m.t, m.node, "t1", "reader", m.readers, func() {
			var group errgroup.Group
			for _, r := range runs {
				group.Go(func() error {
					got, err := play(m.t, m.node.Lab, r)
					if err == nil && got.Successful != r.calls {
						err = fmt.Errorf("%s: %v", r.scenario, got)
					}
					return err
				})
			}
			group.Go(m.phone)
			if err := group.Wait(); err != nil {
				m.t.Error(err)
			}
		})
	})
}

// phone lets two pairs of phones register over TLS, send messages and leave.
func (m *mix) phone() error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*live.Patience)
	defer cancel()
	for i := 0; i < len(m.phones); i += 2 {
		var pair [2]*live.Phone
		for j := range pair {
			p, err := m.node.Dial("tls", m.phones[i+j], m.keylog)
			if err != nil {
				return err
			}
			defer p.Close()
			p.Heard = m.hear
			if err := p.Register(ctx, 600); err != nil {
				return err
			}
			pair[j] = p
		}
		if err := message(pair[0], pair[1]); err != nil {
			return err
		}
		for _, p := range pair {
			if err := p.Register(ctx, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// message lets from send to a message, which answers.
func message(from, to *live.Phone) error {
	if err := from.Write(from.Request("MESSAGE", to.IMPU, to.IMPU, "hello", "Content-Type: text/plain")); err != nil {
		return err
	}
	asked, err := to.Read(live.Patience)
	if err != nil {
		return err
	}
	if err := to.Answer(asked, 200); err != nil {
		return err
	}
	for {
		m, err := from.Read(live.Patience)
		if err != nil || !m.IsRequest() && m.Status() == 200 && bytes.HasSuffix(m.Get(sip.HdrCSeq), []byte("MESSAGE")) {
			return err
		}
	}
}

// lie sends the node something malformed, and returns the port it came from.
func (m *mix) lie() string {
	p, err := m.node.Dial("udp", m.phones[0], nil)
	if err != nil {
		m.t.Fatal(err)
	}
	defer p.Close()
	if err := p.Write(p.Request("OPTIONS", "sip:"+live.Domain, m.phones[0].IMPU, "", "A line without colon")); err != nil {
		m.t.Error(err)
	}
	_, port, err := net.SplitHostPort(p.Conn.LocalAddr().String())
	if err != nil {
		m.t.Fatal(err)
	}
	return port
}

func (m *mix) hear(received []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.heard.Write(received)
}

// findNoKeys searches everywhere for every key.
func (m *mix) findNoKeys(t *testing.T, capture []byte) {
	places := map[string][]byte{"the capture": capture, "what came inside TLS": m.heard.Bytes(), "the log": m.node.Log()}
	m.node.Stop()
	err := fs.WalkDir(os.DirFS(m.node.Dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			places[path], err = os.ReadFile(filepath.Join(m.node.Dir, path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	users := m.users()
	sessions, rands := session(bytes.Join([][]byte{capture, m.heard.Bytes()}, nil), users)
	t.Logf("looking for the keys of %d users and %d challenges in %d places", len(users), len(rands), len(places))
	if len(rands) < len(users) {
		t.Fatalf("%d challenges to %d users were captured", len(rands), len(users))
	}
	forbidden := newSearch(append(sessions, longTerm(users)...))
	for place, data := range places {
		for _, found := range forbidden.in(data) {
			t.Errorf("%s: %s", place, found)
		}
	}
	// The same search finds what does walk: else it proves nothing.
	for _, place := range []string{"the capture", "what came inside TLS"} {
		if newSearch(rands).in(places[place]) == nil {
			t.Errorf("not even a RAND is found in %s", place)
		}
	}
}
