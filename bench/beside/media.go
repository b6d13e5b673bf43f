package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"imsafe/bench/media"
	"imsafe/test/foreign/kamailio"
	"imsafe/test/peer"
)

// mediaVerb measures relays of media in the place of cores: rtpengine and our anchor.
const mediaVerb = "media"

// Addresses of the relays.
const (
	engineAt = "127.0.0.9"
	anchorAt = "127.0.0.10"
)

// mediaOptions are the flags of mediaVerb.
type mediaOptions struct {
	kinds, calls, out string
	rounds            int
	json, alone       bool
	media.Settings
}

// RelayComparison is one load offered to both relays.
type RelayComparison struct {
	Name    string  `json:"name"`
	What    string  `json:"what"`
	Calls   int     `json:"calls"`
	Packets int     `json:"packets_s"`
	Theirs  Relayed `json:"theirs"`
	Ours    Relayed `json:"ours"`
	Ratio   float64 `json:"cpu_ratio"` // ours to theirs, of medians
	Latency float64 `json:"p99_ratio"`
	Memory  float64 `json:"memory_ratio"`
	Dropped int     `json:"dropped"` // rounds in which one of the two was no measurement; both are dropped
}

// Relayed is what one relay took: medians, and each round that counts.
type Relayed struct {
	System string       `json:"system"`
	CPU    float64      `json:"cpu_us"` // for each packet
	User   float64      `json:"user_us"`
	Kernel float64      `json:"system_us"`
	Loss   float64      `json:"loss"` // share of all packets
	P99    int64        `json:"p99_us"`
	Memory int64        `json:"octets_call"`
	Rounds []*media.Run `json:"rounds"`
}

func measureMedia(arguments []string) error {
	o := mediaOptions{}
	f := flag.NewFlagSet(mediaVerb, flag.ExitOnError)
	f.StringVar(&o.kinds, "kinds", "rtp,rtp-srtp,srtp", "what the two ends speak: rtp, rtp-srtp, srtp (AES-GCM), srtp-cm (AES-CM and AES-GCM)")
	f.StringVar(&o.calls, "calls", "100,250,500", "calls that are up, each two streams of 50 packets a second")
	f.StringVar(&o.out, "out", "", "file for the results as JSON")
	f.BoolVar(&o.json, "json", false, "print the results as JSON")
	f.BoolVar(&o.alone, "alone", false, "without rtpengine")
	f.IntVar(&o.rounds, "rounds", 3, "how often each is measured")
	f.DurationVar(&o.Time, "time", 10*time.Second, "how long each measurement is")
	f.DurationVar(&o.Warm, "warm", 2*time.Second, "and what comes before it and does not count")
	f.DurationVar(&o.Late, "late", 20*time.Millisecond, "how late one packet in a hundred may leave the generator")
	if err := f.Parse(arguments); err != nil {
		return err
	}
	inside, err := kamailio.Inside()
	if err == nil && !inside {
		return enter()
	}
	if err == nil {
		err = kamailio.Processes()
	}
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	runtime.LockOSThread() // the kernel ends what this thread has started when the thread ends
	var all []*RelayComparison
	pin(os.Getpid(), 1)
	for _, kind := range media.Kinds() {
		if !slices.Contains(strings.Split(o.kinds, ","), kind.Name) {
			continue
		}
		for _, text := range strings.Split(o.calls, ",") {
			calls, err := strconv.Atoi(text)
			if err != nil || calls < 1 || calls > 5000 {
				return fmt.Errorf("%q is no number of calls", text)
			}
			o.Kind, o.Calls = kind, calls
			c, err := o.compareRelays(ctx)
			if err != nil {
				return fmt.Errorf("%s, %d calls: %w", kind.Name, calls, err)
			}
			all = append(all, c)
		}
	}
	return o.report(all)
}

// enter goes on in namespaces of this program's own.
func enter() error {
	code, err := kamailio.Enter()
	if err == nil && code != 0 {
		err = errors.New("it failed inside: see above")
	}
	return err
}

