package hss

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/sh"
	"imsafe/refpoint/sh/shtest"
	"imsafe/secure"
	"imsafe/store"
)

// listening is an application server that writes down what it is told.
type listening struct {
	mu    sync.Mutex
	told  []sh.PushNotificationRequest
	fails error
	calls chan struct{}
}

func (l *listening) PushNotification(_ *shard.Task, r *sh.PushNotificationRequest) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = append(l.told, *r)
	select {
	case l.calls <- struct{}{}:
	default:
	}
	return l.fails
}

// events collects what the gate refuses.
type events struct {
	mu  sync.Mutex
	all []secure.Event
}

func (e *events) Refused(x secure.Event) {
	e.mu.Lock()
	e.all = append(e.all, x)
	e.mu.Unlock()
}

func (e *events) take() []secure.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := e.all
	e.all = nil
	return all
}

var (
	mailAS  = sh.AS{Service: "voicemail", Host: "voicemail.as." + shtest.Home}
	staffer = "staff"
)

// office is a house with one subscriber of the group staff, and a service that may do everything with that group's data.
func office(t testing.TB, off ...secure.ControlID) (*house, *Permissions, *listening, *events) {
	h := newHouse(t)
	seen, as := &events{}, &listening{calls: make(chan struct{}, 64)}
	h.gate = secure.NewGate(off, seen)
	h.ports.Gate = h.gate
	list := NewPermissions(h.clock)
	if err := list.Set(mailAS.Service, Grant{AllData: true, Indications: []string{AnyIndication}, Data: []sh.DataReference{sh.RefDSAI, sh.RefMSISDN},
		Ops: sh.Pull, Groups: []string{staffer}, PerSecond: 1e9},
		Grant{AllData: true, Indications: []string{AnyIndication}, Ops: sh.Update | sh.Subscribe, Groups: []string{staffer}, PerSecond: 1e9},
		Grant{Data: []sh.DataReference{sh.RefDSAI}, Ops: sh.Update, Groups: []string{staffer}, PerSecond: 1e9}); err != nil {
		t.Fatal(err)
	}
	h.ports.Permission = list
	h.ports.Notify = func(as2 sh.AS) sh.Client {
		if as2 == mailAS {
			return as
		}
		return nil
	}
	h.restart()
	profile := &cx.ServiceProfile{SubscribedMediaProfile: -1, Criteria: []cx.InitialFilterCriteria{
		{Priority: 1, Server: cx.ApplicationServer{ServerName: "sip:" + mailAS.Host}, DSAI: []string{"mail"}}}}
	s := subscriber()
	s.Group = staffer
	if err := errors.Join(h.PutProfile(background, "office", profile), h.PutGroup(background, &Group{Name: staffer, Profile: "office"}),
		h.Add(background, s)); err != nil {
		t.Fatal(err)
	}
	return h, list, as, seen
}

func (h *house) askSh(user sh.IMPU, k sh.Key) (a *sh.UserDataAnswer, err error) {
	h.t.Helper()
	h.run(func(t *shard.Task) {
		a, err = h.UserData(t, &sh.UserDataRequest{AS: mailAS, User: sh.UserIdentity{Public: user}, Key: k})
	})
	return a, err
}

func (h *house) write(user sh.IMPU, as sh.AS, name string, sequence uint16, data []byte) (err error) {
	h.t.Helper()
	h.run(func(t *shard.Task) {
		_, err = h.ProfileUpdate(t, &sh.ProfileUpdateRequest{AS: as, User: sh.UserIdentity{Public: user}, Reference: sh.RefRepositoryData,
			Data: &sh.Data{Repository: []sh.RepositoryData{{ServiceIndication: name, SequenceNumber: sequence, ServiceData: data}}}})
	})
	return err
}

func (h *house) follow(user sh.IMPU, k sh.Key) (err error) {
	h.t.Helper()
	h.run(func(t *shard.Task) {
		_, err = h.SubscribeNotifications(t, &sh.SubscribeNotificationsRequest{AS: mailAS, User: sh.UserIdentity{Public: user}, Key: k})
	})
	return err
}

