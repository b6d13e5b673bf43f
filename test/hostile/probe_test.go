package hostile

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"imsafe/config"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/test/live"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	// patience is how long an answer is waited for; loaded machines are slow.
	patience = 30 * time.Second
	// silence is how long nothing must come for it to count as silence.
	silence = 25 * time.Millisecond
)

// hasty are the bounds of a node whose deadlines the tests can wait for. A client on a loaded machine has to keep them as well.
var hasty = siptransport.Options{Handshake: 4 * time.Second, FirstMessage: 4 * time.Second, Unfinished: 2 * time.Second}

// start starts a node with users 0 to subscribers-1, short deadlines, and transactions that end within seconds.
func start(t *testing.T, subscribers int) *live.Node {
	t.Helper()
	quick := config.SIPTimers{T1: config.Of(100 * time.Millisecond), T2: config.Of(400 * time.Millisecond), T4: config.Of(500 * time.Millisecond)}
	return live.Start(t, live.Options{Subscribers: subscribers, Transport: hasty,
		Configure: func(c *config.Config) {
			c.Timers.Core, c.Timers.Gm = quick, quick
			c.CI.Budget.Share = c.CI.Budget.Client // probes register without a pause: in an overload they would be the greedy ones
		}})
}

// probe is a legitimate client that shows that the node lives.
type probe struct {
	*live.Phone
	t *testing.T
}

func newProbe(t *testing.T, n *live.Node, network string, u *live.User) *probe {
	t.Helper()
	p, err := n.Dial(network, u, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return &probe{p, t}
}

// registers registers: the proof of life.
func (p *probe) registers(after string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	if _, err := p.comesAgain(ctx); err != nil {
		p.t.Errorf("after %s a client cannot register: %v", after, err)
	}
}

// comesAgain registers, and as often as the node asks to come again later (503) it does so until ctx ends. Where others have the processors of the
// machine a node that asks for it is right. So it is where a REGISTER of the client's, sent once more, lay behind a flood for longer than transactions last
// here: it is another one by then, and its challenge takes the place of the one before. It returns how often it was asked.
func (p *probe) comesAgain(ctx context.Context) (asked int, err error) {
	for {
		if err = p.Register(ctx, 600); !errors.Is(err, live.ErrBusy) && !errors.Is(err, live.ErrAgain) || ctx.Err() != nil {
			return asked, err
		}
		asked++
		<-time.After(200 * time.Millisecond)
	}
}

// settles waits until the node holds no more than before and what allow adds: memory, goroutines, descriptors, transactions.
func settles(t *testing.T, n *live.Node, base, allow live.Usage) {
	t.Helper()
	over := ""
	for late := time.Now().Add(2 * patience); time.Now().Before(late); time.Sleep(200 * time.Millisecond) {
		now, err := n.Usage()
		if err != nil {
			t.Fatal(err)
		}
		if over = now.Above(base, allow); over == "" {
			t.Logf("before %+v", base)
			t.Logf("after  %+v", now)
			return
		}
	}
	t.Errorf("the node still holds %s\nbefore %+v\nafter  %+v\ndescriptors: %q", over, base, usage(t, n), live.Descriptors())
}

func usage(t *testing.T, n *live.Node) live.Usage {
	t.Helper()
	u, err := n.Usage()
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// dial connects to the lab port.
func dial(t *testing.T, n *live.Node) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", n.Lab.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// listen reads a stream until as many answers have come as want says, or the end, and returns their status codes; "closed" at last
// if the node ended it. What follows at once comes too, so a surplus shows.
func listen(c net.Conn, want string) string {
	var heard []string
	f := sip.NewFramer(sip.Limits{})
	defer f.Close()
	buf := make([]byte, 65536)
	for wait := patience; ; {
		if len(heard) >= len(strings.Fields(want)) {
			wait = silence
		}
		_ = c.SetReadDeadline(time.Now().Add(wait)) // fails only if c is closed; so will Read
		n, err := c.Read(buf)
		_, _ = f.Write(buf[:n])
		for {
			m, broken := f.Next()
			if m == nil && broken == nil {
				break
			}
			if broken != nil {
				return strings.Join(append(heard, broken.Error()), " ")
			}
			heard = append(heard, status(m))
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return strings.Join(heard, " ")
		case err != nil:
			return strings.Join(append(heard, "closed"), " ")
		}
	}
}

// status is the code of a response, or the whole start line of something else.
func status(m []byte) string {
	line, _, _ := strings.Cut(string(m), "\r\n")
	if f := strings.Fields(line); len(f) >= 2 && f[0] == "SIP/2.0" {
		return f[1]
	}
	return line
}
