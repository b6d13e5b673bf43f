// Package budget bounds what strangers may cost: token buckets for very many sources in a fixed amount of memory.
//
// A [Table] has a bucket for every key that spends, and room for a fixed number of them. A bucket that has filled up again is the same as
// one that was never there, so nothing is ever swept. When all buckets of a set are in use, a newcomer takes the place of the one that owes
// least, and takes over what that one owes (the idea of Space-Saving, Metwally et al., ICDT 2005). So no key ever gets more than its rate,
// however many others there are; whoever owes much is never forgotten; and those who owe little lose at most what the least of their
// neighbours owes. Where a key lies depends on a seed of the process: nobody outside can choose his neighbours.
//
// A [Bucket] is one for all. A [Recent] remembers keys for a while.
//
// Nothing here allocates after it is made, holds pointers for the collector, or takes more than one lock of some nanoseconds. It imports
// nothing of ours. Time is handed in. Everything is safe for concurrent use.
package budget