// Without a permissions list nobody may do anything.
func TestSh_default_deny(t *testing.T) {
	h, _, _, _ := office(t)
	h.ports.Permission = nil
	h.restart()
	if _, err := h.askSh(sh.IMPU(aliceIMPU), sh.Key{Reference: sh.RefIMSUserState}); !errors.Is(err, sh.ErrUserDataCannotBeRead) {
		t.Error(err)
	}
}

// The refusal of somebody outside the set and of nobody leave at the same time, whatever was in memory.
func TestSh_refusals_take_the_same_time(t *testing.T) {
	h, _, _, seen := office(t)
	other := renamed()
	other.IMPI, other.Group, other.K, other.OPc = "001010000000009@"+shtest.Home, "", "465b5ce8b199b49faa5f0a2ee238a6bd", "cd63cb71954a9f4e48a5994e37a02baf"
	other.Public = []Public{{IMPU: "sip:other@" + shtest.Home}}
	if err := h.Add(background, other); err != nil {
		t.Fatal(err)
	}
	clock := shard.NewFake(time.Unix(1_800_000_000, 0))
	s := shard.New(shard.Config{Clock: clock})
	defer s.Close()
	h.ports.Store = slowStore{h.db, clock}
	slow, err := New(h.cfg, h.ports)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(user sh.IMPU) (took time.Duration, err error) {
		done, began := false, clock.Now()
		s.Start(func(t *shard.Task) {
			_, err = slow.UserData(t, &sh.UserDataRequest{AS: mailAS, User: sh.UserIdentity{Public: user}, Key: sh.Key{Reference: sh.RefIMSUserState}})
			took, done = clock.Now()-began, true
		})
		for range 200 {
			s.Step(clock.Now())
			if done {
				return took, err
			}
			clock.Advance(time.Millisecond)
		}
		t.Fatal("no answer")
		return 0, nil
	}
	seen.take()
	first, err := ask("sip:other@" + shtest.Home)
	if !errors.Is(err, sh.ErrUserDataCannotBeRead) || first < slow.cfg.RefusalTime {
		t.Errorf("somebody else: %v after %v", err, first)
	}
	for _, user := range []sh.IMPU{"sip:nobody@" + shtest.Home, "sip:other@" + shtest.Home} {
		if took, err := ask(user); !errors.Is(err, sh.ErrUserDataCannotBeRead) || took != first {
			t.Errorf("%s: %v after %v, want it after %v", user, err, took, first)
		}
	}
	if took, err := ask(sh.IMPU(aliceIMPU)); err != nil || took >= first {
		t.Errorf("its own: %v after %v", err, took)
	}
	for _, e := range seen.take() {
		if e.Control != secure.ISConfidentialityShRead || e.Reason != "sh-outside" || e.Subject != mailAS.Service || !e.Enforced {
			t.Errorf("%+v", e)
		}
	}
}

// slowStore takes its time, another one for what is not there.
type slowStore struct {
	*store.DB
	clock *shard.Fake
}

func (s slowStore) GetAsync(t store.Table, key []byte, done func(store.Record, error)) {
	rec, err := s.Get(t, key)
	s.clock.Advance(time.Millisecond)
	if err != nil {
		s.clock.Advance(5 * time.Millisecond)
	}
	done(rec, err)
}

// With the control off, in a laboratory, what it holds back goes out.
func TestSh_controls_off(t *testing.T) {
	h, list, _, seen := office(t, secure.ISConfidentialityShRead, secure.ISIntegrityShWrite)
	if err := list.Set(mailAS.Service); err != nil {
		t.Fatal(err)
	}
	if a, err := h.askSh(sh.IMPU(aliceIMPU), sh.Key{Reference: sh.RefMSISDN}); err != nil || a.Data == nil {
		t.Errorf("%+v, %v", a, err)
	}
	if err := h.write(sh.IMPU(aliceIMPU), mailAS, "d", 0, []byte("<a/>")); err != nil {
		t.Error(err)
	}
	if err := h.follow(sh.IMPU(aliceIMPU), sh.Key{Reference: sh.RefIMSUserState}); err != nil {
		t.Error(err)
	}
	all := seen.take()
	want := []secure.ControlID{secure.ISConfidentialityShRead, secure.ISIntegrityShWrite, secure.ISConfidentialityShRead}
	if len(all) != len(want) {
		t.Fatalf("%+v", all)
	}
	for i, e := range all {
		if e.Control != want[i] || e.Enforced || e.Reason != "sh-denied" {
			t.Errorf("%+v", e)
		}
	}
}

