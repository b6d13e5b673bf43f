package live_test

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	"imsafe/test/live"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestPhones registers one phone over each transport and sends a message from one to the next.
func TestPhones(t *testing.T) {
	n := live.Start(t, live.Options{Subscribers: 2})
	ctx, cancel := context.WithTimeout(context.Background(), 3*live.Patience)
	defer cancel()
	sim := live.NewUsers("tls", 1, live.AKAv2)
	if err := n.Provision(ctx, sim...); err != nil {
		t.Fatal(err)
	}
	users := append(n.Users, sim...)
	var phones []*live.Phone
	for i, network := range []string{"udp", "tcp", "tls"} {
		p, err := n.Dial(network, users[i], nil)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if err := p.Register(ctx, 600); err != nil {
			t.Fatalf("%s: %v", network, err)
		}
		phones = append(phones, p)
	}
	for i, from := range phones {
		to := phones[(i+1)%len(phones)]
		if err := from.Write(from.Request("MESSAGE", to.IMPU, to.IMPU, "hello", "Content-Type: text/plain")); err != nil {
			t.Fatal(err)
		}
		m, err := to.Read(live.Patience)
		if err != nil || string(m.Body()) != "hello" {
			t.Fatalf("%s heard %v, %v", to.Proto, m, err)
		}
	}
	u, err := n.Usage()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", u)
	if u.Associations != len(phones) || u.Connections != 2 {
		t.Errorf("%d associations and %d connections of %d phones", u.Associations, u.Connections, len(phones))
	}
}
