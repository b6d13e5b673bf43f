package web_test

import (
	"context"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"imsafe/client/ue"
	"imsafe/node"
	"imsafe/proof/evidence"
	"imsafe/test/browser"
	"imsafe/test/live"
	"imsafe/trace/ladder"
	"imsafe/web"
)

// proven is a proof in which everything is well but one cell.
func proven(n *node.Node, told *ladder.Ring) web.Proof {
	p := web.Proof{Sentence: "11 of 12 cells are proven", Made: "2026-11-26 01:00 UTC", Page: []byte("<!doctype html><title>proof</title><p>the whole")}
	for _, door := range []string{"C-I", "I-S", "C-S"} {
		for _, service := range []string{"availability", "integrity", "confidentiality", "authentication"} {
			c := web.Cell{Name: door + " " + service, Door: door, Service: service, State: "proven"}
			for _, row := range n.Policy().Rows {
				if row.Door == door && evidence.ServiceOf(row.Service) == service && row.Level == "required" {
					c.Mechanisms = append(c.Mechanisms, web.Mechanism{ID: row.Control, Mechanism: row.Mechanism, Clause: row.Clause, State: "proven"})
				}
			}
			c.Proven, c.Total = len(c.Mechanisms), len(c.Mechanisms)
			p.Cells = append(p.Cells, c)
		}
	}
	p.Cells[6].State, p.Cells[6].Why = "claimed", []string{"is.confidentiality.mtls: it was not run here"}
	run := web.Run{Key: "direct/1/ci.register.wrong-res/on.json", Variant: "guess", Access: "tls", Expected: "ci.authentication.aka", Off: []string{}, Verdict: "blocked", Delivered: "a REGISTER was answered",
		Oracles: []evidence.Oracle{{Kind: "wire", Outside: true, Saw: "403 after the answer"}, {Kind: "event", Saw: "ci.authentication.aka refused 1 (digest-mismatch)"}}, Start: "2026-11-26T01:00:00Z", Ladders: 1}
	without := run
	without.Key, without.Off, without.Verdict, without.Ladders = "off", []string{"ci.authentication.aka"}, "succeeded", 0
	p.Cells[3].Attacks = []web.Attack{{ID: "ci.register.wrong-res", Number: "CI-02", Title: "Registers with a wrong answer to the challenge", Text: "Somebody who has no card guesses.",
		Source: "TS 33.203 6.1.1", State: "proven", BlockedBy: []string{"ci.authentication.aka"}, Succeeded: true, Runs: []web.Run{run, without}}}
	p.Stories = func(key string) []ladder.Story {
		if key != run.Key {
			return nil
		}
		return told.All()
	}
	return p
}

// refusedStory is the ladder of a registration with a wrong answer.
func refusedStory() *ladder.Ring {
	r, at := ladder.NewRing(4), time.Unix(1_800_000_000, 0)
	first := r.Add("call", ladder.Arrow{At: at, From: ladder.UE, To: ladder.PCSCF, What: "REGISTER", Cover: ladder.TLS}, "sip:mallory@example.org")
	inner := r.Add("call", ladder.Arrow{At: at, From: ladder.PCSCF, To: ladder.SCSCF, What: "REGISTER", Cover: ladder.Process})
	r.Check(inner, ladder.Check{Control: "ci.authentication.aka", Reason: "digest-mismatch", Did: ladder.Refused})
	r.Answer(inner, ladder.Arrow{At: at, What: "403 Forbidden", Status: 403})
	r.Answer(first, ladder.Arrow{At: at, What: "403 Forbidden", Status: 403})
	return r
}

