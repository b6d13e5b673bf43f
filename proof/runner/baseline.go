package runner

import (
	"context"
	"fmt"
	"slices"
	"time"

	"imsafe/proof/attack"
	"imsafe/proof/evidence"
)

// baseline lets the honest parties do what users do: register, write to each other, call each other. A second one refreshes the
// registrations that the first has made.
func (r *Runner) baseline(ctx context.Context, f *attack.Field, t Target) evidence.Baseline {
	before, told := spentBy(t)
	ctx, cancel := attack.Bounded(ctx, patience)
	defer cancel()
	steps := []func(context.Context) error{
		func(ctx context.Context) error { _, err := f.Alice.UE.Register(ctx); return named(f.Alice, err) },
		func(ctx context.Context) error { _, err := f.Bob.UE.Register(ctx); return named(f.Bob, err) },
		func(ctx context.Context) error { return f.Alice.Reaches(ctx, f.Bob, r.unique("a")) },
		func(ctx context.Context) error { return f.Bob.Reaches(ctx, f.Alice, r.unique("b")) },
		func(ctx context.Context) error {
			f.Alice.Quiet()
			f.Bob.Quiet()
			out, in, err := f.Bob.Talk(ctx, f.Alice)
			if err != nil {
				return err
			}
			return attack.Part(ctx, out, in)
		},
	}
	b := evidence.Baseline{Steps: len(steps)}
	var took []time.Duration
	for _, step := range steps {
		began := r.cfg.Clock.Now()
		if err := step(ctx); err != nil {
			b.Reason = err.Error()
			break
		}
		b.Done++
		took = append(took, r.cfg.Clock.Now()-began)
	}
	if len(took) > 0 {
		slices.Sort(took)
		b.P50, b.P99 = took[len(took)/2].Microseconds(), took[len(took)-1].Microseconds()
	}
	if after, still := spentBy(t); told && still {
		b.CPU = (after - before).Microseconds()
	}
	return b
}

// spentBy is what a target has cost so far, if it is one that knows.
func spentBy(t Target) (time.Duration, bool) {
	if m, knows := t.(Meter); knows {
		return m.CPU()
	}
	return 0, false
}

func named(p *attack.Party, err error) error {
	if err != nil {
		return fmt.Errorf("%s cannot register: %w", p.Name, err)
	}
	return nil
}

// unique makes the text of a message that nobody has sent before.
func (r *Runner) unique(prefix string) string { return fmt.Sprintf("%s %d", prefix, r.cfg.Clock.Now()) }
