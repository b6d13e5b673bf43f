// Package diameter is the Diameter base protocol (RFC 6733, RFC 3539) over connections that are handed in: TCP, TLS 1.3,
// or pipes in tests. It offers
//
//   - a codec: Message and AVP are views of received octets, Writer appends to a slice; both allocate nothing;
//   - a dictionary of the base protocol, Cx/Dx (TS 29.229) and Sh (TS 29.329);
//   - Check, which judges a message by its command's grammar and says with which Result-Code and Failed-AVP to refuse it;
//   - Stateless: what the wire forms of Cx and Sh have in common: how a request begins, is served, is answered, is asked;
//   - Node: peers, capabilities exchange, watchdog, disconnect, failover, duplicates, routing by realm, roles.
//
// It relays nothing, knows no application (those are wire forms above, as refpoint/cx/cxwire), does no SCTP and no
// accounting sessions. It decides no policy: a refusal for security is a Refusal with a typed Reason that the caller is
// asked about and maps to its controls.
//
// Wire forms, node and tests import it; it imports proto/shard. The codec's values belong to one goroutine at a time; a Node
// lives on one shard, and its exported methods may be called from anywhere unless they say otherwise.
package diameter
