package isc

import (
	"slices"
	"strings"
	"time"

	"imsafe/refpoint/cx"
)

// Manifest is what a service platform asks for, checked. It is immutable. Everything that is not in it is refused.
type Manifest struct {
	Service  string // its name, one label of a domain name
	Provider string // who runs it, one label
	Domain   string // the home network
	// Endpoint is where it listens: a sips URI, or an https or wss URI for one that is spoken to in JSON.
	Endpoint string
	PSI      []string // public service identities, SIP URIs in canonical form (TS 23.003 13.5)
	ICSI     []string // IMS communication service identifiers (TS 23.003 13.10)
	Asked    Scopes
	Users    Users
	See      Headers // the kinds of headers it wants to see
	Limits   Limits
	Expires  time.Time // it ends then: the midnight, UTC, after the day that is written
	Triggers []Trigger // in order of priority
	Sh       []Sh

	host string
}

// Users says whose sessions a service takes part in, or whose data it handles.
type Users struct {
	Groups  []string // groups of subscribers
	All     bool     // all of them; an operator grants that aloud
	Consent bool     // each of them must have agreed
}

// Headers is a set of kinds of headers.
type Headers uint8

// The kinds.
const (
	HeadersLocation Headers = 1 << iota // P-Access-Network-Info, Cellular-Network-Info, Geolocation
	HeadersDevice                       // the instance of the device, User-Agent
	HeadersCharging                     // P-Charging-Vector, P-Charging-Function-Addresses
)

var headerNames = []string{"location", "device", "charging"}

// Names returns the kinds of a set as they stand in a manifest.
func (h Headers) Names() []string {
	var names []string
	for i, name := range headerNames {
		if h>>i&1 == 1 {
			names = append(names, name)
		}
	}
	return names
}

// Limits bound what a service may cause.
type Limits struct {
	CPS       int // requests that start a dialog or transaction, a second; inside dialogs it may send ten times as many
	Sessions  int // dialogs at a time; ten requests inside each may come at once
	Fork      int // how often one original dialog identifier may come back
	MediaMbps int // media, in 10^6 bits a second
}

// Trigger says when the service is asked: one initial filter criterion (TS 29.228 B.2.2), and what such a criterion cannot say.
type Trigger struct {
	Case      Case
	Methods   []string
	When      []Condition // one of them holds; none: always
	URI       string      // POSIX extended expression for the Request-URI, "" for any
	Priority  int
	OnFailure cx.DefaultHandling
}

// Case is the part of a session that a trigger is about.
type Case uint8

// The cases. CaseRegistration is a third-party REGISTER (TS 24.229 5.4.1.7).
const (
	CaseOriginating Case = iota
	CaseTerminating
	CaseTerminatingUnregistered
	CaseRegistration
)

var caseNames = []string{"originating", "terminating", "terminating-unregistered", "registration"}

// String returns the name as it stands in a manifest.
func (c Case) String() string { return caseNames[c] }

// Moment is what a Condition waits for.
type Moment uint8

// The moments. Of these a filter criterion can say Always and Unregistered only; the others are for the service, which stays in
// the path until they come.
const (
	Always Moment = iota
	Unregistered
	Busy
	NoAnswer
)

var momentNames = []string{"always", "unregistered", "busy", "no-answer"}

// Condition is one entry of a trigger's when.
type Condition struct {
	Moment Moment
	After  time.Duration // for NoAnswer
}

// String returns it as it stands in a manifest.
func (c Condition) String() string {
	if c.Moment == NoAnswer {
		return momentNames[NoAnswer] + " " + c.After.String()
	}
	return momentNames[c.Moment]
}

// ShData is a Data-Reference (TS 29.328 7.6).
type ShData uint8

// The data that a service may ask for.
const (
	ShRepositoryData        ShData = 0
	ShIMSPublicIdentity     ShData = 10
	ShIMSUserState          ShData = 11
	ShSCSCFName             ShData = 12
	ShInitialFilterCriteria ShData = 13
	ShLocationInformation   ShData = 14
	ShUserState             ShData = 15
	ShChargingInformation   ShData = 16
	ShMSISDN                ShData = 17
	ShPSIActivation         ShData = 18
	ShDSAI                  ShData = 19
)

// ShOps is a set of operations of Sh (TS 29.328 6.1).
type ShOps uint8

// The operations.
const (
	ShPull ShOps = 1 << iota
	ShUpdate
	ShSubscribe
)

var shOpNames = []string{"pull", "update", "subscribe"}

// Names returns the operations of a set as they stand in a manifest.
func (o ShOps) Names() []string {
	var names []string
	for i, name := range shOpNames {
		if o>>i&1 == 1 {
			names = append(names, name)
		}
	}
	return names
}

// shReferences are the names and what TS 29.328 table 7.6.1 lets anybody do with them.
var shReferences = []struct {
	name string
	data ShData
	ops  ShOps
}{
	{"RepositoryData", ShRepositoryData, ShPull | ShUpdate | ShSubscribe},
	{"IMSPublicIdentity", ShIMSPublicIdentity, ShPull | ShSubscribe},
	{"IMSUserState", ShIMSUserState, ShPull | ShSubscribe},
	{"S-CSCFName", ShSCSCFName, ShPull | ShSubscribe},
	{"InitialFilterCriteria", ShInitialFilterCriteria, ShPull | ShSubscribe},
	{"LocationInformation", ShLocationInformation, ShPull},
	{"UserState", ShUserState, ShPull},
	{"ChargingInformation", ShChargingInformation, ShPull},
	{"MSISDN", ShMSISDN, ShPull},
	{"PSIActivation", ShPSIActivation, ShPull | ShUpdate | ShSubscribe},
	{"DSAI", ShDSAI, ShPull | ShUpdate | ShSubscribe},
}

