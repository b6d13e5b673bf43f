// Package seal keeps values secret inside a store: AES-256-GCM, the id of the sealing key in front, the record's place (table and
// key) as associated data, so that a sealed K cannot be moved to another subscriber. The sealing key lives in a file with strict
// rights or in the service manager's credential directory, never beside the database. It does not wipe memory: Go cannot promise
// that. Imported by imsbox/hss, ca, iface/management, node. A Keyring is immutable and safe for concurrent use.
package seal

import (
	"errors"
	"io"
	"log/slog"
)

// Errors of Open and of loading a keyring.
var (
	ErrKey      = errors.New("seal: sealed with a key that is not in the keyring")
	ErrForged   = errors.New("seal: value does not open: changed, moved or of another key")
	ErrRights   = errors.New("seal: key file is readable by others")
	ErrFormat   = errors.New("seal: not a keyring")
	ErrNotFound = errors.New("seal: no keyring")
)

// Keyring is the current sealing key and the older ones that still open. It prints as [redacted].
type Keyring struct{}

// Overhead is how many octets Seal adds.
const Overhead = 4 + 12 + 16 + 1

// Generate makes a keyring with one new key.
func Generate(random io.Reader) (*Keyring, error) { panic("seal: being written") }

// Load reads a keyring file. ErrRights if group or others may read it, ErrNotFound if it is not there.
func Load(path string) (*Keyring, error) { panic("seal: being written") }

// LoadCredential reads the credential name from dir, the value of $CREDENTIALS_DIRECTORY (systemd.exec(5)).
func LoadCredential(dir, name string) (*Keyring, error) { panic("seal: being written") }

// Save writes the keyring to a new file with mode 0600; fs.ErrExist if there is one.
func (k *Keyring) Save(path string) error { panic("seal: being written") }

// Replace writes the keyring over the file it was loaded from, atomically.
func (k *Keyring) Replace(path string) error { panic("seal: being written") }

// Rotate returns a keyring with a new current key in front of the old ones.
func (k *Keyring) Rotate(random io.Reader) (*Keyring, error) { panic("seal: being written") }

// Retire returns a keyring without the keys older than the current one: only after everything is resealed.
func (k *Keyring) Retire() *Keyring { panic("seal: being written") }

// Seal appends the sealed plaintext to dst. table and key name the record the value belongs to.
func (k *Keyring) Seal(dst []byte, random io.Reader, table uint8, key, plaintext []byte) ([]byte, error) {
	panic("seal: being written")
}

// Open appends the plaintext to dst. ErrKey, ErrForged.
func (k *Keyring) Open(dst []byte, table uint8, key, sealed []byte) ([]byte, error) {
	panic("seal: being written")
}

// Current reports whether sealed was made with the current key; if not, it wants to be resealed.
func (k *Keyring) Current(sealed []byte) bool { panic("seal: being written") }

func (k *Keyring) String() string               { return "[redacted]" }
func (k *Keyring) GoString() string             { return "[redacted]" }
func (k *Keyring) LogValue() slog.Value         { return slog.StringValue("[redacted]") }
func (k *Keyring) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }
