package cxwire

import (
	d "imsafe/proto/diameter"
	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
)

// app is Cx. Of its features (TS 29.229 7.1.1) we have bit 2, IMS restoration.
var app = d.Stateless{ID: d.AppCx, Features: 1 << 2, Answers: answerGrammars}

// outcome is a result as it stands on the wire.
func outcome(r cx.Result) d.Outcome { return d.Outcome{Code: r.Code(), Experimental: r.Experimental()} }

// texts collects all of one name.
func texts[T ~string](v d.AVPs, id d.ID) []T {
	var all []T
	for a := range v.All() {
		if a.ID() == id {
			all = append(all, T(a.Data))
		}
	}
	return all
}

// errUnreadable is an answer that cannot be read.
var errUnreadable = cx.ErrUnableToComply

// ask sends a request and returns the answer with its result. err is set for every result that is a failure; answer is then still there if a
// peer gave one. An error of the transport is the contract's one error: what a CSCF does then is the same (TS 29.228 6).
func ask(t *shard.Task, n *d.Node, w *d.Writer, out d.Outgoing) (answer d.Message, result cx.Result, err error) {
	answer, o, err := app.Ask(t, n, w, out)
	if err != nil {
		o = d.Undelivered(err)
	}
	result = cx.MakeResult(o.Code, o.Experimental)
	if err != nil || !result.OK() {
		return answer, result, &cx.ResultError{Result: result}
	}
	return answer, result, nil
}
