package attack

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"

	"imsafe/proto/diameter"
)

// shLine is a connection to the HSS as an application server or another node has it: capabilities exchanged, requests and answers in any
// order. It writes Diameter itself.
type shLine struct {
	f    *Field
	app  diameter.Application
	host string
	conn net.Conn
	next uint32
}

// shAnswer is what came back for a request.
type shAnswer struct {
	result uint32 // Result-Code, or Experimental-Result-Code of 3GPP
	data   string // User-Data
	avps   diameter.AVPs
}

// service connects in the name of a service with its certificate, and exchanges capabilities.
func (f *Field) service(ctx context.Context, n Network, name string) (*shLine, error) {
	p, err := f.platform(name)
	if err != nil {
		return nil, err
	}
	return f.diameterPeer(ctx, n, f.Sh, diameter.AppSh, p)
}

// diameterPeer connects to the HSS as whoever has the certificate, and exchanges capabilities.
func (f *Field) diameterPeer(ctx context.Context, n Network, at netip.AddrPort, app diameter.Application, p *ServicePlatform) (*shLine, error) {
	conn, err := n.Dial(ctx, "tcp", netip.Addr{}, at)
	if err != nil {
		return nil, err
	}
	secured := tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: f.Roots, ServerName: "hss." + f.Domain,
		Certificates: []tls.Certificate{p.Certificate}, Time: f.Clock.Wall})
	l := &shLine{f: f, app: app, host: p.Host, conn: secured, next: 1}
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	endsWith(ctx, secured)
	w := l.begin(diameter.CER, diameter.AppCommon, 0)
	w.Address(diameter.HostIPAddress, at.Addr())
	w.Unsigned32(diameter.VendorID, 0)
	w.Text(diameter.ProductName, "service")
	l.vendorApplication(&w)
	answers, err := l.ask(&w)
	if err == nil && answers[0].result != uint32(diameter.ResultSuccess) {
		err = fmt.Errorf("attack: the HSS answers capabilities with %d", answers[0].result)
	}
	return l, err
}

func (l *shLine) vendorApplication(w *diameter.Writer) {
	w.Open(diameter.VendorSpecificApplicationID)
	w.Unsigned32(diameter.VendorID, diameter.Vendor3GPP)
	w.Unsigned32(diameter.AuthApplicationID, uint32(l.app))
	w.Close()
}

// begin starts a message with who we are.
func (l *shLine) begin(c diameter.Command, app diameter.Application, flags diameter.Flags) diameter.Writer {
	l.next++
	w := diameter.Begin(nil, diameter.Header{Flags: diameter.FlagRequest | flags, Command: c, Application: app, HopByHop: l.next, EndToEnd: l.next})
	if app != diameter.AppCommon {
		w.Text(diameter.SessionID, fmt.Sprintf("%s;1;%d", l.host, l.next))
		l.vendorApplication(&w)
		w.Enumerated(diameter.AuthSessionState, 1)
	}
	w.Text(diameter.OriginHost, l.host)
	w.Text(diameter.OriginRealm, l.f.Domain)
	return w
}

// request starts a request of Sh for data of a user.
func (l *shLine) request(c diameter.Command, impu string, reference int32) diameter.Writer {
	w := l.begin(c, diameter.AppSh, diameter.FlagProxiable)
	w.Text(diameter.DestinationRealm, l.f.Domain)
	w.Open(diameter.UserIdentity)
	w.Text(diameter.PublicIdentity, impu)
	w.Close()
	w.Enumerated(diameter.DataReference, reference)
	return w
}

// pull makes a UDR; documents are those called greeting.
func (l *shLine) pull(impu string, reference int32) diameter.Writer {
	return l.pullOf(impu, reference, "greeting")
}

// pullOf makes a UDR for the documents of a Service-Indication.
func (l *shLine) pullOf(impu string, reference int32, indication string) diameter.Writer {
	w := l.request(diameter.UDR, impu, reference)
	w.Enumerated(diameter.RequestedDomain, 1)
	w.Text(diameter.DSAITag, "mail")
	w.Text(diameter.ServiceIndication, indication)
	return w
}

// update makes a PUR.
func (l *shLine) update(impu string, reference int32, data string) diameter.Writer {
	w := l.request(diameter.PUR, impu, reference)
	w.Text(diameter.ShUserData, `<?xml version="1.0" encoding="UTF-8"?><Sh-Data>`+data+`</Sh-Data>`)
	return w
}

// ask sends requests in one write and returns their answers in the order of the requests.
func (l *shLine) ask(requests ...*diameter.Writer) ([]shAnswer, error) {
	var all []byte
	place := map[uint32]int{}
	for i, w := range requests {
		b, err := w.End()
		if err != nil {
			return nil, err
		}
		m, err := diameter.Parse(b)
		if err != nil {
			return nil, err
		}
		place[m.HopByHop()] = i
		all = append(all, b...)
	}
	if _, err := l.conn.Write(all); err != nil {
		return nil, err
	}
	answers := make([]shAnswer, len(requests))
	for left := len(requests); left > 0; {
		m, err := l.read()
		if err != nil {
			return nil, err
		}
		if i, ours := place[m.HopByHop()]; ours && !m.IsRequest() {
			delete(place, m.HopByHop())
			answers[i], left = readAnswer(m), left-1
		}
	}
	return answers, nil
}

// read reads one message.
func (l *shLine) read() (diameter.Message, error) {
	b := make([]byte, diameter.HeaderLen, 4096)
	if _, err := io.ReadFull(l.conn, b); err != nil {
		return diameter.Message{}, err
	}
	n, err := diameter.Length(b, 1<<20)
	if err != nil {
		return diameter.Message{}, err
	}
	b = append(b, make([]byte, n-len(b))...)
	if _, err := io.ReadFull(l.conn, b[diameter.HeaderLen:]); err != nil {
		return diameter.Message{}, err
	}
	return diameter.Parse(b)
}

func readAnswer(m diameter.Message) (a shAnswer) {
	r, _, _ := diameter.ResultOf(m)
	a.result, a.avps = uint32(r), m.AVPs()
	if data, ok := m.Find(diameter.ShUserData); ok {
		a.data = string(data.Data)
	}
	return a
}

// between cuts what stands in an element; "" if it is not there.
func between(xml, element string) string {
	_, rest, _ := strings.Cut(xml, "<"+element+">")
	text, _, found := strings.Cut(rest, "</"+element+">")
	if !found {
		return ""
	}
	return text
}

// answered tallies results.
func answered(all []shAnswer) string {
	counts, order := map[uint32]int{}, []uint32{}
	for _, a := range all {
		if counts[a.result]++; counts[a.result] == 1 {
			order = append(order, a.result)
		}
	}
	var said []string
	for _, r := range order {
		said = append(said, fmt.Sprintf("%d times %d", counts[r], r))
	}
	return strings.Join(said, ", ")
}
