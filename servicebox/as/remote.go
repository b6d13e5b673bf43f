package as

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"

	"imsafe/proto/shard"
	"imsafe/proto/siptransport"
	"imsafe/servicebox/link"
)

// An Option of Open changes where things are.
type Option func(*link.Options)

// At is the address of the core's ISC door, HOST:PORT. Left out it is the environment's IMSAFE_CORE, else isc.<domain>:5061.
func At(address string) Option { return func(o *link.Options) { o.Core = address } }

// Instance is the instance of the service whose key and certificate lie beside the manifest; left out it is "a".
func Instance(name string) Option { return func(o *link.Options) { o.Instance = name } }

// Renewing renews the certificate at the core's door for enrolment, HOST:PORT, when two thirds of its life are over. Left out it is the
// environment's IMSAFE_ENROL; without either somebody else renews it (imsafe service renew --keep), and the files are read again.
func Renewing(address string) Option { return func(o *link.Options) { o.Enrol = address } }

// Log is where the service logs; left out it is slog's default.
func Log(l *slog.Logger) Option { return func(o *link.Options) { o.Log = l } }

// Open makes a service of a manifest, NAME.service.toml, and what `imsafe service request` has written beside it: key, certificate and the
// core's root. It fails if one is missing, or does not belong to the others: a service that cannot prove itself does not start.
func Open(path string, options ...Option) (*Service, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	o := link.Options{Log: slog.Default(), Clock: shard.RealClock(), Core: os.Getenv("IMSAFE_CORE"), Enrol: os.Getenv("IMSAFE_ENROL")}
	for _, option := range options {
		option(&o)
	}
	var d *link.Dialer
	s, err := InProcess(Parts{Manifest: text, Clock: o.Clock, Rand: rand.Reader, Log: o.Log, Proof: func() []string { return d.Protections() }})
	if err != nil {
		return nil, err
	}
	if d, err = link.Open(path, s.manifest, o); err != nil {
		return nil, err
	}
	s.remote = d
	return s, nil
}

// end is the service's end of its connections. Its methods run on the shard.
type end struct{ svc *Service }

var _ link.Pipe = end{}

// Opened implements link.Pipe.
func (e end) Opened(f siptransport.Flow) {
	e.svc.flow = f
	e.svc.rights.forget()
}

// Packet implements link.Pipe.
func (e end) Packet(f siptransport.Flow, data []byte) { e.svc.layer.Input(f, data) }

// Closed implements link.Pipe.
func (e end) Closed(f siptransport.Flow) {
	if e.svc.flow == f {
		e.svc.flow = siptransport.Flow{}
	}
	e.svc.layer.FlowClosed(f)
}
