package trace

import "maps"

// Class says what the handler does with the value of an attribute.
type Class uint8

const (
	// Unlisted is the class of every name that [Attributes] does not have. The value is left out.
	Unlisted Class = iota
	// Plain values are written, text with control characters encoded.
	Plain
	// Long values are plain ones of which more is written: stacks.
	Long
	// Identity values belong to a person. They are written as a pseudonym that is the same for the
	// same value while the process lives, so that lines can be put together and nobody is named.
	Identity
	// Secret names are never written, whatever the value, and may not be listed otherwise.
	Secret
)

// attributes is the vocabulary of the log. Who needs a new name adds it here; check refuses a name in
// the code that is missing.
var attributes = map[string]Class{
	// Where and what.
	"room": Plain, "function": Plain, "interface": Plain, "procedure": Plain, "state": Plain, "role": Plain,
	"version": Plain, "node": Plain, "shard": Plain, "profile": Plain, "name": Plain, "path": Plain, "file": Plain, "line": Plain,
	"setting": Plain, // a key of the configuration file

	// A message and its exchange. A Call-ID names no person unless the client is careless; what a
	// client chose is encoded like all text.
	"call_id": Plain, "method": Plain, "status": Plain, "cseq": Plain, "branch": Plain, "transport": Plain, "octets": Plain,

	// Who, as an address or a public identity. A domain names a network.
	"peer": Plain, "local": Plain, "listen": Plain, "tls": Plain, "lab_udp": Plain, "lab": Plain, "domain": Plain, "uid": Plain, "pid": Plain,
	"impu": Identity, "served_user": Identity, "contact": Identity, "msisdn": Identity, "imei": Identity,

	// An operator's command and whether it was carried out.
	"verb": Plain, "ok": Plain,

	// Security.
	"control": Plain, "reason": Plain, "enforced": Plain, "kind": Plain, "registered": Plain, "event": Plain, "proof": Plain,
	"certificate": Plain, // its subject and serial number
	"not_after":   Plain,

	// How it went.
	"error": Plain, "code": Plain, "count": Plain, "attempt": Plain, "took": Plain, "after": Plain, "limit": Plain, "size": Plain, "stack": Long,
	"panic": Plain, // what a procedure that ended with a defect said

	"impi": Secret, "key": Secret, "k": Secret, "op": Secret, "opc": Secret, "ck": Secret, "ik": Secret, "ak": Secret, "res": Secret, "xres": Secret,
	"auts": Secret, "response": Secret, "authorization": Secret, "password": Secret, "secret": Secret, "token": Secret, "nonce": Secret,
	"private_key": Secret, "sealing_key": Secret, "master_key": Secret, "salt": Secret, "sqn": Secret,
}

// Attributes returns a copy of the vocabulary: every attribute name that may be logged, and those that
// may never be.
func Attributes() map[string]Class { return maps.Clone(attributes) }
