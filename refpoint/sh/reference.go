package sh

import "strconv"

// DataReference says which data of a user is meant (TS 29.328 7.6, TS 29.329 6.3.4).
type DataReference uint8

// The references that TS 29.328 table 7.6.1 has.
const (
	RefRepositoryData         DataReference = 0
	RefIMSPublicIdentity      DataReference = 10
	RefIMSUserState           DataReference = 11
	RefSCSCFName              DataReference = 12
	RefInitialFilterCriteria  DataReference = 13
	RefLocationInformation    DataReference = 14
	RefUserState              DataReference = 15
	RefChargingInformation    DataReference = 16
	RefMSISDN                 DataReference = 17
	RefPSIActivation          DataReference = 18
	RefDSAI                   DataReference = 19
	RefServiceLevelTraceInfo  DataReference = 21
	RefIPAddressSecureBinding DataReference = 22
	RefServicePriorityLevel   DataReference = 23
	RefSMSRegistrationInfo    DataReference = 24
	RefUEReachabilityForIP    DataReference = 25
	RefTADSInformation        DataReference = 26
	RefSTNSR                  DataReference = 27
	RefUESRVCCCapability      DataReference = 28
	RefExtendedPriority       DataReference = 29
	RefCSRN                   DataReference = 30
	RefReferenceLocationInfo  DataReference = 31
	RefIMSI                   DataReference = 32
	RefIMSPrivateUserIdentity DataReference = 33
	RefIMEISV                 DataReference = 34
	RefUE5GSRVCCCapability    DataReference = 35
	lastReference                           = RefUE5GSRVCCCapability
)

// Operation is what an application server may do with data. The values are bits, so that they form sets.
type Operation uint8

// The operations of TS 29.328 6.2.
const (
	Pull      Operation = 1 << iota // Sh-Pull
	Update                          // Sh-Update
	Subscribe                       // Sh-Subs-Notif, and Sh-Notif that follows from it
)

// String returns the standard's name, or a number for a set.
func (o Operation) String() string {
	switch o {
	case Pull:
		return "Sh-Pull"
	case Update:
		return "Sh-Update"
	case Subscribe:
		return "Sh-Subs-Notif"
	}
	return "operations " + strconv.Itoa(int(o))
}

// accessKey says which kinds of user identity lead to data. Identity of a service ranges over distinct and wildcarded ones.
type accessKey uint8

const (
	byIMPU accessKey = 1 << iota
	byPSI
	byMSISDN
)

// accessible is a row of TS 29.328 table 7.6.1: no other operation and no other key is allowed with the reference.
type accessible struct {
	name string
	ops  Operation
	keys accessKey
}

var table761 = [lastReference + 1]accessible{
	RefRepositoryData:         {"RepositoryData", Pull | Update | Subscribe, byIMPU | byPSI},
	RefIMSPublicIdentity:      {"IMSPublicIdentity", Pull | Subscribe, byIMPU | byPSI | byMSISDN},
	RefIMSUserState:           {"IMSUserState", Pull | Subscribe, byIMPU},
	RefSCSCFName:              {"S-CSCFName", Pull | Subscribe, byIMPU | byPSI},
	RefInitialFilterCriteria:  {"InitialFilterCriteria", Pull | Subscribe, byIMPU | byPSI},
	RefLocationInformation:    {"LocationInformation", Pull, byIMPU | byMSISDN},
	RefUserState:              {"UserState", Pull, byIMPU | byMSISDN},
	RefChargingInformation:    {"ChargingInformation", Pull, byIMPU | byPSI | byMSISDN},
	RefMSISDN:                 {"MSISDN", Pull, byIMPU | byMSISDN},
	RefPSIActivation:          {"PSIActivation", Pull | Update | Subscribe, byPSI},
	RefDSAI:                   {"DSAI", Pull | Update | Subscribe, byIMPU | byPSI},
	RefServiceLevelTraceInfo:  {"ServiceLevelTraceInfo", Pull | Subscribe, byIMPU | byMSISDN},
	RefIPAddressSecureBinding: {"IPAddressSecureBindingInformation", Pull | Subscribe, byIMPU},
	RefServicePriorityLevel:   {"ServicePriorityLevel", Pull | Subscribe, byIMPU},
	RefSMSRegistrationInfo:    {"SMSRegistrationInfo", Pull | Update, byIMPU | byMSISDN},
	RefUEReachabilityForIP:    {"UEReachabilityForIP", Subscribe, byIMPU | byMSISDN},
	RefTADSInformation:        {"TADSInformation", Pull, byIMPU | byMSISDN},
	RefSTNSR:                  {"STN-SR", Pull | Update, byIMPU | byMSISDN},
	RefUESRVCCCapability:      {"UE-SRVCC-Capability", Pull | Subscribe, byIMPU | byMSISDN},
	RefExtendedPriority:       {"ExtendedPriority", Pull | Subscribe, byIMPU},
	RefCSRN:                   {"CSRN", Pull, byIMPU | byMSISDN},
	RefReferenceLocationInfo:  {"ReferenceLocationInformation", Pull, byIMPU},
	RefIMSI:                   {"IMSI", Pull, byIMPU | byMSISDN},
	RefIMSPrivateUserIdentity: {"IMSPrivateUserIdentity", Pull | Subscribe, byIMPU},
	RefIMEISV:                 {"IMEISV", Pull, byIMPU | byMSISDN},
	RefUE5GSRVCCCapability:    {"UE-5G-SRVCC-Capability", Pull | Subscribe, byIMPU | byMSISDN},
}

// Known says whether the table has the reference.
func (d DataReference) Known() bool { return d <= lastReference && table761[d].ops != 0 }

// String returns the XML tag of the table, or the number.
func (d DataReference) String() string {
	if d.Known() {
		return table761[d].name
	}
	return "data reference " + strconv.Itoa(int(d))
}

// ParseDataReference finds a reference by its name in the table.
func ParseDataReference(name string) (DataReference, bool) {
	for d := range table761 {
		if r := DataReference(d); r.Known() && table761[d].name == name {
			return r, true
		}
	}
	return 0, false
}

// Permits says whether the table allows an operation with the reference at all.
func (d DataReference) Permits(op Operation) bool { return d.Known() && table761[d].ops&op == op }

// Operations returns all that the table allows with the reference.
func (d DataReference) Operations() Operation {
	if !d.Known() {
		return 0
	}
	return table761[d].ops
}

// AccessBy says whether the table lets a user identity lead to the data: one of a service (PSI), of a user, or an MSISDN.
func (d DataReference) AccessBy(msisdn, psi bool) bool {
	switch {
	case !d.Known():
		return false
	case msisdn:
		return table761[d].keys&byMSISDN != 0
	case psi:
		return table761[d].keys&byPSI != 0
	}
	return table761[d].keys&byIMPU != 0
}

// Sensitive says that the data is never granted but by its own name: where somebody is, his number, his cards and devices, and
// whether his services are on (TS 29.328 6.2 lets an operator restrict the table further; table 7.6.1 note 8).
func (d DataReference) Sensitive() bool {
	switch d {
	case RefLocationInformation, RefMSISDN, RefDSAI, RefIPAddressSecureBinding, RefReferenceLocationInfo, RefIMSI,
		RefIMSPrivateUserIdentity, RefIMEISV:
		return true
	}
	return false
}
