package hostile

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"imsafe/test/live"
)

// options is a whole request that the node answers 403: nobody is registered. lines stand at the end of its header.
func options(lines ...string) string {
	head := []string{"OPTIONS sip:" + live.Domain + " SIP/2.0", "Via: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK" + rand.Text(), "Max-Forwards: 70",
		"From: <sip:mallory@" + live.Domain + ">;tag=1", "To: <sip:" + live.Domain + ">", "Call-ID: " + rand.Text(), "CSeq: 1 OPTIONS"}
	return strings.Join(append(head, lines...), "\r\n")
}

// unsound are streams in which two readers could see different messages, or none. after is what is said before the node ends the
// connection.
func unsound() map[string]struct{ octets, after string } {
	whole := options("Content-Length: 0") + "\r\n\r\n"
	return map[string]struct{ octets, after string }{
		"two lengths":                       {options("Content-Length: 0", "Content-Length: 4") + "\r\n\r\nBYE ", ""},
		"two lengths, one compact":          {options("Content-Length: 0", "l: 4") + "\r\n\r\nBYE ", ""},
		"two lengths, one folded":           {options("Content-Length: 0", "l:", " 4") + "\r\n\r\nBYE ", ""},
		"a length list":                     {options("Content-Length: 0, 4") + "\r\n\r\nBYE ", ""},
		"a negative length":                 {options("Content-Length: -1") + "\r\n\r\n", ""},
		"a signed length":                   {options("Content-Length: +0") + "\r\n\r\n", ""},
		"a hexadecimal length":              {options("Content-Length: 0x4") + "\r\n\r\nBYE ", ""},
		"a length past 32 bits":             {options("Content-Length: 4294967296") + "\r\n\r\n", ""},
		"no length":                         {options() + "\r\n\r\n", ""},
		"an empty length":                   {options("Content-Length:") + "\r\n\r\n", ""},
		"64 KiB of body announced":          {options("Content-Length: 65536") + "\r\n\r\n", ""},
		"LF for CRLF":                       {strings.ReplaceAll(whole, "\r\n", "\n"), ""},
		"LF at the end of the header":       {options("Content-Length: 0") + "\n\n", ""},
		"CR in a line":                      {options("Subject: a\rContent-Length: 4", "Content-Length: 0") + "\r\n\r\n", ""},
		"a line of 9000 octets":             {options("Subject: " + strings.Repeat("x", 9000)), ""},
		"a header of 64 KiB":                {options(lines(64<<10)...) + "\r\n", ""},
		"a header that never ends":          {options(lines(1<<20)...) + "\r\n", ""},
		"HTTP":                              {"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", ""},
		"octets of chance":                  {"\x00" + rand.Text(), ""},
		"a good message, then octets":       {whole + "\xff\xfe", "403"},
		"a good message, then an LF":        {whole + "\n", "403"},
		"a good message, then a body":       {whole + "{}", "403"},
		"a good message, then a CR":         {whole + "\rBYE", "403"},
		"two good messages, then a bad one": {whole + options("l: 0") + "\r\n\r\n" + options("l: x") + "\r\n\r\n", "403 403"},
	}
}

// lines are header lines of n octets in all.
func lines(n int) (all []string) {
	line := "Subject: " + strings.Repeat("x", 200)
	for ; n > 0; n -= len(line) + 2 {
		all = append(all, line)
	}
	return all
}

// TestUnsoundStreams wants the node to end a stream that can be read in two ways, at once and without a word more.
func TestUnsoundStreams(t *testing.T) {
	n := start(t, 1)
	p := newProbe(t, n, "udp", n.Users[0])
	p.registers("nothing")
	base := usage(t, n)
	access := map[string]func() net.Conn{
		"tcp": func() net.Conn { return dial(t, n) },
		"tls": func() net.Conn { return dialTLS(t, n, nil) },
	}
	for name, tt := range unsound() {
		want := strings.TrimSpace(tt.after + " closed")
		for network, dial := range access {
			t.Run(name+" over "+network, func(t *testing.T) {
				c := dial()
				defer func() { _ = c.Close() }()
				go func() { _, _ = io.WriteString(c, tt.octets) }() // what the node does not take any more may fail
				if got := listen(c, want); got != want {
					t.Errorf("heard %q, want %q", got, want)
				}
			})
		}
	}
	p.registers("streams that are no SIP")
	// A shard keeps the coroutines of tasks that were alive together: a leak would be one for each stream.
	settles(t, n, base, live.Usage{Heap: 4 << 20, Goroutines: 10, Descriptors: 2, Transactions: 4})
}

