package report_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"

	"imsafe/proof/evidence"
	"imsafe/proof/runner"
	"imsafe/test/browser"
)

// looking opens the page in frames as wide as a telephone and a desk, opens everything that can be opened, and writes down what a person would see.
const looking = `<!doctype html><body style="margin:0"><pre id="seen"></pre><script>
const seen = [];
const light = c => { const v = c.match(/[\d.]+/g).slice(0, 3).map(x => { x /= 255; return x <= .04045 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4; });
	return .2126 * v[0] + .7152 * v[1] + .0722 * v[2]; };
const opaque = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (!/, 0\)$|transparent/.test(c)) return c; } return "rgb(255,255,255)"; };
const contrast = e => { const a = light(getComputedStyle(e).color), b = light(opaque(e)); return (Math.max(a, b) + .05) / (Math.min(a, b) + .05); };
const look = (d, width) => {
	const s = {width, page: d.documentElement.scrollWidth, dark: light(getComputedStyle(d.body).backgroundColor) < .2, cells: [], pale: [], small: [], wide: []};
	for (const c of d.querySelectorAll(".cell")) { const r = c.getBoundingClientRect();
		s.cells.push({text: c.innerText, name: c.getAttribute("aria-label"), inside: r.left >= 0 && r.right <= width && c.scrollWidth <= c.clientWidth + 1, tall: r.height}); }
	for (const c of d.querySelectorAll(".s, .cell, .soft, .why, p, h1, td, .x")) if (contrast(c) < 4.5 && c.innerText) s.pale.push(c.className + ": " + c.innerText.slice(0, 30));
	for (const c of d.querySelectorAll("main > section > details > summary, .cards summary")) if (c.getBoundingClientRect().height < 44) s.small.push(c.innerText.slice(0, 30));
	for (const t of d.querySelectorAll("details")) t.open = true;
	for (const c of d.querySelectorAll("main *")) if (c.getBoundingClientRect().right > width + 1) s.wide.push(c.tagName + " " + c.className + ": " + c.innerText.slice(0, 30));
	s.opened = d.documentElement.scrollWidth;
	s.wide = s.wide.slice(0, 5); s.pale = s.pale.slice(0, 5);
	return s;
};
let open = 2;
for (const width of [390, 1280]) {
	const f = document.createElement("iframe");
	f.style = "border:0;width:" + width + "px;height:3000px";
	f.src = "/page.html";
	f.onload = () => { seen.push(look(f.contentDocument, width)); if (--open == 0) document.getElementById("seen").textContent = JSON.stringify(seen); };
	document.body.append(f);
}
</script>`

// sight is what was seen in one frame.
type sight struct {
	Width  int  `json:"width"`
	Page   int  `json:"page"`   // wide, everything shut
	Opened int  `json:"opened"` // wide, everything open
	Dark   bool `json:"dark"`
	Cells  []struct {
		Text   string  `json:"text"`
		Name   string  `json:"name"` // as a reader reads it
		Inside bool    `json:"inside"`
		Tall   float64 `json:"tall"`
	} `json:"cells"`
	Pale  []string `json:"pale"`  // text that is hard to read (WCAG 2 asks for 4.5 to 1)
	Small []string `json:"small"` // what a thumb does not hit
	Wide  []string `json:"wide"`  // what reaches out of the frame
}

// TestPage_browser looks at the page with a real browser: nothing is cut off or too pale, at the width of a telephone and of a desk, in light and dark.
func TestPage_browser(t *testing.T) {
	c := ideal()
	c.Weaker = runner.Weaker()
	c.Stale = map[string]string{c.Records[0].Key(): "the program is another than the one that was attacked"}
	c.Records[6].Verdict = evidence.Inconclusive
	c.Records[9].Verdict, c.Records[9].Oracles[0].Reached = evidence.Succeeded, true
	c.Subject.Weakenings = []evidence.Weakening{{Name: "ipsec-handset", Meaning: "weaker algorithms for telephones", Controls: []string{"ci.confidentiality.algorithms"}}}
	page, err := compute(t, c).HTML()
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/page.html", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(page) })
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, looking) })
	server := httptest.NewServer(mux)
	defer server.Close()
	tab := browser.Start(t)
	for _, dark := range []bool{false, true} {
		var seen []sight
		tab.Size(1400, 3000, dark)
		tab.Go(server.URL)
		tab.Until(`document.getElementById("seen").textContent`)
		tab.Eval(`JSON.parse(document.getElementById("seen").textContent)`, &seen)
		for _, s := range seen {
			if s.Dark != dark {
				t.Errorf("the page is dark: %v, and should be: %v", s.Dark, dark)
			}
			s.judge(t)
		}
	}
	prints(t, tab, server.URL+"/page.html")
}

// prints goes to the page with the keyboard alone, and looks at it as it would be printed: in light colours, with everything open.
func prints(t *testing.T, tab *browser.Tab, url string) {
	t.Helper()
	for _, window := range []struct {
		name  string
		width int
		dark  bool
	}{{"desk", 1280, false}, {"telephone", 390, true}} {
		tab.Size(window.width, 900, window.dark)
		tab.Go(url)
		tab.Shot("report-" + window.name)
		tab.Press("Tab")
		tab.Until(`document.activeElement.matches(".skip") && document.activeElement.getBoundingClientRect().top >= 0`)
		tab.Eval(`document.querySelector("a.cell").focus()`, nil)
		tab.Press("Enter")
		tab.Until(`document.querySelector("#cell-c-i-availability").closest("details").open`)
		tab.Shot("report-" + window.name + "-cell")
	}
	tab.Size(720, 1000, true)
	tab.Print()
	var found []string
	tab.Eval(`[...document.querySelectorAll("details > :not(summary)")].filter(e => !e.getBoundingClientRect().height && e.textContent.trim()).map(e => "folded: " + e.textContent.trim().slice(0, 40)).concat(
		getComputedStyle(document.body).backgroundColor === "rgb(255, 255, 255)" ? [] : ["dark paper"], document.documentElement.scrollWidth > innerWidth ? ["wider than the paper"] : []).slice(0, 5)`, &found)
	if found = append(found, tab.Complaints()...); len(found) > 0 {
		t.Errorf("in print: %q", found)
	}
}

func (s *sight) judge(t *testing.T) {
	t.Helper()
	if s.Page > s.Width || s.Opened > s.Width {
		t.Errorf("%d wide: the page takes %d, and %d with everything open: %q", s.Width, s.Page, s.Opened, s.Wide)
	}
	if len(s.Cells) != 12 {
		t.Errorf("%d wide: %d cells", s.Width, len(s.Cells))
	}
	for _, c := range s.Cells {
		if !c.Inside || c.Tall < 44 || !regexp.MustCompile(`(?s)[✓~↻✗].*(proven|claimed|stale|gap)`).MatchString(c.Text) ||
			!regexp.MustCompile(`^[CIS]-[CIS] [a-z]+: (proven|claimed|stale|gap), `).MatchString(c.Name) {
			t.Errorf("%d wide: the cell %q, read %q, is inside: %v, and %.0f tall", s.Width, c.Text, c.Name, c.Inside, c.Tall)
		}
	}
	if len(s.Pale) > 0 || len(s.Small) > 0 {
		t.Errorf("%d wide, dark %v: too pale %q, too small %q", s.Width, s.Dark, s.Pale, s.Small)
	}
}
