package hostile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"imsafe/test/live"
)

// rubbish makes the datagrams of a flood; i counts them.
type rubbish func(r *rand.Rand, i int) []byte

// floods are what one socket throws at the node. Nothing of it is from anybody who is registered.
func floods(t *testing.T) map[string]rubbish {
	files := tortureFiles(t)
	names := slices.Sorted(maps.Keys(files))
	request := func(method string, more string) rubbish {
		return func(r *rand.Rand, i int) []byte {
			return fmt.Appendf(nil, "%s sip:victim@%s SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;rport;branch=z9hG4bK%x\r\nMax-Forwards: 70\r\n"+
				"From: <sip:mallory@%s>;tag=%x\r\nTo: <sip:victim%d@%s>\r\nCall-ID: %x\r\nCSeq: 1 %s\r\n%sContent-Length: 0\r\n\r\n",
				method, live.Domain, r.Uint64(), live.Domain, i, i, live.Domain, r.Uint64(), method, more)
		}
	}
	return map[string]rubbish{
		"octets of chance": func(r *rand.Rand, _ int) []byte {
			b := make([]byte, r.IntN(1400))
			for i := range b {
				b[i] = byte(r.Uint32())
			}
			return b
		},
		"torture with errors": func(r *rand.Rand, i int) []byte {
			b := slices.Clone(files[names[i%len(names)]])
			for range 1 + r.IntN(8) {
				switch at := r.IntN(len(b)); r.IntN(3) {
				case 0:
					b[at] = byte(r.Uint32())
				case 1:
					b = slices.Delete(b, at, min(len(b), at+r.IntN(20)))
				case 2:
					b = slices.Insert(b, at, b[:min(len(b), r.IntN(100))]...)
				}
				b = append(b, '\n')
			}
			return b[:min(len(b), 60000)]
		},
		"responses to nothing": func(r *rand.Rand, i int) []byte {
			return fmt.Appendf(nil, "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK%x\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\n"+
				"Call-ID: %x\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n", r.Uint64(), i)
		},
		"calls of a stranger":        request("INVITE", "Contact: <sip:mallory@192.0.2.1>\r\n"),
		"requests of a stranger":     request("OPTIONS", ""),
		"cancels of nothing":         request("CANCEL", ""),
		"acknowledgments of nothing": request("ACK", ""),
		"registrations of nobody": func(r *rand.Rand, i int) []byte {
			return request("REGISTER", fmt.Sprintf("Contact: <sip:x@192.0.2.1>\r\nAuthorization: Digest username=\"nobody%d@%s\",realm=\"%s\",nonce=\"\","+
				"uri=\"sip:%s\",response=\"\"\r\n", i, live.Domain, live.Domain, live.Domain))(r, i)
		},
	}
}

// TestFloods throws rubbish from one socket as fast as it can, a moment of each kind. Clients register over every transport during
// it and after it, and nothing of it stays (CI-25).
func TestFloods(t *testing.T) {
	const most = 200000
	moment := 700 * time.Millisecond
	if testing.Short() {
		moment = 200 * time.Millisecond
	}
	n := start(t, 2)
	phone := live.NewUsers("tls", 1, live.AKAv2)
	if err := n.Provision(context.Background(), phone...); err != nil {
		t.Fatal(err)
	}
	probes := []*probe{newProbe(t, n, "udp", n.Users[0]), newProbe(t, n, "tcp", n.Users[1]), newProbe(t, n, "tls", phone[0])}
	for _, p := range probes {
		p.registers("nothing")
	}
	base := usage(t, n)
	kinds := floods(t)
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		t.Run(kind, func(t *testing.T) {
			var group sync.WaitGroup
			stop := make(chan struct{})
			for _, p := range probes {
				group.Go(func() { p.keepsRegistering(t, stop) })
			}
			sent := flood(t, n, kinds[kind], most, moment)
			close(stop)
			group.Wait()
			t.Logf("%d datagrams", sent)
			for _, p := range probes {
				p.registers(kind)
			}
		})
	}
	// A shard keeps 256 coroutines for the next procedures (shard.Config.Spare); a REGISTER that came through the torture whole
	// has four minutes to be answered.
	settles(t, n, base, live.Usage{Heap: 12 << 20, Goroutines: 2*256 + 3, Descriptors: 2, Transactions: 4, Associations: 50})
}

// keepsRegistering registers until stop is closed; each time must succeed, as long as a client has patience.
func (p *probe) keepsRegistering(t *testing.T, stop chan struct{}) {
	var count, busy int
	var slowest time.Duration
	for {
		select {
		case <-stop:
			t.Logf("%s: %d registrations meanwhile, the slowest took %v; asked %d times to come again", p.Proto, count, slowest, busy)
			return
		default:
		}
		begun := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
		asked, err := p.comesAgain(ctx)
		cancel()
		if err != nil {
			t.Errorf("%s: a client cannot register meanwhile: %v", p.Proto, err)
			return
		}
		busy += asked
		count++
		slowest = max(slowest, time.Since(begun))
	}
}

// flood sends datagrams from one socket, at most so many and so long, and returns how many.
func flood(t *testing.T, n *live.Node, make rubbish, most int, moment time.Duration) int {
	t.Helper()
	c, err := (&net.Dialer{LocalAddr: &net.UDPAddr{IP: net.IPv4(127, 3, 0, 1)}}).Dial("udp", n.Lab.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	r := rand.New(rand.NewPCG(1, 2))
	end := time.Now().Add(moment)
	for i := range most {
		if i%64 == 0 && time.Now().After(end) {
			return i
		}
		if _, err := c.Write(make(r, i)); err != nil && errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
	}
	return most
}
