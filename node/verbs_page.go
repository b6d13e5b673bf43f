package node

import (
	"context"

	"imsafe/iface/management"
	"imsafe/trace/ladder"
)

// PageCode is the answer of the verb page.code: where the page is, and a code that lets somebody in once.
type PageCode struct {
	Listen string `json:"listen"`
	Code   string `json:"code"`
}

// pageCode makes a code. Who may call it may see what the page shows: identities, and who calls whom.
func (n *Node) pageCode(context.Context, None) (PageCode, error) {
	if n.o.PageCode == nil || n.o.Sockets.Metrics == nil {
		return PageCode{}, &management.Error{Code: "page.none", Message: "this node has no page", Hint: "it stands beside the metrics: set listen in [metrics]"}
	}
	code, err := n.o.PageCode()
	return PageCode{n.o.Sockets.Metrics.Addr().String(), code}, err
}

// CodeTraceUnknown is the code of the refusal of trace where nothing of the name was kept.
const CodeTraceUnknown = "trace.unknown"

// Traced is the answer of the verb trace: the newest story comes first.
type Traced struct {
	Stories []ladder.Story `json:"stories"`
}

// trace finds the ladders of a Call-ID or an identity.
func (n *Node) trace(_ context.Context, in UserName) (Traced, error) {
	if n.ladders == nil {
		return Traced{}, &management.Error{Code: "trace.off", Message: "this node keeps no ladders", Hint: "write ladders = 64 into [page] of its configuration, and start it again"}
	}
	found := n.ladders.Find(in.Name)
	if found == nil {
		return Traced{}, &management.Error{Code: CodeTraceUnknown, Message: "nothing of " + in.Name + " is among what was kept last",
			Hint: "the node keeps the last stories only; imsafe page shows them all, and imsafe explain registration tells of older registrations"}
	}
	return Traced{found}, nil
}
