package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"imsafe/client/isim"
	"imsafe/client/ue"
	"imsafe/proto/aka"
)

// cardFile is a soft card in a file: identities and keys, for its owner alone. The sequence numbers that it has accepted stand in a
// file beside it, with .seq after the name: a card that forgets them can be shown an old challenge again.
type cardFile struct {
	IMPI   string   `json:"impi"`
	Domain string   `json:"domain"`
	IMPUs  []string `json:"impus"` // the first is the one to register
	K      keyText  `json:"k,omitempty"`
	OPc    keyText  `json:"opc,omitempty"`
	TOPc   keyText  `json:"topc,omitempty"` // in the place of OPc, with TUAK
	Scheme string   `json:"scheme"`
	// Algorithm is empty for Milenage.
	Algorithm string `json:"algorithm,omitempty"`
	// Password stands in the place of the keys for a subscriber without a card.
	Password keyText `json:"password,omitempty"`
}

// writeCard writes the card of a subscriber into a new file.
func writeCard(path string, s *newSubscriber) error {
	c := cardFile{IMPI: s.IMPI, K: s.K, OPc: s.OPc, TOPc: s.TOPc, Scheme: s.Scheme, Algorithm: s.Algorithm, Password: s.Password}
	_, c.Domain, _ = strings.Cut(s.IMPI, "@")
	for _, p := range s.Public {
		c.IMPUs = append(c.IMPUs, p.IMPU)
	}
	if s.OP != "" {
		k, err := aka.ParseK(string(s.K))
		op, err2 := aka.ParseOP(string(s.OP))
		if err := errors.Join(err, err2); err != nil {
			return fmt.Errorf("card: %w", err)
		}
		opc := aka.DeriveOPc(k, op)
		c.OPc = keyText(fmt.Sprintf("%x", [16]byte(opc)))
	}
	if s.TOP != "" {
		var err error
		if c.TOPc, err = bindTOP(s.K, s.TOP); err != nil {
			return err
		}
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetIndent("", "  ")
	if err := e.Encode(&c); err != nil {
		return err
	}
	return newSecretFile(path, text.Bytes())
}

// card is an open card. Nobody else can use it until it is closed.
type card struct {
	*isim.Card
	password *ue.Password // in the place of Card
	scheme   aka.DigestAlgorithm
	lock     *os.File
}

// maxCard bounds a card file.
const maxCard = 64 << 10

// openCard reads a card file and takes it for this process alone: two that count the same sequence numbers would refuse each
// other's challenges.
func (a *app) openCard(path string) (_ *card, err error) {
	f, err := a.openSecret(path)
	if err != nil {
		return nil, fmt.Errorf("card: %w", err)
	}
	lock, ok := f.(*os.File)
	if !ok {
		return nil, usage{errors.New("a card is a file: its sequence numbers are kept beside it")}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, lock.Close())
		}
	}()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, fmt.Errorf("card: %s is in use by another process: each client has a card of its own", path)
	}
	var c cardFile
	d := json.NewDecoder(io.LimitReader(lock, maxCard))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return nil, fmt.Errorf("card: %s is no card file (imsafe user add --card-out writes one): %s", path, withoutValues(err))
	}
	x := &card{lock: lock}
	id := isim.Identity{IMPI: c.IMPI, HomeDomain: c.Domain, IMPUs: c.IMPUs}
	if c.Password != "" { // how good it is, the client judges
		x.password = &ue.Password{Identity: id, Secret: ue.Secret(c.Password)}
		x.scheme, _ = aka.ParseDigestAlgorithm([]byte(c.Scheme))
		return x, nil
	}
	algorithm, err := c.algorithm()
	if err != nil {
		return nil, fmt.Errorf("card: %s: %w", path, err)
	}
	if x.scheme, ok = aka.ParseDigestAlgorithm([]byte(c.Scheme)); !ok || !x.scheme.AKA() {
		return nil, fmt.Errorf("card: %s: scheme %q is not one of AKAv2-SHA-256, AKAv2-MD5, AKAv1-MD5", path, c.Scheme)
	}
	x.Card, err = isim.New(isim.Config{Identity: id, Algorithm: algorithm, State: stateFile(path + ".seq")})
	return x, err
}

// domain is the home domain of whoever has it.
func (c *card) domain() string {
	if c.password != nil {
		return c.password.Identity.HomeDomain
	}
	return c.Identity().HomeDomain
}

// withoutValues words a decoding error without the text, which may be a key.
func withoutValues(err error) string {
	var kind *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &kind):
		if kind.Field == "" {
			return "an object in braces is wanted, not a " + kind.Value
		}
		return "the field " + kind.Field + " cannot be a " + kind.Value
	case errors.As(err, &syntax):
		return fmt.Sprintf("not JSON, at octet %d", syntax.Offset)
	}
	return err.Error() // the end of the file, or an unknown field by name
}

// Close gives the card back.
func (c *card) Close() error { return c.lock.Close() }

// stateFile keeps what a card must remember.
type stateFile string

// Load implements isim.State.
func (p stateFile) Load() ([]byte, error) {
	data, err := os.ReadFile(string(p))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// Save implements isim.State: a new file, durable, takes the place of the old one.
func (p stateFile) Save(data []byte) error {
	next := string(p) + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) { // of an attempt that died
		return err
	}
	if err := newSecretFile(next, data); err != nil {
		return err
	}
	if err := os.Rename(next, string(p)); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(string(p)))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
