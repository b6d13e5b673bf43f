package sqlite

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"imsafe/store"
)

// ErrNotEmpty: Restore makes a new store and never writes over anything.
var ErrNotEmpty = errors.New("sqlite: directory is not empty")

// sequenceJump is how far the sequence numbers of a restored store are ahead of its backup: further than the lost time can have
// used, so that a version or an outbox cursor from that time means nothing else now.
const sequenceJump = 1 << 40

// manifest stands in a backup beside the records, for people and for Restore.
const manifest = `
CREATE TABLE manifest (format INTEGER NOT NULL, store TEXT NOT NULL, sequence INTEGER NOT NULL, taken TEXT NOT NULL);
INSERT INTO manifest (format, store, sequence, taken) VALUES (?, ?, ?, ?);
`

// Backup implements store.Image: VACUUM INTO reads one snapshot while writing goes on, and leaves out free pages. path must not
// exist; the file is readable by its owner only (K and OPc in it are sealed, but it still is everybody's registration).
func (m *Image) Backup(ctx context.Context, path string, at time.Time) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("sqlite: backup: %w", err)
	}
	defer f.Close()
	defer func() {
		if err != nil {
			err = fmt.Errorf("sqlite: backup to %s: %w", path, err)
			_ = os.Remove(path)
		}
	}()
	source, err := connect(m.path, 1)
	if err != nil {
		return err
	}
	defer source.Close()
	if _, err := source.ExecContext(ctx, "VACUUM INTO ?", path); err != nil {
		return err
	}
	if err := writeManifest(path, at); err != nil {
		return err
	}
	if err := f.Sync(); err != nil { // VACUUM INTO does not
		return err
	}
	return syncDir(filepath.Dir(path))
}

func writeManifest(path string, at time.Time) error {
	copied, err := connect(path, 1, "journal_mode(DELETE)", "synchronous(FULL)")
	if err != nil {
		return err
	}
	meta, _, ok, err := readMeta(copied)
	if err == nil && !ok {
		err = ErrFormat
	}
	if err == nil {
		_, err = copied.Exec(manifest, format, hex.EncodeToString(meta.ID[:]), int64(meta.Sequence), timeText(at))
	}
	return errors.Join(err, copied.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Taken is what a backup says about itself.
type Taken struct {
	Meta store.Meta // of the store when the backup was taken
	At   time.Time  // wall clock
}

// Manifest reads what a backup says about itself. ErrFormat if it is none.
func Manifest(backup string) (Taken, error) {
	if _, err := os.Stat(backup); err != nil {
		return Taken{}, fmt.Errorf("sqlite: %w", err)
	}
	db, err := connect(backup, 1, "query_only(1)")
	if err != nil {
		return Taken{}, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	defer db.Close()
	return readManifest(db)
}

func readManifest(db *sql.DB) (Taken, error) {
	var t Taken
	var number int
	var id, taken string
	var sequence uint64
	err := db.QueryRow("SELECT format, store, sequence, taken FROM manifest").Scan(&number, &id, &sequence, &taken)
	if err != nil {
		return Taken{}, fmt.Errorf("%w: no manifest: %w", ErrFormat, err)
	}
	if number != format {
		return Taken{}, fmt.Errorf("%w: manifest of format %d", ErrFormat, number)
	}
	var ok bool
	if t.Meta, _, ok, err = readMeta(db); err != nil {
		return Taken{}, err
	}
	if !ok || hex.EncodeToString(t.Meta.ID[:]) != id || t.Meta.Sequence != sequence {
		return Taken{}, fmt.Errorf("%w: manifest and content differ", ErrFormat)
	}
	if t.At, err = parseTime(taken); err != nil {
		return Taken{}, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return t, nil
}

// Restore makes a new store in dir, which must be empty or not exist, from a backup that it checks page by page first. The new store
// has the backup's identity and mark, the next Epoch, RestoredAt = at, and a sequence far ahead, so that versions handed out since
// the backup do not come again. Counters stand where the backup had them: who reserves from them jumps ahead when he sees the Epoch.
func Restore(backup, dir string, at time.Time) (meta store.Meta, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("restore %s: %w", backup, err)
		}
	}()
	if err := emptyDir(dir); err != nil {
		return meta, err
	}
	part := filepath.Join(dir, FileName+".part")
	if err := copyFile(backup, part); err != nil {
		return meta, err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(part)
		}
	}()
	if meta, err = turnIntoImage(part, at); err != nil {
		return meta, err
	}
	if err := os.Rename(part, filepath.Join(dir, FileName)); err != nil {
		return meta, err
	}
	return meta, syncDir(dir)
}

func emptyDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%w: %s has %s", ErrNotEmpty, dir, entries[0].Name())
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

// turnIntoImage checks the copy of a backup and gives it its new identity.
func turnIntoImage(path string, at time.Time) (store.Meta, error) {
	db, err := connect(path, 1, "journal_mode(DELETE)", "synchronous(FULL)")
	if err != nil {
		return store.Meta{}, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	defer db.Close()
	taken, err := readManifest(db)
	if err != nil {
		return store.Meta{}, err
	}
	var verdict string
	if err := db.QueryRow("PRAGMA integrity_check(1)").Scan(&verdict); err != nil {
		return store.Meta{}, err
	}
	if verdict != "ok" {
		return store.Meta{}, fmt.Errorf("%w: %s", ErrFormat, verdict)
	}
	meta := taken.Meta
	meta.Epoch++
	meta.RestoredAt = at
	meta.Sequence += sequenceJump
	tx, err := db.Begin()
	if err != nil {
		return store.Meta{}, err
	}
	defer tx.Rollback()
	set, err := tx.Prepare(setMeta)
	if err != nil {
		return store.Meta{}, err
	}
	// Everything up to the jump counts as trimmed: who follows the outbox scans once.
	if err := writeMeta(set, meta, meta.Sequence); err != nil {
		return store.Meta{}, err
	}
	if _, err := tx.Exec("DROP TABLE manifest; DELETE FROM changes"); err != nil {
		return store.Meta{}, err
	}
	return meta, tx.Commit()
}
