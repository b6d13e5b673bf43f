package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"imsafe/store"
)

// The layout of the schema "imsafe". All records are in one table, so that one statement writes those of many users; each kind has a view of its
// own name for people who look. Room is left in each page, so that a registration that is refreshed stays in its page (no index
// changes).
//
// A version is a batch, which has room for batchRoom versions, and a place in it: one draw of the sequence serves many changes.
const (
	layout    = 1
	batchRoom = 1 << 13
)

var schema = []string{
	"create schema if not exists imsafe",
	`create table if not exists imsafe.meta (one bool primary key default true check (one), layout int not null, id bytea not null, lab bool not null,
		created timestamptz not null, epoch bigint not null default 0, restored_at timestamptz, trimmed bigint not null default 0)`,
	`create table if not exists imsafe.records (tbl smallint not null, key bytea not null, value bytea not null, version bigint not null,
		expires bigint not null, primary key (tbl, key)) with (fillfactor = 70)`,
	"alter table imsafe.records alter column value set storage external", // values are small, or sealed: compressing them only costs
	`create table if not exists imsafe.changes (batch bigint primary key, sequences bigint[] not null, tbls smallint[] not null, keys bytea[] not null,
		deleted bool[] not null)`,
	fmt.Sprintf("create sequence if not exists imsafe.versions increment by %d start with %[1]d", batchRoom),
	"create table if not exists imsafe.nodes (node int primary key, token bigint not null) with (fillfactor = 10)",
	"create table if not exists imsafe.tables (number smallint primary key, name text not null unique)",
}

// schemaLock is held by whoever makes the schema; nodeLock, with the number of the node, by each node while it lives; outboxLock is shared by
// transactions that write, so that a reader of the outbox can wait until none is under way.
const (
	schemaLock = 0x696d7361666501
	nodeLock   = 0x696d7361
	outboxLock = 0x696d7361666502
)

// prepare makes the schema if it is not there, and says whose it is.
func (db *DB) prepare(ctx context.Context, conn *pgx.Conn) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock($1)", int64(schemaLock)); err != nil {
			return err
		}
		if err := makeSchema(ctx, tx); err != nil {
			return err
		}
		if err := db.identify(ctx, tx); err != nil {
			return err
		}
		return db.nameTables(ctx, tx)
	})
}

// makeSchema leaves alone what is there: who has no right to make tables may use those that somebody else made.
func makeSchema(ctx context.Context, tx pgx.Tx) error {
	var there bool
	if err := tx.QueryRow(ctx, "select to_regclass('imsafe.tables') is not null").Scan(&there); err != nil {
		return err
	}
	if there {
		var persistent bool
		err := tx.QueryRow(ctx, "select bool_and(relpersistence = 'p') from pg_class where relnamespace = 'imsafe'::regnamespace").Scan(&persistent)
		if err == nil && !persistent {
			err = fmt.Errorf("%w: a table of schema imsafe is unlogged, and empty after a crash of the database", ErrWeak)
		}
		return err
	}
	for _, statement := range schema {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return fmt.Errorf("postgres: schema: %w", err)
		}
	}
	return nil
}

// sameStore refuses another store in the place of the one that was opened.
func (db *DB) sameStore(ctx context.Context, conn *pgx.Conn) error {
	var id []byte
	err := conn.QueryRow(ctx, "select id from imsafe.meta").Scan(&id)
	if err == nil && !bytes.Equal(id, db.meta.ID[:]) {
		err = store.ErrForeign
	}
	return err
}

// identify reads the meta of the store, or makes it.
func (db *DB) identify(ctx context.Context, tx pgx.Tx) error {
	var id []byte
	var restored *time.Time
	var have int
	m := &db.meta
	err := tx.QueryRow(ctx, "select layout, id, lab, created, epoch, restored_at from imsafe.meta").Scan(&have, &id, &m.Lab, &m.Created, &m.Epoch, &restored)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		*m = store.Meta{Lab: db.o.Lab, Created: db.o.Clock.Wall()}
		if _, err := io.ReadFull(db.o.Random, m.ID[:]); err != nil {
			return fmt.Errorf("postgres: id: %w", err)
		}
		_, err = tx.Exec(ctx, "insert into imsafe.meta (layout, id, lab, created) values ($1, $2, $3, $4)", layout, m.ID[:], m.Lab, m.Created)
		return err
	case err != nil:
		return err
	case have != layout || len(id) != len(m.ID):
		return fmt.Errorf("postgres: the database has layout %d, this program knows %d", have, layout)
	case m.Lab != db.o.Lab:
		return fmt.Errorf("%w: the database is marked lab: %v, this process is lab: %v", store.ErrWrongMark, m.Lab, db.o.Lab)
	}
	copy(m.ID[:], id)
	if restored != nil {
		m.RestoredAt = *restored
	}
	return nil
}

// nameTables notes which number is which kind of record, and refuses one that was another.
func (db *DB) nameTables(ctx context.Context, tx pgx.Tx) error {
	for _, t := range db.o.Tables {
		var name string
		err := tx.QueryRow(ctx, "select name from imsafe.tables where number = $1", int16(t.Table)).Scan(&name)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			if _, err := tx.Exec(ctx, "insert into imsafe.tables values ($1, $2)", int16(t.Table), t.Name); err != nil {
				return fmt.Errorf("postgres: table %d: %w", t.Table, err)
			}
			if _, err := tx.Exec(ctx, strings.NewReplacer("NAME", t.Name, "NUMBER", fmt.Sprint(t.Table)).Replace(view)); err != nil {
				return fmt.Errorf("postgres: view of table %d: %w", t.Table, err)
			}
		case err != nil:
			return err
		case name != t.Name:
			return fmt.Errorf("postgres: table %d is %q in the database and %q in this program", t.Table, name, t.Name)
		}
	}
	return nil
}

// view shows a kind of record to people. Its name is [a-z][a-z0-9_]*: Open checks that, so there is nothing to quote.
const view = `create view imsafe.NAME_view as select encode(key, 'escape') as key, value, version,
	case when expires > 0 then to_timestamp(expires / 1000.0) end as expires from imsafe.records where tbl = NUMBER`
