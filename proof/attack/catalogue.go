package attack

import "strings"

// All returns the catalogue in the order of its numbers.
func All() []Attack {
	return []Attack{
		identityAsserted(), // CI-07
	}
}

// Find returns the attack with this dotted id or number.
func Find(name string) (Attack, bool) {
	for _, a := range All() {
		if a.ID == name || strings.EqualFold(a.Number, name) {
			return a, true
		}
	}
	return Attack{}, false
}
