package sip

import "bytes"

// EmergencyContact reports whether a REGISTER is for emergency calls: each of its Contacts has the URI parameter sos (TS 24.229 5.1.6.2,
// 7.2A.13). One without Contacts is not.
func EmergencyContact(m *Message) bool {
	n := m.Count(HdrContact)
	for i := range n {
		if contact, _, err := m.contact(i); err != nil || !contact.sos {
			return false
		}
	}
	return n > 0
}

// EmergencyURI reports whether a contact address has the parameter sos: its binding is of an emergency registration.
func EmergencyURI(v []byte) bool {
	if bytes.IndexByte(v, ';') < 0 {
		return false // without parameters, as nearly all
	}
	uri, err := ParseURI(v)
	if err != nil {
		return false
	}
	_, sos := uri.Param("sos")
	return sos
}
