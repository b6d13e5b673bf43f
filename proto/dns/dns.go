// Package dns asks name servers what SIP needs to find a server (RFC 3263): A and AAAA, SRV (RFC 2782), NAPTR (RFC 3403). The wire format
// is github.com/miekg/dns; which server is asked, and what counts as an answer, is here.
//
// A [Client] asks each server in turn, over UDP, and over TCP what UDP cut; Locate goes from a domain to its servers. It remembers nothing. Network,
// deadlines and chance come in. Imported by doctor and cmd. Safe for concurrent use.
package dns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// Client asks name servers.
type Client struct {
	Servers []netip.AddrPort // in the order in which they are asked
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	// Deadline is when the answer of a server that is asked now must be there.
	Deadline func() time.Time
	// Pick is a random number below n, above 0: by it servers of one priority share their clients (RFC 2782). nil: the heaviest comes first.
	Pick func(n int) int
}

// ErrNoServer says that there is nobody to ask.
var ErrNoServer = errors.New("dns: no name server is configured")

// Servers reads the name servers of /etc/resolv.conf.
func Servers(resolvConf []byte) (all []netip.AddrPort) {
	c, err := dns.ClientConfigFromReader(bytes.NewReader(resolvConf))
	if err != nil {
		return nil
	}
	for _, s := range c.Servers {
		if a, err := netip.ParseAddr(s); err == nil {
			all = append(all, netip.AddrPortFrom(a, 53))
		}
	}
	return all
}

// SRV is where a service is (RFC 2782).
type SRV struct {
	Target           string // without the last dot
	Port             uint16
	Priority, Weight uint16
}

// NAPTR is how a domain is reached (RFC 3403 4.1).
type NAPTR struct {
	Order, Preference      uint16
	Flags, Service, Regexp string
	Replacement            string // without the last dot
}

// LookupAddresses returns the addresses of a name. One that does not exist has none, and is no error.
func (c *Client) LookupAddresses(ctx context.Context, name string) (all []netip.Addr, err error) {
	for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
		records, err := c.ask(ctx, name, kind)
		if err != nil {
			return nil, err
		}
		for _, rr := range records {
			var ip net.IP
			switch rr := rr.(type) {
			case *dns.A:
				ip = rr.A
			case *dns.AAAA:
				ip = rr.AAAA
			}
			if a, ok := netip.AddrFromSlice(ip); ok {
				all = append(all, a.Unmap())
			}
		}
	}
	return all, nil
}

// LookupSRV returns the records of a name such as _sip._udp.example.org, by priority. None is no error.
func (c *Client) LookupSRV(ctx context.Context, name string) (all []SRV, err error) {
	records, err := c.ask(ctx, name, dns.TypeSRV)
	for _, rr := range records {
		if s, ok := rr.(*dns.SRV); ok {
			all = append(all, SRV{bare(s.Target), s.Port, s.Priority, s.Weight})
		}
	}
	slices.SortStableFunc(all, func(a, b SRV) int { return int(a.Priority) - int(b.Priority) })
	return all, err
}

// LookupNAPTR returns the records of a domain, by order and preference. None is no error.
func (c *Client) LookupNAPTR(ctx context.Context, name string) (all []NAPTR, err error) {
	records, err := c.ask(ctx, name, dns.TypeNAPTR)
	for _, rr := range records {
		if n, ok := rr.(*dns.NAPTR); ok {
			all = append(all, NAPTR{n.Order, n.Preference, n.Flags, n.Service, n.Regexp, bare(n.Replacement)})
		}
	}
	slices.SortStableFunc(all, func(a, b NAPTR) int {
		return (int(a.Order)-int(b.Order))<<16 + int(a.Preference) - int(b.Preference)
	})
	return all, err
}

// bare is a name without the dot of the root.
func bare(name string) string {
	if n := len(name); n > 1 && name[n-1] == '.' {
		return name[:n-1]
	}
	return name
}

// ask asks one server after the other until one answers.
func (c *Client) ask(ctx context.Context, name string, kind uint16) ([]dns.RR, error) {
	question := new(dns.Msg)
	question.SetQuestion(dns.Fqdn(name), kind)
	question.SetEdns0(1232, false)
	failed := ErrNoServer
	for _, server := range c.Servers {
		answer, err := c.exchange(ctx, "udp", server, question)
		if err == nil && answer.Truncated {
			answer, err = c.exchange(ctx, "tcp", server, question)
		}
		switch {
		case err != nil:
			failed = fmt.Errorf("dns: %v: %w", server, err)
		case answer.Rcode == dns.RcodeSuccess:
			return answer.Answer, nil
		case answer.Rcode == dns.RcodeNameError:
			return nil, nil
		default:
			failed = fmt.Errorf("dns: %v answers %s", server, dns.RcodeToString[answer.Rcode])
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, failed
}

// exchange asks one server and waits for the answer to this question.
func (c *Client) exchange(ctx context.Context, network string, server netip.AddrPort, question *dns.Msg) (_ *dns.Msg, err error) {
	conn, err := c.Dial(ctx, network, server.String())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := conn.SetDeadline(c.Deadline()); err != nil {
		return nil, err
	}
	wire := &dns.Conn{Conn: conn, UDPSize: 4096}
	if err := wire.WriteMsg(question); err != nil {
		return nil, err
	}
	for {
		answer, err := wire.ReadMsg()
		if err != nil {
			return nil, err
		}
		if answer.Id == question.Id && len(answer.Question) == 1 && answer.Question[0] == question.Question[0] {
			return answer, nil
		} // somebody else's answer, or a forged one: the right one may still come
	}
}
