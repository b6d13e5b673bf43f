package main

import (
	"cmp"
	"fmt"
	"slices"

	"imsafe/trace/ladder"
)

// What a bundle keeps of the messages of a run: so many stories, each so long. An attack may send thousands of each.
const (
	targetLadders = 64
	maxTold       = 4
	maxToldArrows = 40
)

// draw lets all nodes draw, or lets them rest, and returns what they have drawn until now.
func (t *target) draw(on bool) (all [][]ladder.Story) {
	for _, p := range t.parts {
		p.node.Draw(on)
		all = append(all, p.node.Ladders().Take())
	}
	return all
}

// telling chooses the stories that tell most of an attack: first those in which a check refused something or would have, each kind once.
func telling(all []ladder.Story) []ladder.Story {
	slices.SortStableFunc(all, func(a, b ladder.Story) int { return says(&b) - says(&a) })
	kinds, told := map[string]bool{}, []ladder.Story{}
	for _, s := range all {
		if kind := kindOf(&s); !kinds[kind] && len(told) < maxTold {
			kinds[kind] = true
			if over := len(s.Arrows) - maxToldArrows; over > 0 {
				s.Arrows, s.More = s.Arrows[:maxToldArrows], s.More+over
			}
			told = append(told, s)
		}
	}
	slices.SortFunc(told, func(a, b ladder.Story) int { return cmp.Compare(a.ID, b.ID) })
	return told
}

// kindOf is the same for stories that look the same: the method, how it ended, and what the checks did.
func kindOf(s *ladder.Story) string {
	kind := fmt.Sprint(s.What, s.Head().Status)
	for i := range s.Arrows {
		for _, c := range s.Arrows[i].Checks {
			kind += " " + c.Control + c.Reason + string(c.Did)
		}
	}
	return kind
}

// says is how much a story has to do with a control.
func says(s *ladder.Story) (much int) {
	for i := range s.Arrows {
		switch s.Arrows[i].Worst() {
		case ladder.LetPass, ladder.Refused:
			return 2
		case ladder.Passed:
			much = 1
		}
	}
	return much
}
