package sqlite

import (
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"imsafe/store"
)

// format is the version of the layout. A program refuses a file with a higher one.
const format = 1

const setMeta = "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"

// ErrFormat: the file is not an image or a backup, or of a later version of the program.
var ErrFormat = errors.New("sqlite: not a store of a known format")

// The rows of the table meta are text, for people.
func writeMeta(set *sql.Stmt, m store.Meta, trimmed uint64) error {
	mark := "production"
	if m.Lab {
		mark = "lab"
	}
	for _, row := range [][2]string{
		{"format", strconv.Itoa(format)},
		{"store", hex.EncodeToString(m.ID[:])},
		{"mark", mark},
		{"created", timeText(m.Created)},
		{"epoch", strconv.FormatUint(m.Epoch, 10)},
		{"restored", timeText(m.RestoredAt)},
		{"sequence", strconv.FormatUint(m.Sequence, 10)},
		{"trimmed", strconv.FormatUint(trimmed, 10)},
	} {
		if _, err := set.Exec(row[0], row[1]); err != nil {
			return fmt.Errorf("sqlite: write meta: %w", err)
		}
	}
	return nil
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// readMeta reads the table meta; ok is false if it has no rows yet.
func readMeta(db *sql.DB) (m store.Meta, trimmed uint64, ok bool, err error) {
	rows, err := db.Query("SELECT name, value FROM meta")
	if err != nil {
		return m, 0, false, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	defer rows.Close()
	values := map[string]string{}
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return m, 0, false, fmt.Errorf("sqlite: read meta: %w", err)
		}
		values[name] = value
	}
	if err := rows.Err(); err != nil {
		return m, 0, false, fmt.Errorf("sqlite: read meta: %w", err)
	}
	if len(values) == 0 {
		return m, 0, false, nil
	}
	if values["format"] != strconv.Itoa(format) {
		return m, 0, false, fmt.Errorf("%w: format %q", ErrFormat, values["format"])
	}
	id, idErr := hex.DecodeString(values["store"])
	if idErr != nil || copy(m.ID[:], id) != len(m.ID) {
		return m, 0, false, fmt.Errorf("%w: store id %q", ErrFormat, values["store"])
	}
	m.Lab = values["mark"] != "production"
	var errs [5]error
	m.Created, errs[0] = parseTime(values["created"])
	m.RestoredAt, errs[1] = parseTime(values["restored"])
	m.Epoch, errs[2] = strconv.ParseUint(values["epoch"], 10, 64)
	m.Sequence, errs[3] = strconv.ParseUint(values["sequence"], 10, 63)
	trimmed, errs[4] = strconv.ParseUint(values["trimmed"], 10, 63)
	if err := errors.Join(errs[:]...); err != nil {
		return m, 0, false, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return m, trimmed, true, nil
}

func parseTime(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	return time.Parse(time.RFC3339Nano, text)
}
