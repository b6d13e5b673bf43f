package main

import "slices"

// mutants are all of them.
var mutants = slices.Concat(access, wire, load, platforms, media, core, reader, later, second, inner, calls, more, counts, lines, third)
