package management

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"imsafe/secure"
)

// Own stands before what a node shows at an address of loopback: it lets through what this machine's own programs ask for, and its own pages. A page of
// somebody else's whose name leads here would read what is shown (DNS rebinding): its name is not one of this machine's. A page of another origin, of
// another port too, would have the operator's browser ask in his name: browsers say who caused a request (Fetch metadata, RFC 6454).
func Own(next http.Handler, gate *secure.Gate) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, why, said := strange(r)
		if status != 0 && gate.Refuse(secure.ManagementAuthorizationOrigin, secure.Event{Reason: why}) {
			http.Error(w, said, status)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// strange says what is wrong with a request; status is 0 if nothing is.
func strange(r *http.Request) (status int, why, said string) {
	switch {
	case !here(r.Host):
		return http.StatusMisdirectedRequest, "host", "this is for this machine: ask for it by a loopback address"
	case foreign(r):
		return http.StatusForbidden, "origin", "another page has caused this request"
	}
	return 0, "", ""
}

// here reports whether a Host is a name of loopback.
func here(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.Unmap().IsLoopback()
}

// foreign reports whether a request comes from a page of another origin, by what browsers say of it. What changes something must say where it comes from.
func foreign(r *http.Request) bool {
	origin, site := r.Header.Get("Origin"), r.Header.Get("Sec-Fetch-Site")
	switch {
	case origin != "":
		return origin != "http://"+r.Host
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return true
	}
	leads := r.URL.Path == "/" && r.Header.Get("Sec-Fetch-Mode") == "navigate" // a link to the page shows nothing to whoever set it
	return site != "" && site != "same-origin" && site != "none" && !leads
}
