package hss

import (
	"errors"
	"strings"
	"time"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/sh"
	"imsafe/secure"
	"imsafe/store"
)

var _ sh.Server = (*HSS)(nil)

// shRequest is one request of an application server in the making.
type shRequest struct {
	h    *HSS
	t    *shard.Task
	as   sh.AS
	op   sh.Operation
	asks sh.UserIdentity
	sh.Key

	user *user // nil: there is none
	set  int
	id   *identity
}

// UserData answers Sh-Pull; see sh.Server. The steps are those of TS 29.328 6.1.1.1.
func (h *HSS) UserData(t *shard.Task, r *sh.UserDataRequest) (*sh.UserDataAnswer, error) {
	answer, err := h.pull(t, r)
	h.counts.note(opUserData, err)
	return answer, err
}

func (h *HSS) pull(t *shard.Task, r *sh.UserDataRequest) (*sh.UserDataAnswer, error) {
	x := &shRequest{h: h, t: t, as: r.AS, op: sh.Pull, asks: r.User, Key: r.Key}
	if err := x.admit(r.IMPI); err != nil { // 1, 2, 3
		return nil, err
	}
	data, there, err := x.read() // 5
	if err != nil {
		return nil, err
	}
	a := &sh.UserDataAnswer{}
	if there {
		a.Data = data
	}
	a.WildcardedPSI, a.WildcardedIMPU = x.ranges()
	return a, nil
}

// admit is what all three requests begin with: is it complete, may the application server do this with this user (1), is there such a
// user (2), does the private identity belong to it (2a), does this identity lead to that data (3).
func (x *shRequest) admit(impi sh.IMPI) error {
	if err := x.complete(); err != nil {
		return err
	}
	since := x.t.Now()
	if err := x.find(); err != nil {
		return err
	}
	if verdict := x.verdict(); verdict != sh.Allowed && x.h.refusesSh(x.op, verdict, x.as) {
		return x.refused(verdict, since)
	}
	if x.user == nil {
		return sh.ErrUserUnknown
	}
	if impi != "" && x.user.findPrivate(impi) < 0 {
		return sh.ErrIdentitiesDontMatch
	}
	if !x.Reference.AccessBy(x.asks.MSISDN != "", x.user.service != nil) {
		return sh.ErrOperationNotAllowed
	}
	if x.Reference == sh.RefPSIActivation && x.id.wildcard() { // of a distinct one only (TS 29.328 6.1.2.1)
		return sh.ErrOperationNotAllowed
	}
	return nil
}

// complete finds elements that the access key needs and the request has not (TS 29.328 table 7.6.1).
func (x *shRequest) complete() error {
	missing := x.asks.Public == "" && x.asks.MSISDN == ""
	switch x.Reference {
	case sh.RefRepositoryData:
		missing = missing || x.ServiceIndication == "" && x.op != sh.Update
	case sh.RefInitialFilterCriteria:
		missing = missing || x.ServerName == ""
	case sh.RefDSAI:
		missing = missing || x.DSAITag == "" && x.op != sh.Update
	case sh.RefLocationInformation, sh.RefUserState:
		missing = missing || x.Domain == sh.NoDomain
	}
	if missing {
		return sh.ErrMissingAVP
	}
	return nil
}

// find looks for the user. That there is none is for later: who may not know must not learn it.
func (x *shRequest) find() (err error) {
	impu := x.asks.Public
	if x.h.ports.Uncover != nil {
		impu = cx.IMPU(x.h.ports.Uncover(x.as.Service, string(impu)))
	}
	switch canonical, ok := sip.PublicIdentity([]byte(impu)); {
	case x.asks.MSISDN != "":
		impu = cx.IMPU("tel:+" + x.asks.MSISDN)
	case ok:
		impu = cx.IMPU(canonical)
	}
	x.user, x.set, x.id, err = x.h.byPublic(x.t, impu)
	if errors.Is(err, cx.ErrUserUnknown) {
		return nil
	}
	if err != nil {
		return sh.ErrUnableToComply
	}
	return nil
}

