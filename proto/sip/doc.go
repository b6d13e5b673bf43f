// Package sip is the SIP message layer of RFC 3261: messages, their parser, edits and the one emission.
//
// A [Message] is an immutable slab of received octets, an index of header fields that points into it, and an
// arena for the octets that our own edits added. Editing changes the index only; a Clone copies index and arena and
// shares the slab. The parser splits list headers into one field per value, undoes folding and knows the compact
// forms, so "the topmost Via" is simply the first field of HdrVia. Whatever leaves is rebuilt from the index by
// [Message.AppendTo]: canonical names, one line per value (option tags, methods and event names of one line stay on
// one), Content-Length computed. A field that the parser did not understand in the same way as the next hop can
// therefore not hide in a message.
//
// Two layers answer bad input. [Pool.Parse] refuses only what an index cannot hold; [Validate] reads the index and
// chooses the status code (RFC 3261 8.2, 16.3, 18.3; RFC 4475). [Framer] cuts a byte stream into messages.
//
// The package does no input or output, keeps no clock and no transactions (proto/siptxn), resolves no names, and
// does not look into bodies (proto/sdp). It imports nothing of imsafe; every room may import it.
//
// Concurrency: a Pool is safe for concurrent use. A Message has one owner at a time: it may be read by many
// goroutines as long as none edits it; Retain and Release may be called by any holder. Views (every []byte that an
// accessor returns) are valid until the next edit or the Release of the message that gave them.
package sip
