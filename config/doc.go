// Package config reads the one configuration file of imsafe: strict TOML with one struct per room.
//
// [Parse] knows every key and refuses what it does not know, what has the wrong type, and what cannot
// work together, each with line, caret and what to write instead; [Config.CheckFiles] then looks whether the
// named files are there and their rights strict. Both happen before any socket opens. [Config.Write]
// prints the file with the comments of the structs below, which are the only documentation of the keys.
// Secrets are names of files here, never values.
//
// The package reads no file, opens nothing and imports no room of ours; node and cmd import it. A Config is
// a value: nothing changes it after Parse, so any goroutine may read it.
package config
