// Package shtest is the suite that every implementation of sh.Server passes: in process, and behind a wire form. Each test is a situation
// of TS 29.328 6.1 as an application server meets it.
//
// Tests of implementations import it, nothing else.
package shtest

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"imsafe/proto/shard"
	"imsafe/refpoint/sh"
)

// Subscriber is a subscription that the suite wants to be there: one private identity, one implicit registration set.
type Subscriber struct {
	IMPI   sh.IMPI
	Group  string
	IMPUs  []sh.IMPU
	Barred []sh.IMPU // of IMPUs
	// Service makes it a public service without a card.
	Service bool
}

// Criterion is a filter criterion of a group of subscribers, for every request.
type Criterion struct {
	Group    string
	Priority int
	Server   string   // SIP URI
	DSAI     []string // tags it is bound to
}

// Grant is a line of the AS permissions list.
type Grant struct {
	Service string
	Data    []sh.DataReference
	AllData bool
	// Indications are the Service-Indications of RepositoryData: without any, the name of the service; "*" is all of them.
	Indications []string
	Ops         sh.Operation
	Groups      []string
	Everybody   bool
	PerSecond   float64
	Burst       int // 0: PerSecond
}

// Service is an application server, and who hears what it is told.
type Service struct {
	AS     sh.AS
	Client sh.Client
}

// World is what the suite wants.
type World struct {
	Subscribers []Subscriber
	Criteria    []Criterion
	Charging    map[string]string // group, primary CCF
	Grants      []Grant
	Services    []Service
}

// Fixture is an implementation that holds the world.
type Fixture struct {
	// As returns the HSS as a service asks it: what the request says of who asks is what the service is, or is ignored.
	As func(as sh.AS) sh.Server
	// Run runs fn as a procedure and returns when it has returned.
	Run func(fn func(t *shard.Task))
	// Register and Deregister let an S-CSCF take an identity and give it up.
	Register, Deregister func(impi sh.IMPI, impu sh.IMPU, server string)
	// Remove takes a subscription out.
	Remove func(impu sh.IMPU)
	// Now is the wall clock, and Late is over when a notification is late.
	Now  func() time.Time
	Late func() <-chan time.Time
	// Crash ends the server without a farewell and starts it again on what is durable. nil: the suite cannot.
	Crash func()
}

// Factory makes a fixture. It registers its cleanup with t.
type Factory func(t *testing.T, w World) *Fixture

// Home is the network of the suite. Implementations are configured for it.
const Home = "ims.mnc001.mcc001.3gppnetwork.org"

const (
	staff  = "staff"
	guests = "guests"

	alice     sh.IMPU = "sip:alice@" + Home
	aliceIMPI sh.IMPI = "001010000000001@" + Home
	aliceTel  sh.IMPU = "tel:+15550001"
	aliceHid  sh.IMPU = "sip:001010000000001@" + Home // barred
	bob       sh.IMPU = "sip:bob@" + Home             // of another group
	bobIMPI   sh.IMPI = "001010000000002@" + Home
	chat      sh.IMPU = "sip:chat@" + Home // a service
	room      sh.IMPU = "sip:room-!.*!@" + Home
	chatIMPI  sh.IMPI = "chat@" + Home
	nobody    sh.IMPU = "sip:nobody@" + Home
	scscf             = "sip:scscf." + Home
)

// The services of the suite: what each may do is in world.
var (
	mail     = sh.AS{Service: "voicemail", Host: "voicemail.as." + Home}
	tele     = sh.AS{Service: "telephony", Host: "telephony.as." + Home}
	slow     = sh.AS{Service: "slow", Host: "slow.as." + Home}
	stranger = sh.AS{Service: "stranger", Host: "stranger.as." + Home}
)

const (
	mailURI = "sip:voicemail.as." + Home
	teleURI = "sip:telephony.as." + Home
)

const all = sh.Pull | sh.Update | sh.Subscribe

