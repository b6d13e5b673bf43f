// Package openssl lets OpenSSL's DTLS, as Debian ships it, be the far end of a handshake with the media anchor: as client and as server, with
// the SRTP profiles of RFC 7714, and with what must be refused. OpenSSL does no SRTP, so a leg of ours is given the keys that OpenSSL has
// exported: it hears the anchor only if both programs have derived the same. It is for tests only, and has nothing to import.
package openssl
