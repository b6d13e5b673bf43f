// Package nftdrop has the kernel drop what comes from sources that have earned it, before it reaches a socket: Linux nf_tables, by netlink.
//
// Rules are a table of our own: for each port that they guard one rule, and for each family and transport a set of sources whose elements end by
// themselves. UDP and TCP have sets of their own, since an address in a datagram may be another's: what it has earned there is not held against a
// connection. Of TCP new connections are dropped, never those that stand.
//
// A process that ends badly leaves rules with sets that run empty; the next Open of the same name takes their place. Everything is safe for
// concurrent use; Drop never waits.
package nftdrop
