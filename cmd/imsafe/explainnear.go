package main

import (
	"cmp"
	"slices"
	"strings"

	"imsafe/config"
	"imsafe/doctor"
	"imsafe/proof/attack"
)

// meaning is what a kind of threat does, and where it is named.
type meaning struct{ what, why, source string }

const (
	x805Threats = "ITU-T X.805 9"
	stride      = "STRIDE, the six kinds of threats to a system"
)

// meanings are those of the five threats of X.805, and of the six kinds of STRIDE.
func meanings() map[string]meaning {
	return map[string]meaning{
		string(attack.Destruction): {"information or a resource is destroyed", "a registration, a call or a record that is gone serves nobody, and may not come back", x805Threats},
		string(attack.Corruption):  {"information is changed by whoever may not", "who reads it believes, and acts on, what somebody else wanted", x805Threats},
		string(attack.Removal):     {"information or a resource is taken away, or used by whoever has no right to it", "identities, calls and money of users become somebody else's", x805Threats},
		string(attack.Disclosure):  {"information is read by whoever may not", "who talks with whom, where, and what about, cannot be taken back once it is known", x805Threats},
		string(attack.Interruption): {"service stops, or becomes too slow to be used",
			"telephones are for the moment in which help is needed; what cannot be reached then protects nobody", x805Threats},
		string(attack.Spoofing):    {"somebody passes for another", "everything that is granted is granted to an identity: whoever has it has the rest", stride},
		string(attack.Tampering):   {"data are changed on their way or where they lie", "who gets them acts on what somebody else wanted", stride},
		string(attack.Repudiation): {"somebody denies what he has done, and nobody can show it", "what cannot be shown cannot be put right, nor be kept from happening again", stride},
		string(attack.Disclosing):  {"data are shown to whoever may not see them", "what is known once cannot be taken back", stride},
		string(attack.Denial):      {"users are kept from the service", "telephones are for the moment in which help is needed", stride},
		string(attack.Elevation):   {"somebody gets rights that he was not given", "every other rule is for those who keep to their rights", stride},
	}
}

// names are all that can be explained.
func (k *knowledge) names() (all []string) {
	for _, a := range k.c.Attacks {
		all = append(all, a.ID, a.Number)
	}
	for _, p := range k.c.Policy {
		all = append(all, p.ID)
	}
	for _, c := range k.report.Cells {
		all = append(all, c.Name)
	}
	for name := range meanings() {
		all = append(all, name)
	}
	for _, a := range k.set.Judgement.Assets {
		all = append(all, a.ID)
	}
	for _, code := range doctor.Codes() {
		all = append(all, string(code))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// nearAtMost is how many are named to somebody who has mistyped.
const nearAtMost = 6

// near are the names that are most like id, those that contain it first.
func (k *knowledge) near(id string) []string {
	id = strings.ToLower(id)
	distance := map[string]int{}
	names := k.names()
	for _, name := range names {
		lower := strings.ToLower(name)
		if distance[name] = 1 + config.Distance(id, lower); strings.Contains(lower, id) {
			distance[name] = 0
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(distance[a], distance[b]) })
	n := 1
	for n < min(nearAtMost, len(names)) && distance[names[n]] <= max(distance[names[0]], len(id)/3) {
		n++
	}
	return names[:min(n, len(names))]
}