// findAgain looks for the user after a conflict: he may have gone.
func (x *shRequest) findAgain() error {
	if err := x.find(); err != nil {
		return err
	}
	if x.user == nil {
		return sh.ErrUserUnknown
	}
	return nil
}

// verdict asks the permissions list. Filter criteria are those of the application server that asks, and nobody else's
// (TS 29.328 6.1.1.1).
func (x *shRequest) verdict() sh.Verdict {
	if !x.Reference.Permits(x.op) || x.Reference == sh.RefInitialFilterCriteria && !ownsServer(x.as, x.ServerName) {
		return sh.Denied
	}
	var who sh.User
	if x.user != nil {
		who = sh.User{IMPU: cx.IMPU(x.id.impu), Group: x.user.groupName(), Agreed: x.agreed()}
	}
	return x.h.allowsSh(x.as, x.Key, x.op, who)
}

// agreed is what the user has agreed to; what cannot be read is nothing.
func (x *shRequest) agreed() []string {
	c, err := x.h.consentsOf(x.t, x.user)
	if err != nil {
		_ = x.h.unable("read", err)
		return nil
	}
	return c.services
}

// allowsSh asks the permissions list; without one nothing is allowed.
func (h *HSS) allowsSh(as sh.AS, data sh.Key, op sh.Operation, who sh.User) sh.Verdict {
	if h.ports.Permission == nil {
		return sh.Denied
	}
	return h.ports.Permission.Allow(as.Service, data, op, who)
}

// refusesSh is the one place where an application server is refused data, read or written.
func (h *HSS) refusesSh(op sh.Operation, verdict sh.Verdict, as sh.AS) bool {
	e := secure.Event{Reason: "sh-" + verdict.String(), Subject: as.Service}
	if op == sh.Update {
		return h.ports.Gate.Refuse(secure.ISIntegrityShWrite, e)
	}
	return h.ports.Gate.Refuse(secure.ISConfidentialityShRead, e)
}

// refused is the answer to who may not. Somebody else's user and nobody get the same one, after the same time, counted from the arrival of
// the request: what was found in memory and what the disk was asked for must not be told apart by a clock.
func (x *shRequest) refused(verdict sh.Verdict, since time.Duration) error {
	if verdict == sh.TooFast {
		return sh.ErrTooBusy
	}
	if verdict == sh.Outside {
		if left := since + x.h.cfg.RefusalTime - x.t.Now(); left > 0 {
			x.t.AwaitFor(left, func(shard.Waker) {})
		}
	}
	return sh.CannotBe(x.op)
}

// ranges returns the wildcarded identity that the one of the request falls into.
func (x *shRequest) ranges() (psi, impu sh.IMPU) {
	switch {
	case !x.id.wildcard():
	case x.user.service != nil:
		psi = rangeOf(x.id)
	default:
		impu = rangeOf(x.id)
	}
	return psi, impu
}

// ownsServer reports whether a SIP URI is that of the application server: the host in it is the name in the certificate.
func ownsServer(as sh.AS, serverName string) bool {
	u, err := sip.ParseURI([]byte(serverName))
	return err == nil && as.Host != "" && strings.EqualFold(string(u.Host), as.Host)
}

// unableSh maps a failure of the store, or of Cx's half of the HSS, to the answer of Sh.
func (h *HSS) unableSh(what string, err error) error {
	if errors.Is(err, cx.ErrUnableToComply) { // was noted
		return sh.ErrUnableToComply
	}
	_ = h.unable(what, err)
	return sh.ErrUnableToComply
}

// getOr reads a record; one that is not there has version 0.
func (h *HSS) getOr(t *shard.Task, table store.Table, key []byte) (store.Record, error) {
	rec, err := h.get(t, table, key)
	if errors.Is(err, store.ErrNotFound) {
		return store.Record{}, nil
	}
	return rec, err
}