// eye is what a person would see of a view. The measure of pale is WCAG 2: 4.5 to 1.
const eye = `(() => {
	const light = c => { const v = c.match(/[\d.]+/g).slice(0, 3).map(x => { x /= 255; return x <= .04045 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4; }); return .2126 * v[0] + .7152 * v[1] + .0722 * v[2]; };
	const ground = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (!/, 0\)$|transparent/.test(c)) return c; } return "rgb(255,255,255)"; };
	const seen = [...document.querySelectorAll("header *, main *")].filter(e => !e.closest("svg") && e.getClientRects().length);
	const pale = seen.filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())).filter(e => { const a = light(getComputedStyle(e).color), b = light(ground(e)); return (Math.max(a, b) + .05) / (Math.min(a, b) + .05) < 4.5; });
	const small = seen.filter(e => e.matches("a.cell, a.row, button, .brand")).filter(e => e.offsetHeight < 40);
	const wide = seen.filter(e => e.getBoundingClientRect().right > innerWidth + 1);
	const cut = seen.filter(e => e.matches(".row > div, dd, h1, .lines") && e.scrollWidth > e.clientWidth + 1);
	const name = e => e.getAttribute("aria-label") || e.innerText.trim();
	const mute = seen.filter(e => e.matches("a, button, input") && !name(e) && !e.labels?.length || e.matches("a.cell") && !name(e).startsWith(e.dataset.cell + ": "));
	return [...mute.map(e => "without a name: " + e.outerHTML), ...cut.map(e => "cut off: " + e.innerText), ...pale.map(e => "too pale: " + e.innerText), ...small.map(e => "too small: " + e.innerText), ...wide.map(e => "too wide: " + e.className + " " + e.innerText),
		...(document.documentElement.scrollWidth > innerWidth ? ["the page is wider than the window"] : [])].slice(0, 5).map(s => s.slice(0, 120));
})()`

// TestPage_browser goes through the page with a real browser beside a real node, at the width of a desk and of a telephone, in light and dark: it logs in, sees
// the twelve cells, opens one, an attack of it and the ladder of its messages; lets a client register and sees its ladder; and sees cells turn.
func TestPage_browser(t *testing.T) {
	tab := browser.Start(t)
	n := live.Start(t, live.Options{Ladders: 16})
	var weak atomic.Bool // what the node would say if its configuration were weaker
	policy := func() node.PolicyReport {
		r := n.Policy()
		for i := range r.Rows {
			r.Rows[i].State, r.Rows[i].By = "on", nil
			if weak.Load() && r.Rows[i].Control == "ci.confidentiality.algorithms" {
				r.Rows[i].State, r.Rows[i].By = "weakened", []string{"ipsec-handset"}
			}
		}
		r.Weakenings = nil
		return r
	}
	proof := proven(n.Node, refusedStory())
	page := pageOf(web.Config{Policy: policy, Proof: func() web.Proof { return proof }, Ladders: n.Ladders})
	server := httptest.NewServer(page)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	look := func(name string) {
		t.Helper()
		var found []string
		if tab.Eval(eye, &found); len(found) > 0 {
			t.Errorf("%s: %q", name, found)
		}
		if found := tab.Complaints(); len(found) > 0 {
			t.Errorf("%s: the page complains: %q", name, found)
		}
		tab.Shot(name)
	}
	for i, window := range []struct {
		name          string
		width, height int
		dark          bool
	}{{"desk", 1280, 900, false}, {"telephone", 390, 844, true}, {"telephone-light", 390, 844, false}, {"desk-dark", 1280, 900, true}} {
		weak.Store(false)
		tab.Size(window.width, window.height, window.dark)
		if i == 0 {
			tab.Go(server.URL + "/")
			tab.Until(`document.querySelector("form #code")`)
			look(window.name + "-login")
			code, err := page.Login.Code()
			if err != nil {
				t.Fatal(err)
			}
			tab.Go(server.URL + "/#code=" + code)
			tab.Until(`document.querySelectorAll("a.cell").length === 12 && !location.href.includes("code")`)
		}
		tab.Eval(`location.hash = ""`, nil)
		tab.Until(`document.querySelectorAll("a.cell.proven").length === 11 && document.querySelectorAll("a.cell.claimed").length === 1`)
		weak.Store(true)
		tab.Until(`document.querySelector('[data-cell="C-I confidentiality"]').matches(".stale")`)
		register(t, n, window.name, []ue.Transport{ue.IPsecUDP, ue.TLS}[i%2])
		tab.Until(`document.querySelectorAll("#ladders a").length > ` + string('0'+rune(i)))
		stranger(t, n)
		tab.Until(`document.querySelector('[data-cell="C-I authentication"] .shots').innerText.includes("refused")`)
		look(window.name + "-cells")

		if i == 3 {
			byKeyboard(t, tab, &weak, func(open func(string)) { toLadder(tab, open, `.arrow.stopped`, window.name, look) })
		} else {
			toLadder(tab, tab.Click, `.arrow.stopped .what`, window.name, look)
		}
		tab.Eval(`location.hash = ""`, nil)
		tab.Until(`[...document.querySelectorAll("#ladders a")].some(a => a.innerText.includes("REGISTER") && a.innerText.includes("200"))`)
		var took float64
		tab.Eval(`new Promise(done => { const began = performance.now(); [...document.querySelectorAll("#ladders a")].find(a => a.innerText.includes("REGISTER") && a.innerText.includes("200")).click();
			const look = () => document.querySelectorAll(".ladder .arrow").length >= 18 ? done(performance.now() - began) : requestAnimationFrame(look); look(); })`, &took)
		t.Logf("%s: %.0f ms from the click to the ladder of a registration", window.name, took)
		tab.Until(`document.querySelectorAll(".ladder .arrow").length >= 18 && [...document.querySelectorAll(".party")].some(p => p.textContent === "HSS")`)
		tab.Click(`.ladder .passed .what`)
		tab.Until(`document.querySelector(".detail").innerText.includes("CSeq")`)
		look(window.name + "-registration")
	}
	tab.Print()
	tab.Until(`getComputedStyle(document.body).backgroundColor === "rgb(255, 255, 255)"`)
	look("print")
	tab.Size(1280, 900, false)
	tab.Click("#leave")
	tab.Until(`document.querySelector("form #code")`)
	var status int
	if tab.Eval(`fetch("api/cells").then(r => r.status)`, &status); status != 401 {
		t.Errorf("logged out, and the cells are there: %d", status)
	}
}