func world() World {
	return World{
		Subscribers: []Subscriber{
			{IMPI: aliceIMPI, Group: staff, IMPUs: []sh.IMPU{aliceHid, alice, aliceTel}, Barred: []sh.IMPU{aliceHid}},
			{IMPI: bobIMPI, Group: guests, IMPUs: []sh.IMPU{bob}},
			{IMPI: chatIMPI, Group: staff, IMPUs: []sh.IMPU{chat, room}, Service: true},
		},
		Criteria: []Criterion{{Group: staff, Priority: 1, Server: mailURI, DSAI: []string{"mail"}}, {Group: staff, Priority: 2, Server: teleURI}},
		Charging: map[string]string{staff: "aaa://ccf." + Home},
		Grants: []Grant{
			{Service: mail.Service, Data: []sh.DataReference{sh.RefRepositoryData, sh.RefPSIActivation}, Indications: []string{"*"}, Ops: all, Groups: []string{staff}, PerSecond: 1000},
			{Service: mail.Service, Data: []sh.DataReference{sh.RefDSAI}, Ops: all, Groups: []string{staff}, PerSecond: 1000},
			{Service: mail.Service, Data: []sh.DataReference{sh.RefIMSPublicIdentity, sh.RefIMSUserState, sh.RefSCSCFName,
				sh.RefInitialFilterCriteria}, Ops: sh.Pull | sh.Subscribe, Groups: []string{staff}, PerSecond: 1000},
			{Service: mail.Service, Data: []sh.DataReference{sh.RefLocationInformation, sh.RefUserState, sh.RefMSISDN,
				sh.RefChargingInformation}, Ops: sh.Pull, Groups: []string{staff}, PerSecond: 1000},
			{Service: tele.Service, AllData: true, Indications: []string{"*"}, Ops: all, Everybody: true, PerSecond: 1000},
			{Service: slow.Service, Data: []sh.DataReference{sh.RefIMSUserState}, Ops: sh.Pull, Groups: []string{staff}, PerSecond: 0.001, Burst: 3},
			{Service: slow.Service, Data: []sh.DataReference{sh.RefRepositoryData}, Ops: all, Groups: []string{staff}, PerSecond: 1000},
		},
	}
}

// house is the fixture with the services that listen.
type house struct {
	*Fixture
	t     *testing.T
	heard map[string]*fakeAS
}

// fakeAS is the push side of an application server that writes down what it is told.
type fakeAS struct {
	told   chan sh.PushNotificationRequest
	mu     sync.Mutex
	answer error
}

// PushNotification implements sh.Client.
func (f *fakeAS) PushNotification(_ *shard.Task, r *sh.PushNotificationRequest) error {
	f.mu.Lock()
	answer := f.answer
	f.mu.Unlock()
	f.told <- *r
	return answer
}

// answers makes the application server answer with an error from now on.
func (f *fakeAS) answers(err error) {
	f.mu.Lock()
	f.answer = err
	f.mu.Unlock()
}

// Run runs the suite.
func Run(t *testing.T, make Factory) {
	for _, s := range []struct {
		name string
		run  func(*house)
	}{
		{"RepositoryData", repositoryData},
		{"SequenceNumbers", sequenceNumbers},
		{"Permissions", permissions},
		{"DocumentsOfOthers", documentsOfOthers},
		{"NobodyAndSomebodyElse", nobodyAndSomebodyElse},
		{"Rate", rate},
		{"PublicIdentities", publicIdentities},
		{"Registration", registration},
		{"FilterCriteria", filterCriteria},
		{"OtherData", otherData},
		{"PSIActivation", psiActivation},
		{"DSAI", dsai},
		{"AccessKeys", accessKeys},
		{"Ranges", ranges},
		{"Notification", notification},
		{"NotificationEnds", notificationEnds},
		{"NotificationOfRegistration", notificationOfRegistration},
		{"Removal", removal},
		{"Crash", crash},
	} {
		t.Run(s.name, func(t *testing.T) {
			w := world()
			h := &house{t: t, heard: map[string]*fakeAS{}}
			for _, as := range []sh.AS{mail, tele, slow, stranger} {
				f := &fakeAS{told: newTold()}
				h.heard[as.Service] = f
				w.Services = append(w.Services, Service{as, f})
			}
			h.Fixture = make(t, w)
			s.run(h)
		})
	}
}

func newTold() chan sh.PushNotificationRequest { return make(chan sh.PushNotificationRequest, 64) }

// The operations, from outside of a procedure.

func (h *house) pull(as sh.AS, user sh.UserIdentity, k sh.Key) (a *sh.UserDataAnswer, err error) {
	h.Run(func(t *shard.Task) { a, err = h.As(as).UserData(t, &sh.UserDataRequest{AS: as, User: user, Key: k}) })
	return a, err
}

