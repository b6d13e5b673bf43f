package main

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"imsafe/bench/load"
)

type benchCmd struct {
	Run   benchRunCmd   `cmd:"" help:"Offer a load and report; exit 0 only if at most 0.1 % of each scenario failed and the generator was not the bottleneck."`
	Users benchUsersCmd `cmd:"" help:"Write the subscribers of a target as a CSV file that user import takes. It holds their keys."`
}

// benchTarget is the file that says what is loaded.
type benchTarget struct {
	Target string `arg:"" help:"Target file (JSON, for its owner alone because it holds keys or names where they are); - is standard input. docs/bench.md describes it." type:"path"`
}

// read reads the target and its subscribers.
func (v *benchTarget) read(a *app) (*load.Target, []load.Subscriber, error) {
	data, err := a.readSecret(v.Target, load.MaxTarget)
	if err != nil {
		return nil, nil, err
	}
	t, err := load.ParseTarget(data)
	if err != nil {
		return nil, nil, usage{err}
	}
	if t.Users.File == "" {
		all, err := t.Users.Range.Subscribers(t.Domain)
		return t, all, err
	}
	file := t.Users.File
	if !filepath.IsAbs(file) && v.Target != "-" {
		file = filepath.Join(filepath.Dir(v.Target), file)
	}
	data, err = a.readSecret(file, maxImport)
	if err != nil {
		return nil, nil, err
	}
	all, err := load.ParseCSV(bytes.NewReader(data))
	if err != nil {
		return nil, nil, usage{err}
	}
	return t, all, nil
}

type benchUsersCmd struct {
	benchTarget
	File string `arg:"" help:"The file to write; it must not be there." type:"path"`
}

// Run writes the file.
func (v *benchUsersCmd) Run(a *app) error {
	_, all, err := v.read(a)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := load.WriteCSV(&b, all); err != nil {
		return err
	}
	if err := newSecretFile(v.File, b.Bytes()); err != nil {
		return err
	}
	a.say("%d subscribers in %s; `imsafe user import %s` adds them", len(all), v.File, v.File)
	return nil
}

type benchRunCmd struct {
	benchTarget
	Scenario  string        `help:"What is done: mix, registration, re-registration, de-registration, call, message, or shares such as call=40,message=60. mix is 40 % re-registration, 40 % calls, 15 % messages, 3 % registration, 2 % de-registration." default:"mix"`
	Rate      float64       `help:"Scenarios a second; with --search where it begins." default:"100"`
	Time      time.Duration `help:"How long is measured." default:"10s"`
	Warm      time.Duration `help:"Load before that. Default: 2 s and, with calls, three times their length."`
	Hold      time.Duration `help:"Mean length of a call, exponentially distributed." default:"10s"`
	Ring      time.Duration `help:"Mean time until a user answers, exponentially distributed." default:"0s"`
	Card      time.Duration `help:"What a card takes to answer a challenge." default:"0s"`
	Patience  time.Duration `help:"What has no answer for so long has failed." default:"8s"`
	Late      time.Duration `help:"How late one arrival, or one packet of voice, in a hundred may be, until the generator counts as the bottleneck. More where others use the machine and CPU is what is compared." default:"50ms"`
	Media     string        `help:"What both sides of a call say to each other, fifty packets of G.711 a second each: rtp, or srtp with keys of the descriptions (SDES). Each UE needs an address of its own. By default calls are silent." placeholder:"KIND"`
	Once      bool          `help:"Nobody is called or written to twice: for an IMS that looks a user up once only. There must be as many more UEs."`
	Seed      uint64        `help:"Of arrivals and choices. Default: another each time."`
	PID       []int         `name:"pid" help:"Process under test: its CPU is reported, with its children's. May be repeated." placeholder:"PID"`
	Workers   int           `help:"Loops, each of which keeps a processor busy." default:"1"`
	Search    bool          `help:"Look for the highest rate at which at most 0.1 % of each scenario fail."`
	Precision float64       `help:"With --search: how close, as a share of the rate." default:"0.05"`
	Prepare   bool          `help:"Only register everybody, and report what that took."`
	Window    int           `help:"How many registrations are on their way at once while UEs are prepared." default:"64"`
	Settle    time.Duration `help:"How long to wait after that until memory is looked at: transactions live for 32 s." default:"0s"`
	Out       string        `help:"Write the report as JSON into this file, in place of what is there." type:"path"`
}

