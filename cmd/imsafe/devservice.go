package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"imsafe/ca"
	"imsafe/client/media"
	"imsafe/client/ue"
	"imsafe/config"
	"imsafe/iface/management"
	"imsafe/node"
	"imsafe/refpoint/isc"
	"imsafe/servicebox/as"
	"imsafe/servicebox/echo"
)

// A dev system takes service platforms as a production one does: it has an authority, and an approval key in its directory. In production
// neither the root nor that key is there.

// devApprover is the file of the approval key.
const devApprover = "approver.key"

// devApprover loads the approval key of a dev system's directory, or makes it, and returns its public half.
func (a *app) devApprover(dir string) (string, error) {
	path := filepath.Join(dir, devApprover)
	key, err := a.readApprover(path)
	if errors.Is(err, fs.ErrNotExist) {
		_, key, err = ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return "", err
		}
		var der []byte
		if der, err = x509.MarshalPKCS8PrivateKey(key); err == nil {
			err = newSecretFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
		}
	}
	if err != nil {
		return "", err
	}
	return config.FormatApprovalKey(key.Public().(ed25519.PublicKey)), nil
}

// establish gives the system an authority of its own, if it has none. The root is forgotten: a dev system does not live so long.
func (d *dev) establish() error {
	authority := d.node.Authority
	if len(authority.Issuers()) > 0 {
		return nil
	}
	root, err := ca.NewRoot(rand.Reader, time.Now, d.config.HomeDomain(), 10*devLife)
	if err != nil {
		return err
	}
	request, err := authority.Request()
	if err != nil {
		return err
	}
	signed, err := root.Sign(request, 10*devLife)
	if err != nil {
		return err
	}
	return authority.Install(signed)
}

// trust writes down what clients of the dev system trust: the authority of its P-CSCF, and the root of its network.
func (d *dev) trust() error {
	anchors, err := d.node.Anchors()
	if err != nil {
		return err
	}
	d.anchors = d.authority.Pool()
	d.anchors.AppendCertsFromPEM(anchors)
	return os.WriteFile(filepath.Join(d.dir, "ca.pem"), append(d.authority.PEM(), anchors...), 0o644)
}

// enrol lets a service of this repository join the system, as a stranger's would: invited, asked, approved by the dev system's approval key,
// certified. It returns the service, connected to the I-S door over mutual TLS once it runs.
func (d *dev) enrol(ctx context.Context, manifest string) (*as.Service, error) {
	m, err := isc.Parse([]byte(manifest))
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(d.dir, "services")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, m.Service+".service.toml")
	if err := os.WriteFile(path, []byte(manifest), 0o600); err != nil {
		return nil, err
	}
	house := remote{management.NewClient(d.config.ManagementSocket())}
	defer house.Close()
	var invited node.Invited
	if err := house.Call(ctx, "service.invite", node.InviteService{Seconds: 60}, &invited); err != nil {
		return nil, err
	}
	var said bytes.Buffer
	quiet := &app{ctx: ctx, stdin: strings.NewReader(""), stdout: &said, stderr: io.Discard, json: true, getenv: os.Getenv}
	ask := serviceRequestCmd{Manifest: path, To: invited.Listen, CAFingerprint: invited.CA, Token: invited.Token, Instance: "a"}
	if err := ask.Run(quiet); err != nil {
		return nil, err
	}
	var told requested
	if err := json.Unmarshal(said.Bytes(), &told); err != nil {
		return nil, err
	}
	approve := serviceApproveCmd{operator: operator{Socket: d.config.ManagementSocket()}, Name: m.Service, Fingerprint: told.Fingerprint,
		Key: filepath.Join(d.dir, devApprover), AllUsers: m.Users.All, As: "imsafe dev"}
	if err := approve.Run(quiet); err != nil {
		return nil, err
	}
	ask.Token = ""
	if err := ask.Run(quiet); err != nil {
		return nil, err
	}
	return as.Open(path, as.At(invited.Connect), as.Renewing(invited.Listen), as.Log(d.log))
}

