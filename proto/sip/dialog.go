package sip

// MakesDialog reports whether a request of this method, outside a dialog, may start one: INVITE (RFC 3261 12.1),
// SUBSCRIBE and REFER (RFC 6665 4.5.2, RFC 3515). A proxy that wants to stay in the path record-routes these.
func (m Method) MakesDialog() bool { return m == INVITE || m == SUBSCRIBE || m == REFER }
