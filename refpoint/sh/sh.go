// Package sh is the Sh reference point between application servers and the HSS (TS 29.328, TS 29.329) as a Go contract: the
// operations, their information elements as typed fields, the results, the data with its XML form (TS 29.328 Annex D), and the
// question that an HSS asks before it answers: may this service do this, with this user (Permission).
//
// Server is what an application server asks; Client is what an HSS pushes to an application server. Both sides are plain interfaces, so
// that a service in the process of the HSS calls it without encoding anything; a wire form dials or serves the same interfaces.
// shtest holds the suite that every implementation passes.
//
// What it does not do: it grants nothing, keeps no state, finds no user. It has the elements that an IMS HSS can fill; those of the
// circuit switched and packet switched domains (location, user state, T-ADS, STN-SR ...) have references, so that they can be granted and
// refused, and no fields.
//
// Ownership: a request belongs to the caller and is not kept by the callee after the call. An answer belongs to the caller, but what it
// points to is shared and must not be changed. Values are not safe for concurrent change; implementations of Server and Client are
// safe for concurrent use from many shards.
//
// Every box and its tests may import it; it imports proto/shard (the procedure that waits) and refpoint/cx, whose identities, filter
// criteria and charging functions are those of Sh too.
package sh

import (
	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
)

// IMPU is a public user or public service identity in canonical form, as on Cx (TS 29.328 7.1.1).
type IMPU = cx.IMPU

// IMPI is a private identity, as on Cx (TS 29.328 7.6.19). It is never logged.
type IMPI = cx.IMPI

// AS is who asks: the Application Server Identity (TS 29.328 7.9). It comes from the proof of a certificate or of the process, set by
// the wire form or by the assembler, never from what the message says.
type AS struct {
	// Service is the name of the enrolled service: permissions are for it.
	Service string
	// Host is the Diameter host of the instance that asks, which is the DNS name in its certificate and the host of its SIP URI.
	// Notifications go there.
	Host string
}

// UserIdentity names a user by exactly one of its fields (TS 29.328 7.1).
type UserIdentity struct {
	Public IMPU
	MSISDN string // international, digits only (TS 29.328 7.1.2)
}

// Server is the HSS as application servers see it. A method may wait; t is the procedure that waits, and the method must be called on
// t's shard. On failure the error is a *ResultError and the answer is nil.
type Server interface {
	// UserData is Sh-Pull, UDR/UDA (TS 29.328 6.1.1). Data that the HSS has not is no error: the answer then has no Data.
	// Errors: ErrUserDataCannotBeRead, ErrUserUnknown, ErrIdentitiesDontMatch, ErrOperationNotAllowed, ErrMissingAVP, ErrTooBusy
	// when the service's budget is spent, ErrUnableToComply.
	UserData(t *shard.Task, r *UserDataRequest) (*UserDataAnswer, error)

	// ProfileUpdate is Sh-Update, PUR/PUA (TS 29.328 6.1.2). Errors: ErrUserDataCannotBeModified, ErrUserUnknown,
	// ErrIdentitiesDontMatch, ErrOperationNotAllowed, ErrUserDataNotRecognized, ErrTransparentDataOutOfSync, ErrTooMuchData,
	// ErrPriorUpdateInProgress, ErrDSAINotAvailable, ErrMissingAVP, ErrTooBusy, ErrUnableToComply.
	ProfileUpdate(t *shard.Task, r *ProfileUpdateRequest) (*ProfileUpdateAnswer, error)

	// SubscribeNotifications is Sh-Subs-Notif, SNR/SNA (TS 29.328 6.1.3). Errors: ErrUserDataCannotBeNotified, ErrUserUnknown,
	// ErrIdentitiesDontMatch, ErrOperationNotAllowed, ErrSubsDataAbsent, ErrDSAINotAvailable, ErrMissingAVP, ErrTooBusy,
	// ErrUnableToComply.
	SubscribeNotifications(t *shard.Task, r *SubscribeNotificationsRequest) (*SubscribeNotificationsAnswer, error)
}

