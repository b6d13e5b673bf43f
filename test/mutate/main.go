// Command mutate breaks the defence, one line at a time, and asks the attacks whether they notice.
//
//	go run ./test/mutate [-root dir] [-together n] [-list] [name or control ...]
//
// An off-switch shows that a control stops its attack. It does not show that the attack would notice a control that is on and does not work: a
// comparison that is always true, a counter that never rises, one of two transports that was forgotten. So each mutant of the table changes one
// line of one control, as a mistake would; the program is built with that line (go build -overlay: no file of the tree is touched) and attacked by the rows that
// are for it. A mutant is caught if one of them says that something got through, that another control than the named one had to stop it, or
// that honest service suffers. One that nobody notices has survived: the row is too weak, or the line does nothing.
//
// docs/prove.md says what was run when, and which mistakes no row can show.
//
// The exit status is 0 if all were caught, 1 if one survived, if the text of one is no longer found in its file, or if a run proves nothing.
// It needs the go command and what `imsafe attack run` needs. It is not for concurrent use of one tree that changes meanwhile.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	root := flag.String("root", ".", "the tree")
	together := flag.Int("together", 1, "so many mutants in one program, if no row is for two of them: quicker; those that are not caught so are tried alone")
	list := flag.Bool("list", false, "say what would be broken, and break nothing")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	chosen := named(flag.Args())
	if len(chosen) == 0 {
		fmt.Fprintln(os.Stderr, "mutate: no mutant is called that; -list shows them")
		os.Exit(1)
	}
	if *list {
		for _, m := range chosen {
			fmt.Printf("%-34s %-28s %-24s %s\n", m.Control, m.Name, strings.Join(m.Attacks, " "), m.File)
		}
		return
	}
	if !runAll(ctx, *root, chosen, max(*together, 1), os.Stdout) {
		os.Exit(1)
	}
}

// named returns the mutants whose name, control, or both with a dot between, is one of words, or whose control begins with one and a dot; all without words.
func named(words []string) []*Mutant {
	var chosen []*Mutant
	for i := range mutants {
		m := &mutants[i]
		if len(words) == 0 || slices.ContainsFunc(words, func(w string) bool {
			return w == m.Name || w == m.Control.String() || w == m.Control.String()+"."+m.Name || strings.HasPrefix(m.Control.String(), w+".")
		}) {
			chosen = append(chosen, m)
		}
	}
	return chosen
}

// runAll runs mutants, at most n in one program, and tells of each. It reports whether all were caught.
func runAll(ctx context.Context, root string, chosen []*Mutant, n int, out io.Writer) bool {
	count := map[Fate]int{}
	for _, b := range broods(chosen, n) {
		begin := time.Now()
		fates := b.run(ctx, root)
		took := time.Since(begin).Seconds()
		for i, m := range b {
			r := fates[i]
			if len(b) > 1 && r.Fate != Caught && ctx.Err() == nil { // another may have hidden it
				r = brood{m}.run(ctx, root)[0]
			}
			if ctx.Err() != nil {
				fmt.Fprintln(out, "stopped")
				return false
			}
			count[r.Fate]++
			r.Says, _, _ = strings.Cut(r.Says, "\n") // of a crash the rest is a stack
			fmt.Fprintf(out, "%-8s %-34s %-28s %3.0f s  %s\n", r.Fate, m.Control, m.Name, took, r.Says)
			took = 0
		}
	}
	fmt.Fprintf(out, "%d mutants: %d caught, %d survived, %d unclear\n", len(chosen), count[Caught], count[Survived], count[Unclear])
	return count[Caught] == len(chosen)
}
