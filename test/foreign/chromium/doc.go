// Package chromium lets the WebRTC stack of headless Chromium be a party of calls through the media anchor of a live node.
//
// A page of a few lines makes offers and measures what it hears; a bridge in the test leads its descriptions into SIP, as a registered user
// over TLS; the other party is a client of ours, or for video another browser. So ICE (the full half), DTLS, SRTP, rtcp-mux and BUNDLE on that side are somebody else's. It is
// for tests only, and has nothing to import.
package chromium
