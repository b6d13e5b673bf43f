package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"imsafe/config"
	"imsafe/policy"
	"imsafe/proof/attack"
	"imsafe/proof/evidence"
	proof "imsafe/proof/report"
	"imsafe/proof/runner"
	"imsafe/proof/tables"
	"imsafe/proto/shard"
	"imsafe/secure"
)

type proveCmd struct {
	Run    proveRunCmd    `cmd:"" default:"withargs" help:"Run every attack with all controls on and then without its own, and compute from what was seen: the twelve cells, X.805, TVRA. Writes a signed bundle with a page for people. No root. Exit 0 all cells are proven, 1 something failed, 3 this host did not let some attacks run, 4 nothing failed but not all is proven."`
	Verify proveVerifyCmd `cmd:"" help:"Check the signature of a bundle, compute everything again from its records, without a network, and say what is stale. Exit 0 all cells are proven, 1 it is not what was signed or something failed, 3 nobody has pinned the key or some attacks were not run, 4 nothing failed but not all is proven."`
}

// proofDir is where bundles are kept, one directory each, named after their time.
const proofDir = "imsafe-proof"

type proveRunCmd struct {
	Full      bool          `help:"Three seeds and every mode: functions that call each other, that write and parse each message, and that stand on two nodes. No limit of time."`
	Only      []string      `help:"Dotted ids or numbers of attacks, with commas; the others read as not run." placeholder:"ID"`
	Out       string        `help:"Directory for bundles; each gets one of its own in it." default:"imsafe-proof" type:"path" placeholder:"DIR"`
	Key       string        `help:"The runner's key; it is made if it is not there. Default: runner.key in the directory imsafe of the user's configuration." type:"path" placeholder:"FILE"`
	Without   []string      `help:"Controls to leave off in every target, with commas, to see what turns without them: their cells are no longer proven, and what got through is named." placeholder:"ID"`
	Config    string        `help:"Configuration that the report is about: what it weakens is claimed at best. Default: the one without any weakening." type:"path" placeholder:"FILE"`
	Judgement string        `help:"What a person judges (assets and impact, accepted risks), in the form of imsafe risk --print." type:"path" placeholder:"FILE"`
	Within    time.Duration `help:"Begin no attack after so long; 0 is no limit. With --full there is none." default:"9m"`
}

var (
	errProofFailed = errors.New("something failed: an attack got through or did harm, was blocked by another control than the named one, or is dead; or a layer holds nothing, or nothing tries a required control")
	errProofHere   = errors.New("this host did not let some attacks run")
	errProofOpen   = errors.New("nothing failed, but not everything is proven")
)

// incomplete is work that was done, and whose result is not all that was hoped for.
type incomplete struct{ error }

// provenOr is the exit status of a report.
func provenOr(r *proof.Report) error {
	switch r.Outcome() {
	case proof.Failed:
		return errProofFailed
	case proof.Elsewhere:
		return unverified{errProofHere}
	case proof.Open:
		return incomplete{fmt.Errorf("%w: %s", errProofOpen, r.Sentence())}
	}
	return nil
}

// Run proves.
func (v *proveRunCmd) Run(a *app) error {
	if err := a.inOwnNetwork(); err != nil {
		return err
	}
	l, err := newLauncher()
	if err != nil {
		return err
	}
	return v.prove(a, l)
}

func (v *proveRunCmd) prove(a *app, l *launcher) error {
	signer, err := a.runnerKey(v.Key)
	if err != nil {
		return err
	}
	files, set, err := judged(a, v.Judgement)
	if err != nil {
		return err
	}
	p := &proving{app: a, launcher: l, bound: v.Within}
	if p.off, err = controlsNamed(v.Without); err != nil {
		return err
	}
	if p.only, err = attacksNamed(v.Only); err != nil {
		return err
	}
	if err := p.subject(v); err != nil {
		return err
	}
	if err := holds(v.Out); err != nil { // before the minutes that it takes
		return usage{fmt.Errorf("the bundle could not be kept: %w; --out names another directory", err)}
	}
	if err := p.run(); err != nil {
		return err
	}
	b := evidence.Bundle{}
	if err := b.PutCase(&p.of); err != nil {
		return err
	}
	maps.Copy(b, p.ladders)
	for name, text := range files {
		b[evidence.TablesDir+"/"+name] = text
	}
	read, err := b.Case() // what is computed is what was written
	if err != nil {
		return err
	}
	r, err := proof.Make(read, set)
	if err != nil {
		return err
	}
	if err := errors.Join(r.Write(b), b.Sign(signer, p.of.Subject.End)); err != nil {
		return err
	}
	dir, err := writeBundle(filepath.Join(v.Out, strings.NewReplacer(":", "-").Replace(cut(p.of.Subject.Start))), b)
	if err != nil {
		return err
	}
	if err := a.tellReport(r); err != nil {
		return err
	}
	a.say("\npage for people: %s\nbundle, signed by %s: %s", filepath.Join(dir, filepath.FromSlash(proof.HTMLName)),
		evidence.FormatKey(publicOf(signer)), dir)
	p.notes(dir)
	return a.said(provenOr(r))
}

