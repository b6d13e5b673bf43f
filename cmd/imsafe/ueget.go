package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"imsafe/client/ue"
	"imsafe/iface/clientweb"
)

type ueGetCmd struct {
	line
	URL     string        `arg:"" help:"What to fetch: an https URL of a service, or /PATH of the home network itself. /registration says who you are to it."`
	Out     string        `help:"Write it into this new file instead of the terminal." type:"path" placeholder:"FILE"`
	Connect string        `help:"Where the service of the URL is reached, if its name does not lead there." placeholder:"HOST:PORT"`
	For     time.Duration `help:"How long it may take." default:"20s"`
}

// Run registers and fetches, with a token for the registration.
func (v *ueGetCmd) Run(a *app) error {
	if at, err := url.Parse(v.URL); err != nil || !strings.HasPrefix(v.URL, "/") && (at.Scheme != "https" || at.Host == "") {
		return usage{fmt.Errorf("%q is neither https://HOST/PATH, of a service, nor /PATH, of the home network: tokens go over TLS alone", v.URL)}
	}
	v.fetches, v.serviceAt = true, v.Connect
	return v.with(a, func(p *phone) error {
		ctx, cancel := context.WithTimeout(a.ctx, v.For)
		defer cancel()
		at := v.URL
		if strings.HasPrefix(at, "/") {
			at = v.home(p.domain) + at
		}
		page, err := p.ue.Get(ctx, at)
		switch {
		case errors.Is(err, ue.ErrNoCode):
			return fmt.Errorf("%w; [https] of the node says where clients fetch, and --transport ipsec or tls protects the path", err)
		case err != nil:
			return err
		case page.Status != http.StatusOK:
			return fmt.Errorf("the service answered %d %s", page.Status, http.StatusText(page.Status))
		}
		a.happened(event{Event: "fetched", Reason: at, ContentType: page.ContentType})
		if v.Out != "" {
			return savePage(v.Out, page.Body)
		}
		if a.json {
			a.print(event{Event: "page", ContentType: page.ContentType, Text: string(page.Body)})
			return nil
		}
		a.say("%s", printable(string(page.Body)))
		return nil
	})
}

func savePage(path string, body []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	return errors.Join(err, f.Close())
}

// home is the https origin of the home network, as the client reaches it.
func (l *line) home(domain string) string {
	origin := "https://" + clientweb.Host(domain)
	if _, port, err := net.SplitHostPort(l.Web); err == nil && port != "443" {
		origin += ":" + port
	}
	return origin
}

// web lets a client fetch, and check whom the network vouches for: where --web, --vouched or the verb asks for it.
func (l *line) web(c *ue.Config, domain string) {
	if l.Web == "" && !l.Vouched && !l.fetches {
		return
	}
	c.Web = webTransport(c.RootCAs, clientweb.Host(domain), l.Web, l.serviceAt)
	roots := c.RootCAs
	if roots == nil {
		roots = systemRoots()
	}
	c.Vouching = &ue.Vouching{Roots: roots, Fetch: ue.Fetch(c.Web), Required: l.Vouched}
}

func systemRoots() *x509.CertPool {
	pool, err := x509.SystemCertPool()
	if err != nil {
		return x509.NewCertPool() // nobody is believed
	}
	return pool
}

// webPatience bounds one exchange over HTTPS: a call waits for it.
const webPatience = 10 * time.Second

// webTransport reaches hosts by their names, the home network's at an address, if one is given, and services at another.
func webTransport(roots *x509.CertPool, home, homeAt, serviceAt string) http.RoundTripper {
	d := &net.Dialer{Timeout: webPatience}
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}, TLSHandshakeTimeout: webPatience,
		ResponseHeaderTimeout: webPatience, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			at := serviceAt
			if name, _, err := net.SplitHostPort(address); err == nil && strings.EqualFold(name, home) {
				at = homeAt
			}
			if at == "" {
				at = address
			}
			return d.DialContext(ctx, network, at)
		}}
}
