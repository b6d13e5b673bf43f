package diameter

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
)

// raw is a peer that a test plays octet by octet.
type raw struct {
	net.Conn
	host string
}

func newRaw(t *testing.T, w *network, to, as string) *raw {
	t.Helper()
	x, y := net.Pipe()
	w.nodes[to].Accept(y, false)
	synctest.Wait()
	return &raw{x, as}
}

func (r *raw) close() { _ = r.Close() }

func (r *raw) write(b []byte) bool {
	_, err := r.Write(b)
	return err == nil
}

// readAny returns the next message, or the zero Message at the end of the connection.
func (r *raw) readAny() Message {
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head); err != nil {
		return Message{}
	}
	n, err := Length(head, 1<<20)
	if err != nil {
		return Message{}
	}
	b := append(head, make([]byte, n-4)...)
	if _, err := io.ReadFull(r, b[4:]); err != nil {
		return Message{}
	}
	return Message{b}
}

func (r *raw) read(t *testing.T) Message {
	t.Helper()
	m := r.readAny()
	if m.IsZero() {
		t.Fatal("the connection has ended")
	}
	return m
}

// cer makes a CER; change may add to it.
func (r *raw) cer(change func(w *Writer)) []byte {
	w := Begin(nil, Header{Flags: FlagRequest, Command: CER, HopByHop: 9, EndToEnd: 9})
	w.Text(OriginHost, r.host)
	w.Text(OriginRealm, realm)
	w.Address(HostIPAddress, netip.MustParseAddr("2001:db8::1"))
	w.Unsigned32(VendorID, 0)
	w.Text(ProductName, "raw")
	if change != nil {
		change(&w)
	} else {
		w.Open(VendorSpecificApplicationID)
		w.Unsigned32(VendorID, Vendor3GPP)
		w.Unsigned32(AuthApplicationID, uint32(AppCx))
		w.Close()
	}
	b, _ := w.End()
	return b
}

// open goes through the capabilities exchange.
func (r *raw) open(t *testing.T) {
	t.Helper()
	r.write(r.cer(nil))
	if got, _, _ := ResultOf(r.read(t)); got != ResultSuccess {
		t.Fatalf("CEA with %v", got)
	}
}

// copyHost writes a name of the same length over Origin-Host; the tests' names differ in their first letters.
func copyHost(msg []byte, host string) {
	a, _ := Message{msg}.Find(OriginHost)
	copy(a.Data, host+strings.Repeat(" ", len(a.Data)))
}