// compareRelays alternates: theirs, ours, theirs, ours. Each is started anew for each round.
func (o *mediaOptions) compareRelays(ctx context.Context) (*RelayComparison, error) {
	c := &RelayComparison{Name: o.Kind.Name, What: o.Kind.String(), Calls: o.Calls, Packets: 100 * o.Calls}
	start := []func() (media.Relay, error){startEngine, func() (media.Relay, error) { return startAnchor(netip.MustParseAddr(anchorAt)) }}
	if o.alone {
		start[0] = nil
	}
	for round := range o.rounds {
		o.Seed = uint64(round + 1)
		var pair [2]*media.Run
		for i, start := range start {
			if start == nil {
				continue
			}
			var err error
			if pair[i], err = o.one(ctx, start); err != nil {
				return nil, err
			}
			r := pair[i]
			fmt.Fprintf(os.Stderr, "%s, %d calls, round %d, %s: %.2f us a packet (%.2f user, %.2f system), %d of %d lost, p50 %d us, p99 %d us, %.1f kB a call; generator %.1f us, %.0f %% busy, p99 %d us late %s\n",
				c.Name, c.Calls, round+1, r.System, r.CPU, r.User, r.Kernel, r.Lost, r.Sent, r.P50, r.P99, float64(r.Memory)/1000, r.Generator.CPU, 100*r.Generator.Busy,
				r.Generator.Late, strings.Join(r.Limits, "; "))
		}
		if pair[0] != nil && len(pair[0].Limits) > 0 || len(pair[1].Limits) > 0 {
			c.Dropped++
			continue
		}
		if pair[0] != nil {
			c.Theirs.Rounds = append(c.Theirs.Rounds, pair[0])
		}
		c.Ours.Rounds = append(c.Ours.Rounds, pair[1])
	}
	c.Theirs.sum()
	c.Ours.sum()
	if c.Theirs.CPU > 0 {
		c.Ratio, c.Latency, c.Memory = c.Ours.CPU/c.Theirs.CPU, float64(c.Ours.P99)/float64(c.Theirs.P99), float64(c.Ours.Memory)/float64(c.Theirs.Memory)
	}
	return c, nil
}

func (o *mediaOptions) one(ctx context.Context, start func() (media.Relay, error)) (_ *media.Run, err error) {
	pin(0, 0) // what this thread starts stays on the first processor, and knows of no other
	relay, err := start()
	pin(0, 1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, relay.Close()) }()
	return media.Measure(ctx, relay, o.Settings)
}

// startEngine starts rtpengine in a directory of its own.
func startEngine() (media.Relay, error) {
	program := peer.Find("rtpengine")
	if program == "" {
		return nil, errors.New("there is no rtpengine (Debian: rtpengine-daemon)")
	}
	dir, err := os.MkdirTemp("", "imsafe-rtpengine")
	if err != nil {
		return nil, err
	}
	e, err := media.StartEngine(program, dir, netip.MustParseAddr(engineAt))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &engine{e, dir}, nil
}

// engine takes its directory with it.
type engine struct {
	*media.Engine
	dir string
}

// Close implements media.Relay.
func (e *engine) Close() error {
	return errors.Join(e.Engine.Close(), os.RemoveAll(filepath.Clean(e.dir)))
}

// sum makes the medians.
func (r *Relayed) sum() {
	of := func(value func(*media.Run) float64) float64 {
		var all []float64
		for _, run := range r.Rounds {
			all = append(all, value(run))
		}
		return median(all)
	}
	r.CPU = of(func(r *media.Run) float64 { return r.CPU })
	r.User = of(func(r *media.Run) float64 { return r.User })
	r.Kernel = of(func(r *media.Run) float64 { return r.Kernel })
	r.P99 = int64(of(func(r *media.Run) float64 { return float64(r.P99) }))
	r.Memory = int64(of(func(r *media.Run) float64 { return float64(r.Memory) }))
	sent, lost := uint64(0), uint64(0)
	for _, run := range r.Rounds {
		r.System = run.System
		sent, lost = sent+run.Sent, lost+run.Lost
	}
	r.Loss = float64(lost) / float64(max(sent, 1))
}

// report prints what was found, and fails where nothing was.
func (o *mediaOptions) report(all []*RelayComparison) error {
	text, err := json.MarshalIndent(all, "", "  ")
	if err == nil && o.out != "" {
		err = os.WriteFile(o.out, append(text, '\n'), 0o644)
	}
	if err != nil {
		return err
	}
	if o.json {
		fmt.Println(string(text))
	} else if err := relayTable(all); err != nil {
		return err
	}
	for _, c := range all {
		if len(c.Ours.Rounds) == 0 {
			return fmt.Errorf("%s, %d calls: no round was a measurement; why stands above", c.Name, c.Calls)
		}
	}
	return nil
}

func relayTable(all []*RelayComparison) error {
	fmt.Println()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MEDIA\tCALLS\tPACKETS/S\tTHEIRS (us)\tLOST\tP99\tkB/CALL\tOURS (us)\tLOST\tP99\tkB/CALL\tCPU RATIO\tP99 RATIO\tROUNDS")
	for _, c := range all {
		fmt.Fprintf(w, "%s\t%d\t%d", c.What, c.Calls, c.Packets)
		for _, r := range []Relayed{c.Theirs, c.Ours} {
			fmt.Fprintf(w, "\t%.2f\t%.3f %%\t%.1f ms\t%.1f", r.CPU, 100*r.Loss, float64(r.P99)/1000, float64(r.Memory)/1000)
		}
		fmt.Fprintf(w, "\t%.2f\t%.2f\t%d\n", c.Ratio, c.Latency, len(c.Ours.Rounds))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, c := range all {
		if c.Dropped > 0 {
			fmt.Printf("%s, %d calls: %d rounds were dropped, because in one of the two the generator was the bottleneck, or packets were lost by its own host or more than 5 %%\n",
				c.Name, c.Calls, c.Dropped)
		}
	}
	return nil
}
