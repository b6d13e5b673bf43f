package cx

// Batch lets the S-CSCF and the HSS of one process commit together: one REGISTER is one commit.
//
// The S-CSCF makes a Batch and puts it into a ServerAssignmentRequest; the HSS adds its changes and
// a Settler; the S-CSCF adds its own, applies all of them as one atomic operation in Partition, and
// calls Settle exactly once with the outcome. Until then the HSS treats its changes as undecided: it
// answers others from the committed state. A change carries its own condition, so if another commit
// came first the whole batch fails and nothing happened.
//
// A Batch holds references to what was added; it may be reused after Settle. It belongs to one
// procedure and is not safe for concurrent use.
type Batch struct {
	// Partition is where the user's records live; the HSS sets it. It is the private identity, except
	// for a subscription with several of them, where it is the first. Empty: the private identity.
	Partition string
	Changes   []Change
	settlers  []Settler
}

// Change is one durable change in neutral words, so that a reference point need not know the store.
// Its fields mean what those of the store's operation mean.
type Change struct {
	Table   uint8
	Key     []byte
	Value   []byte // nil deletes
	Expires int64  // unix milliseconds, 0 never
	Cond    ChangeCond
	Version uint64 // for IfVersion
}

// ChangeCond is the condition under which a Change happens.
type ChangeCond uint8

// The conditions, the same as the store's.
const (
	Always    ChangeCond = iota
	IfVersion            // the record has exactly this version
	IfAbsent             // there is no record
)

// Settler is told how the commit ended; err is nil if it is durable. It runs on the goroutine that
// calls Settle and must not wait.
type Settler interface{ Settle(err error) }

// Add appends a change. Key and Value must not be changed afterwards.
func (b *Batch) Add(c Change) { b.Changes = append(b.Changes, c) }

// OnSettle registers s for the outcome.
func (b *Batch) OnSettle(s Settler) { b.settlers = append(b.settlers, s) }

// Settle tells every Settler, in the order of registration, and empties the batch. The S-CSCF calls
// it after the commit, also after one that failed or was never tried.
func (b *Batch) Settle(err error) {
	for _, s := range b.settlers {
		s.Settle(err)
	}
	clear(b.settlers)
	clear(b.Changes)
	b.settlers, b.Changes, b.Partition = b.settlers[:0], b.Changes[:0], ""
}