// notes says on standard error what a person may not expect of the bundle in dir.
func (p *proving) notes(dir string) {
	if before := bundleBefore(dir); before != "" && len(p.only)+len(p.off) > 0 {
		fmt.Fprintf(p.app.stderr, "%s is the newest bundle now, and that is what risk, explain and the page of a node show: to keep them on %s, move it away; --out names another directory\n",
			dir, before)
	}
	if p.late > 0 {
		fmt.Fprintf(p.app.stderr, "%d attacks were not begun within %v, because this host is slow or busy: --within 0 lets all of them run\n", p.late, p.bound)
	}
}

// attacksNamed finds attacks by id or number.
func attacksNamed(ids []string) (map[string]bool, error) {
	only := map[string]bool{}
	for _, id := range ids {
		x, known := attack.Find(id)
		if !known {
			return nil, usage{fmt.Errorf("there is no attack %q: `imsafe attack list` shows them", id)}
		}
		only[x.ID] = true
	}
	return only, nil
}

// cut leaves off what is less than a second, and the zone, which is UTC.
func cut(t string) string { return t[:min(len("2006-01-02T15:04:05"), len(t))] }

// tellReport prints a report, for people or for machines.
func (a *app) tellReport(r *proof.Report) error {
	if a.json {
		a.print(r)
		return nil
	}
	return r.Text(a.stdout)
}

// judged reads the tables of this program, with a person's judgement in the place of its own if there is one.
func judged(a *app, file string) (map[string][]byte, *tables.Set, error) {
	files, err := tables.Default()
	if err != nil {
		return nil, nil, err
	}
	if file != "" {
		set, err := a.judgedBy(file, files)
		return files, set, err
	}
	set, err := tables.Read(files)
	return files, set, err
}

// judgedBy puts the judgement in file in the place of that of the tables. An acceptance of a variant that no attack has is refused: it would accept nothing.
func (a *app) judgedBy(file string, files map[string][]byte) (*tables.Set, error) {
	text, err := a.readText(file)
	if err != nil {
		return nil, usage{err}
	}
	files[tables.JudgementFile] = text
	set, err := tables.Read(files)
	if err != nil {
		return nil, usage{fmt.Errorf("%s: %w", file, err)}
	}
	for _, x := range set.Judgement.Accepted {
		id, variant, named := strings.Cut(x.Attack, "/")
		if found, known := attack.Find(id); named && known && !slices.ContainsFunc(found.Variants, func(v attack.Variant) bool { return v.Name == variant }) {
			return nil, usage{fmt.Errorf("%s: accepted risk of %q: the attack has no such variant: `imsafe attack list` shows them", file, x.Attack)}
		}
	}
	return set, nil
}

// proving is a proof under way.
type proving struct {
	app      *app
	launcher *launcher
	only     map[string]bool // attacks; empty is all
	off      []secure.ControlID
	bound    time.Duration
	late     int // attacks that were not begun within it
	of       evidence.Case
	ladders  evidence.Bundle // for people
}

