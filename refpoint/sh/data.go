package sh

import "imsafe/refpoint/cx"

// Data is Sh-Data, what User-Data carries (TS 29.328 Annex C, D). A part that is nil or empty is not there.
type Data struct {
	Identifiers *PublicIdentifiers
	Repository  []RepositoryData
	IMS         *IMSData
	// Deleted are the public identities whose removal is notified (DeletedIdentities, TS 29.328 6.1.4.1).
	Deleted []IMPU
}

// PublicIdentifiers are the names of a user (TS 29.328 C.2).
type PublicIdentifiers struct {
	IMPUs          []IMPU   // IMSPublicIdentity
	MSISDNs        []string // digits
	WildcardedPSI  IMPU
	WildcardedIMPU IMPU
}

// RepositoryData is one set of transparent data (TS 29.328 7.4, 7.6.1).
type RepositoryData struct {
	ServiceIndication string
	SequenceNumber    uint16
	// ServiceData is the content of the element, octet by octet: XML that stands on its own (CheckServiceData). nil: the element
	// is not there, which removes the data or says that there is none; empty but not nil: it is empty.
	ServiceData []byte
}

// NextSequenceNumber returns what an update or a removal of data with sequence number n carries; 0 is for new data only
// (TS 29.328 6.1.2.1).
func NextSequenceNumber(n uint16) uint16 { return uint16(uint32(n)%65535) + 1 }

// IMSData is Sh-IMS-Data (TS 29.328 C.3). The pointers tell an empty element, which means that there is no such data, from
// one that is absent.
type IMSData struct {
	SCSCFName     *string                     // SCSCFName; "" nobody serves the user
	Criteria      *[]cx.InitialFilterCriteria // IFCs
	UserState     *IMSUserState
	Charging      *cx.ChargingInformation
	PSIActivation *bool // true: ACTIVE
	DSAI          []DSAI
}

// IMSUserState is the registration state of an identity (TS 29.328 7.6.3).
type IMSUserState uint8

// The values of IMSUserState (TS 29.328 table D.1).
const (
	NotRegistered IMSUserState = iota
	Registered
	RegisteredUnregServices
	AuthenticationPending
)

// String returns the standard's name.
func (s IMSUserState) String() string {
	if s > AuthenticationPending {
		return "unknown"
	}
	return [...]string{"NOT_REGISTERED", "REGISTERED", "REGISTERED_UNREG_SERVICES", "AUTHENTICATION_PENDING"}[s]
}

// DSAI is an instance of Dynamic Service Activation Info: whether a service is on for an identity (TS 29.328 7.6.11).
type DSAI struct {
	Tag    string
	Active bool
}
