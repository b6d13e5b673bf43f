package target

import (
	"embed"
	"slices"
	"strings"
)

//go:embed profiles/*.toml
var profiles embed.FS

// Profiles are the names of the files that ship with the program, sorted. None of them has an owner's leave in it.
func Profiles() []string {
	var names []string
	entries, _ := profiles.ReadDir("profiles") // embedded: it is there
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".toml"))
	}
	slices.Sort(names)
	return names
}

// Profile returns the text of one; false if there is none of this name.
func Profile(name string) (string, bool) {
	text, err := profiles.ReadFile("profiles/" + name + ".toml")
	return string(text), err == nil
}
