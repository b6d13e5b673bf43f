package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"imsafe/proof/evidence"
	proof "imsafe/proof/report"
	"imsafe/proof/runner"
	"imsafe/proof/tables"
)

type proveVerifyCmd struct {
	Bundle  string   `arg:"" optional:"" help:"Directory of a bundle; without one, the newest of those in imsafe-proof." type:"path"`
	Runner  []string `help:"Public key of a runner that you trust, as imsafe prove prints it, or a file with it. Default: the key of this machine's runner." placeholder:"KEY"`
	Key     string   `help:"Where this machine's runner has its key, if not where imsafe prove puts it." type:"path" placeholder:"FILE"`
	Program string   `help:"The program that the bundle should be about; without one, this one." type:"path" placeholder:"FILE"`
	Config  string   `help:"Configuration that the bundle should be about; without one, the default." type:"path" placeholder:"FILE"`
}

// verification is what verify has found, as JSON.
type verification struct {
	Bundle  string        `json:"bundle"`
	Runner  string        `json:"runner"`
	Pinned  bool          `json:"pinned"`
	Altered []string      `json:"altered"` // what is not what was signed
	Differs []string      `json:"differs"` // what is computed otherwise
	Changed []string      `json:"changed"` // what the bundle is about and is another now
	Report  *proof.Report `json:"report"`  // as of now
}

// Run verifies, and touches no network.
func (v *proveVerifyCmd) Run(a *app) error {
	l, err := newLauncher()
	if err != nil {
		return err
	}
	program := l.build
	if v.Program != "" {
		text, err := os.ReadFile(v.Program)
		if err != nil {
			return usage{err}
		}
		program = evidence.Sum(text)
	}
	return v.verify(a, program)
}

func (v *proveVerifyCmd) verify(a *app, program string) error {
	dir := v.Bundle
	if dir == "" {
		var err error
		if dir, err = lastBundle(proofDir); err != nil {
			return err
		}
	}
	b, err := readBundle(dir)
	if err != nil {
		return usage{err}
	}
	pinned, err := v.pinned(a)
	if err != nil {
		return err
	}
	found := &verification{Bundle: dir, Altered: []string{}, Differs: []string{}, Changed: []string{}}
	if err := found.examine(a, b, pinned, program, v.Config); err != nil {
		return err
	}
	if err := found.tell(a); err != nil {
		return err
	}
	return a.said(found.conclude())
}

// conclude is the exit status of it all.
func (f *verification) conclude() error {
	switch {
	case len(f.Altered) > 0 || len(f.Differs) > 0:
		return fmt.Errorf("the bundle is not what it should be: %s", strings.Join(append(slices.Clone(f.Altered), f.Differs...), "; "))
	case !f.Pinned:
		return unverified{errors.New("nobody has pinned a runner's key, so this shows that nothing was changed, not who made it: --runner KEY")}
	}
	return provenOr(f.Report)
}

// examine goes through signature, computation, and what has changed since.
func (f *verification) examine(a *app, b evidence.Bundle, pinned []ed25519.PublicKey, program, configuration string) error {
	m, err := b.Verify(pinned...)
	if m != nil {
		f.Runner = m.Runner
		f.Pinned = slices.ContainsFunc(pinned, func(key ed25519.PublicKey) bool { return evidence.FormatKey(key) == m.Runner })
	}
	void := ""
	if err != nil {
		f.Altered = append(f.Altered, strings.Split(err.Error(), "\n")...)
		void = "the bundle is not what was signed: " + strings.Join(f.Altered, "; ")
	}
	c, err := b.Case()
	if err != nil {
		return fmt.Errorf("the bundle cannot be read: %w", errors.Join(append([]error{err}, asErrors(f.Altered)...)...))
	}
	set, err := tablesOf(b)
	if err != nil {
		return fmt.Errorf("the bundle cannot be read: %w", errors.Join(append([]error{err}, asErrors(f.Altered)...)...))
	}
	then, err := proof.Make(c, set)
	if err != nil {
		return err
	}
	differs, err := then.Compare(b)
	if err != nil {
		return err
	}
	for _, name := range differs {
		f.Differs = append(f.Differs, name+" is not what is computed from the records")
	}
	strange := c.Strange()
	for _, key := range slices.Sorted(maps.Keys(strange)) {
		f.Differs = append(f.Differs, evidence.RecordsDir+"/"+key+" is none of this bundle: "+strange[key])
	}
	if err := f.since(a, c, set, program, configuration); err != nil {
		return err
	}
	c.Void = void
	f.Report, err = proof.Make(c, set)
	return err
}

func asErrors(all []string) []error {
	var errs []error
	for _, text := range all {
		errs = append(errs, errors.New(text))
	}
	return errs
}

