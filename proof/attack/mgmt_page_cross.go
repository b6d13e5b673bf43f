package attack

import (
	"context"
	"net/http"
	"strings"
	"time"

	"imsafe/secure"
)

// pageCross: a page of somebody else's has the operator's browser speak with the page of the node.
func pageCross() Attack {
	controls := []secure.ControlID{secure.ManagementAuthorizationOrigin}
	return Attack{
		ID: "mgmt.page.cross", Number: "MG-07", Title: "a page of somebody else's, in a browser on the host, speaks with page and metrics of the node",
		Text:     "a browser on the host reaches what no stranger does: by a name that leads to loopback it reads, and from another port it acts in the operator's name",
		Services: []Service{Authentication}, Stride: Elevation, Threats: []Threat{Removal, Disclosure}, Module: InfrastructureAdmin,
		Source: "CWE-350 (DNS rebinding); CWE-352; RFC 6454; Fetch metadata", Access: []Access{Page},
		Bounds: Bounds{Packets: 100, Bytes: 100_000, Conns: 6, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "rebind", Position: OffPath, Controls: controls, NotWire: ofOneNode(), Run: rebinds},
			{Name: "request", Position: LocalAccount, Controls: controls, NotWire: ofOneNode(), Run: requestsAcross},
		},
	}
}

// rebinds asks as a page does whose own name leads to loopback by now: its browser takes it for its origin, and the node's answers for its own.
func rebinds(ctx context.Context, f *Field, o *Outcome) error {
	b := f.browser(f.attacker)
	defer b.close()
	read, last, tries := 0, 0, 0
	for _, host := range []string{"rebind.example.org", "127.0.0.1.rebind.example.org", "localhost.rebind.example.org"} {
		for _, path := range []string{"/metrics", "/"} {
			got, said, err := b.ask(ctx, http.MethodGet, path, "", "Host: "+host, "Sec-Fetch-Site: same-origin")
			if err != nil {
				return err
			}
			if last, tries = got.StatusCode, tries+1; strings.Contains(said, "imsafe") && last == http.StatusOK {
				read++
			}
		}
	}
	o.Arrived("%d requests with the names of other hosts, the last is answered %d", tries, last)
	o.Wire(read > 0, "%d of %d requests with another host's name are told what this node shows", read, tries)
	o.Users = read
	return f.operates(ctx, o)
}

// requestsAcross is a page at another port of the same host, which the operator has opened: his browser sends his cookie with what it posts. It has him logged
// out, with a session that it has learned of, and asks for what the metrics tell.
func requestsAcross(ctx context.Context, f *Field, o *Outcome) error {
	operator, err := f.operator(ctx)
	if err != nil {
		return err
	}
	defer operator.close()
	across := f.browser(f.attacker) // the operator's own, as that page has it
	defer across.close()
	across.cookie = operator.cookie
	obeyed, last, tries := 0, 0, 0
	for _, from := range [][]string{{"Origin: http://127.0.0.1:8000"}, {"Origin: null"}, {"Origin: http://localhost:8000", "Sec-Fetch-Site: same-site"},
		{"Origin: "}, {"Origin: ", "Sec-Fetch-Site: none"}} { // a browser that does not say where a form comes from
		got, _, err := across.ask(ctx, http.MethodPost, "/logout", "", from...)
		if err != nil {
			return err
		}
		last, tries = got.StatusCode, tries+1
		for _, c := range got.Cookies() {
			if c.MaxAge < 0 { // his browser obeys
				obeyed++
				operator.cookie = ""
			}
		}
	}
	for _, by := range []struct {
		mode  string
		paths []string
	}{
		{"no-cors", []string{"/metrics", "/proof", "/"}},           // as a picture or a script of that page
		{"navigate", []string{"/metrics", "/proof", "/api/cells"}}, // as a link or a frame: a link to the page itself may lead there
	} {
		for _, path := range by.paths {
			got, _, err := across.ask(ctx, http.MethodGet, path, "", "Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: "+by.mode)
			if err != nil {
				return err
			}
			if last, tries = got.StatusCode, tries+1; last == http.StatusOK || last == http.StatusNotFound {
				obeyed++
			}
		}
	}
	answered, status, err := operator.reads1(ctx)
	if err != nil {
		return err
	}
	o.Arrived("%d requests of a page of another origin, the last is answered %d", tries, last)
	o.Wire(obeyed > 0, "%d of %d requests that another page has caused are obeyed", obeyed, tries)
	o.Peer(!answered, "the operator, who has pressed nothing, is answered %d", status)
	o.Users = obeyed
	return nil
}
