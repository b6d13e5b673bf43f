package imsservice

import (
	"slices"
	"sync"

	"imsafe/proto/siptransport"
)

// line is an open connection of a platform, and the shard it belongs to.
type line struct {
	flow siptransport.Flow
	port *Port
}

// lines are the open connections by the host of the platform. Safe for concurrent use.
type lines struct {
	mu   sync.RWMutex
	open map[string][]line
	turn map[string]int
}

func newLines() *lines { return &lines{open: map[string][]line{}, turn: map[string]int{}} }

func (l *lines) add(host string, n line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[host] = append(l.open[host], n)
}

func (l *lines) remove(host string, f siptransport.Flow) {
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := slices.DeleteFunc(slices.Clone(l.open[host]), func(n line) bool { return n.flow == f })
	if len(kept) == 0 {
		delete(l.open, host)
		delete(l.turn, host)
		return
	}
	l.open[host] = kept
}

// of returns the connections of a platform.
func (l *lines) of(host string) []line {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.Clone(l.open[host])
}

// next returns one of the connections of a platform, each in its turn: its instances share the load.
func (l *lines) next(host string) (line, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.open[host]
	if len(all) == 0 {
		return line{}, false
	}
	n := l.turn[host] % len(all)
	l.turn[host] = n + 1
	return all[n], true
}
