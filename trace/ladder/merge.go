package ladder

import "slices"

// Merge puts together what several nodes have drawn of the same calls, by the time on their clocks, which must agree. What goes from one node to
// another is drawn by both, and stands once: as the sender has it, who knows the function that it is for.
func Merge(nodes ...[]Story) (all []Story) {
	if len(nodes) == 1 {
		return nodes[0]
	}
	at := map[string]int{}
	for _, stories := range nodes {
		for _, s := range stories {
			i, known := at[s.Call]
			if !known {
				at[s.Call] = len(all)
				all = append(all, Story{ID: uint64(len(all) + 1), Call: s.Call, What: s.What})
				i = len(all) - 1
			}
			m := &all[i]
			m.name(s.Who)
			m.More += s.More
			m.Arrows = append(m.Arrows, s.Arrows...)
		}
	}
	for i := range all {
		all[i].settle()
	}
	return all
}

// settle puts arrows in order and takes those away that stand twice.
func (s *Story) settle() {
	slices.SortStableFunc(s.Arrows, func(a, b Arrow) int { return a.At.Compare(b.At) })
	var once []Arrow
	for _, a := range s.Arrows {
		if !slices.ContainsFunc(once[max(len(once)-4, 0):], a.repeats) {
			once = append(once, a)
		}
	}
	s.Arrows = once
	if len(once) > 0 && once[0].Status == 0 {
		s.What = once[0].What
	}
}

// repeats reports whether an arrow from another node is that which the node before has drawn.
func (a *Arrow) repeats(before Arrow) bool {
	over := a.Cover == MTLS || a.Cover == Clear
	return over && before.Cover == a.Cover && before.What == a.What && (before.To == a.To && (a.From == Node || a.From == before.From) || before.From == a.From && a.To == Node)
}
