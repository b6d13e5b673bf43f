package postgres

import "context"

// Trim takes the oldest rows of the outbox away, as the watch does once in a while.
func (db *DB) Trim() error { return db.with(db.trim) }

// LookUp has every name of a target's servers lead to an address, as a DNS of the test's own would.
func LookUp(t *Target, address string) *Target {
	t.config.LookupFunc = func(context.Context, string) ([]string, error) { return []string{address}, nil }
	return t
}