// dialTLS does the handshake; edit may change what is offered.
func dialTLS(t *testing.T, n *live.Node, edit func(*tls.Config)) *tls.Conn {
	t.Helper()
	c, err := handshake(n, edit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func handshake(n *live.Node, edit func(*tls.Config)) (*tls.Conn, error) {
	o := &tls.Config{RootCAs: n.CA, ServerName: "pcscf." + live.Domain}
	if edit != nil {
		edit(o)
	}
	return tls.Dial("tcp", n.TLS.String(), o)
}

// TestTLSFloor: who offers less than TLS 1.3 gets no connection, who speaks no TLS no answer (TS 33.310 6.2a, CI-37).
func TestTLSFloor(t *testing.T) {
	n := start(t, 1)
	p := newProbe(t, n, "udp", n.Users[0])
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12} {
		c, err := handshake(n, func(o *tls.Config) { o.MinVersion, o.MaxVersion = version, version })
		if err == nil {
			_ = c.Close()
			t.Errorf("%s is accepted", tls.VersionName(version))
		}
	}
	if c, err := handshake(n, nil); err != nil || c.ConnectionState().Version != tls.VersionTLS13 {
		t.Errorf("TLS 1.3: %v", err)
	} else {
		_ = c.Close()
	}
	for name, octets := range map[string]string{
		"SIP in clear":                  options("Content-Length: 0") + "\r\n\r\n",
		"an SSL 2 hello":                "\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + strings.Repeat("\x07", 37),
		"a hello that is cut":           "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"a record of 65535 octets":      "\x16\x03\x01\xff\xff" + strings.Repeat("\x01", 1<<16),
		"an alert":                      "\x15\x03\x03\x00\x02\x02\x28",
		"data before the handshake":     "\x17\x03\x03\x00\x05hello",
		"a ChangeCipherSpec, again and": strings.Repeat("\x14\x03\x03\x00\x01\x01", 1000),
	} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", n.TLS.String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			go func() { _, _ = io.WriteString(c, octets) }()
			_ = c.SetReadDeadline(time.Now().Add(patience))
			said, err := io.ReadAll(c)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection stays")
			}
			if strings.Contains(string(said), "SIP/2.0") {
				t.Errorf("answered %q in clear", said)
			}
		})
	}
	if got := talk(t, n, "\x16\x03\x01\x00\x05hello"); got != "closed" {
		t.Errorf("a TLS hello at the port for clear text: %q", got)
	}
	p.registers("broken handshakes")
}

// talk says octets over TCP and returns what listen hears.
func talk(t *testing.T, n *live.Node, octets string) string {
	t.Helper()
	c := dial(t, n)
	if _, err := io.WriteString(c, octets); err != nil {
		t.Fatal(err)
	}
	return listen(c, "closed")
}

// slow is a way of holding a connection without using it: what is said at once, and then octet by octet, ten of them a second.
type slow struct {
	tls         bool
	first, drip string
}

// TestSlowStreams holds many connections open, each from a source with as many as it may have, some silent, some with an octet now
// and then (CI-22). Deadlines end them all, new clients connect meanwhile, and nothing is left.
func TestSlowStreams(t *testing.T) {
	n := start(t, 1)
	phone := live.NewUsers("tls", 1, live.AKAv2)
	if err := n.Provision(context.Background(), phone...); err != nil {
		t.Fatal(err)
	}
	udp := newProbe(t, n, "udp", n.Users[0])
	udp.registers("nothing")
	base := usage(t, n)
	const octets = 500 // which take longer than hold is patient: no deadline is put off by them
	ways := []slow{
		{first: ""}, // it never says anything
		{drip: options("Subject: " + strings.Repeat("x", octets))},                 // it never finishes its header
		{first: options("l: 999") + "\r\n\r\n", drip: strings.Repeat("x", octets)}, // nor its body
		{tls: true}, // it never says hello
		{tls: true, drip: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\x07", octets)},
	}
	perWay := 100
	if testing.Short() {
		perWay = 20
	}
	var group sync.WaitGroup
	begun := time.Now()
	var mu sync.Mutex
	lasted := make([]time.Duration, len(ways))
	for w, way := range ways {
		for i := range perWay {
			group.Go(func() {
				d, err := way.hold(n, net.IPv4(127, 2, byte(w), byte(1+i/50)))
				mu.Lock()
				defer mu.Unlock()
				if lasted[w] = max(lasted[w], d); err != nil {
					t.Errorf("a connection of way %d: %v", w, err)
				}
			})
		}
	}
	meanwhile(t, n, phone[0], begun)
	group.Wait()
	t.Logf("connections of each way lasted at most %v", lasted)
	udp.registers("slow streams")
	// A shard keeps the coroutines of tasks that were alive together: a leak would be one for each stream.
	settles(t, n, base, live.Usage{Heap: 4 << 20, Goroutines: 10, Descriptors: 2, Transactions: 4})
}

// meanwhile wants new clients to connect and register while others hold what they can.
func meanwhile(t *testing.T, n *live.Node, u *live.User, begun time.Time) {
	t.Helper()
	registered := 0
	for time.Since(begun) < hasty.FirstMessage {
		for network, u := range map[string]*live.User{"tcp": n.Users[0], "tls": u} {
			p, err := n.Dial(network, u, nil)
			if err != nil {
				t.Fatalf("a client cannot connect over %s: %v", network, err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			if err := p.Register(ctx, 600); err != nil {
				t.Errorf("a client cannot register over %s: %v", network, err)
			} else {
				registered++
			}
			cancel()
			p.Close()
		}
	}
	t.Logf("%d clients connected and registered meanwhile", registered)
}

// hold holds a connection from an address until the node ends it, and says how long that took; it gives up when patience is over.
func (s slow) hold(n *live.Node, from net.IP) (time.Duration, error) {
	address := n.Lab
	if s.tls {
		address = n.TLS
	}
	c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}).Dial("tcp", address.String())
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }()
	begun := time.Now()
	if _, err := io.WriteString(c, s.first); err != nil {
		return 0, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, c) // until the node ends it
	}()
	drip, late := time.NewTicker(100*time.Millisecond), time.After(patience)
	defer drip.Stop()
	for i := 0; ; i++ {
		select {
		case <-ended:
			return time.Since(begun), nil
		case <-drip.C:
			if i < len(s.drip) {
				_, _ = io.WriteString(c, s.drip[i:i+1])
			}
		case <-late:
			return 0, errors.New("the node does not end it")
		}
	}
}