// Client is an application server as the HSS sees it: the push side of Sh.
type Client interface {
	// PushNotification is Sh-Notif, PNR/PNA (TS 29.328 6.1.4). It is told at least once; who hears it twice does nothing the second time.
	// Errors: ErrUserUnknown, ErrNoSubscriptionToData, ErrUserDataNotRecognized, ErrTooMuchData, ErrUnableToComply.
	PushNotification(t *shard.Task, r *PushNotificationRequest) error
}

// Key says which data of a user is meant: the access key of TS 29.328 table 7.6.1 without the user. Which fields count
// depends on Reference.
type Key struct {
	Reference         DataReference
	ServiceIndication string      // of RepositoryData (TS 29.328 7.4)
	ServerName        string      // of InitialFilterCriteria: SIP URI of the application server (TS 29.328 7.10)
	DSAITag           string      // of DSAI (TS 29.328 7.14)
	IdentitySet       IdentitySet // of IMSPublicIdentity (TS 29.328 7.11)
	Domain            Domain      // of LocationInformation and UserState (TS 29.328 7.2)
	CurrentLocation   bool        // of LocationInformation: an active retrieval is wanted (TS 29.328 7.8)
}

// IdentitySet is Identity-Set (TS 29.329 6.3.10).
type IdentitySet uint8

// The values of Identity-Set. An absent AVP means all.
const (
	AllIdentities IdentitySet = iota
	RegisteredIdentities
	ImplicitIdentities
	AliasIdentities
)

// Domain is Requested-Domain (TS 29.329 6.3.7); the zero value is absence.
type Domain uint8

// The values of Requested-Domain, shifted by one so that 0 is absence.
const (
	NoDomain Domain = iota
	CSDomain
	PSDomain
)

// UserDataRequest is UDR (TS 29.328 table 6.1.1.1).
type UserDataRequest struct {
	AS   AS
	User UserIdentity
	IMPI IMPI // User-Name; "" if absent
	Key
}

// UserDataAnswer is UDA (TS 29.328 table 6.1.1.2).
type UserDataAnswer struct {
	Data           *Data // nil: the HSS has no such data
	WildcardedPSI  IMPU  // the range that the identity falls into
	WildcardedIMPU IMPU
}

// ProfileUpdateRequest is PUR (TS 29.328 table 6.1.2.1). Data has what Reference names: one RepositoryData, PSIActivation, or one DSAI.
type ProfileUpdateRequest struct {
	AS        AS
	User      UserIdentity
	IMPI      IMPI
	Reference DataReference
	Data      *Data
}

// ProfileUpdateAnswer is PUA (TS 29.328 table 6.1.2.2).
type ProfileUpdateAnswer struct {
	WildcardedPSI  IMPU
	WildcardedIMPU IMPU
}

// SubscribeNotificationsRequest is SNR (TS 29.328 table 6.1.3.1).
type SubscribeNotificationsRequest struct {
	AS   AS
	User UserIdentity
	IMPI IMPI
	Key
	Unsubscribe bool  // Subs-Req-Type
	SendData    bool  // Send-Data-Indication: the answer shall have the data as it is now
	ExpiryTime  int64 // unix seconds; 0 asks for no end (TS 29.328 7.12)
	OneTime     bool  // One-Time-Notification: the first notification ends it
}

// SubscribeNotificationsAnswer is SNA (TS 29.328 table 6.1.3.2).
type SubscribeNotificationsAnswer struct {
	Data           *Data // with SendData; nil if the HSS has none
	ExpiryTime     int64 // unix seconds; 0: it does not end
	WildcardedPSI  IMPU
	WildcardedIMPU IMPU
}

// PushNotificationRequest is PNR (TS 29.328 table 6.1.4.1).
type PushNotificationRequest struct {
	AS             AS // whom it is for: Destination-Host
	User           UserIdentity
	Data           *Data
	WildcardedPSI  IMPU
	WildcardedIMPU IMPU
}