// errLimited and errInadequate are the two ways in which a measurement is not passed.
var (
	errLimited    = errors.New("the generator was the bottleneck, so nothing was measured: the lines above say why")
	errInadequate = errors.New("more than 0.1 % of a scenario were handled inadequately")
)

// benchResult is what --json prints and --out writes.
type benchResult struct {
	Prepared *load.Prepared `json:"prepared"`
	Found    *load.Found    `json:"found,omitempty"` // with --search
	Runs     []*load.Report `json:"runs"`
}

// Run offers the load.
func (v *benchRunCmd) Run(a *app) (err error) {
	mix, err := load.ParseMix(v.Scenario)
	if err != nil {
		return usage{err}
	}
	media, err := load.ParseMedia(v.Media)
	if err != nil {
		return usage{err}
	}
	if v.Rate <= 0 || v.Time <= 0 || v.Workers < 1 || v.Window < 1 || v.Precision <= 0 {
		return usage{errors.New("rate, time, workers, window and precision are more than 0")}
	}
	t, subscribers, err := v.read(a)
	if err != nil {
		return err
	}
	if v.Seed == 0 {
		v.Seed = uint64(time.Now().UnixNano())
	}
	g, err := load.Open(t, subscribers, v.Workers, rand.Text()[:8])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	settings := load.Settings{Mix: mix, Rate: v.Rate, Time: v.Time, Warm: v.Warm, Hold: v.Hold, Ring: v.Ring, Card: v.Card, Patience: v.Patience, MaxLate: v.Late, Media: media, Once: v.Once, Seed: v.Seed, PIDs: v.PID, Window: v.Window}
	result := &benchResult{Runs: []*load.Report{}}
	if v.Prepare {
		settings.Settle = v.Settle
		settings.Mix = load.Mix{load.Message: 1} // everybody
	}
	stop := a.progress(fmt.Sprintf("registering %d UEs", len(subscribers)))
	result.Prepared, err = g.Prepare(a.ctx, &settings)
	stop()
	if err != nil {
		return err
	}
	a.say("%s", result.Prepared)
	if !v.Prepare {
		err = v.measure(a, g, settings, result)
	}
	return cmp.Or(v.write(a, result), err)
}

// measure runs once, or searches.
func (v *benchRunCmd) measure(a *app, g *load.Generator, settings load.Settings, result *benchResult) error {
	told := func(r *load.Report) {
		result.Runs = append(result.Runs, r)
		if !a.json {
			_ = r.WriteText(a.stdout) // a closed pipe needs no answer
			a.say("")
		}
		r.Withhold()
	}
	if v.Search {
		f, err := g.Search(a.ctx, settings, v.Precision, told)
		if err != nil {
			return err
		}
		result.Found = &f
		a.say("%s", &f)
		if f.Rate == 0 {
			return a.said(errInadequate)
		}
		return nil
	}
	r, err := g.Run(a.ctx, settings)
	if err != nil {
		return err
	}
	told(r)
	switch r.Verdict {
	case load.Limited.String():
		return a.said(errLimited)
	case load.Bad.String():
		return a.said(errInadequate)
	}
	return nil
}

func (v *benchRunCmd) write(a *app, result *benchResult) error {
	if a.json {
		a.print(result)
	}
	if v.Out == "" {
		return nil
	}
	data, err := json.MarshalIndent(result, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(v.Out, slices.Concat(data, []byte("\n")), 0o644)
}
