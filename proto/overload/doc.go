// Package overload keeps a SIP server that is asked for more than it can do at what it can do (RFC 7339, RFC 7415).
//
// A [Controller] is fed with how long work waits before the server turns to it, and says how much of what comes must be turned away, least
// important classes first. A [Report] is what the server tells a client that says it understands (parameters oc, oc-algo, oc-validity and
// oc-seq of the topmost Via), a [Throttle] what such a client makes of it.
//
// Time is handed in, nothing is random, nothing allocates. It imports proto/sip for the grammar of parameters. A Controller and a Throttle
// belong to one shard, but for what says otherwise.
package overload
