package as

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"imsafe/refpoint/isc"
	"imsafe/servicebox/pages"
)

// Visitor is who fetches a page, as the home network vouches for him.
type Visitor = pages.Visitor

// ErrPages: a service that is compiled in has no certificate of its own, and so no pages.
var ErrPages = errors.New("as: a service that is compiled into the core serves no pages")

// HandlePage says what a client gets who fetches from the service (GET /PATH, as http.ServeMux reads patterns), once ServePages has said where. There is no
// page without a token of the home network for this service, and the Visitor is whom it names. Call it before Run.
func (s *Service) HandlePage(pattern string, h func(w http.ResponseWriter, r *http.Request, v Visitor)) {
	s.pages.handlers = append(s.pages.handlers, page{pattern, h})
}

type page struct {
	pattern string
	serve   pages.Handler
}

// served is what a service has of pages.
type served struct {
	handlers []page
	server   *pages.Server
	listener net.Listener
}

// Home is the network's door for HTTPS, HOST:PORT, where services fetch the key that tokens are verified with; "" is cs.DOMAIN:443. It is the door's address as clients
// know it: its port is part of the issuer's name.
type Home string

// origin is the https origin of the door, and where it is reached.
func (h Home) origin(domain string) (origin, at string) {
	name := "cs." + domain
	_, port, err := net.SplitHostPort(string(h))
	if err != nil || port == "443" {
		origin, at = "https://"+name, net.JoinHostPort(name, "443")
	} else {
		origin = "https://" + net.JoinHostPort(name, port)
	}
	if h != "" {
		at = string(h)
	}
	return origin, at
}

// ServePages lets the service serve pages (HandlePage) on ln, from Run on; it closes ln. port is the one that clients know, where it is not that of ln: 0. It
// needs page.serve, and a service that has joined (Open). Clients reach the service by the host of its manifest.
func (s *Service) ServePages(ln net.Listener, home Home, port int) error {
	if err := s.needs(isc.PageServe); err != nil {
		return err
	}
	if s.remote == nil {
		return ErrPages
	}
	if at, ok := ln.Addr().(*net.TCPAddr); ok && port == 0 {
		port = at.Port
	}
	origin := "https://" + s.host
	if port != 443 {
		origin += ":" + strconv.Itoa(port)
	}
	issuer, fetch, err := s.issuer(home)
	if err != nil {
		return err
	}
	p, err := pages.New(pages.Config{Origin: origin, Issuer: issuer, Keys: fetch, Certificate: s.remote.Certificate, Clock: s.remote.Clock(), Log: s.log})
	if err != nil {
		return fmt.Errorf("as: %w", err)
	}
	s.pages.server, s.pages.listener = p, ln
	return nil
}

// PagesAt is the https origin where pages are served, "" where they are not.
func (s *Service) PagesAt() string {
	if s.pages.server == nil {
		return ""
	}
	return s.pages.server.Origin()
}

// issuer is who issues tokens, and how its key is fetched: of the core's own door, which its certificate proves.
func (s *Service) issuer(home Home) (origin string, fetch func(context.Context) ([]byte, error), err error) {
	roots, err := s.remote.Roots()
	if err != nil {
		return "", nil, err
	}
	origin, at := home.origin(s.manifest.Domain)
	const patience, most = 5 * time.Second, 16 << 10
	dialer := &net.Dialer{Timeout: patience}
	client := &http.Client{Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13, Time: s.remote.Clock().Wall},
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, network, at)
			}}}
	return origin, func(ctx context.Context) ([]byte, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, origin+"/token/keys", nil)
		if err != nil {
			return nil, fmt.Errorf("as: %w", err)
		}
		answer, err := client.Do(r)
		if err != nil {
			return nil, fmt.Errorf("as: %w", err)
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK || !strings.HasPrefix(answer.Header.Get("Content-Type"), "application/jwk-set+json") {
			return nil, fmt.Errorf("as: the network's door answered %d", answer.StatusCode)
		}
		return io.ReadAll(io.LimitReader(answer.Body, most))
	}, nil
}

// serve serves pages until the service ends.
func (p *served) serve(ctx context.Context) error {
	if p.server == nil {
		return nil
	}
	for _, h := range p.handlers {
		p.server.Handle(h.pattern, h.serve)
	}
	return p.server.Serve(ctx, p.listener)
}
