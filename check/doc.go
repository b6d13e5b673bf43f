// Package check holds the house: tests that read the whole tree and refuse what the design rules out.
//
// Each check stands in a file of its own, is a function from the parsed tree to a list of problems, and has
// cases that show it failing. A problem is one line: where, what, and what to do. The checks parse the Go
// files themselves (no type information, no go list), so that all of them together take a few seconds and
// run on a tree that does not build.
//
// Nothing imports this package. It writes only docs/clauses.md, and only with -update.
package check