func (h *house) update(as sh.AS, impu sh.IMPU, ref sh.DataReference, d *sh.Data) (err error) {
	h.Run(func(t *shard.Task) {
		_, err = h.As(as).ProfileUpdate(t, &sh.ProfileUpdateRequest{AS: as, User: sh.UserIdentity{Public: impu}, Reference: ref, Data: d})
	})
	return err
}

func (h *house) subscribe(r sh.SubscribeNotificationsRequest) (a *sh.SubscribeNotificationsAnswer, err error) {
	h.Run(func(t *shard.Task) { a, err = h.As(r.AS).SubscribeNotifications(t, &r) })
	return a, err
}

// Usual requests.

func of(impu sh.IMPU) sh.UserIdentity { return sh.UserIdentity{Public: impu} }

func key(ref sh.DataReference) sh.Key { return sh.Key{Reference: ref} }

func document(name string) sh.Key {
	return sh.Key{Reference: sh.RefRepositoryData, ServiceIndication: name}
}

func wants(as sh.AS, impu sh.IMPU, k sh.Key) sh.SubscribeNotificationsRequest {
	return sh.SubscribeNotificationsRequest{AS: as, User: of(impu), Key: k}
}

// put writes a document; content "" removes it.
func (h *house) put(as sh.AS, impu sh.IMPU, name string, sequence uint16, content string) error {
	r := sh.RepositoryData{ServiceIndication: name, SequenceNumber: sequence}
	if content != "" {
		r.ServiceData = []byte(content)
	}
	return h.update(as, impu, sh.RefRepositoryData, &sh.Data{Repository: []sh.RepositoryData{r}})
}

// Expectations.

func (h *house) wantError(what string, err error, want *sh.ResultError) {
	h.t.Helper()
	if !errors.Is(err, want) {
		h.t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func (h *house) wantOK(what string, err error) {
	h.t.Helper()
	if err != nil {
		h.t.Errorf("%s: %v", what, err)
	}
}

// wantData pulls data that must be there.
func (h *house) wantData(what string, as sh.AS, impu sh.IMPU, k sh.Key) *sh.Data {
	h.t.Helper()
	a, err := h.pull(as, of(impu), k)
	if err != nil || a.Data == nil {
		h.t.Fatalf("%s: %+v, %v", what, a, err)
	}
	return a.Data
}

// wantNone pulls data that must not be there.
func (h *house) wantNone(what string, as sh.AS, impu sh.IMPU, k sh.Key) {
	h.t.Helper()
	if a, err := h.pull(as, of(impu), k); err != nil || a.Data != nil {
		h.t.Errorf("%s: %+v, %v", what, a, err)
	}
}

// wantDocument pulls a document that must be there.
func (h *house) wantDocument(what string, as sh.AS, impu sh.IMPU, name string, sequence uint16, content string) {
	h.t.Helper()
	d := h.wantData(what, as, impu, document(name))
	h.isDocument(what, d, name, sequence, content)
}

func (h *house) isDocument(what string, d *sh.Data, name string, sequence uint16, content string) {
	h.t.Helper()
	if len(d.Repository) != 1 {
		h.t.Fatalf("%s: %+v", what, d)
	}
	r := d.Repository[0]
	if r.ServiceIndication != name || r.SequenceNumber != sequence || string(r.ServiceData) != content || (r.ServiceData == nil) != (content == "") {
		h.t.Errorf("%s: %s %d %q, want %s %d %q", what, r.ServiceIndication, r.SequenceNumber, r.ServiceData, name, sequence, content)
	}
}

// wantTold waits for the next notification of a service.
func (h *house) wantTold(what string, as sh.AS) *sh.PushNotificationRequest {
	h.t.Helper()
	select {
	case r := <-h.heard[as.Service].told:
		return &r
	case <-h.Late():
		h.t.Fatalf("%s: nothing was told", what)
		return nil
	}
}

func (h *house) wantIMPUs(what string, d *sh.Data, want ...sh.IMPU) {
	h.t.Helper()
	if d.Identifiers == nil || !slices.Equal(d.Identifiers.IMPUs, want) {
		h.t.Errorf("%s: %+v, want %v", what, d.Identifiers, want)
	}
}
