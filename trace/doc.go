// Package trace is how the house speaks about itself: logs that cannot leak or be forged, counters
// that cost an atomic add, and samples of what strangers do.
//
// [NewHandler] stands between log/slog and where lines go. It lets through the attributes that
// [Attributes] lists and nothing else: keys and private identities never, public identities as a
// pseudonym, text with every control character written out (attacks mgmt.log.read and mgmt.log.forge).
// [Sampler] counts what unauthenticated senders cause and writes one line per kind and interval, however
// many they are. [Registry] exports the rooms' plain atomic counters for Prometheus; nothing on a
// hot path calls Prometheus.
//
// The rooms below do not import trace: they take a *slog.Logger and keep their own counters. node puts
// both together. Everything here is safe for concurrent use unless it says otherwise.
package trace
