// Package diameter lets our Diameter meet others': freeDiameter as a peer, and tshark as the reader of what we send. It holds
// tests only.
package diameter
