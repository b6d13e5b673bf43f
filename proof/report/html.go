package report

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"strings"

	"imsafe/proof/cells"
	"imsafe/proof/evidence"
	"imsafe/proof/tables"
	"imsafe/proof/tvra"
)

//go:embed page.html page.css
var pageFiles embed.FS

// HTML writes the report as one file that needs nothing else: no script, no font, no picture, no address.
func (r *Report) HTML() ([]byte, error) {
	style, err := pageFiles.ReadFile("page.css")
	if err != nil {
		return nil, err
	}
	t, err := template.New("page.html").Funcs(helpers()).ParseFS(pageFiles, "page.html")
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	var b bytes.Buffer
	err = t.Execute(&b, page{Report: r, Style: template.CSS(style), Services: cells.Services()}) // the file is ours
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return b.Bytes(), nil
}

// page is what the template sees.
type page struct {
	*Report
	Style    template.CSS
	Services []string
}

// few lines of a list stand open; the rest are folded, so that the twelve cells stay in sight.
const few = 6

func helpers() template.FuncMap {
	return template.FuncMap{
		"sign":    Sign,
		"class":   class,
		"anchor":  anchor,
		"join":    func(all []string) string { return strings.Join(all, ", ") },
		"first":   func(all []string) []string { return all[:min(few, len(all))] },
		"rest":    func(all []string) []string { return all[min(few, len(all)):] },
		"short":   func(sum string) string { return sum[:min(12, len(sum))] },
		"moment":  moment,
		"state":   func(f evidence.Finding) evidence.State { return f.State() },
		"factors": tables.FactorNames,
		"factor":  func(s tvra.Side, name string) string { return s.Factors.Name(name) },
		"bar":     func(n, of int) int { return n * 100 / max(of, 1) },
		"bands":   func() []string { return []string{"critical", "major", "minor"} },
		"door":    func(all []cells.Cell, i int) bool { return i%len(cells.Services()) == 0 },
		"percent": func(on, off int64) string { return percent(on, off) },
	}
}

func class(s evidence.State) string {
	if s == evidence.StateNone {
		return "none"
	}
	return string(s)
}

// anchor makes an address of a name.
func anchor(kind, name string) string {
	return kind + "-" + strings.NewReplacer(" ", "-", ".", "-", "/", "-", ",", "").Replace(strings.ToLower(name))
}

// moment is a time of RFC 3339 for people, to the minute.
func moment(t string) string {
	date, rest, found := strings.Cut(t, "T")
	if !found || len(rest) < 5 {
		return t
	}
	return date + " " + rest[:5] + " UTC"
}

func percent(on, off int64) string {
	if off == 0 {
		return "not measured"
	}
	return fmt.Sprintf("%+d %%", (on-off)*100/off)
}
