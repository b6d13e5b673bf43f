package scscf

import (
	"slices"
	"testing"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
)

// rangesHSS has an S-CSCF for a range of rooms, and notes what it is asked.
type rangesHSS struct {
	cx.Server
	asked []cx.ServerAssignmentType
}

func (h *rangesHSS) ServerAssignment(_ *shard.Task, r *cx.ServerAssignmentRequest) (*cx.ServerAssignmentAnswer, error) {
	h.asked = append(h.asked, r.Type)
	return &cx.ServerAssignmentAnswer{Result: cx.ResultSuccess, WildcardedIMPU: `sip:room-!\d+!@ims.example`}, nil
}

// TestRange: the range of a called identity is what the I-CSCF says; the HSS is asked only where that does not tell (RFC 5002, TS 29.228 6.1.2.1).
func TestRange(t *testing.T) {
	asks := []cx.ServerAssignmentType{cx.NoAssignment}
	for name, c := range map[string]struct {
		key    string
		untold bool
		found  string
		asked  []cx.ServerAssignmentType
	}{
		"somebody's own":                  {"", false, "", nil},
		"an I-CSCF that says nothing":     {"", true, `sip:room-!\d+!@ims.example`, asks},
		"a range":                         {"<sip:room-!.*!@ims.example>", false, "sip:room-!.*!@ims.example", nil},
		"another range":                   {"<sip:hall-!.*!@ims.example>", false, "", nil},
		"another, of another make":        {"<sip:hall-!.*!@ims.example>", true, "", nil},
		"rules of another make":           {`<sip:room-!%5Cd+!@ims.example>`, false, `sip:room-!\d+!@ims.example`, asks},
		"no range though it is said so":   {"<sip:room@ims.example>", false, `sip:room-!\d+!@ims.example`, asks},
		"nothing that could be an answer": {"<", false, `sip:room-!\d+!@ims.example`, asks},
	} {
		t.Run(name, func(t *testing.T) {
			h := &rangesHSS{}
			r := newRig(t, Config{RangesUntold: c.untold}, h)
			m := r.parse(t, "MESSAGE sip:room-1@ims.example SIP/2.0\r\nVia: SIP/2.0/TLS a;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n"+
				"From: <sip:a@x>;tag=a\r\nTo: <sip:b@x>\r\nCall-ID: c\r\nCSeq: 1 MESSAGE\r\n\r\n")
			if c.key != "" {
				m.SetString(sip.HdrPProfileKey, c.key)
			}
			found := ""
			r.does(func(task *shard.Task) { found = r.rangeOf(task, m, "sip:room-1@ims.example") })
			if found != c.found || !slices.Equal(h.asked, c.asked) {
				t.Errorf("found %q, asked %v", found, h.asked)
			}
		})
	}
}
