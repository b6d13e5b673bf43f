package load

import "time"

// tick is the resolution of timers.
const tick = 4 * time.Millisecond

// wheel is a timing wheel over the timers of an array: arming and disarming touch one slot, and there is no memory per timer but the node.
type wheel struct {
	slots [8192]int32 // first timer of each slot + 1, 0 none
	nodes []node
	now   int64 // ticks that were looked at
}

type node struct {
	next, prev int32 // + 1
	due        int64 // in ticks; 0: not armed
}

// grow makes room for n timers.
func (w *wheel) grow(n int) {
	for len(w.nodes) < n {
		w.nodes = append(w.nodes, node{})
	}
}

func (w *wheel) arm(i int32, at time.Duration) {
	w.disarm(i)
	due := max(int64((at+tick-1)/tick), w.now+1)
	n, slot := &w.nodes[i], &w.slots[due%int64(len(w.slots))]
	n.due, n.prev, n.next = due, 0, *slot
	if *slot != 0 {
		w.nodes[*slot-1].prev = i + 1
	}
	*slot = i + 1
}

func (w *wheel) disarm(i int32) {
	n := &w.nodes[i]
	if n.due == 0 {
		return
	}
	if n.prev != 0 {
		w.nodes[n.prev-1].next = n.next
	} else {
		w.slots[n.due%int64(len(w.slots))] = n.next
	}
	if n.next != 0 {
		w.nodes[n.next-1].prev = n.prev
	}
	*n = node{}
}

// advance fires what is due. fire may arm and disarm any timer.
func (w *wheel) advance(now time.Duration, fire func(i int32)) {
	for end := int64(now / tick); w.now < end; {
		w.now++
		slot := &w.slots[w.now%int64(len(w.slots))]
		for i := *slot; i != 0; {
			if w.nodes[i-1].due > w.now {
				i = w.nodes[i-1].next // of a later round
				continue
			}
			w.disarm(i - 1)
			fire(i - 1)
			i = *slot // the list may be another now
		}
	}
}
