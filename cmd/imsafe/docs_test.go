package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

var update = flag.Bool("update", false, "rewrite the reference in docs/cli.md")

const (
	cliPage = "../../docs/cli.md"
	// What stands below this line is made of the verbs; what stands above is written by hand.
	generated = "<!-- made by go test ./cmd/imsafe -run TestPage -update; do not edit below -->\n"
)

func theParser(t *testing.T) *kong.Kong {
	t.Helper()
	parser, err := new(cli).parser(kong.Writers(io.Discard, io.Discard), kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	return parser
}

func readPage(t *testing.T) (byHand, reference string) {
	t.Helper()
	text, err := os.ReadFile(cliPage)
	if err != nil {
		t.Fatal(err)
	}
	byHand, reference, found := strings.Cut(string(text), generated)
	if !found {
		t.Fatalf("%s has lost the line %q", cliPage, generated)
	}
	return byHand, reference
}

// TestPage compares the reference with the verbs; with -update it writes it.
func TestPage(t *testing.T) {
	byHand, reference := readPage(t)
	want := referenceOf(theParser(t).Model.Node)
	if *update {
		if err := os.WriteFile(cliPage, []byte(byHand+generated+want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if reference != want {
		t.Errorf("%s is stale: go test ./cmd/imsafe -run TestPage -update", cliPage)
	}
}

// referenceOf writes a section for each verb. Flags of a group, which several verbs have, are written once, below.
func referenceOf(root *kong.Node) string {
	var b strings.Builder
	var groups []string
	shared := map[string][]string{}
	for _, verb := range root.Leaves(true) {
		fmt.Fprintf(&b, "\n### imsafe %s\n\n%s\n", verbPath(verb), verb.Help)
		var lines []string
		for _, p := range verb.Positional {
			lines = append(lines, fmt.Sprintf("- `%s` %s\n", p.Summary(), p.Help))
		}
		for _, f := range verb.Flags {
			if f.Group == nil && f.Name != "help" {
				lines = append(lines, flagLine(f))
			}
		}
		for _, f := range verb.Flags {
			if f.Group == nil {
				continue
			}
			name := strings.TrimSuffix(f.Group.Key, ":")
			if link := fmt.Sprintf("- [%s](#%s)\n", name, strings.ReplaceAll(strings.ToLower(name), " ", "-")); !slices.Contains(lines, link) {
				lines = append(lines, link)
			}
			if !slices.Contains(groups, name) {
				groups = append(groups, name)
			}
			if !slices.Contains(shared[name], flagLine(f)) {
				shared[name] = append(shared[name], flagLine(f))
			}
		}
		if len(lines) > 0 {
			b.WriteString("\n" + strings.Join(lines, ""))
		}
	}
	for _, name := range groups {
		fmt.Fprintf(&b, "\n### %s\n\n%s", name, strings.Join(shared[name], ""))
	}
	return b.String()
}

func flagLine(f *kong.Flag) string {
	name := "--" + f.Name
	if f.Short != 0 {
		name = "-" + string(f.Short) + ", " + name
	}
	if !f.IsBool() {
		name += "=" + strings.Trim(f.FormatPlaceHolder(), `"`)
	}
	text := f.Help
	if f.Enum != "" {
		text += " One of " + strings.ReplaceAll(f.Enum, ",", ", ") + "."
	}
	if f.Required {
		text += " Needed."
	}
	return fmt.Sprintf("- `%s` %s\n", name, text)
}

func verbPath(n *kong.Node) string {
	if n.Parent == nil || n.Parent.Type == kong.ApplicationNode {
		return n.Name
	}
	return verbPath(n.Parent) + " " + n.Name
}

// TestPageExamples: every command line of the page by hand, and of README.md, is one that this program takes.
func TestPageExamples(t *testing.T) {
	page, _ := readPage(t)
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	command := regexp.MustCompile(`(?m)^(?:\$ )?(?:imsafe|go run \./cmd/imsafe) +([^#|>&\n]+)`)
	examples := command.FindAllStringSubmatch(page, -1)
	if len(examples) < 10 {
		t.Fatalf("only %d examples found", len(examples))
	}
	for _, m := range append(examples, command.FindAllStringSubmatch(string(readme), -1)...) {
		args := words(m[1])
		if _, err := theParser(t).Parse(args); err != nil {
			t.Errorf("imsafe %s: %v", m[1], err)
		}
	}
}

// words splits a command line at blanks, but not inside single quotes.
func words(line string) []string {
	var all []string
	for _, m := range regexp.MustCompile(`'([^']*)'|(\S+)`).FindAllStringSubmatch(line, -1) {
		all = append(all, m[1]+m[2])
	}
	return all
}

// TestVerbsSayWhatTheyDo: help on every verb, argument and flag, in a sentence.
func TestVerbsSayWhatTheyDo(t *testing.T) {
	for _, verb := range theParser(t).Model.Leaves(true) {
		for name, text := range helps(verb) {
			if !strings.HasSuffix(text, ".") {
				t.Errorf("imsafe %s: the help of %s is no sentence: %q", verbPath(verb), name, text)
			}
		}
	}
}

func helps(verb *kong.Node) map[string]string {
	all := map[string]string{"it": verb.Help}
	for _, p := range verb.Positional {
		all[p.Name] = p.Help
	}
	for _, f := range verb.Flags {
		all["--"+f.Name] = f.Help
	}
	return all
}
