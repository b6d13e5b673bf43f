package main

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"imsafe/refpoint/isc"
)

// scaffold is what a new service begins with. NAME, DOMAIN and EXPIRES stand for what they say.
//
//go:embed scaffold
var scaffold embed.FS

type serviceNewCmd struct {
	Name   string `arg:"" help:"Its name: lower-case letters, digits and hyphens. A directory of that name is made."`
	Domain string `help:"Home domain that it is for; by default that of imsafe dev." default:"ims.mnc001.mcc001.3gppnetwork.org"`
	Source string `help:"Directory of imsafe's source, which the service is built with; by default the one that this directory is in." type:"path" placeholder:"DIR"`
}

// Run writes a service with its manifest and its tests.
func (v *serviceNewCmd) Run(a *app) error {
	expires := time.Now().AddDate(1, 0, 0).Format(time.DateOnly)
	fill := strings.NewReplacer("NAME", v.Name, "DOMAIN", v.Domain, "EXPIRES", expires)
	manifest, err := scaffold.ReadFile("scaffold/manifest.txt")
	if err != nil {
		return err
	}
	if _, err := isc.Parse([]byte(fill.Replace(string(manifest)))); err != nil {
		return usage{fmt.Errorf("%q for %q makes no manifest:\n%w", v.Name, v.Domain, err)}
	}
	dir, err := filepath.Abs(v.Name)
	if err != nil {
		return err
	}
	source, inside := sourceOf(filepath.Dir(dir))
	if v.Source != "" {
		given, _ := sourceOf(v.Source)
		if given == "" {
			return usage{fmt.Errorf("%s is not in imsafe's source", v.Source)}
		}
		inside = given == source
		source = given
	}
	if source == "" {
		return usage{errors.New("where is imsafe's source? Say it with --source DIR: a service is built with it")}
	}
	files := map[string]string{v.Name + ".service.toml": "manifest.txt", "main.go": "main.go.txt", "service.go": "service.go.txt", "service_test.go": "service_test.go.txt"}
	if err := os.Mkdir(dir, 0o755); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already and is not overwritten", dir)
	} else if err != nil {
		return err
	}
	for name, from := range files {
		text, err := scaffold.ReadFile("scaffold/" + from)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), []byte(fill.Replace(string(text))), 0o644)
		}
		if err != nil {
			return err
		}
	}
	if !inside {
		if err := moduleOf(dir, v.Name, source); err != nil {
			return err
		}
	}
	if a.json {
		a.print(map[string]string{"directory": dir, "source": source})
		return nil
	}
	a.say("%s: a service that greets whoever calls, with its manifest and its tests.\n", dir)
	a.say("cd %s && go test .                          # calls it on a whole core, no telephone needed", v.Name)
	a.say("imsafe service invite                          # the operator; prints the line with which it asks to be approved")
	a.say("go run .                                       # when it is approved; IMSAFE_CORE and IMSAFE_ENROL say where the core is")
	return nil
}

// isSource finds the module in a go.mod.
var isSource = regexp.MustCompile(`(?m)^module imsafe$`)

// sourceOf returns the root of imsafe's source that dir is in, "" if it is in none.
func sourceOf(dir string) (root string, found bool) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", false
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil {
			if isSource.Match(text) {
				return dir, true
			}
			return "", false // a module of its own
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", false
		}
		dir = up
	}
}

// moduleOf makes a module of dir, which is built with the source at root, with the versions of other modules that it is built with.
func moduleOf(dir, name, root string) error {
	text, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(string(text), "module imsafe\n")
	own := "module " + name + "\n" + rest + "\nrequire imsafe v0.0.0\n\nreplace imsafe => " + root + "\n"
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(dir, "go.mod"), []byte(own), 0o644), os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o644))
}
