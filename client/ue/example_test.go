package ue_test

import (
	"context"
	"fmt"

	"imsafe/client/media"
	"imsafe/client/ue"
)

// A test of a core: does a call stand, is it protected, does the other end's tone arrive?
func ExampleUE_Call() {
	heard := func(ctx context.Context, u *ue.UE, target string, hz float64) error {
		if _, err := u.Register(ctx); err != nil {
			return err
		}
		call, err := u.Call(ctx, target, ue.Voice{Play: media.NewTone(440, -10)})
		if err != nil {
			return err
		}
		defer call.Hangup()
		if _, err := call.Until(ctx, ue.Secured); err != nil {
			return err
		}
		for ctx.Err() == nil {
			if m := call.Media(); m.Heard.Tone(hz) {
				fmt.Println(m.Protection, "hears", hz)
				return nil
			}
		}
		return ctx.Err()
	}
	_ = heard
}
