package kernelesp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"
)

// patience is how long the guest waits for a transfer.
const patience = 2 * time.Minute

// farewell is what the guest says on the connection of the old associations before these end.
const farewell = 1

// streams is the UE over TCP: a connection from uc to ps on which what it sends comes back, then one to us on which it sends back what comes.
func (o *order) streams() error {
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(o.US))
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	c, err := open(o.UC, o.PS)
	if err != nil {
		return fmt.Errorf("uc -> ps: %w", err)
	}
	defer func() { _ = c.Close() }()
	words := digits(o.Stream)
	if o.Words != "" {
		words = []byte(o.Words)
	}
	if err := there(c, words); err != nil {
		return fmt.Errorf("uc -> ps: %w", err)
	}
	if err := c.CloseWrite(); err != nil {
		return err
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		return fmt.Errorf("uc -> ps: after both have closed: %d octets, %w", n, err)
	}
	if err := l.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	back, err := l.AcceptTCP()
	if err != nil {
		return fmt.Errorf("pc -> us: %w", err)
	}
	defer func() { _ = back.Close() }()
	if err := back.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if n, err := io.Copy(back, back); err != nil || n != int64(len(words)) {
		return fmt.Errorf("pc -> us: %d octets, %w", n, err)
	}
	return back.CloseWrite()
}

// generations is a UE that authenticates again: its connection of before goes on over the old associations until these end, and the new one does
// not notice.
func (o *order) generations() error {
	before, err := open(o.UC, o.PS)
	if err != nil {
		return err
	}
	defer func() { _ = before.Close() }()
	after, err := open(o.Next, o.PS)
	if err != nil {
		return err
	}
	defer func() { _ = after.Close() }()
	for _, c := range []*net.TCPConn{before, after, before} {
		if err := there(c, digits(o.Stream)); err != nil {
			return err
		}
	}
	if _, err := before.Write([]byte{farewell}); err != nil {
		return err
	}
	if err := there(after, digits(o.Stream)); err != nil {
		return err
	}
	if err := before.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if n, err := before.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("over associations that have ended: %d octets, %w", n, err)
	}
	return there(after, digits(o.Stream))
}

// open opens a connection from a protected port.
func open(from, to netip.AddrPort) (*net.TCPConn, error) {
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(from), Timeout: patience}
	c, err := d.Dial("tcp", to.String())
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), c.SetDeadline(time.Now().Add(patience))
}

// digits are n octets.
func digits(n int) []byte { return bytes.Repeat([]byte("0123456789abcde"), n/15+1)[:n] }

// there sends octets and reads them back at the same time.
func there(c net.Conn, sent []byte) error {
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write(sent)
		wrote <- err
	}()
	got := make([]byte, len(sent))
	n, err := io.ReadFull(c, got)
	if err != nil {
		return fmt.Errorf("%d of %d octets came back: %w", n, len(sent), err)
	}
	if !bytes.Equal(got, sent) {
		return errors.New("other octets came back")
	}
	return <-wrote
}
