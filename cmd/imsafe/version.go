package main

import "runtime/debug"

type versionCmd struct{}

// build is from what this program was built, by which another process of it is known.
func build() string {
	info, known := debug.ReadBuildInfo()
	if !known {
		return "unknown"
	}
	text := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" || s.Key == "vcs.modified" {
			text += " " + s.Value
		}
	}
	return text
}

// Run prints what the program was built from.
func (*versionCmd) Run(a *app) error {
	info, known := debug.ReadBuildInfo()
	version := map[string]string{"version": "unknown"}
	if known {
		version["version"], version["go"] = info.Main.Version, info.GoVersion
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" || s.Key == "vcs.time" || s.Key == "vcs.modified" {
				version[s.Key] = s.Value
			}
		}
	}
	if a.json {
		a.print(version)
	}
	a.say("imsafe %s, %s %s", version["version"], version["go"], version["vcs.revision"])
	return nil
}
