package sqlite

import (
	"database/sql"
	"strings"

	"imsafe/store"
)

// table is one table of records and its statements.
type table struct {
	name               string
	get, scan, expired *sql.Stmt
}

func newTable(spec store.TableSpec) *table { return &table{name: spec.Name} }

// sql puts the table's name into a statement. Names match [a-z][a-z0-9_]* (store checks that): there is nothing to quote.
func (t *table) sql(statement string) string {
	return strings.ReplaceAll(statement, "TABLE_NAME", t.name)
}

// Keys are TEXT whatever their octets are, so that people can write WHERE key = '...'. Values are BLOB.
//
// There is no index on expires: it made each change of a registration half as dear again (31 to 16 us of CPU in small checkpoints, 17
// to 12 in large ones), while the walk of the sweeper over 100,000 records takes a fraction of a second, once in a while, on a reader.
const (
	createTable = `
CREATE TABLE TABLE_NAME (key TEXT PRIMARY KEY, value BLOB NOT NULL, ver INTEGER NOT NULL, expires INTEGER NOT NULL) WITHOUT ROWID;
`
	removeRecord = `DELETE FROM TABLE_NAME WHERE key = ?`
	getRecord    = `SELECT value, ver, expires FROM TABLE_NAME WHERE key = ?`
	scanRecords  = `
SELECT key, value, ver, expires FROM TABLE_NAME
WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT ?3`
	expiredRecords = `
SELECT key, value, ver, expires FROM TABLE_NAME
WHERE key > ?1 AND expires > 0 AND expires <= ?2 ORDER BY key LIMIT ?3`
)
