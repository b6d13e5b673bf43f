package shwire

import (
	d "imsafe/proto/diameter"
	"imsafe/proto/shard"
	"imsafe/refpoint/sh"
)

// app is Sh. Of its features (TS 29.329 7) we have none.
var app = d.Stateless{ID: d.AppSh, Answers: answerGrammars}

// outcome is a result as it stands on the wire.
func outcome(r sh.Result) d.Outcome { return d.Outcome{Code: r.Code(), Experimental: r.Experimental()} }

// errUnreadable is an answer that cannot be read.
var errUnreadable = sh.ErrUnableToComply

// ask sends a request and returns the answer with its result. err is set for every result that is a failure; answer is then still there if a
// peer gave one. An error of the transport is the contract's one error: what a service does then is the same.
func ask(t *shard.Task, n *d.Node, w *d.Writer, out d.Outgoing) (answer d.Message, result sh.Result, err error) {
	answer, o, err := app.Ask(t, n, w, out)
	if err != nil {
		o = d.Undelivered(err)
	}
	result = sh.MakeResult(o.Code, o.Experimental)
	if err != nil || !result.OK() {
		return answer, result, &sh.ResultError{Result: result}
	}
	return answer, result, nil
}