// byKeyboard opens things with nothing else, while the page is drawn anew below its fingers.
func byKeyboard(t *testing.T, tab *browser.Tab, weak *atomic.Bool, then func(open func(string))) {
	t.Helper()
	tab.Eval(`document.querySelector('[data-cell="C-I authentication"]').focus()`, nil)
	weak.Store(false)
	tab.Until(`document.querySelector('[data-cell="C-I confidentiality"]').matches(".proven") && document.querySelector("#told").innerText.includes("C-I confidentiality is proven")`)
	tab.Until(`document.activeElement.dataset.cell === "C-I authentication"`)
	tab.Press("Tab")
	tab.Until(`document.activeElement.dataset.cell === "I-S availability"`)
	then(func(selector string) {
		t.Helper()
		tab.Until("document.querySelector(`" + selector + "`)")
		tab.Eval("document.querySelector(`"+selector+"`).focus()", nil)
		tab.Press("Enter")
	})
}

// toLadder goes from the twelve cells to the message that was refused.
func toLadder(tab *browser.Tab, open func(selector string), arrow, name string, look func(string)) {
	open(`[data-cell="C-I authentication"]`)
	tab.Until(`document.activeElement.tagName === "H1" && document.title.startsWith("C-I authentication")`)
	tab.Until(`document.querySelector("h1").innerText === "C-I authentication" && document.querySelector('[href*="wrong-res"]')`)
	look(name + "-cell")
	open(`[href*="wrong-res"]`)
	tab.Until(`document.querySelectorAll(".run").length === 2 && document.body.innerText.includes("403 after the answer")`)
	look(name + "-attack")
	open(`.run a`)
	tab.Until(`document.querySelectorAll(".ladder .arrow").length === 4 && document.querySelectorAll(".ladder .cross").length === 1`)
	open(arrow)
	tab.Until(`document.querySelector(".detail").innerText.includes("digest-mismatch")`)
	look(name + "-attack-ladder")
	tab.Press("Escape")
	tab.Until(`document.querySelector(".detail").hidden`)
}

// register lets a new client register, for a look at that window.
func register(t *testing.T, n *live.Node, name string, transport ue.Transport) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	scheme := live.AKAv2
	if transport == ue.IPsecUDP {
		scheme = live.AKAv1
	}
	u := live.NewUsers("at-the-"+name, 1, scheme)
	if err := n.Provision(ctx, u...); err != nil {
		t.Fatal(err)
	}
	x, err := n.UE(u[0], transport, nil)
	if err == nil {
		_, err = x.Register(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// stranger sends a request without a registration.
func stranger(t *testing.T, n *live.Node) {
	t.Helper()
	u := live.NewUsers("stranger", 1, live.AKAv1)[0]
	p, err := n.Dial("tls", u, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Write(p.Request("MESSAGE", u.IMPU, u.IMPU, "hello", "Content-Type: text/plain")); err != nil {
		t.Fatal(err)
	}
	if m, err := p.Read(time.Minute); err != nil || m.Status() != 403 {
		t.Fatalf("a stranger's message: %d, %v", m.Status(), err)
	}
}
