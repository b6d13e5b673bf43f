package siptxn

import "time"

// Timers are the timer values of one interface (RFC 3261 table 4; RFC 6026 8). Timers A, E and G start at T1 and need no
// field. Over reliable transports D, I, J and K are zero whatever stands here. New refuses values that are not positive.
type Timers struct {
	T1 time.Duration // estimate of the round-trip time; first interval of A, E, G
	T2 time.Duration // longest interval of E and G
	T4 time.Duration // longest life of a message in the network

	B time.Duration // INVITE client: no answer at all
	C time.Duration // INVITE client: after the last provisional answer (RFC 3261 16.6 11); must exceed 3 minutes at a proxy
	D time.Duration // INVITE client: absorbs retransmitted failures
	F time.Duration // non-INVITE client: no final answer
	H time.Duration // INVITE server: waits for the ACK
	I time.Duration // INVITE server: absorbs retransmitted ACKs
	J time.Duration // non-INVITE server: absorbs retransmitted requests
	K time.Duration // non-INVITE client: absorbs retransmitted answers
	L time.Duration // INVITE server: absorbs retransmitted INVITEs after a 2xx (RFC 6026)
	M time.Duration // INVITE client: waits for more 2xx (RFC 6026)

	Trying  time.Duration // INVITE server: the layer sends 100 if the user sent nothing by then (RFC 3261 17.2.1: 200 ms)
	Abandon time.Duration // INVITE server: the user never answered; the layer answers 500 and ends the transaction
}

// DefaultTimers are the values of RFC 3261 table 4: T1 = 500 ms, T2 = 4 s, T4 = 5 s.
func DefaultTimers() Timers { return Derive(500*time.Millisecond, 4*time.Second, 5*time.Second) }

// GmTimers are the values between UE and P-CSCF: T1 = 2 s, T2 = 16 s, T4 = 17 s (TS 24.229 7.7 table 7.7.1).
func GmTimers() Timers { return Derive(2*time.Second, 16*time.Second, 17*time.Second) }

// Derive computes all timers from the three that RFC 3261 table 4 expresses them in.
func Derive(t1, t2, t4 time.Duration) Timers {
	long := 64 * t1
	return Timers{
		T1: t1, T2: t2, T4: t4,
		B: long, C: 185 * time.Second,
		D: max(long, 32*time.Second), // RFC 6026 8.4: at least 32 s whatever T1 the other side uses
		F: long, H: long, I: t4, J: long, K: t4, L: long, M: long,
		Trying:  200 * time.Millisecond,
		Abandon: 185*time.Second + 2*long,
	}
}

// sound reports whether all timers are positive: with none of them zero every transaction ends.
func (t *Timers) sound() bool {
	return min(t.T1, t.T2, t.T4, t.B, t.C, t.D, t.F, t.H, t.I, t.J, t.K, t.L, t.M, t.Trying, t.Abandon) > 0
}
