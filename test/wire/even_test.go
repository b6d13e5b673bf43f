package wire

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"imsafe/config"
	"imsafe/imsbox/hss"
	"imsafe/test/live"
)

// How long the HSS takes for each answer, and how much longer for one with a vector: what is far away, and makes vectors slowly.
const (
	slowAnswer = 12 * time.Millisecond
	slowVector = 10 * time.Millisecond
)

// TestEven_slow_HSS: where the HSS is slow, and slower still for names that somebody has, the delay of an answer tells no stranger which those are. What it
// tells is measured as in attack CI-26: the part of all pairs of a name that somebody has and one that nobody has in which the former takes longer; of 40 of each
// it deviates from one half by 0.07 where chance is all.
func TestEven_slow_HSS(t *testing.T) {
	var slow *slowness
	a := startApart(t, func(_, heart, home *config.Config) {
		heart.Cx.LabCleartextKeys, home.Cx.LabCleartextKeys = true, true
		slow = delay(t, heart.Cx.Server)
		heart.Cx.Server = slow.at
	})
	users := live.NewUsers("known", 5, live.AKAv2)
	for _, u := range users {
		if err := a.home.HSS.Add(t.Context(), &hss.Subscriber{Card: hss.Card{IMPI: u.IMPI, Scheme: u.Scheme, K: hss.Secret(hex.EncodeToString(u.K[:])),
			OPc: hss.Secret(hex.EncodeToString(u.OPc[:]))}, Public: []hss.Public{{IMPU: u.IMPU}}}); err != nil {
			t.Fatal(err)
		}
	}
	first := a.answered(t, users[0])
	if n := slow.vectors(); n == 0 {
		t.Fatal("no answer of the HSS has a vector: what is measured means nothing")
	}
	const each = 40
	var known, unknown []time.Duration
	for i := range each {
		known = append(known, a.answered(t, users[i%len(users)]))
		unknown = append(unknown, a.answered(t, live.NewUsers(fmt.Sprintf("nobod%d", i%10), 1, live.AKAv2)[0]))
	}
	longer := 0
	for _, k := range known {
		for _, u := range unknown {
			if k > u {
				longer++
			}
		}
	}
	area := float64(longer) / (each * each)
	t.Logf("area %.2f; the first answer took %v, then %v and %v", area, first, known[:4], unknown[:4])
	if area < 0.2 || area > 0.8 {
		t.Errorf("a stranger tells by the delay who is known: an area of %.2f", area)
	}
	if shortest := 2*slowAnswer + slowVector; first < shortest {
		t.Errorf("the first answer took %v, and the HSS alone takes %v", first, shortest)
	}
}

// answered is how long a stranger's REGISTER in the name of u takes until it is challenged.
func (a *apart) answered(t *testing.T, u *live.User) time.Duration {
	t.Helper()
	conn, err := tls.Dial("tcp", a.client.String(), &tls.Config{RootCAs: a.authority.Pool(), ServerName: "pcscf." + live.Domain})
	if err != nil {
		t.Fatal(err)
	}
	p := live.NewPhone(conn, "tls", u)
	defer p.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	request := p.Request("REGISTER", "sip:"+live.Domain, u.IMPU, "", "Contact: "+p.Contact()+";expires=600", "Supported: path",
		fmt.Sprintf(`Authorization: Digest username="%s",realm="%s",nonce="",uri="sip:%s",response=""`, u.IMPI, live.Domain, live.Domain))
	begun := time.Now()
	answer, err := p.Ask(ctx, request)
	took := time.Since(begun)
	if err != nil || answer.Status() != 401 {
		t.Fatalf("%s is not challenged: %v, %v", u.Name, answer, err)
	}
	return took
}

// slowness stands before an HSS whose Diameter goes in clear, and lets its answers wait.
type slowness struct {
	at config.Address

	mu   sync.Mutex
	made int // answers with a vector
}

func (s *slowness) vectors() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.made
}

// delay puts it before an address until the test ends.
func delay(t *testing.T, to config.Address) *slowness {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &slowness{at: config.Address{AddrPort: netip.MustParseAddrPort(ln.Addr().String())}}
	var running sync.WaitGroup
	t.Cleanup(func() {
		_ = ln.Close()
		running.Wait() // the nodes have ended by now, and their connections with them
	})
	running.Go(func() {
		for {
			from, err := ln.Accept()
			if err != nil {
				return
			}
			there, err := net.Dial("tcp", to.String())
			if err != nil {
				_ = from.Close()
				continue
			}
			running.Go(func() {
				defer func() { _ = there.Close() }()
				_, _ = io.Copy(there, from)
			})
			running.Go(func() {
				defer func() { _ = from.Close() }()
				s.slowly(from, there)
			})
		}
	})
	return s
}

// slowly carries messages one by one.
func (s *slowness) slowly(to io.Writer, from io.Reader) {
	vector := binary.BigEndian.AppendUint32(nil, 612) // SIP-Auth-Data-Item (TS 29.229 6.3.13)
	for {
		message := make([]byte, 20)
		if _, err := io.ReadFull(from, message); err != nil {
			return
		}
		length := int(binary.BigEndian.Uint32(message) & 0xffffff) // RFC 6733 3
		message = append(message, make([]byte, length-len(message))...)
		if _, err := io.ReadFull(from, message[20:]); err != nil {
			return
		}
		time.Sleep(slowAnswer)
		if bytes.Contains(message, vector) {
			s.mu.Lock()
			s.made++
			s.mu.Unlock()
			time.Sleep(slowVector)
		}
		if _, err := to.Write(message); err != nil {
			return
		}
	}
}