// subject says what is proven.
func (p *proving) subject(v *proveRunCmd) error {
	s := &p.of.Subject
	*s = evidence.Subject{Program: p.launcher.build, Commit: p.launcher.commit, Pack: attack.PackVersion, Seeds: []uint64{1}, Modes: []string{attack.Direct},
		Missing: map[string]string{}, Repeated: []string{}}
	if v.Full {
		s.Seeds, s.Modes, p.bound = []uint64{1, 2, 3}, []string{attack.Direct, attack.Strict, attack.Wire}, 0
	}
	p.of.Attacks, p.of.Policy, p.of.Weaker = runner.Catalogue(), runner.Policy(), runner.Weaker()
	var err error
	s.Named, s.Configuration, s.Weakenings, err = p.app.configured(v.Config)
	for _, id := range p.off {
		s.Weakenings = append(s.Weakenings, evidence.Weakening{Name: "without " + id.String(), Meaning: "it was left off in every target of this run, to see what turns",
			Controls: []string{id.String()}})
	}
	return err
}

// controlsNamed are those that are to be left off: such as are built.
func controlsNamed(names []string) (all []secure.ControlID, err error) {
	for _, name := range names {
		id, known := secure.ControlByName(strings.ToLower(name))
		row, there := policy.Find(id)
		if !known || !there || row.Level == policy.Absent {
			return nil, usage{fmt.Errorf("there is no control %q that could be left off: `imsafe policy` shows them", name)}
		}
		all = append(all, id)
	}
	return all, nil
}

// without launches targets in which controls are off, and nobody is told: what is seen of them then is what a reviewer sees who takes one away.
type without struct {
	runner.Launcher
	off []secure.ControlID
}

// Launch implements runner.Launcher.
func (w without) Launch(ctx context.Context, s runner.Setup) (runner.Target, error) {
	s.Off = slices.Clone(s.Off)
	for _, id := range w.off {
		if !slices.Contains(s.Off, id) {
			s.Off = append(s.Off, id)
		}
	}
	return w.Launcher.Launch(ctx, s)
}

// configured says which configuration a report is about, its hash, and what it weakens.
func (a *app) configured(file string) (name, sum string, weak []evidence.Weakening, err error) {
	defaults := config.Default()
	c, name := &defaults, "default"
	if file != "" {
		if c, err = (configFile{ConfigPath: file}).load(a); err != nil {
			return "", "", nil, err
		}
		name = filepath.Base(file)
	}
	if sum, err = evidence.SumOf(map[string]any{"config": fmt.Sprintf("%+v", *c)}); err != nil {
		return "", "", nil, err
	}
	weak = []evidence.Weakening{}
	e := policy.Default()
	for _, w := range c.Weakenings() {
		if e, err = e.Weaken(w.Name, w.Meaning); err != nil {
			return "", "", nil, err
		}
	}
	for _, w := range e.Weakenings() {
		weak = append(weak, evidence.Weakening{Name: w.Name, Meaning: w.Meaning, Controls: controlNames(w.Controls)})
	}
	return name, sum, weak, nil
}

// run runs every attack in every mode with every seed. What goes wrong with one of them is noted, and the others go on.
func (p *proving) run() error {
	s, clock := &p.of.Subject, shard.RealClock()
	s.Start = evidence.Time(clock.Wall())
	begun, all, n := time.Now(), attack.All(), 0
	total := len(all) * len(s.Seeds) * len(s.Modes)
	for _, mode := range s.Modes {
		for _, seed := range s.Seeds {
			r := runner.New(runner.Config{Launcher: without{p.launcher, p.off}, Network: systemNetwork{}, Clock: clock, Random: seeded(seed), Seed: seed, Mode: mode, Drawn: p.drawn})
			for i := range all {
				n++
				x := &all[i]
				switch {
				case len(p.only) > 0 && !p.only[x.ID]:
					s.Missing[x.ID] = "it was not asked for"
					continue
				case p.bound > 0 && time.Since(begun) > p.bound:
					s.Missing[x.ID] = fmt.Sprintf("there was no time left for it: the others took %v", p.bound)
					p.late++
					continue
				}
				results, err := r.Run(p.app.ctx, x)
				if why := undecided(results); err == nil && why != nil {
					s.Repeated = append(s.Repeated, why...)
					results, err = r.Again(p.app.ctx, x, results)
				}
				if p.app.ctx.Err() != nil {
					return context.Cause(p.app.ctx)
				}
				if err != nil {
					s.Missing[x.ID] = "it could not be run: " + err.Error()
				}
				for _, result := range results {
					p.of.Records = append(p.of.Records, result.Records...)
				}
				p.tell(n, total, time.Since(begun), x, results, err)
			}
		}
	}
	s.End = evidence.Time(clock.Wall())
	return nil
}

