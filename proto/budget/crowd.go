package budget

// Waiting says of an attempt that waits in somebody's name where it comes from.
type Waiting struct {
	Network, Address Key
	Known            bool // whoever made it has proven the name from there lately
}

// Yields returns which of the attempts that wait in one name, oldest first, makes room for another one: the oldest of the address that has most of
// them, in the network that has most. So a crowd pushes out itself, and an attempt of another network waits as long as the crowd has fewer networks
// than there are places. What comes from where the name is known never makes room for strangers; it has half of the places at most, so that it leaves
// them the others. waiting is not empty; the work is its square.
func Yields(waiting []Waiting, next Waiting) int {
	known := 0
	for i := range waiting {
		if waiting[i].Known {
			known++
		}
	}
	class := known == len(waiting) || next.Known && 2*known >= len(waiting)
	yields, crowd := 0, [2]int{}
	for i := range waiting {
		w := &waiting[i]
		if w.Known != class {
			continue
		}
		var n [2]int
		for j := range waiting {
			if waiting[j].Known == class {
				count(&n, w, &waiting[j])
			}
		}
		if next.Known == class {
			count(&n, w, &next)
		}
		if n[0] > crowd[0] || n[0] == crowd[0] && n[1] > crowd[1] {
			yields, crowd = i, n
		}
	}
	return yields
}

// count counts other if it is of the same network, and of the same address.
func count(n *[2]int, w, other *Waiting) {
	if w.Network == other.Network {
		n[0]++
	}
	if w.Address == other.Address {
		n[1]++
	}
}
