package main

import (
	"context"
	"encoding/json"
	"net"
	"strings"
	"time"
)

// proxied runs the proxy of the platform: what would put its wire at risk is refused; a server that asks while there is no core hears so.
func (e *enrolment) proxied() {
	e.t.Helper()
	run := func(ctx context.Context, args ...string) outcome {
		return e.call(ctx, "", append([]string{"service", "proxy", e.manifest, "--core", freePort(e.t)}, args...)...)
	}
	for word, args := range map[string][]string{
		"--clear-network":  {"--server", "192.0.2.1:5060"},
		"loopback":         {"--server", "127.0.0.1:5060", "--listen", "192.0.2.1:5062"},
		"needs an address": {"--server", "127.0.0.1:5060", "--listen", "0.0.0.0:5062", "--clear-network"},
	} {
		wantRefused(e.t, run(e.t.Context(), args...), exitUsage, []string{word}, args)
	}
	args := []string{"--server", "127.0.0.1:5060", "--instance", "b"}
	wantRefused(e.t, run(e.t.Context(), args...), exitFailed, []string{"service request"}, args)

	server, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		e.t.Fatal(err)
	}
	defer server.Close()
	listen := freePort(e.t)
	ctx, stop := context.WithCancel(e.t.Context())
	defer stop()
	ended := make(chan outcome, 1)
	go func() { ended <- run(ctx, "--server", server.LocalAddr().String(), "--listen", listen, "--json") }()
	to, err := net.ResolveUDPAddr("udp", listen)
	if err != nil {
		e.t.Fatal(err)
	}
	heard := make([]byte, 4096)
	n := 0
	for end := time.Now().Add(time.Minute); n == 0 && time.Now().Before(end); {
		_, _ = server.WriteTo([]byte("OPTIONS sip:x@"+testDomain+" SIP/2.0\r\nVia: SIP/2.0/UDP "+server.LocalAddr().String()+";branch=z9hG4bKo\r\nMax-Forwards: 70\r\n"+
			"From: <sip:a@"+testDomain+">;tag=a\r\nTo: <sip:x@"+testDomain+">\r\nCall-ID: o\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"), to)
		_ = server.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		n, _, _ = server.ReadFrom(heard)
	}
	if !strings.HasPrefix(string(heard[:n]), "SIP/2.0 503 ") {
		e.t.Errorf("the server hears %q", heard[:n])
	}
	stop()
	o := <-ended
	var first, last proxied
	d := json.NewDecoder(strings.NewReader(o.stdout))
	if err := d.Decode(&first); err != nil || first.Service != "echo" || first.Listen.String() != listen {
		e.t.Errorf("it begins with %+v, %v: %s%s", first, err, o.stdout, o.stderr)
	}
	if err := d.Decode(&last); err != nil || o.status != exitDone || last.Refused == 0 || last.Unreachable == 0 {
		e.t.Errorf("it ends with %d, %+v, %v", o.status, last, err)
	}
}
