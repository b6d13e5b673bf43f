package sip

// Method is a SIP request method. MethodOther is any extension method; its name stands in Message.MethodName.
// Method names are case-sensitive (RFC 3261 7.1).
type Method uint8

// The methods that have a number of their own, with the document that defines each.
const (
	MethodOther Method = iota
	INVITE             // RFC 3261 13
	ACK                // RFC 3261 17.1.1.3
	BYE                // RFC 3261 15
	CANCEL             // RFC 3261 9
	REGISTER           // RFC 3261 10
	OPTIONS            // RFC 3261 11
	INFO               // RFC 6086
	PRACK              // RFC 3262
	UPDATE             // RFC 3311
	SUBSCRIBE          // RFC 6665
	NOTIFY             // RFC 6665
	REFER              // RFC 3515
	MESSAGE            // RFC 3428
	PUBLISH            // RFC 3903
	numMethods
)

// methodNames is indexed by Method.
var methodNames = [numMethods]string{
	"", "INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "OPTIONS", "INFO", "PRACK", "UPDATE",
	"SUBSCRIBE", "NOTIFY", "REFER", "MESSAGE", "PUBLISH",
}

// String returns the method's name on the wire, "" for MethodOther.
func (m Method) String() string {
	if m < numMethods {
		return methodNames[m]
	}
	return ""
}

// ParseMethod returns the Method called name, MethodOther if it is none of ours. The comparison is exact.
func ParseMethod(name []byte) Method {
	m := MethodOther
	switch len(name) {
	case 3:
		m = BYE
		if name[0] == 'A' {
			m = ACK
		}
	case 4:
		m = INFO
	case 5:
		m = REFER
		if name[0] == 'P' {
			m = PRACK
		}
	case 6:
		switch name[0] {
		case 'I':
			m = INVITE
		case 'C':
			m = CANCEL
		case 'U':
			m = UPDATE
		case 'N':
			m = NOTIFY
		}
	case 7:
		switch name[0] {
		case 'O':
			m = OPTIONS
		case 'M':
			m = MESSAGE
		case 'P':
			m = PUBLISH
		}
	case 8:
		m = REGISTER
	case 9:
		m = SUBSCRIBE
	}
	if m != MethodOther && string(name) == methodNames[m] {
		return m
	}
	return MethodOther
}

// MakesDialog reports whether a request of this method, outside a dialog, may start one: INVITE (RFC 3261 12.1),
// SUBSCRIBE and REFER (RFC 6665 4.5.2, RFC 3515). A proxy that wants to stay in the path record-routes these.
func (m Method) MakesDialog() bool { return m == INVITE || m == SUBSCRIBE || m == REFER }
