package dns

import (
	"context"
	"errors"
	"slices"
	"strings"
)

// Transport is how a client that has made its choice reaches SIP servers, as the DNS names it (RFC 3263 4.1).
type Transport struct {
	Service string // of NAPTR, such as "SIPS+D2T"
	Prefix  string // of SRV, such as "_sips._tcp"
}

// The transports of SIP.
var (
	TLS = Transport{"SIPS+D2T", "_sips._tcp"}
	TCP = Transport{"SIP+D2T", "_sip._tcp"}
	UDP = Transport{"SIP+D2U", "_sip._udp"}
)

// Target is where a server is: a name, which has addresses, and a port.
type Target struct {
	Host string
	Port uint16
}

// ErrUnavailable says that a domain has no such service, by its own word (RFC 2782: the target is the root).
var ErrUnavailable = errors.New("dns: the domain says that it has no such service")

// Locate finds the servers of a domain for a transport, in the order in which they are to be tried (RFC 3263 4.1, 4.2): where the NAPTR records lead for that
// transport, or to the usual name where they do not, and there by priority and weight. None, which is no error, where the DNS knows of none: then the domain itself
// may be one. Which names a certificate must have does not follow from it: an answer may be forged.
func (c *Client) Locate(ctx context.Context, domain string, t Transport) ([]Target, error) {
	records, err := c.LookupSRV(ctx, c.serviceName(ctx, domain, t))
	if err != nil {
		return nil, err
	}
	if len(records) == 1 && records[0].Target == "." {
		return nil, ErrUnavailable
	}
	var targets []Target
	for _, r := range c.inOrder(records) {
		if r.Target != "." {
			targets = append(targets, Target{r.Target, r.Port})
		}
	}
	return targets, nil
}

// serviceName is the name whose SRV records say where the service is. A name server that does not know what NAPTR is does no harm.
func (c *Client) serviceName(ctx context.Context, domain string, t Transport) string {
	pointers, err := c.LookupNAPTR(ctx, domain)
	for _, p := range pointers {
		if err == nil && strings.EqualFold(p.Service, t.Service) && strings.EqualFold(p.Flags, "s") && p.Regexp == "" && p.Replacement != "." {
			return p.Replacement
		}
	}
	return t.Prefix + "." + domain
}

// inOrder puts records, which are sorted by priority, into an order of trial (RFC 2782, "Weight"): within a priority, chance decides who is next, each with
// what its weight is of the sum of those that are left.
func (c *Client) inOrder(records []SRV) (order []SRV) {
	for left := slices.Clone(records); len(left) > 0; {
		n := 1
		for n < len(left) && left[n].Priority == left[0].Priority {
			n++
		}
		i := c.draw(left[:n])
		order = append(order, left[i])
		left = slices.Delete(left, i, i+1)
	}
	return order
}

// draw chooses one of some records of the same priority. Those without a weight come first in the row, so that they have a small chance (RFC 2782).
func (c *Client) draw(records []SRV) int {
	slices.SortStableFunc(records, func(a, b SRV) int { return min(int(a.Weight), 1) - min(int(b.Weight), 1) })
	sum, heaviest := 0, 0
	for i, r := range records {
		sum += int(r.Weight)
		if r.Weight > records[heaviest].Weight {
			heaviest = i
		}
	}
	if c.Pick == nil {
		return heaviest
	}
	mark := c.Pick(sum + 1)
	for i, r := range records {
		if mark -= int(r.Weight); mark <= 0 {
			return i
		}
	}
	return len(records) - 1
}
