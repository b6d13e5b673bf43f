package host

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"imsafe/doctor"
	"imsafe/proto/esp"
)

// Synchronised implements doctor.Host.
func (Host) Synchronised() (bool, error) {
	var t unix.Timex // all zero: it reads
	if _, err := unix.Adjtimex(&t); err != nil {
		return false, fmt.Errorf("adjtimex: %w", err)
	}
	return t.Status&unix.STA_UNSYNC == 0, nil
}

// Free implements doctor.Host.
func (Host) Free(directory string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(directory, &s); err != nil {
		return 0, err
	}
	return s.Bavail * uint64(s.Bsize), nil
}

// LoopESP implements doctor.Host. The packet has an SPI below 256, which is nobody's (RFC 4303 2.1): a node that hears it drops it.
func (Host) LoopESP(_ context.Context, at netip.Addr) (err error) {
	network := esp.Network4
	if at.Is6() {
		network = esp.Network6
	}
	conn, err := net.ListenIP(network, &net.IPAddr{IP: at.AsSlice(), Zone: at.Zone()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	packet := make([]byte, 64)
	if _, err := rand.Read(packet); err != nil {
		return err
	}
	copy(packet, []byte{0, 0, 0, 255})
	if err := conn.SetDeadline(time.Now().Add(moment)); err != nil {
		return err
	}
	if _, err := conn.WriteToIP(packet, &net.IPAddr{IP: at.AsSlice(), Zone: at.Zone()}); err != nil {
		return err
	}
	return await(packet, func(b []byte) (int, error) {
		n, _, err := conn.ReadFromIP(b) // without the IP header
		return n, err
	})
}

// await reads until what was sent comes.
func await(sent []byte, read func([]byte) (int, error)) error {
	b := make([]byte, 1<<16)
	for {
		n, err := read(b)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return doctor.ErrNoEcho
		case err != nil:
			return err
		case bytes.Equal(b[:n], sent):
			return nil
		}
	}
}

var errOnlyIPv4 = errors.New("tried for IPv4 alone")

// LoopFragments implements doctor.Host: what leaves for an address of this machine is never fragmented, so the fragments are made here.
func (Host) LoopFragments(_ context.Context, at netip.Addr, size int) (err error) {
	if !at.Is4() {
		return errOnlyIPv4
	}
	to, err := net.ListenUDP("udp4", &net.UDPAddr{IP: at.AsSlice()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	plain, err := net.ListenPacket("ip4:udp", at.String())
	if err != nil {
		return err
	}
	raw, err := ipv4.NewRawConn(plain)
	if err != nil {
		return errors.Join(err, plain.Close())
	}
	defer func() { err = errors.Join(err, raw.Close()) }()
	payload := make([]byte, size)
	if _, err := rand.Read(payload); err != nil {
		return err
	}
	port := uint16(to.LocalAddr().(*net.UDPAddr).Port)
	for _, f := range fragments(at, port, payload) {
		if err := raw.WriteTo(f.header, f.payload, nil); err != nil {
			return err
		}
	}
	if err := to.SetDeadline(time.Now().Add(moment)); err != nil {
		return err
	}
	return await(payload, func(b []byte) (int, error) { return to.Read(b) })
}

type fragment struct {
	header  *ipv4.Header
	payload []byte
}

// fragments makes a UDP datagram from a port to itself, in fragments that any interface takes (RFC 791 3.2: 576 octets): it is on one with a small MTU that it
// matters most whether they arrive.
func fragments(at netip.Addr, port uint16, payload []byte) (all []fragment) {
	const most = 552 // a multiple of 8, without the header
	length := 8 + len(payload)
	datagram := append([]byte{byte(port >> 8), byte(port), byte(port >> 8), byte(port), byte(length >> 8), byte(length), 0, 0}, payload...) // no checksum (RFC 768)
	var id [2]byte
	_, _ = rand.Read(id[:]) // never fails
	for offset := 0; offset < length; offset += most {
		part := datagram[offset:min(offset+most, length)]
		h := &ipv4.Header{Version: ipv4.Version, Len: ipv4.HeaderLen, TotalLen: ipv4.HeaderLen + len(part), ID: int(id[0])<<8 | int(id[1]), TTL: 64,
			Protocol: 17, Src: at.AsSlice(), Dst: at.AsSlice(), FragOff: offset / 8}
		if offset+most < length {
			h.Flags = ipv4.MoreFragments
		}
		all = append(all, fragment{h, part})
	}
	return all
}