// A budget fills with time and never above its burst.
func TestPermissions_rate(t *testing.T) {
	clock := shard.NewFake(time.Unix(0, 0))
	p := NewPermissions(clock)
	if err := p.Set("s", Grant{Data: []sh.DataReference{sh.RefMSISDN}, Ops: sh.Pull, Groups: []string{"g"}, PerSecond: 5}); err != nil {
		t.Fatal(err)
	}
	take := func() (n int) {
		for range 100 {
			if p.Allow("s", sh.Key{Reference: sh.RefMSISDN}, sh.Pull, sh.User{Group: "h"}) == sh.TooFast {
				return n
			}
			n++
		}
		return n
	}
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{0, 5}, {0, 0}, {200 * time.Millisecond, 1}, {time.Second, 5}, {time.Hour, 5}} {
		clock.Advance(c.after)
		if n := take(); n != c.want {
			t.Errorf("after %v: %d, want %d", c.after, n, c.want)
		}
	}
}

func TestPermissions_verdicts(t *testing.T) {
	p := NewPermissions(shard.NewFake(time.Unix(0, 0)))
	if err := p.Set("s", Grant{AllData: true, Ops: sh.Pull | sh.Update, Groups: []string{"a"}, PerSecond: 1000},
		Grant{Data: []sh.DataReference{sh.RefMSISDN}, Ops: sh.Pull, Groups: []string{"b"}, PerSecond: 1000},
		Grant{Data: []sh.DataReference{sh.RefRepositoryData}, Indications: []string{"shared"}, Ops: sh.Pull, Groups: []string{"c"}, PerSecond: 1000},
		Grant{Data: []sh.DataReference{sh.RefRepositoryData}, Indications: []string{AnyIndication}, Ops: sh.Subscribe, Groups: []string{"d"}, PerSecond: 1000}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		service    string
		ref        sh.DataReference
		indication string
		op         sh.Operation
		group      string
		want       sh.Verdict
	}{
		{"s", sh.RefRepositoryData, "s", sh.Pull, "a", sh.Allowed},
		{"s", sh.RefRepositoryData, "s", sh.Pull, "b", sh.Outside},
		{"s", sh.RefRepositoryData, "s", sh.Pull, "", sh.Outside},
		{"s", sh.RefRepositoryData, "s", sh.Subscribe, "a", sh.Outside},
		{"s", sh.RefIMSUserState, "", sh.Subscribe, "a", sh.Denied},
		{"s", sh.RefMSISDN, "", sh.Pull, "a", sh.Outside}, // by its name only, and that is for b
		{"s", sh.RefMSISDN, "", sh.Pull, "b", sh.Allowed},
		{"s", sh.RefLocationInformation, "", sh.Pull, "a", sh.Denied},
		{"s", sh.RefDSAI, "", sh.Update, "a", sh.Denied},
		{"s", sh.RefIMSUserState, "", sh.Update, "a", sh.Denied},      // the table allows none
		{"s", sh.RefRepositoryData, "other", sh.Pull, "a", sh.Denied}, // somebody else's documents
		{"s", sh.RefRepositoryData, "shared", sh.Pull, "c", sh.Allowed},
		{"s", sh.RefRepositoryData, "s", sh.Pull, "c", sh.Outside},
		{"s", sh.RefRepositoryData, "any", sh.Subscribe, "d", sh.Allowed},
		{"other", sh.RefRepositoryData, "other", sh.Pull, "a", sh.Denied},
	} {
		if got := p.Allow(c.service, sh.Key{Reference: c.ref, ServiceIndication: c.indication}, c.op, sh.User{Group: c.group}); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	for what, g := range map[string]Grant{
		"no data":             {Ops: sh.Pull, Everybody: true, PerSecond: 1},
		"no operation":        {AllData: true, Everybody: true, PerSecond: 1},
		"no rate":             {AllData: true, Ops: sh.Pull, Everybody: true},
		"not in the table":    {Data: []sh.DataReference{sh.RefMSISDN}, Ops: sh.Update, PerSecond: 1},
		"an unknown one":      {Data: []sh.DataReference{20}, Ops: sh.Pull, PerSecond: 1},
		"a negative rate too": {AllData: true, Ops: sh.Pull, PerSecond: -1},
	} {
		if err := p.Set("s", g); err == nil {
			t.Errorf("%s: granted", what)
		}
	}
	if err := p.Set("s"); err != nil || p.Allow("s", sh.Key{Reference: sh.RefRepositoryData, ServiceIndication: "s"}, sh.Pull, sh.User{Group: "a"}) != sh.Denied {
		t.Error("what was taken back is granted")
	}
}

// wantTold waits until the application server has been told something new.
func (l *listening) wantTold(t *testing.T, what string) sh.PushNotificationRequest {
	t.Helper()
	select {
	case <-l.calls:
	case <-time.After(time.Minute):
		t.Fatalf("%s: nothing was told", what)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.told[len(l.told)-1]
}

// A subscription lasts as long as the permission: what it is owed does not go out without.
func TestSh_notification_needs_the_permission(t *testing.T) {
	h, list, as, seen := office(t)
	if err := h.write(sh.IMPU(aliceIMPU), mailAS, "d", 0, []byte("<a/>")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(h.follow(sh.IMPU(aliceIMPU), sh.Key{Reference: sh.RefIMSUserState}),
		h.follow(sh.IMPU(aliceIMPU), sh.Key{Reference: sh.RefSCSCFName})); err != nil {
		t.Fatal(err)
	}
	if err := list.Set(mailAS.Service, Grant{Data: []sh.DataReference{sh.RefSCSCFName}, Ops: sh.Subscribe, Groups: []string{staffer}, PerSecond: 100}); err != nil {
		t.Fatal(err)
	}
	h.register()
	if told := as.wantTold(t, "what it still may"); told.Data.IMS.SCSCFName == nil {
		t.Errorf("%+v", told.Data)
	}
	h.drained(0)
	if n := h.watches.size(); n != 1 {
		t.Errorf("%d subscriptions are left", n)
	}
	if all := seen.take(); len(all) != 1 || all[0].Reason != "sh-denied" {
		t.Errorf("%+v", all)
	}
}

// drained waits until the outbox holds no more than left letters, and none is being delivered.
func (h *house) drained(left int) {
	h.t.Helper()
	for range 2000 {
		page, _, err := h.db.Scan(TableOutbox, nil, nil, 256)
		if err != nil {
			h.t.Fatal(err)
		}
		h.outbox.mu.Lock()
		busy := len(h.outbox.busy)
		h.outbox.mu.Unlock()
		if len(page) <= left && busy == 0 {
			return
		}
		h.run(func(t *shard.Task) { t.AwaitFor(5*time.Millisecond, func(shard.Waker) {}) })
	}
	h.t.Errorf("the outbox is not empty")
}

// A change of group takes the user out of the set.
func TestSh_notification_of_a_user_who_left_the_set(t *testing.T) {
	h, _, as, _ := office(t)
	if err := h.follow(sh.IMPU(aliceIMPU), sh.Key{Reference: sh.RefIMSPublicIdentity}); err != nil {
		t.Fatal(err)
	}
	s := subscriber()
	s.K, s.OPc, s.Group = "", "", ""
	s.Public = append(s.Public, Public{IMPU: "sip:alias@" + shtest.Home})
	if err := h.Update(background, s); err != nil {
		t.Fatal(err)
	}
	h.drained(0)
	if len(as.told) > 0 || h.watches.size() != 0 {
		t.Errorf("told %+v, %d subscriptions", as.told, h.watches.size())
	}
}

// What an application server could not be told it hears later, once, as it is then.
func TestSh_notification_late(t *testing.T) {
	h, _, as, _ := office(t)
	if err := h.write(sh.IMPU(aliceIMPU), mailAS, "d", 0, []byte("<a/>")); err != nil {
		t.Fatal(err)
	}
	if err := h.follow(sh.IMPU(aliceIMPU), sh.Key{Reference: sh.RefRepositoryData, ServiceIndication: "d"}); err != nil {
		t.Fatal(err)
	}
	other := sh.AS{Service: mailAS.Service, Host: "other.as." + shtest.Home} // another instance writes
	as.fails = sh.ErrUnableToComply
	for n := range uint16(3) {
		if err := h.write(sh.IMPU(aliceIMPU), other, "d", n+1, []byte("<b/>")); err != nil {
			t.Fatal(err)
		}
	}
	as.wantTold(t, "in vain")
	h.drained(1)
	permission, notify := h.ports.Permission, h.ports.Notify
	h.crash()
	h.ports.Permission, h.ports.Notify = permission, notify
	h.restart()
	as.mu.Lock()
	as.fails, as.told = nil, nil
	for len(as.calls) > 0 {
		<-as.calls
	}
	as.mu.Unlock()
	if _, err := h.Deliver(background); err != nil {
		t.Fatal(err)
	}
	if told := as.wantTold(t, "late").Data.Repository[0]; told.SequenceNumber != 3 {
		t.Errorf("%+v", told)
	}
	h.drained(0)
	if len(as.told) != 1 {
		t.Errorf("told %d times", len(as.told))
	}
}

// A subscription ends with its time, told or not.
func TestSh_subscription_expires(t *testing.T) {
	h, _, as, _ := office(t)
	var err error
	h.run(func(task *shard.Task) {
		_, err = h.SubscribeNotifications(task, &sh.SubscribeNotificationsRequest{AS: mailAS, User: sh.UserIdentity{Public: sh.IMPU(aliceIMPU)},
			Key: sh.Key{Reference: sh.RefIMSUserState}, ExpiryTime: h.clock.Wall().Add(time.Hour).Unix()})
	})
	if err != nil {
		t.Fatal(err)
	}
	h.clock.move(2 * time.Hour)
	h.register()
	h.drained(0)
	if _, err := h.Deliver(background); err != nil {
		t.Fatal(err)
	}
	h.drained(0)
	if len(as.told) > 0 || h.watches.size() != 0 {
		t.Errorf("told %+v, %d subscriptions", as.told, h.watches.size())
	}
}

// Whoever gets an identity next inherits nothing.
func TestSh_nothing_is_inherited(t *testing.T) {
	h, _, _, _ := office(t)
	if err := errors.Join(h.write(sh.IMPU(aliceIMPU), mailAS, "d", 0, []byte("<a/>")), h.follow(sh.IMPU(aliceIMPU), sh.Key{Reference: sh.RefIMSUserState})); err != nil {
		t.Fatal(err)
	}
	mask := func(active bool) (err error) {
		h.run(func(task *shard.Task) {
			_, err = h.ProfileUpdate(task, &sh.ProfileUpdateRequest{AS: mailAS, User: sh.UserIdentity{Public: sh.IMPU(aliceIMPU)}, Reference: sh.RefDSAI,
				Data: &sh.Data{IMS: &sh.IMSData{DSAI: []sh.DSAI{{Tag: "mail", Active: active}}}}})
		})
		return err
	}
	if err := mask(false); err != nil {
		t.Fatal(err)
	}
	if err := h.Remove(background, string(aliceIMPI)); err != nil {
		t.Fatal(err)
	}
	h.drained(0)
	s := subscriber()
	s.Group = staffer
	if err := h.Add(background, s); err != nil {
		t.Fatal(err)
	}
	if a, err := h.askSh(sh.IMPU(aliceIMPU), sh.Key{Reference: sh.RefRepositoryData, ServiceIndication: "d"}); err != nil || a.Data != nil {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := h.askSh(sh.IMPU(aliceIMPU), sh.Key{Reference: sh.RefDSAI, DSAITag: "mail"}); err != nil || !a.Data.IMS.DSAI[0].Active {
		t.Errorf("%+v, %v", a, err)
	}
	if h.watches.size() != 0 {
		t.Error("a subscription has stayed")
	}
	for _, table := range Tables() {
		if table.Table < TableRepository {
			continue
		}
		if page, _, err := h.db.Scan(table.Table, nil, nil, 10); err != nil || len(page) > 0 {
			t.Errorf("%s holds %d records, %v", table.Name, len(page), err)
		}
	}
}

// A removal and a first document in the same moment: whoever is second sees what the first has done, and nothing is left behind.
func TestSh_removal_in_the_same_moment(t *testing.T) {
	for range 20 {
		h, _, _, _ := office(t)
		var done sync.WaitGroup
		done.Go(func() {
			for n := range 8 {
				_ = h.write(sh.IMPU(aliceIMPU), mailAS, string(rune('a'+n)), 0, []byte("<a/>"))
			}
		})
		if err := h.Remove(background, string(aliceIMPI)); err != nil {
			t.Fatal(err)
		}
		done.Wait()
		for _, table := range Tables() {
			if page, _, err := h.db.Scan(table.Table, nil, nil, 10); table.Table >= TableRepository && (err != nil || len(page) > 0) {
				t.Fatalf("%s holds %d records, %v", table.Name, len(page), err)
			}
		}
	}
}

// A masked criterion is not in the profile that the S-CSCF gets, and it is told (TS 29.328 7.6.11).
func TestSh_DSAI_reaches_the_SCSCF(t *testing.T) {
	h, _, _, _ := office(t)
	h.scscf.name = scscfName
	if a := h.register(); len(a.Profile.ServiceProfiles) != 1 || len(a.Profile.ServiceProfiles[0].Criteria) != 1 {
		t.Fatalf("%+v", a.Profile)
	}
	woken := make(chan struct{}, 8)
	h.ports.Owed = func() { woken <- struct{}{} }
	permission := h.ports.Permission
	h.restart()
	h.ports.Permission = permission
	var err error
	h.run(func(task *shard.Task) {
		_, err = h.ProfileUpdate(task, &sh.ProfileUpdateRequest{AS: mailAS, User: sh.UserIdentity{Public: sh.IMPU(aliceIMPU)}, Reference: sh.RefDSAI,
			Data: &sh.Data{IMS: &sh.IMSData{DSAI: []sh.DSAI{{Tag: "mail"}}}}})
	})
	if err != nil {
		t.Fatal(err)
	}
	<-woken
	if left, err := h.Deliver(background); err != nil || left != 0 {
		t.Fatal(left, err)
	}
	_, told := h.scscf.take()
	if len(told) != 1 {
		t.Fatalf("%+v", told)
	}
	for _, s := range told[0].Profile.ServiceProfiles {
		for _, id := range s.PublicIdentities {
			if has := len(s.Criteria) == 1; has == (id.Identity == aliceIMPU) {
				t.Errorf("%s has %d criteria", id.Identity, len(s.Criteria))
			}
		}
	}
}

// A service that is switched off is found by nobody, and its S-CSCF lets it go (TS 29.228 6.1.4.1, TS 29.328 6.1.2.1).
func TestSh_PSI_switched_off(t *testing.T) {
	h, _, _, _ := office(t)
	h.scscf.name = scscfName
	const chat, club = "sip:chat@" + shtest.Home, "sip:club@" + shtest.Home
	if err := h.Add(background, &Subscriber{Card: Card{IMPI: "chat@" + shtest.Home}, Group: staffer, Service: &Service{},
		Public: []Public{{IMPU: chat}, {IMPU: club}}}); err != nil {
		t.Fatal(err)
	}
	locate := func(impu cx.IMPU) (err error) {
		h.run(func(task *shard.Task) { _, err = h.LocationInfo(task, &cx.LocationInfoRequest{IMPU: impu}) })
		return err
	}
	h.assigns(cx.UnregisteredUser)("", chat, scscfName)
	off := false
	var err error
	h.run(func(task *shard.Task) {
		_, err = h.ProfileUpdate(task, &sh.ProfileUpdateRequest{AS: mailAS, User: sh.UserIdentity{Public: chat}, Reference: sh.RefPSIActivation,
			Data: &sh.Data{IMS: &sh.IMSData{PSIActivation: &off}}})
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := locate(chat); !errors.Is(err, cx.ErrUserUnknown) {
		t.Errorf("switched off: %v", err)
	}
	if err := locate(club); err != nil {
		t.Errorf("its neighbour: %v", err)
	}
	if _, err := h.Deliver(background); err != nil {
		t.Fatal(err)
	}
	if ended, _ := h.scscf.take(); len(ended) != 1 || !slices.Equal(ended[0].IMPUs, []cx.IMPU{chat}) {
		t.Errorf("%+v", ended)
	}
}

func FuzzShRecords(f *testing.F) {
	w := &watch{as: mailAS, owner: "a@b", impu: "sip:a@b", asked: sh.UserIdentity{MSISDN: "15550001"}, expires: 7, oneTime: true,
		key: sh.Key{Reference: sh.RefRepositoryData, ServiceIndication: "d"}}
	f.Add(w.encode())
	f.Add((&repositoryData{7, []byte("<a/>")}).encode())
	f.Add((&shIndex{indications: []string{"d"}, watches: []string{"x"}}).encode())
	f.Add((&activation{inactive: []string{"sip:a"}, masked: []masked{{"sip:a", "t"}}}).encode())
	f.Add((&letter{kind: letterLast, watch: w, group: "g", data: []byte("<Sh-Data/>")}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		rec := recordOf(b)
		if x, err := decodeWatch(b); err == nil {
			same(t, x, must(decodeWatch(x.encode())))
		}
		if x, err := decodeRepository(b); err == nil {
			same(t, x, must(decodeRepository(x.encode())))
		}
		if x, err := decodeShIndex(rec); err == nil {
			same(t, x, must(decodeShIndex(recordOf(x.encode()))))
		}
		if x, err := decodeActivation(rec); err == nil {
			same(t, x, must(decodeActivation(recordOf(x.encode()))))
		}
	})
}

func same(t *testing.T, a, b any) {
	t.Helper()
	if !reflect.DeepEqual(a, b) {
		t.Errorf("%+v became %+v", a, b)
	}
}

func BenchmarkSh(b *testing.B) {
	h, _, _, _ := office(b)
	if err := h.write(sh.IMPU(aliceIMPU), mailAS, "d", 0, make([]byte, 0, 1)); err != nil {
		b.Fatal(err)
	}
	for name, k := range map[string]sh.Key{"RepositoryData": {Reference: sh.RefRepositoryData, ServiceIndication: "d"},
		"IMSUserState": {Reference: sh.RefIMSUserState}, "InitialFilterCriteria": {Reference: sh.RefInitialFilterCriteria, ServerName: "sip:" + mailAS.Host}} {
		b.Run("Pull "+name, func(b *testing.B) {
			b.ReportAllocs()
			h.run(func(t *shard.Task) {
				r := &sh.UserDataRequest{AS: mailAS, User: sh.UserIdentity{Public: sh.IMPU(aliceIMPU)}, Key: k}
				for range b.N {
					if a, err := h.UserData(t, r); err != nil || a.Data == nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
	b.Run("Update", func(b *testing.B) {
		b.ReportAllocs()
		name := string(rune('a' + rand.IntN(26)))
		data := []byte("<a>" + string(make([]byte, 0)) + "</a>")
		next := uint16(0)
		h.run(func(t *shard.Task) {
			for range b.N {
				_, err := h.ProfileUpdate(t, &sh.ProfileUpdateRequest{AS: mailAS, User: sh.UserIdentity{Public: sh.IMPU(aliceIMPU)}, Reference: sh.RefRepositoryData,
					Data: &sh.Data{Repository: []sh.RepositoryData{{ServiceIndication: "u" + name, SequenceNumber: next, ServiceData: data}}}})
				if errors.Is(err, sh.ErrTransparentDataOutOfSync) {
					next = sh.NextSequenceNumber(next)
					continue
				}
				if err != nil {
					b.Error(err)
					return
				}
				next = sh.NextSequenceNumber(next)
			}
		})
	})
}

func recordOf(b []byte) store.Record { return store.Record{Value: b, Version: 1} }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A service asks about whom it knows by a pseudonym of its own; another one's is nobody.
func TestSh_pseudonym(t *testing.T) {
	h, _, _, _ := office(t)
	h.ports.Uncover = func(service, uri string) string {
		if service == mailAS.Service && uri == "sip:x@pseudonym.ims.example" {
			return string(aliceIMPU)
		}
		return uri
	}
	h.restart()
	k := sh.Key{Reference: sh.RefMSISDN}
	if a, err := h.askSh("sip:x@pseudonym.ims.example", k); err != nil || a.Data == nil {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := h.askSh("sip:y@pseudonym.ims.example", k); !errors.Is(err, sh.ErrUserDataCannotBeRead) {
		t.Errorf("somebody else's: %v", err)
	}
}
