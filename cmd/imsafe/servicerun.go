package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"imsafe/config"
	"imsafe/refpoint/isc"
	"imsafe/servicebox/as"
	"imsafe/servicebox/echo"
	"imsafe/servicebox/telephony"
)

// Services of this repository, run as programs of their own: on a machine that is not the core's, over mutual TLS.

type serviceRunCmd struct {
	Manifest string `arg:"" help:"The manifest, echo.service.toml or telephony.service.toml, with what service request has written beside it." type:"existingfile"`
	Core     string `help:"Address of the core's door for platforms, HOST:PORT; isc.DOMAIN:5061 by default." placeholder:"HOST:PORT" env:"IMSAFE_CORE"`
	Enrol    string `help:"Address of its door for enrolment, where the certificate is renewed; without it somebody else must do that." placeholder:"HOST:PORT" env:"IMSAFE_ENROL"`
	Instance string `help:"Name of this instance of the service." default:"a"`
	Settings string `help:"telephony: the file with its users' settings, which the operator writes and feature codes change." type:"path" placeholder:"FILE"`
	mediaFlag
	pagesFlag
	Verbose bool `short:"v" help:"Log what happens, and not only what goes wrong."`
}

// Run runs one until the process is told to stop.
func (v *serviceRunCmd) Run(a *app) error {
	text, err := a.readText(v.Manifest)
	if err != nil {
		return err
	}
	m, err := isc.Parse(text)
	if err != nil {
		return usage{fmt.Errorf("%s:\n%w", v.Manifest, err)}
	}
	level := slog.LevelWarn
	if v.Verbose {
		level = slog.LevelInfo
	}
	c := config.Default()
	log, err := a.loggerAt(&c, level)
	if err != nil {
		return err
	}
	setup, err := v.setup(m.Service, log)
	if err != nil {
		return err
	}
	svc, err := as.Open(v.Manifest, as.At(v.Core), as.Renewing(v.Enrol), as.Instance(v.Instance), as.Log(log))
	if err != nil {
		return err
	}
	core := v.Core
	if core == "" {
		core = "isc." + m.Domain + ":5061"
	}
	if err := v.serve(svc, towards(core)); err != nil {
		return err
	}
	if err := v.pages(svc); err != nil {
		return err
	}
	setup(svc)
	a.say("%s runs, instance %s", m.Service, v.Instance)
	if at := svc.PagesAt(); at != "" {
		a.say("its pages are at %s", at)
	}
	return svc.Run(a.ctx)
}

// setup finds the service that a manifest names.
func (v *serviceRunCmd) setup(name string, log *slog.Logger) (func(*as.Service), error) {
	switch name {
	case "echo":
		return echo.Setup, nil
	case "telephony":
		if v.Settings == "" {
			return nil, usage{errors.New("telephony needs to know its users' settings: --settings FILE; the file need not exist yet")}
		}
		store, err := telephony.OpenFile(&osFile{v.Settings}, func(err error) { log.Error("the settings are broken; what was read before holds", "error", err) })
		if err != nil {
			return nil, err
		}
		return func(s *as.Service) { telephony.Setup(s, store) }, nil
	}
	return nil, usage{fmt.Errorf("there is no service %q here: echo and telephony; your own is a program of its own, see `imsafe service new`", name)}
}

// osFile is a file that is replaced whole.
type osFile struct{ path string }

var _ telephony.Disk = (*osFile)(nil)

// Read implements telephony.Disk.
func (f *osFile) Read() ([]byte, time.Time, error) {
	written, err := f.Written()
	if err != nil {
		return nil, written, err
	}
	text, err := os.ReadFile(f.path)
	return text, written, err
}

// Written implements telephony.Disk.
func (f *osFile) Written() (time.Time, error) {
	info, err := os.Stat(f.path)
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

// Replace implements telephony.Disk: what was written is on the disk before it takes the place of the old.
func (f *osFile) Replace(text []byte) error {
	mode := fs.FileMode(0o600)
	if info, err := os.Stat(f.path); err == nil {
		mode = info.Mode().Perm()
	}
	next, err := os.OpenFile(f.path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = next.Write(text)
	if err := errors.Join(err, next.Sync(), next.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.path+".new", f.path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(f.path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
