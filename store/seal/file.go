package seal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Errors of loading a keyring.
var (
	ErrRights   = errors.New("seal: key file may be read or written by others")
	ErrFormat   = errors.New("seal: not a keyring")
	ErrNotFound = errors.New("seal: no keyring")
)

// The file is text: a first line that says what it is, then one line per key, the current one first: "key <id> <64 hex digits>".
const (
	fileMagic = "imsafe-keyring 1"
	maxFile   = 16 << 10
)

// Load reads a keyring file. ErrNotFound if it is not there; ErrRights if it is not a regular file, or group or others have any right
// on it. The rights are those of the open file: it cannot be exchanged in between.
func Load(path string) (*Keyring, error) {
	return load(path, 0o077)
}

// LoadCredential reads the credential name from dir, the value of $CREDENTIALS_DIRECTORY (systemd.exec(5)). There the service manager
// answers for who may read: it may give a group right to the service itself, so only the rights of others are refused.
func LoadCredential(dir, name string) (*Keyring, error) {
	if dir == "" || name == "" || name != filepath.Base(name) || name == "." || name == ".." {
		return nil, fmt.Errorf("%w: credential %q in %q", ErrNotFound, name, dir)
	}
	return load(filepath.Join(dir, name), 0o027)
}

func load(path string, refused fs.FileMode) (*Keyring, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, path)
	}
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	if mode := info.Mode(); !mode.IsRegular() || mode.Perm()&refused != 0 {
		return nil, fmt.Errorf("%w: %s has mode %v; make it 0600", ErrRights, path, mode)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	defer clear(text)
	k, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// parse reads the text of a keyring. Its errors name lines, never what stands in them.
func parse(text []byte) (*Keyring, error) {
	if len(text) > maxFile {
		return nil, fmt.Errorf("%w: more than %d octets", ErrFormat, maxFile)
	}
	lines := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
	if string(lines[0]) != fileMagic {
		return nil, fmt.Errorf("%w: it does not begin with %q", ErrFormat, fileMagic)
	}
	k := &Keyring{}
	seen := map[uint32]bool{}
	for i, line := range lines[1:] {
		fields := bytes.Fields(line)
		if len(fields) != 3 || string(fields[0]) != "key" || len(k.keys) == maxKeys {
			return nil, fmt.Errorf("%w: line %d", ErrFormat, i+2)
		}
		id, err := strconv.ParseUint(string(fields[1]), 10, 32)
		if err != nil || id == 0 || seen[uint32(id)] {
			return nil, fmt.Errorf("%w: key id in line %d", ErrFormat, i+2)
		}
		var s secret
		if len(fields[2]) != 2*len(s) {
			return nil, fmt.Errorf("%w: key length in line %d", ErrFormat, i+2)
		}
		if _, err := hex.Decode(s[:], fields[2]); err != nil {
			return nil, fmt.Errorf("%w: key in line %d is not hexadecimal", ErrFormat, i+2)
		}
		key, err := newKey(uint32(id), s)
		if err != nil {
			return nil, err
		}
		seen[uint32(id)] = true
		k.keys = append(k.keys, key)
	}
	if len(k.keys) == 0 {
		return nil, fmt.Errorf("%w: no key in it", ErrFormat)
	}
	return k, nil
}

// text is the only place that writes keys.
func (k *Keyring) text() []byte {
	var b strings.Builder
	b.WriteString(fileMagic + "\n")
	for i := range k.keys {
		b.WriteString("key " + strconv.FormatUint(uint64(k.keys[i].id), 10) + " " + hex.EncodeToString(k.keys[i].secret[:]) + "\n")
	}
	return []byte(b.String())
}

// Save writes the keyring to a new file with mode 0600, durable when it returns; fs.ErrExist if there is one.
func (k *Keyring) Save(path string) error {
	if err := writeNew(path, k.text()); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	return nil
}

// Replace writes the keyring over the file at path, whole or not at all, durable when it returns.
func (k *Keyring) Replace(path string) error {
	next := path + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) { // of an attempt that died
		return fmt.Errorf("seal: %w", err)
	}
	if err := writeNew(next, k.text()); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	return nil
}

func writeNew(path string, text []byte) error {
	defer clear(text)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
