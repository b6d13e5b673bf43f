package kernelesp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// order is what the UE in the guest is told to do, in the environment.
type order struct {
	UC, US, PS netip.AddrPort // its client and server port, the P-CSCF's server port
	Sizes      []int          // of the requests
	Encap      bool           // ESP comes and goes in UDP 4500
	Attack     string         // instead of all that: the name of an attack
	Answer     bool           // the other way round: the guest is the P-CSCF, and answers as many requests as there are sizes
	Stream     int            // TCP instead: so many octets there and back, over a connection from uc and over one to us
	Words      string         // TCP: what is said; digits otherwise
	Next       netip.AddrPort // TCP: the client port after the next authentication
}

// guest is the UE: requests from uc to ps, answers come to us. It prints one line, and the exit status says the same.
func guest() int {
	var o order
	err := json.Unmarshal([]byte(os.Getenv(guestEnv)), &o)
	if err == nil {
		err = o.run()
	}
	if err != nil {
		fmt.Println("GUEST-FAILED", err)
		return 1
	}
	fmt.Println("GUEST-OK", len(o.Sizes))
	return 0
}

func (o *order) run() error {
	if o.Attack != "" {
		return o.attack()
	}
	if o.Encap {
		lc := net.ListenConfig{Control: takesESP}
		c, err := lc.ListenPacket(context.Background(), "udp", netip.AddrPortFrom(o.UC.Addr(), 4500).String())
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
	}
	switch {
	case o.Next.IsValid():
		return o.generations()
	case o.Stream > 0:
		return o.streams()
	}
	uc, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(o.UC))
	if err != nil {
		return err
	}
	us, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(o.US))
	if err != nil {
		return err
	}
	if o.Answer {
		return o.answer(uc, us)
	}
	for i, size := range o.Sizes {
		if err := exchange(uc, us, o.PS, bytes.Repeat([]byte{byte(i + 1)}, size)); err != nil {
			return fmt.Errorf("%d octets: %w", size, err)
		}
	}
	return nil
}

// answer sends back from uc what comes to us, until the last request, whose first octet tells its number, was answered.
func (o *order) answer(uc, us *net.UDPConn) error {
	request := make([]byte, 65536)
	for {
		if err := us.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		n, err := us.Read(request)
		if err != nil {
			return err
		}
		if _, err := uc.WriteToUDPAddrPort(request[:n], o.PS); err != nil {
			return err
		}
		if n > 0 && int(request[0]) == len(o.Sizes) {
			return nil
		}
	}
}

// exchange sends a request until its answer comes: datagrams are lost while a neighbour is looked for, and a busy machine is slow. An
// answer to an earlier request that was sent twice is passed over.
func exchange(uc, us *net.UDPConn, ps netip.AddrPort, request []byte) error {
	answer := make([]byte, 65536)
	for try := 0; ; try++ {
		if _, err := uc.WriteToUDPAddrPort(request, ps); err != nil {
			return err
		}
		if err := us.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
			return err
		}
		for {
			n, err := us.Read(answer)
			if err == nil && bytes.Equal(answer[:n], request) {
				return nil
			}
			if err == nil && n > 0 && answer[0] < request[0] {
				continue
			}
			if err == nil || try == 30 {
				return fmt.Errorf("answer of %d octets: %w", n, err)
			}
			break
		}
	}
}

// takesESP makes a UDP socket the kernel's door for ESP (RFC 3948).
func takesESP(_, _ string, c syscall.RawConn) (err error) {
	const udpEncapESPInUDP = 2
	cerr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_ENCAP, udpEncapESPInUDP)
	})
	if cerr != nil {
		return cerr
	}
	return err
}
