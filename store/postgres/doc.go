// Package postgres keeps a store in PostgreSQL, so that several nodes of one network share it. There the database is the journal: a change
// is acknowledged when its transaction has committed, and the engine keeps no file. Why, and what it costs: docs/decisions/045-postgresql.md.
//
// One committer of each node gathers changes and commits them in one transaction of two round trips: lock the rows and judge the
// conditions on what stands there now; write, and commit. Conditions are never judged on what a node remembers, so two nodes cannot both
// succeed on one version. Records that were read are kept in memory for as long as the database tells this node what others change
// (LISTEN): what is kept is at most [Staleness] behind, and after a conflict it is read anew.
//
// A database that would lose what it acknowledged is refused at each connection: fsync or synchronous_commit off, and synchronous_commit
// local where there is a standby.
//
// It does not make databases, roles, replicas or backups: those are the database's own. It speaks to a server, or a proxy that keeps
// sessions; a pooler that shares one session among transactions would lose locks and notifications.
//
// Imported by node. Everything here is safe for concurrent use unless its comment says otherwise.
package postgres
