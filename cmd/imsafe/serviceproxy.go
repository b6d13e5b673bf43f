package main

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"time"

	"imsafe/proto/shard"
	"imsafe/refpoint/isc"
	"imsafe/servicebox/link"
	"imsafe/servicebox/proxy"
)

type serviceProxyCmd struct {
	Manifest string         `arg:"" help:"The manifest, NAME.service.toml, with what service request has written beside it." type:"existingfile"`
	Core     string         `help:"Address of the core's door for service platforms, HOST:PORT. By default isc.DOMAIN:5061." placeholder:"HOST:PORT"`
	Server   netip.AddrPort `help:"Address of the application server, IP:PORT over UDP." required:"" placeholder:"IP:PORT"`
	Listen   netip.AddrPort `help:"Where the server finds this proxy: everything that it sends goes here." default:"127.0.0.1:5062" placeholder:"IP:PORT"`
	Enrol    string         `help:"Address of the core's door for enrolment: the certificate is renewed there. Without it service renew --keep must do it." placeholder:"HOST:PORT"`
	Instance string         `help:"Name of this instance of the service." default:"a"`
	Clear    bool           `name:"clear-network" help:"Let the server be on another host or in a container, although what goes between is not protected."`
}

// proxied is what the verb prints as JSON, when it starts and at its end.
type proxied struct {
	Service     string         `json:"service"`
	Listen      netip.AddrPort `json:"listen"`
	Server      netip.AddrPort `json:"server"`
	Core        string         `json:"core"`
	ToServer    uint64         `json:"to_server"`
	ToCore      uint64         `json:"to_core"`
	Strangers   uint64         `json:"strangers"`
	NotSIP      uint64         `json:"not_sip"`
	Refused     uint64         `json:"refused"`
	Dropped     uint64         `json:"dropped"`
	Unreachable uint64         `json:"unreachable"`
}

// Run stands between core and server until it is interrupted.
func (v *serviceProxyCmd) Run(a *app) error {
	m, dialer, err := v.open(a)
	if err != nil {
		return err
	}
	key, err := v.sealingKey()
	if err != nil {
		return err
	}
	socket, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(v.Listen))
	if err != nil {
		return fmt.Errorf("%w: choose another --listen", err)
	}
	defer socket.Close()
	local := netip.MustParseAddrPort(socket.LocalAddr().String())
	p := proxy.NewProxy(proxy.Config{Host: m.Host(), Local: local, Server: v.Server, Key: key}, shard.RealClock(), socket)
	told := proxied{Service: m.Service, Listen: local, Server: v.Server, Core: dialer.Core()}
	if a.json {
		a.print(told)
	} else {
		a.say("%s: %s is the outbound proxy of the server at %s; the core is %s. Interrupt to stop.", m.Service, local, v.Server, dialer.Core())
	}
	ctx, stop := context.WithCancel(a.ctx)
	defer stop()
	if !a.json {
		go v.report(ctx, a, p, time.Minute)
	}
	err = p.Run(ctx, dialer)
	if a.json {
		told.count(&p.Counters)
		a.print(told)
	}
	return err
}

// open reads manifest, key and certificates, and judges the addresses.
func (v *serviceProxyCmd) open(a *app) (*isc.Manifest, *link.Dialer, error) {
	text, err := a.readText(v.Manifest)
	if err != nil {
		return nil, nil, err
	}
	m, err := isc.Parse(text)
	if err != nil {
		return nil, nil, usage{fmt.Errorf("%s:\n%w", v.Manifest, err)}
	}
	if !v.Clear && (!v.Server.Addr().IsLoopback() || !v.Listen.Addr().IsLoopback()) {
		return nil, nil, usage{errors.New("--server and --listen are not both on loopback: what goes between proxy and server is in clear and proves nobody. " +
			"Run the proxy beside the server, or say --clear-network")}
	}
	if v.Listen.Addr().IsUnspecified() {
		return nil, nil, usage{errors.New("--listen needs an address: the server is given it as a route")}
	}
	dialer, err := link.Open(v.Manifest, m, link.Options{Core: v.Core, Enrol: v.Enrol, Instance: v.Instance, Log: slog.New(slog.NewTextHandler(a.stderr, nil))})
	return m, dialer, err
}

// sealingKey is the key of what the proxy puts into messages: made of the platform's private key, so that a dialog outlives a restart.
func (v *serviceProxyCmd) sealingKey() (key [32]byte, err error) {
	text, err := os.ReadFile(link.FilesOf(v.Manifest, v.Instance).Key)
	if err != nil {
		return key, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return key, fmt.Errorf("%s holds no key", link.FilesOf(v.Manifest, v.Instance).Key)
	}
	if _, err := x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
		return key, err
	}
	b, err := hkdf.Key(sha256.New, block.Bytes, nil, "imsafe service proxy: names of the server", len(key))
	copy(key[:], b)
	return key, err
}

// report says now and then what has changed.
func (v *serviceProxyCmd) report(ctx context.Context, a *app, p *proxy.Proxy, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for before := (proxied{}); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := proxied{}
		now.count(&p.Counters)
		if now != before {
			a.say("to the server %d, to the core %d; strangers %d, not SIP %d, refused %d, dropped %d, unreachable %d", now.ToServer, now.ToCore, now.Strangers,
				now.NotSIP, now.Refused, now.Dropped, now.Unreachable)
		}
		before = now
	}
}

func (o *proxied) count(c *proxy.Counters) {
	o.ToServer, o.ToCore, o.Strangers, o.NotSIP = c.ToServer.Load(), c.ToCore.Load(), c.Strangers.Load(), c.NotSIP.Load()
	o.Refused, o.Dropped, o.Unreachable = c.Refused.Load(), c.Dropped.Load(), c.Unreachable.Load()
}