// drawn keeps the ladders of a run; those of an attack that is run once more take their place.
func (p *proving) drawn(of *evidence.Record, ladders json.RawMessage) {
	if p.ladders == nil {
		p.ladders = evidence.Bundle{}
	}
	p.ladders[laddersDir+"/"+of.Key()] = ladders
}

// undecided says what proves nothing: it is no finding about the target, and on a busy host happens now and then. It is run once more,
// and the report says so. What was found is never tried again.
func undecided(results []runner.Result) (all []string) {
	for _, result := range results {
		if why := result.Undecided(); why != "" {
			all = append(all, why)
		}
	}
	return all
}

// tell says on standard error how an attack went, while the others wait.
func (p *proving) tell(n, total int, took time.Duration, x *attack.Attack, results []runner.Result, err error) {
	proven, mark, said := 0, "✓", ""
	for _, r := range results {
		switch {
		case r.Proven && r.Claimed == "":
			proven++
		case r.Proven:
			mark, said = "~", "blocked; no switch: "+r.Claimed
		case r.Skipped:
			mark, said = "–", "not run here: "+r.Finding
		default:
			mark, said = "✗", r.Finding
		}
	}
	if err != nil {
		mark, said = "✗", err.Error()
	}
	said = cmp.Or(said, fmt.Sprintf("blocked by name, and succeeds without (%d of %d trials)", proven, len(results)))
	fmt.Fprintf(p.app.stderr, "%3d/%d %6s  %s %s  %-24s %s\n", n, total, took.Round(time.Second), mark, x.Number, x.ID, said)
}

// seeded is randomness that comes back with its seed. Safe for concurrent use.
func seeded(seed uint64) io.Reader {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	return &lockedReader{from: rand.NewChaCha8(key)}
}

type lockedReader struct {
	mu   sync.Mutex
	from io.Reader
}

// Read implements io.Reader.
func (r *lockedReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.from.Read(p)
}

// holds reports whether a directory is there, or can be made, and takes new files.
func holds(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	probe, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return err
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// unfinished begins the name of a directory in which a bundle is being written. It is none of the bundles, and sorts before them.
const unfinished = ".unfinished-"

// writeBundle writes a bundle into a directory of its own: dir, or with a number behind it where another proof, begun in the same second, has that. The directory is
// there when all of it is: who is interrupted leaves no half of one.
func writeBundle(dir string, b evidence.Bundle) (string, error) {
	part, err := os.MkdirTemp(filepath.Dir(dir), unfinished+"*")
	if err != nil {
		return "", fmt.Errorf("the bundle cannot be kept: %w", err)
	}
	for name, text := range b {
		path := filepath.Join(part, filepath.FromSlash(name))
		if err = errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, text, 0o644)); err != nil {
			break
		}
	}
	if err = cmp.Or(err, os.Chmod(part, 0o755)); err == nil {
		var at string
		if at, err = renameFree(part, dir); err == nil {
			return at, nil
		}
	}
	return "", errors.Join(fmt.Errorf("the bundle cannot be kept: %w", err), os.RemoveAll(part))
}

// renameFree gives a directory the first name that is free: dir, dir-2, dir-3.
func renameFree(part, dir string) (string, error) {
	at := dir
	for n := 2; ; n++ {
		if err := os.Rename(part, at); !errors.Is(err, fs.ErrExist) {
			return at, err
		}
		at = fmt.Sprintf("%s-%d", dir, n)
	}
}

// lastBundle is the newest directory of bundles.
func lastBundle(dir string) (string, error) {
	all := bundlesIn(dir)
	if len(all) == 0 {
		return "", usage{fmt.Errorf("there is no bundle in %s: `imsafe prove` makes one", dir)}
	}
	return filepath.Join(dir, all[len(all)-1]), nil
}

// bundlesIn names the bundles of a directory, oldest first.
func bundlesIn(dir string) (names []string) {
	entries, _ := os.ReadDir(dir) // where nothing can be read there is none
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(dir, e.Name(), evidence.ManifestFile)); err == nil && !strings.HasPrefix(e.Name(), unfinished) {
			names = append(names, e.Name())
		}
	}
	return names
}

// defaultJudgement is what this program brings: its name and its text.
func defaultJudgement() (string, []byte, error) {
	files, err := tables.Default()
	return tables.JudgementFile, files[tables.JudgementFile], err
}