// since finds what is another now than it was: program, configuration, rows, tables, and how old the records are.
func (f *verification) since(a *app, c *evidence.Case, set *tables.Set, program, configuration string) error {
	if c.Subject.Program != program {
		f.Changed = append(f.Changed, fmt.Sprintf("the program: the bundle is about %.12s, this is %.12s", c.Subject.Program, program))
	}
	name, sum, weak, err := a.configured(configuration)
	if err != nil {
		return err
	}
	if sum != c.Subject.Configuration {
		f.Changed = append(f.Changed, fmt.Sprintf("the configuration: the bundle is about %s (%.12s), this is %s (%.12s)", c.Subject.Named, c.Subject.Configuration,
			name, sum))
		c.Subject.Weakenings = weak
	}
	own, err := tables.Default()
	if err != nil {
		return err
	}
	for name, text := range own {
		if string(text) != string(set.Files()[name]) {
			f.Changed = append(f.Changed, "the table "+name+": this program has another")
		}
	}
	f.Changed = append(f.Changed, c.Renew(runner.Catalogue(), runner.Policy())...)
	if c.Stale, err = staleness(c, program, set); err != nil {
		return err
	}
	if sum != c.Subject.Configuration {
		for _, r := range c.Records {
			if c.Stale[r.Key()] == "" {
				c.Stale[r.Key()] = "the configuration is another than the one that the bundle is about"
			}
		}
	}
	slices.Sort(f.Changed)
	return nil
}

// tell prints what was found, for people or for machines.
func (f *verification) tell(a *app) error {
	if a.json {
		a.print(f)
		return nil
	}
	if err := f.Report.Text(a.stdout); err != nil {
		return err
	}
	a.say("\nbundle   %s\nrunner   %s (%s)", f.Bundle, f.Runner, map[bool]string{true: "pinned", false: "not pinned"}[f.Pinned])
	for _, text := range f.Altered {
		a.say("ALTERED  %s", text)
	}
	for _, text := range f.Differs {
		a.say("DIFFERS  %s", text)
	}
	for _, text := range f.Changed {
		a.say("CHANGED  %s", text)
	}
	if len(f.Altered)+len(f.Differs) == 0 {
		a.say("verified: signature, every file, and the report computed again octet by octet")
	}
	return nil
}

// tablesOf reads the tables that a bundle brings.
func tablesOf(b evidence.Bundle) (*tables.Set, error) {
	files := map[string][]byte{}
	for name, text := range b {
		if file, found := strings.CutPrefix(name, evidence.TablesDir+"/"); found {
			files[file] = text
		}
	}
	return tables.Read(files)
}

// maxBundle bounds what is read of a bundle, so that a wrong directory does not fill the memory.
const maxBundle = 256 << 20

// readBundle reads every file below a directory.
func readBundle(dir string) (evidence.Bundle, error) {
	if _, err := os.Stat(filepath.Join(dir, evidence.ManifestFile)); err != nil {
		if newest, err := lastBundle(dir); err == nil {
			return nil, fmt.Errorf("%s holds bundles and is none: name one of them, of which %s is the newest", dir, newest)
		}
		return nil, fmt.Errorf("%s is no bundle: it has no %s", dir, evidence.ManifestFile)
	}
	b, size := evidence.Bundle{}, int64(0)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if size += info.Size(); size > maxBundle || !info.Mode().IsRegular() {
			return fmt.Errorf("%s is too large for a bundle, or no file", path)
		}
		name, err := filepath.Rel(dir, path)
		if err == nil {
			b[filepath.ToSlash(name)], err = os.ReadFile(path)
		}
		return err
	})
	return b, err
}

// pinned are the keys that the operator trusts: those that are named, else this machine's own.
func (v *proveVerifyCmd) pinned(a *app) ([]ed25519.PublicKey, error) {
	var keys []ed25519.PublicKey
	for _, text := range v.Runner {
		key, err := evidence.ParseKey(text)
		if err != nil {
			file, readErr := os.ReadFile(text)
			if readErr != nil {
				return nil, usage{fmt.Errorf("--runner: %w", err)}
			}
			if key, err = evidence.ParseKey(string(file)); err != nil {
				return nil, usage{fmt.Errorf("%s: %w", text, err)}
			}
		}
		keys = append(keys, key)
	}
	if keys != nil {
		return keys, nil
	}
	path, err := a.runnerKeyPath(v.Key)
	if err != nil {
		return nil, nil // a machine without a place for one has no runner
	}
	key, err := a.readApprover(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return []ed25519.PublicKey{publicOf(key)}, nil
}

func publicOf(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

// runnerKeyPath is where the runner's key is.
func (a *app) runnerKeyPath(named string) (string, error) {
	if named != "" {
		return named, nil
	}
	dir := a.getenv("XDG_CONFIG_HOME")
	if home := a.getenv("HOME"); dir == "" && home != "" {
		dir = filepath.Join(home, ".config")
	}
	if dir == "" {
		return "", usage{errors.New("this user has no directory for configuration: name the runner's key with --key")}
	}
	return filepath.Join(dir, "imsafe", "runner.key"), nil
}

// runnerKey reads the runner's key, or makes it. It is never that of a target.
func (a *app) runnerKey(named string) (ed25519.PrivateKey, error) {
	path, err := a.runnerKeyPath(named)
	if err != nil {
		return nil, err
	}
	key, err := a.readApprover(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	_, key, err = ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	defer clear(der)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	fmt.Fprintf(a.stderr, "%s is made: the runner's key, with which bundles are signed\n", path)
	return key, newSecretFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}
