package attack

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"imsafe/client/isim"
	"imsafe/client/ue"
	"imsafe/proto/aka"
	"imsafe/proto/sip"
)

// Passwords reports whether the target is a SIP system that is no IMS: its subscribers have passwords (RFC 3261 22), and no network asserts who they are.
func (s *Site) Passwords() bool { return s.Foreign && s.Scheme != 0 && !s.Scheme.AKA() }

// plainly makes c a telephone of u's with a password, as it speaks with a registrar and proxy of RFC 3261.
func (f *Field) plainly(c *ue.Config, u *User) {
	c.Lab, c.Scheme = true, f.Scheme
	c.Password = &ue.Password{Identity: isim.Identity{IMPI: u.IMPI, HomeDomain: f.Domain, IMPUs: []string{u.IMPU}}, Secret: ue.Secret(u.Password), Plain: true}
}

// firstAuthorization is that of a first REGISTER: in an IMS a private identity without an answer, elsewhere none ("").
func (h *Hand) firstAuthorization(impi string) string {
	if h.f.Passwords() {
		return ""
	}
	return h.NoResponse(impi)
}

// asks is a challenge of the proxy (RFC 3261 22.3), and how often it was answered. A telephone answers it beforehand until there is another.
type asks struct {
	algorithm aka.DigestAlgorithm
	challenge sip.Challenge
	answered  int
}

// asked learns the challenge of a 407 of the own realm; what another realm asks for nobody is told.
func (h *Hand) asked(m *sip.Message) {
	if !h.f.Passwords() || m.Status() != 407 || h.User == nil {
		return
	}
	for v := range m.Values(sip.HdrProxyAuthenticate) {
		c, err := sip.ParseChallenge([]byte(string(v))) // the message is gone before the challenge is
		if err != nil || string(c.Realm) != h.f.Domain {
			continue
		}
		if algorithm, known := aka.ParseDigestAlgorithm(c.Algorithm); known && !algorithm.AKA() {
			h.proxy.Store(&asks{algorithm: algorithm, challenge: c})
			return
		}
	}
}

// meetsProxy lets a proxy challenge once, so that what follows can be written without waiting for an answer.
func (h *Hand) meetsProxy(ctx context.Context) {
	if !h.f.Passwords() {
		return
	}
	_ = within(ctx, soon, func(ctx context.Context) error { // who does not challenge need not be asked
		_, err := h.ask(ctx, h.Message("sip:nobody@"+h.f.Domain, "who am I"))
		return err
	})
}

const proxyAuthorization = "Proxy-Authorization: "

// authorized is the line by which a request answers the proxy's challenge beforehand; none if there is no challenge.
func (h *Hand) authorized(method, uri string) []string {
	p := h.proxy.Load()
	if p == nil || method == "REGISTER" || method == "ACK" || method == "CANCEL" {
		return nil
	}
	p.answered++
	return []string{proxyAuthorization + h.answers407(p, method, uri)}
}

func (h *Hand) answers407(p *asks, method, uri string) string {
	return h.credentialsNumbered(&p.challenge, p.algorithm, h.IMPI, method, uri, []byte(h.Password), p.answered)
}

// numbers finds what a request that is sent once more must have anew (RFC 3261 8.1.3.5).
var numbers = regexp.MustCompile(`\r\nCSeq: (\d+) (\w+)\r\n`)

// again is a request with an answer to the challenge that it met; false if there is nothing to answer, or the request is none that Text writes.
func (h *Hand) again(request string) (string, bool) {
	p, found := h.proxy.Load(), numbers.FindStringSubmatch(request)
	start, rest, whole := strings.Cut(request, "\r\n")
	words := strings.Split(start, " ")
	if p == nil || p.answered > 0 || found == nil || !whole || len(words) != 3 {
		return "", false
	}
	rest = "\r\n" + rest
	if old := lineOf("\r\n"+rest, proxyAuthorization); old != "" {
		rest = strings.Replace(rest, "\r\n"+proxyAuthorization+old, "", 1)
	}
	branch := lineOf("\r\n"+rest, "Via: ")
	h.number++
	p.answered++
	rest = strings.NewReplacer(branch, h.via(), found[0], fmt.Sprintf("\r\nCSeq: %d %s\r\n", h.number, found[2])).Replace(rest)
	head, body, _ := strings.Cut(rest, "\r\n\r\n")
	return start + head + "\r\n" + proxyAuthorization + h.answers407(p, words[0], words[1]) + "\r\n\r\n" + body, true
}
