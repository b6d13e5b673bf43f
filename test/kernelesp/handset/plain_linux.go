package handset

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Speak sends requests in clear to a port of the P-CSCF and returns what came back within the wait: the first lines of messages, or what else is an
// answer.
func (h *Handset) Speak(p Plain, came *[]string) error {
	*came = []string{}
	from, to := netip.AddrPortFrom(h.c.Local, p.From), netip.AddrPortFrom(h.c.Proxy, p.To)
	var requests [][]byte
	for _, method := range p.Methods {
		requests = append(requests, h.request(nil, Asking{Method: method, Transport: p.Transport, To: h.c.IMPU, Body: "in clear"}, "", "Content-Type: text/plain",
			"Contact: "+h.contact()))
	}
	switch {
	case p.Raw:
		return h.raw(from, to, requests)
	case p.Transport == "tcp":
		return h.connect(from, to, p.Wait, requests, came)
	}
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(from))
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	for _, r := range requests {
		if _, err := c.WriteToUDPAddrPort(r, to); err != nil {
			return err
		}
	}
	return gather(c, p.Wait, came)
}

// raw sends datagrams through a raw socket, which shows the kernel no ports: no policy takes them. An answer would come to the telephone's own sockets.
func (h *Handset) raw(from, to netip.AddrPort, requests [][]byte) error {
	network := "ip4:17"
	if from.Addr().Is6() {
		network = "ip6:17"
	}
	c, err := net.ListenIP(network, &net.IPAddr{IP: from.Addr().AsSlice()})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	for _, r := range requests {
		b := binary.BigEndian.AppendUint16(nil, from.Port())
		b = binary.BigEndian.AppendUint16(b, to.Port())
		b = binary.BigEndian.AppendUint16(b, uint16(8+len(r)))
		b = append(append(b, 0, 0), r...)
		if from.Addr().Is6() { // there the checksum is no choice (RFC 8200 8.1)
			binary.BigEndian.PutUint16(b[6:], checksum(from.Addr(), to.Addr(), b))
		}
		if _, err := c.WriteToIP(b, &net.IPAddr{IP: to.Addr().AsSlice()}); err != nil {
			return err
		}
	}
	return nil
}

// checksum is that of UDP over IPv6.
func checksum(from, to netip.Addr, b []byte) uint16 {
	pseudo := append(from.AsSlice(), to.AsSlice()...)
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(b)))
	pseudo = append(append(pseudo, 0, 0, 0, 17), b...)
	if len(pseudo)%2 == 1 {
		pseudo = append(pseudo, 0)
	}
	sum := uint32(0)
	for i := 0; i < len(pseudo); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(pseudo[i:]))
	}
	for sum>>16 > 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// connect is the same over TCP.
func (h *Handset) connect(from, to netip.AddrPort, wait time.Duration, requests [][]byte, came *[]string) error {
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(from), Timeout: wait, Control: reusesAddress}
	c, err := d.Dial("tcp", to.String())
	if err != nil {
		return nil // refused, or silence
	}
	defer func() { _ = c.Close() }()
	*came = append(*came, "a connection")
	for _, r := range requests {
		if _, err := c.Write(r); err != nil {
			return nil // the other end has closed it
		}
	}
	return gather(c, wait, came)
}

// gather reads what comes for a while.
func gather(c net.Conn, wait time.Duration, came *[]string) error {
	if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	buf := make([]byte, 65536)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return nil // its time is over, or the other end has closed it
		}
		first, _, _ := strings.Cut(string(buf[:n]), "\r\n")
		*came = append(*came, fmt.Sprintf("%s (%d octets)", first, n))
	}
}
