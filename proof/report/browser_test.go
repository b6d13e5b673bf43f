package report_test

import (
	"context"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"testing"
	"time"

	"imsafe/proof/evidence"
	"imsafe/proof/runner"
	"imsafe/test/peer"
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
		s.cells.push({text: c.innerText, inside: r.left >= 0 && r.right <= width && c.scrollWidth <= c.clientWidth + 1, tall: r.height}); }
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
		Inside bool    `json:"inside"`
		Tall   float64 `json:"tall"`
	} `json:"cells"`
	Pale  []string `json:"pale"`  // text that is hard to read (WCAG 2 asks for 4.5 to 1)
	Small []string `json:"small"` // what a thumb does not hit
	Wide  []string `json:"wide"`  // what reaches out of the frame
}

// TestPage_browser looks at the page with a real browser: nothing is cut off or too pale, at the width of a telephone and of a desk, in light and dark.
func TestPage_browser(t *testing.T) {
	browser := peer.Need(t, "chromium")
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
	for _, scheme := range []struct {
		setting string
		dark    bool
	}{{"preferredColorScheme=1", false}, {"preferredColorScheme=0", true}} {
		for _, s := range look(t, browser, server.URL, scheme.setting) {
			if s.Dark != scheme.dark {
				t.Errorf("%s: the page is dark: %v", scheme.setting, s.Dark)
			}
			s.judge(t)
		}
	}
}

// look lets the browser look, and reads what it has seen.
func look(t *testing.T, browser, url, scheme string) []sight {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
		"--user-data-dir="+t.TempDir(), "--window-size=1400,3000", "--virtual-time-budget=10000", "--blink-settings="+scheme, "--dump-dom", url).Output()
	if err != nil {
		t.Fatalf("the browser: %v", err)
	}
	m := regexp.MustCompile(`(?s)<pre id="seen">(.*?)</pre>`).FindSubmatch(out)
	var seen []sight
	if m == nil || json.Unmarshal([]byte(html.UnescapeString(string(m[1]))), &seen) != nil || len(seen) != 2 {
		t.Fatalf("the browser has seen nothing:\n%.2000s", out)
	}
	return seen
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
		if !c.Inside || c.Tall < 44 || !regexp.MustCompile(`(?s)[✓~↻✗].*(proven|claimed|stale|gap)`).MatchString(c.Text) {
			t.Errorf("%d wide: the cell %q is inside: %v, and %.0f tall", s.Width, c.Text, c.Inside, c.Tall)
		}
	}
	if len(s.Pale) > 0 || len(s.Small) > 0 {
		t.Errorf("%d wide, dark %v: too pale %q, too small %q", s.Width, s.Dark, s.Pale, s.Small)
	}
}
