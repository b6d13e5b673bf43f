// Package shard is a single-threaded executor without a thread of its own, with what a protocol
// machine needs on top of it: a timing wheel, parked procedures, and names for its objects.
//
// Whoever brings an event and finds the shard idle runs it there and then; otherwise the event waits
// in a bounded ring and the goroutine inside takes it before it leaves (flat combining). So a packet is
// received, decided and answered on one thread, and code on a shard needs no locks.
//
// It offers Exec, Post, Step and Run; Timer with Arm and Disarm; Task with Start, Call, Await and Waker;
// Slots for objects that a token names by index and generation; Place and Sealer for those tokens; and
// Clock with a Fake for simulations. It does not know any protocol, opens nothing, starts no goroutine
// but the coroutines of its tasks, and reads time only from its Clock.
//
// Words used below: "on the shard" means inside Event.Run, a timer's event, a task or an OnIdle event of
// that shard; "any goroutine" includes those. A goroutine that is locked to its thread
// (runtime.LockOSThread) must not enter a shard: the coroutines of tasks refuse such a thread.
//
// Any room may import it; it imports none of ours.
package shard
