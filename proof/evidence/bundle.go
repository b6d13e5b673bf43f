package evidence

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Bundle is a set of files, by their names with slashes, with a manifest of all of them that the runner's key has signed.
type Bundle map[string][]byte

// The files of a bundle.
const (
	ManifestFile  = "manifest.json"
	SignatureFile = "manifest.sig"
	SubjectFile   = "subject.json"
	CatalogueFile = "catalogue.json"
	PolicyFile    = "policy.json"
	WeakerFile    = "weakenings.json"
	RecordsDir    = "records"
	TablesDir     = "tables"
	ReportDir     = "report"
)

// Format is the form of bundles that this version writes and reads.
const Format = "imsafe evidence 1"

// Manifest names every file of a bundle by its SHA-256. Its canonical form is what is signed.
type Manifest struct {
	Format string            `json:"format"`
	Made   string            `json:"made"`   // RFC 3339 in UTC
	Runner string            `json:"runner"` // the public key, as FormatKey writes it
	Files  map[string]string `json:"files"`
}

// keyPrefix stands before a public key in text, so that nobody takes another key for it.
const keyPrefix = "imsafe-runner-ed25519:"

// FormatKey writes a runner's public key as an operator pins it.
func FormatKey(key ed25519.PublicKey) string {
	return keyPrefix + base64.StdEncoding.EncodeToString(key)
}

// ParseKey reads what FormatKey wrote.
func ParseKey(text string) (ed25519.PublicKey, error) {
	digits, found := strings.CutPrefix(strings.TrimSpace(text), keyPrefix)
	key, err := base64.StdEncoding.Strict().DecodeString(digits)
	if !found || err != nil || len(key) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("evidence: a runner's key is %s and 32 octets in base64", keyPrefix)
	}
	return key, nil
}

// Put adds v to a bundle in its canonical form.
func (b Bundle) Put(name string, v any) error {
	text, err := Canonical(v)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	b[name] = append(text, '\n')
	return nil
}

// PutCase adds all that a report is computed from but the tables. The records are marked as signed: the manifest vouches for them.
func (b Bundle) PutCase(c *Case) error {
	errs := []error{b.Put(SubjectFile, c.Subject), b.Put(CatalogueFile, c.Attacks), b.Put(PolicyFile, c.Policy), b.Put(WeakerFile, c.Weaker)}
	for _, r := range c.Records {
		vouched := *r
		vouched.Signed = true
		errs = append(errs, b.Put(path.Join(RecordsDir, r.Key()), &vouched))
	}
	return errors.Join(errs...)
}

// Case reads back what PutCase wrote.
func (b Bundle) Case() (*Case, error) {
	c := new(Case)
	errs := []error{b.get(SubjectFile, &c.Subject), b.get(CatalogueFile, &c.Attacks), b.get(PolicyFile, &c.Policy), b.get(WeakerFile, &c.Weaker)}
	for _, name := range b.names() {
		key, found := strings.CutPrefix(name, RecordsDir+"/")
		if !found {
			continue
		}
		r, err := Read(b[name])
		if err == nil && r.Key() != key {
			err = fmt.Errorf("evidence: it says of itself that it is %s", r.Key())
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			continue
		}
		c.Records = append(c.Records, r)
	}
	return c, errors.Join(errs...)
}

// get reads a file strictly.
func (b Bundle) get(name string, v any) error {
	text, found := b[name]
	if !found {
		return fmt.Errorf("evidence: %s is missing", name)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("evidence: %s: %w", name, err)
	}
	return nil
}

func (b Bundle) names() []string {
	var names []string
	for name := range b {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Sign adds a manifest of everything in the bundle, and the signature over it. made is a time as Time writes it.
func (b Bundle) Sign(key ed25519.PrivateKey, made string) error {
	delete(b, ManifestFile)
	delete(b, SignatureFile)
	m := Manifest{Format: Format, Made: made, Runner: FormatKey(key.Public().(ed25519.PublicKey)), Files: map[string]string{}}
	for name, text := range b {
		m.Files[name] = Sum(text)
	}
	if err := b.Put(ManifestFile, m); err != nil {
		return err
	}
	b[SignatureFile] = []byte(base64.StdEncoding.EncodeToString(ed25519.Sign(key, b[ManifestFile])) + "\n")
	return nil
}

// Verify checks signature and hashes, and names every file that is not what was signed. pinned are the keys that the operator trusts; with
// none the key that the manifest names is taken, which shows that nothing was changed since, and not by whom it was made. It returns the
// manifest whenever there is one.
func (b Bundle) Verify(pinned ...ed25519.PublicKey) (*Manifest, error) {
	m := new(Manifest)
	if err := b.get(ManifestFile, m); err != nil {
		return nil, err
	}
	if m.Format != Format {
		return m, fmt.Errorf("evidence: %s is of the form %q; this version reads %q", ManifestFile, m.Format, Format)
	}
	key, err := ParseKey(m.Runner)
	if err != nil {
		return m, err
	}
	if len(pinned) > 0 && !slices.ContainsFunc(pinned, func(p ed25519.PublicKey) bool { return p.Equal(key) }) {
		return m, fmt.Errorf("evidence: %s says that it is signed by %s, which is not pinned", ManifestFile, m.Runner)
	}
	text := string(b[SignatureFile])
	signature, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(text, "\n"))
	if err != nil || base64.StdEncoding.EncodeToString(signature)+"\n" != text || !ed25519.Verify(key, b[ManifestFile], signature) {
		return m, fmt.Errorf("evidence: %s is not what %s, in %s, has signed: one of the two was changed", ManifestFile, m.Runner, SignatureFile)
	}
	return m, m.compare(b)
}

// compare names every file that is missing, changed, or not in the manifest.
func (m *Manifest) compare(b Bundle) error {
	var errs []error
	for name, sum := range m.Files {
		switch text, found := b[name]; {
		case !found:
			errs = append(errs, fmt.Errorf("%s is missing", name))
		case Sum(text) != sum:
			errs = append(errs, fmt.Errorf("%s is not what was signed", name))
		}
	}
	for name := range b {
		if _, known := m.Files[name]; !known && name != ManifestFile && name != SignatureFile {
			errs = append(errs, fmt.Errorf("%s was added", name))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}
