// Package baresip lets the softphone baresip, as Debian ships it, use a live node: over TLS, by the access profile
// digest-md5, with calls to each other and to a client of ours that has a card, and with voice that is heard.
//
// baresip's side is what a person would write into its files; nothing on ours knows who it is. It is for tests only,
// and has nothing to import.
package baresip