// echo lets the service echo join, and alice call it: it answers with what it knows of the protections of each leg, and gives back what she
// says.
func (d *dev) echo(ctx context.Context, r *report, alice **actor) {
	var svc *as.Service
	r.do("a service joins: echo, invited, approved, certified", "echo - core", func(s *step) (err error) {
		if svc, err = d.enrol(ctx, echo.Manifest(d.config.HomeDomain())); err != nil {
			return err
		}
		if err := new(mediaFlag).serve(svc, netip.AddrFrom4([4]byte{127, 0, 0, 1})); err != nil {
			return err
		}
		if err := svc.ServePages(d.pages, as.Home(d.sockets.HTTPS.Addr().String()), 0); err != nil {
			return err
		}
		echo.Setup(svc)
		d.services.Go(func() { _ = svc.Run(d.life) })
		if err := d.connected(ctx, svc); err != nil {
			return err
		}
		s.Protection = strings.TrimPrefix(svc.Protections()[0], "I-S: ")
		s.Detail = svc.Manifest().Identity("a")
		return nil
	})
	r.do("alice fetches a page of echo", "alice - HTTPS - echo", func(s *step) error {
		s.Protection = "TLS 1.3, a token of the core for echo alone, bound to her key"
		return (*alice).fetches(ctx, d.echoPage(), "@pseudonym."+d.config.HomeDomain(), s) // echo may not know who she is
	})
	const hz = 500
	var call *ue.Call
	r.do("alice calls echo, which answers", "alice - core - echo", func(s *step) (err error) {
		if call, err = (*alice).ue.Call(ctx, "sip:echo@"+d.config.HomeDomain(), ue.Voice{Play: media.NewTone(hz, -10)}); err != nil {
			return err
		}
		answered, err := call.Until(ctx, ue.Answered)
		if err != nil {
			return err
		}
		s.Detail, s.Protection = "it says:", strings.Join(answered.Notes, "; ")
		if len(answered.Notes) == 0 {
			return errors.New("it says nothing")
		}
		return nil
	})
	r.do("alice hears her own tone come back", "alice - anchor - echo, voice", func(s *step) error {
		if _, err := call.Until(ctx, ue.Secured); err != nil {
			return err
		}
		s.Protection = call.Media().Protection
		if err := hears(ctx, call, hz); err != nil {
			return err
		}
		heard := call.Media().Heard
		s.Detail = fmt.Sprintf("%.0f Hz at %.1f dBm0, to her %s", heard.Hz, heard.Level, call.Vouched())
		call.Hangup()
		select {
		case <-call.Done():
			return call.Result().Err
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// listenPages opens the port where echo serves its pages.
func (d *dev) listenPages() (net.Listener, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:8445")
	if err != nil {
		ln, err = net.Listen("tcp", "127.0.0.1:0") // that one is taken
	}
	return ln, err
}

// echoPage is the page of echo, as clients reach it.
func (d *dev) echoPage() string {
	_, port, _ := net.SplitHostPort(d.pages.Addr().String()) // it is the address of a socket
	return (&url.URL{Scheme: "https", Host: net.JoinHostPort("echo.as."+d.config.HomeDomain(), port), Path: "/protections"}).String()
}

// connected waits until a service has its connection to the core.
func (d *dev) connected(ctx context.Context, svc *as.Service) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !svc.Connected() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// tellServices says how a service platform joins.
func (d *dev) tellServices(a *app) {
	a.say("\nA service has joined: call echo, or send it a message. Let one of your own join:")
	a.say("  imsafe service new hello && cd hello    # writes one, with its tests: go test .")
	a.say("  imsafe service invite --socket %s    # prints what the platform types", d.config.ManagementSocket())
	a.say("  imsafe service approve NAME --fingerprint F --key %s --socket %s", filepath.Join(d.dir, devApprover), d.config.ManagementSocket())
}
