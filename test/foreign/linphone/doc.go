// Package linphone lets linphonec, as Debian ships it, use a live node over TLS by SIP Digest with SHA-256: the foreign
// client that knows better than MD5. It is for tests only, and has nothing to import.
package linphone
