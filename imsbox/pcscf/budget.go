package pcscf

import (
	"hash/maphash"
	"strconv"
	"sync"
	"time"

	"imsafe/hop"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// A user may send so many initial requests of each kind a minute, and as many at once if he has been quiet (attacks CI-19, CI-34). What
// belongs to a dialog, retransmissions and emergency calls are not counted: none of them comes here.

// Budget is how many initial requests of each kind one private identity may send a minute. 0 sets no bound.
type Budget struct {
	Calls         int // INVITE
	Messages      int // MESSAGE
	Subscriptions int // SUBSCRIBE, PUBLISH
	Transfers     int // REFER
	Notifications int // NOTIFY outside a dialog
	Others        int // OPTIONS to users, INFO outside a dialog, methods that nobody knows
}

// kind is which part of a budget a request is taken from.
type kind uint8

const (
	kindCall kind = iota
	kindMessage
	kindSubscription
	kindTransfer
	kindNotification
	kindOther
	kinds
)

func kindOf(m sip.Method) kind {
	switch m {
	case sip.INVITE:
		return kindCall
	case sip.MESSAGE:
		return kindMessage
	case sip.SUBSCRIBE, sip.PUBLISH:
		return kindSubscription
	case sip.REFER:
		return kindTransfer
	case sip.NOTIFY:
		return kindNotification
	}
	return kindOther
}

// reason is the reason code of a refusal.
func (k kind) reason() string {
	return [kinds]string{"calls", "messages", "subscriptions", "transfers", "notifications", "others"}[k]
}

const (
	budgetSets = 4096 // a power of two
	budgetWays = 4    // 16,384 users that have sent something within a minute; 1 MB, allocated when the first does
	minute     = time.Minute
)

// account is what a user has spent: for each kind the time at which all of it will be his again (the theoretical arrival time of the generic
// cell rate algorithm, ITU-T I.371 A.1). Whose times have all passed has spent nothing, and his place is free.
type account struct {
	user uint64 // hash of the private identity; 0: free
	full [kinds]time.Duration
}

// latest is when all of the account is full again.
func (a *account) latest() (at time.Duration) {
	for _, t := range a.full {
		at = max(at, t)
	}
	return at
}

// budgets are the accounts of users. Their memory is fixed: where a set has no room, who has spent least loses his place, and so begins anew.
// Only registered users have accounts, so nobody fills it with names. Safe for concurrent use.
type budgets struct {
	seed  maphash.Seed
	every [kinds]time.Duration // one request
	locks [64]sync.Mutex       // by set

	once sync.Once
	sets [][budgetWays]account
}

func newBudgets(b Budget) *budgets {
	s := &budgets{seed: maphash.MakeSeed()}
	for k, n := range [kinds]int{b.Calls, b.Messages, b.Subscriptions, b.Transfers, b.Notifications, b.Others} {
		if n > 0 {
			s.every[k] = max(minute/time.Duration(n), 1)
		}
	}
	return s
}

// spend takes one request of a kind from the account of user. It returns how long he has to wait if there is nothing left, else 0.
func (s *budgets) spend(user string, k kind, now time.Duration) (wait time.Duration) {
	every := s.every[k]
	if every == 0 {
		return 0
	}
	s.once.Do(func() { s.sets = make([][budgetWays]account, budgetSets) })
	hash := maphash.String(s.seed, user) | 1
	set := hash >> 32 % budgetSets
	lock := &s.locks[set%uint64(len(s.locks))]
	lock.Lock()
	defer lock.Unlock()
	a := placeFor(&s.sets[set], hash)
	full := max(a.full[k], now) + every
	if full > now+minute {
		return full - now - minute
	}
	a.full[k] = full
	return 0
}

// placeFor returns the account of a user, his former one or the emptiest of the set.
func placeFor(set *[budgetWays]account, user uint64) *account {
	least := &set[0]
	for i := range set {
		switch a := &set[i]; {
		case a.user == user:
			return a
		case a.latest() < least.latest():
			least = a
		}
	}
	*least = account{user: user}
	return least
}

// spends takes an initial request from the budget of its sender, and answers it if that is empty. The answer is 480: it is about this user and
// this minute. 503 would send a telephone to another P-CSCF (TS 24.229 5.1.2A.1.6), where it had a budget again.
func (p *PCSCF) spends(x *hop.Exchange, in hop.Inbound) (refusal hop.Reply, refused bool) {
	if !in.Proof.Registered() || p.answersEmergencies != "" && in.Proof.Owns([]byte(p.answersEmergencies)) {
		return hop.Reply{}, false // who answers emergencies calls back as often as he must
	}
	k := kindOf(in.Msg.Method())
	wait := p.budgets.spend(in.Proof.IMPI(), k, x.Task().Now())
	if wait == 0 || !p.refusesSpending(in, k.reason()) {
		return hop.Reply{}, false
	}
	r := x.Refuse(in, 480, "")
	if r.Msg != nil {
		r.Msg.SetString(sip.HdrRetryAfter, strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	}
	return r, true
}

// refusesSpending is the enforcement point of "so many requests of a user, and no more".
func (p *PCSCF) refusesSpending(in hop.Inbound, reason string) bool {
	return p.ports.Gate.Refuse(secure.CIAvailabilityBudgetUser, secure.Event{Reason: reason, Subject: in.Proof.IMPI()})
}
