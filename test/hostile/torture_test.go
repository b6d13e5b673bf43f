package hostile

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"imsafe/proto/sip"
	"imsafe/test/live"
)

// torture is what a running node says to the messages of RFC 4475 and RFC 5118, from someone who is not registered. Where
// proto/sip's own table refuses a message, the answer is the one it names; the others get further, and the last column says to where.
var torture = []struct{ udp, tcp, files, why string }{
	{"400", "400", "badaspec badbranch badinv01 escruri insuf ltgtruri lwsruri lwsstart mismatch01 multi01 quotbal regbadct scalar02 trws ipv6-bad", "malformed"},
	{"400", "closed", "mcl01 ncl", "two lengths, or a negative one: where the message ends in a stream is anybody's guess"},
	{"400", "closed", "baddn clerr", "the end of it never comes"},
	{"505", "505", "badvers", "another version"},
	{"501", "501", "mismatch02", "a method that CSeq contradicts"},
	{"416", "416", "novelsc unkscm", "a scheme that is none of ours"},
	{"", "", "bcast bigcode noreason scalarlg unreason", "responses that nobody waits for"},
	{"", "closed", "test", "no SIP: it has no version"},
	{"403", "403", "baddate bext01 esc01 esc02 intmeth invut lwsdisp mpart01 sdp01 semiuri transports zeromf ipv4-mapped-ipv6 " +
		"ipv6-bug-abnf-3-colons ipv6-correct-abnf-2-colons ipv6-in-sdp mult-ip-in-header mult-ip-in-sdp via-received-param-no-delim " +
		"via-received-param-with-delim", "nobody is registered there (TS 24.229 5.2.6.3)"},
	{"400", "400", "cparam01 cparam02 escnull regaut01 regescrt unksm2 ipv6-good port-ambiguous port-unambiguous",
		"a REGISTER without a private identity (TS 24.229 5.1.1.2)"},
	{"400", "400 403 closed", "dblreq", "the same; the INVITE behind it counts in a stream only, and its length is wrong"},
	{"400", "400", "longreq wsinv", "a branch without the magic cookie (docs/divergences.md)"},
	{"400", "closed", "inv2543", "the same, and without a length there is no end in a stream"},
}

func TestTorture(t *testing.T) {
	n := start(t, 2)
	p := newProbe(t, n, "udp", n.Users[0])
	p.registers("nothing")
	base := usage(t, n)
	todo := tortureFiles(t)
	host := netip.AddrFrom4([4]byte{127, byte(128 + rand.IntN(64)), byte(rand.IntN(256)), 0}) // port 5060 of the same host is of one run only
	for _, tt := range torture {
		for _, name := range strings.Fields(tt.files) {
			data, there := todo[name]
			if !there {
				t.Errorf("no file %s, or it stands in the table twice", name)
				continue
			}
			delete(todo, name)
			t.Run(name, func(t *testing.T) {
				host = host.Next() // branches repeat from file to file: another source makes another transaction
				proves(t, n, n.Users[1], host)
				if got := overUDP(t, n, data, host, tt.udp); got != tt.udp {
					t.Errorf("over UDP: %q, want %q: %s", got, tt.udp, tt.why)
				}
				p.registers(name + " over UDP")
				c := dial(t, n)
				if _, err := c.Write(data); err != nil {
					t.Fatal(err)
				}
				if got := listen(c, tt.tcp); got != tt.tcp && !cutShort(got, tt.tcp) {
					t.Errorf("over TCP: %q, want %q: %s", got, tt.tcp, tt.why)
				}
				p.registers(name + " over TCP")
			})
		}
	}
	for name := range todo {
		t.Errorf("%s is not in the table", name)
	}
	// A shard keeps the coroutines of tasks that were alive together, and on a busy host more are: a leak would be one for each file.
	settles(t, n, base, live.Usage{Heap: 4 << 20, Goroutines: 10, Descriptors: 2, Transactions: 4, Associations: 40 + len(tortureFiles(t))})
}

// cutShort reports whether got is want with answers missing at its end because the stream was closed: what is no SIP closes it
// at once, and an answer to what came before that the shard has not written yet goes with it.
func cutShort(got, want string) bool {
	answers, closes := strings.CutSuffix(want, "closed")
	heard, closed := strings.CutSuffix(got, "closed")
	return closes && closed && strings.HasPrefix(answers, heard)
}

// tortureFiles reads the messages of both RFCs by their names without ending.
func tortureFiles(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	paths, err := filepath.Glob(filepath.Join("..", "..", "proto", "sip", "testdata", "rfc*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range slices.Sorted(slices.Values(paths)) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimSuffix(filepath.Base(path), ".dat")] = data
	}
	if len(files) < 60 {
		t.Fatalf("%d files of torture", len(files))
	}
	return files
}

// overUDP sends data from an address of its own and returns what comes back, as listen does.
func overUDP(t *testing.T, n *live.Node, data []byte, from netip.Addr, want string) string {
	t.Helper()
	port := uint16(5060)
	if m, err := sip.NewPool(sip.Limits{}).Parse(data); err == nil {
		if via, err := m.TopVia(); err == nil && via.Port != 0 {
			port = via.Port // without rport the answer goes there (RFC 3261 18.2.2)
		}
	}
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, port)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.WriteToUDPAddrPort(data, n.Lab); err != nil {
		t.Fatal(err)
	}
	var heard []string
	seen := map[string]bool{} // an answer to INVITE comes again until it is acknowledged (RFC 3261 17.2.1), where we are slow before we have read the first
	buf := make([]byte, 65536)
	for wait := patience; ; {
		if len(heard) >= len(strings.Fields(want)) {
			wait = silence
		}
		_ = c.SetReadDeadline(time.Now().Add(wait)) // fails only if c is closed; so will Read
		k, err := c.Read(buf)
		if err != nil {
			return strings.Join(heard, " ")
		}
		if !seen[string(buf[:k])] {
			heard = append(heard, status(buf[:k]))
		}
		seen[string(buf[:k])] = true
	}
}

// proves lets a user register from a host: one that has not gets no answer over UDP that is larger than its request (CI-20), and these are small.
func proves(t *testing.T, n *live.Node, u *live.User, host netip.Addr) {
	t.Helper()
	c, err := (&net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(host, 0))}).Dial("udp", n.Lab.String())
	if err != nil {
		t.Fatal(err)
	}
	p := live.NewPhone(c, "udp", u)
	defer p.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := p.Register(ctx, 600); err != nil {
		t.Fatal(err)
	}
}