// String returns the standard's name.
func (d ShData) String() string {
	for _, r := range shReferences {
		if r.data == d {
			return r.name
		}
	}
	return "unknown"
}

// Sh is one right on Sh: data, operations, whose, how often.
type Sh struct {
	Data ShData
	// Indications are the Service-Indications of RepositoryData (TS 29.328 6.3.2); the name of the service if none is written.
	Indications []string
	Ops         ShOps
	Users       Users
	Rate        int // operations in Per
	Per         time.Duration
}

// Host returns the host of the endpoint, in lower case: the DNS name in its certificate (RFC 5922 7.1), the name by which the core
// knows its connections, and its Origin-Host on Sh.
func (m *Manifest) Host() string { return m.host }

// Identity returns the URI of an instance: the one URI in its certificate, in the form of SPIFFE.
func (m *Manifest) Identity(instance string) string {
	return "spiffe://" + m.Domain + "/as/" + m.Provider + "/" + m.Service + "/" + instance
}

// Instance returns the instance that a URI of Identity's form names, and whether it is one of this service.
func (m *Manifest) Instance(uri string) (string, bool) {
	instance, ok := strings.CutPrefix(uri, m.Identity(""))
	return instance, ok && nameForm.MatchString(instance)
}

// Expired says whether the manifest has ended.
func (m *Manifest) Expired(now time.Time) bool { return !now.Before(m.Expires) }

// ServerName is the SIP URI by which criteria name the service (TS 29.228 B.2.4).
func (m *Manifest) ServerName() string {
	if strings.HasPrefix(m.Endpoint, "sips:") {
		return m.Endpoint
	}
	return "sip:" + m.host
}

// Criteria returns the initial filter criteria of the triggers, ordered by priority (TS 29.228 B.2.2). The caller owns them.
func (m *Manifest) Criteria() []cx.InitialFilterCriteria {
	list := make([]cx.InitialFilterCriteria, len(m.Triggers))
	for i := range m.Triggers {
		list[i] = m.Triggers[i].criterion(m.ServerName())
	}
	return list
}

// criterion writes a trigger in conjunctive form: case, and one of the methods, and the Request-URI (TS 29.228 B.2.3).
func (t *Trigger) criterion(server string) cx.InitialFilterCriteria {
	tp := &cx.TriggerPoint{CNF: true}
	group := 0
	for _, c := range t.sessionCases() {
		tp.SPTs = append(tp.SPTs, cx.SPT{Groups: []int{group}, Kind: cx.SPTSessionCase, Case: c})
	}
	if len(tp.SPTs) > 0 {
		group++
	}
	for _, method := range t.Methods {
		tp.SPTs = append(tp.SPTs, cx.SPT{Groups: []int{group}, Kind: cx.SPTMethod, Pattern: method})
	}
	if t.URI != "" {
		tp.SPTs = append(tp.SPTs, cx.SPT{Groups: []int{group + 1}, Kind: cx.SPTRequestURI, Pattern: t.URI})
	}
	return cx.InitialFilterCriteria{
		Priority: t.Priority, Trigger: tp, Server: cx.ApplicationServer{ServerName: server, DefaultHandling: t.OnFailure},
	}
}

// sessionCases are the cases of TS 29.228 table E.1 that a trigger stands for. A terminating trigger that waits for "unregistered"
// and for something else stands for both of the terminating ones.
func (t *Trigger) sessionCases() []cx.SessionCase {
	switch t.Case {
	case CaseOriginating:
		return []cx.SessionCase{cx.OriginatingRegistered}
	case CaseTerminatingUnregistered:
		return []cx.SessionCase{cx.TerminatingUnregistered}
	case CaseTerminating:
		unregistered := func(c Condition) bool { return c.Moment == Unregistered }
		var cases []cx.SessionCase
		if len(t.When) == 0 || !slices.ContainsFunc(t.When, unregistered) || len(t.When) > 1 {
			cases = append(cases, cx.TerminatingRegistered)
		}
		if slices.ContainsFunc(t.When, unregistered) {
			cases = append(cases, cx.TerminatingUnregistered)
		}
		return cases
	}
	return nil
}

// psiMethods are the requests outside a dialog that a public service identity answers.
var psiMethods = []string{"INVITE", "MESSAGE", "SUBSCRIBE", "PUBLISH", "REFER", "OPTIONS", "NOTIFY", "INFO"}

// PSICriteria returns the criterion of the service's own public service identities: what is for one of them goes to the service,
// and to nobody else when that fails, since there is no contact behind it (TS 23.228 5.4.12). nil without such identities.
func (m *Manifest) PSICriteria() []cx.InitialFilterCriteria {
	if len(m.PSI) == 0 {
		return nil
	}
	t := Trigger{Case: CaseTerminating, Methods: psiMethods, When: []Condition{{Moment: Always}, {Moment: Unregistered}}, OnFailure: cx.SessionTerminated}
	return []cx.InitialFilterCriteria{t.criterion(m.ServerName())}
}
