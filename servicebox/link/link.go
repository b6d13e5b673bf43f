// Package link is the connection of a service platform to the core: mutual TLS 1.3 to the ISC door, with the key and the certificate that the
// platform was approved with, kept for as long as the platform runs.
//
//	d, err := link.Open("hello.service.toml", manifest, link.Options{Core: "192.0.2.1:5063", Enrol: "192.0.2.1:8443"})
//	d.Run(ctx, shard, pipe)
//
// A Dialer proves itself and the core, connects again after a failure, renews the certificate when two thirds of its life are over
// (RFC 2986 request signed by the approved key), and changes to a connection with the new one before the old one ends. It carries octets of
// SIP messages and knows nothing of what they say.
//
// servicebox/as stands on it, and whatever carries the messages of a foreign application server. A Dialer is safe for concurrent use.
package link

import (
	"context"
	"crypto/tls"
	"log/slog"
	"sync/atomic"

	"imsafe/proto/shard"
	"imsafe/proto/siptransport"
	"imsafe/refpoint/isc"
)

// Options say where things are. The zero value of each has a default.
type Options struct {
	// Core is the address of the core's ISC door, HOST:PORT; by default isc.<domain>:5061.
	Core string
	// Enrol is that of its door for enrolment. Without it nothing is renewed here: somebody else does it (imsafe service renew --keep), and the
	// files are read again for each connection.
	Enrol string
	// Instance is the instance of the service whose key and certificate lie beside the manifest; by default "a".
	Instance string
	Log      *slog.Logger // by default slog's
	Clock    shard.Clock  // by default the real one
}

// Pipe takes what comes. Its methods run on the shard that Run was given.
type Pipe interface {
	// Opened says that f is the way to the core from now on; Flow.Send is how something is said.
	Opened(f siptransport.Flow)
	// Packet is one message that came. data is good until it returns.
	Packet(f siptransport.Flow, data []byte)
	// Closed says that f leads nowhere any more.
	Closed(f siptransport.Flow)
}

// Dialer keeps the connection of one instance of a service.
type Dialer struct {
	o        Options
	manifest *isc.Manifest
	files    Files
	streams  *siptransport.Streams
	state    atomic.Pointer[tls.ConnectionState]
	counters Counters
}

// Counters say what became of the connection. They only grow. Safe for concurrent use.
type Counters struct {
	Connected     atomic.Uint64
	Lost          atomic.Uint64 // connections that failed, or could not be made
	Renewed       atomic.Uint64 // certificates fetched
	RenewalFailed atomic.Uint64 // attempts
}

// Open reads what `imsafe service request` has written beside the manifest at path: key, certificate and the core's root. It fails if one is
// missing, or does not belong to the others: a service that cannot prove itself does not start. A certificate that has ended, or was
// not fetched yet, is fetched if Options.Enrol says where.
func Open(path string, m *isc.Manifest, o Options) (*Dialer, error) {
	if o.Instance == "" {
		o.Instance = "a"
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Clock == nil {
		o.Clock = shard.RealClock()
	}
	d := &Dialer{o: o, manifest: m, files: FilesOf(path, o.Instance)}
	if d.o.Core == "" {
		d.o.Core = d.coreName() + ":5061"
	}
	roots, err := d.Roots()
	if err != nil {
		return nil, err
	}
	if _, err = d.certificate(); err != nil && d.o.Enrol != "" {
		if fetched := d.renew(context.Background()); fetched != nil {
			return nil, fetched
		}
		_, err = d.certificate()
	}
	if err != nil {
		return nil, err
	}
	d.streams = siptransport.NewStreams(siptransport.Options{TLS: d.tls(roots), Idle: -1})
	return d, nil
}

// coreName is the name in the certificate of the core's ISC door.
func (d *Dialer) coreName() string { return "isc." + d.manifest.Domain }

// Clock is the one that it was opened with.
func (d *Dialer) Clock() shard.Clock { return d.o.Clock }

// Core is the address that it connects to.
func (d *Dialer) Core() string { return d.o.Core }

// Counters returns the counters.
func (d *Dialer) Counters() *Counters { return &d.counters }

// Protections words what holds on the connection.
func (d *Dialer) Protections() []string {
	state := d.state.Load()
	if state == nil {
		return []string{"I-S: not connected"}
	}
	return []string{"I-S: mutual " + tls.VersionName(state.Version) + ", " + tls.CipherSuiteName(state.CipherSuite) + ", core proven as " + d.coreName()}
}
