package postgres

// Trim takes the oldest rows of the outbox away, as the watch does once in a while.
func (db *DB) Trim() error { return db.with(db.trim) }
