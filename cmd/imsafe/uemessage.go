package main

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

type ueMessageCmd struct {
	line
	Target      string        `arg:"" optional:"" help:"To whom: a sip or tel URI, or a name in the home domain."`
	Text        string        `arg:"" optional:"" help:"What to send; - is standard input."`
	ContentType string        `help:"What the text is." default:"text/plain;charset=UTF-8"`
	Receive     int           `help:"Wait for so many messages, after sending if there is something to send; -1 goes on until it is stopped." placeholder:"N"`
	Wait        time.Duration `help:"Fail if the next message does not come in this time; 0 waits for ever."`
}

// Run sends, then waits for what is to come.
func (v *ueMessageCmd) Run(a *app) error {
	switch {
	case v.Target == "" && v.Receive == 0:
		return usage{errors.New("say to whom and what, or how many to wait for with --receive")}
	case v.Target != "" && v.Text == "":
		return usage{fmt.Errorf("what should %s read? - takes the text from standard input", v.Target)}
	}
	text := v.Text
	if text == "-" {
		data, err := a.readText("-")
		if err != nil {
			return err
		}
		text = strings.TrimSuffix(string(data), "\n")
	}
	return v.with(a, func(p *phone) error {
		if v.Target != "" {
			to := p.target(v.Target)
			if err := p.ue.SendMessage(a.ctx, to, v.ContentType, []byte(text)); err != nil {
				return fmt.Errorf("the message was not accepted: %w", err)
			}
			a.happened(event{Event: "sent", Peer: to, Text: text})
		}
		return v.receive(p)
	})
}

func (v *ueMessageCmd) receive(p *phone) error {
	for n := 0; v.Receive < 0 || n < v.Receive; n++ {
		var limit <-chan time.Time
		if v.Wait > 0 {
			limit = time.After(v.Wait)
		}
		select {
		case m := <-p.messages:
			p.a.happened(received(m))
		case <-limit:
			return fmt.Errorf("%d of %d messages came; none more in %v", n, v.Receive, v.Wait)
		case <-p.a.ctx.Done():
			if v.Receive < 0 {
				return nil
			}
			return fmt.Errorf("%d of %d messages came: %w", n, v.Receive, p.a.ctx.Err())
		}
	}
	return nil
}
