package load

import (
	"imsafe/proto/aka"
	"imsafe/proto/sip"
)

// agreement, verify and protect are the UE's half of the security agreement; without one they do nothing.
func (w *worker) agreement(b build, _ *ue) build { return b }
func (w *worker) verify(b build, _ *ue) build    { return b }

func (w *worker) protect(*ue, *sip.Message, *aka.Opened) string { return "" }
