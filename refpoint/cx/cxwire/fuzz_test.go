package cxwire

import (
	"reflect"
	"testing"

	"imsafe/proto/aka"
	d "imsafe/proto/diameter"
	"imsafe/refpoint/cx"
)

// roundTrip decodes, encodes and decodes again: what was understood must survive.
func roundTrip[T any](t *testing.T, v d.AVPs, c d.Command, decode func(d.AVPs) (T, bool), write func(*d.Writer, T)) {
	t.Helper()
	first, ok := decode(v)
	if !ok {
		return
	}
	second, ok := decode(carry(t, c, func(w *d.Writer) { write(w, first) }))
	if !ok || !reflect.DeepEqual(first, second) {
		t.Fatalf("%+v\nbecame %+v, %v", first, second, ok)
	}
}

func faultless[T any](decode func(d.AVPs) (T, *d.Fault)) func(d.AVPs) (T, bool) {
	return func(v d.AVPs) (T, bool) { r, f := decode(v); return r, f == nil }
}

func certain[T any](decode func(d.AVPs, cx.Result) T) func(d.AVPs) (T, bool) {
	return func(v d.AVPs) (T, bool) { return decode(v, cx.ResultSuccess), true }
}

// FuzzMessages: whatever AVPs come, in a form that Check lets through, no decoder panics, and what it read can be sent on.
func FuzzMessages(f *testing.F) {
	seed := func(write func(w *d.Writer)) {
		var w d.Writer
		write(&w)
		f.Add(w.Bytes())
	}
	seed(func(w *d.Writer) {
		appendSAR(w, &cx.ServerAssignmentRequest{IMPI: "a", IMPUs: []cx.IMPU{"sip:a"}, ServerName: "s", Type: 1, Restoration: restored()})
	})
	seed(func(w *d.Writer) {
		appendMAA(w, &cx.MultimediaAuthAnswer{Items: []cx.AuthDataItem{{Algorithm: aka.AKAv2MD5, Vector: vector(1)}}})
	})
	seed(func(w *d.Writer) {
		appendMAR(w, &cx.MultimediaAuthRequest{IMPI: "a", Scheme: cx.SchemeDigestAKA, Resync: new(cx.Resync)})
	})
	seed(func(w *d.Writer) {
		appendPPR(w, &cx.PushProfileRequest{Charging: &cx.ChargingInformation{PrimaryCCF: "aaa://a"}, Digest: &cx.DigestAuthenticate{}})
	})
	seed(func(w *d.Writer) { appendRTR(w, &cx.RegistrationTerminationRequest{IMPUs: []cx.IMPU{"a"}, Reason: 3}) })
	seed(func(w *d.Writer) { appendUAA(w, &cx.UserAuthorizationAnswer{Capabilities: capabilities}) })
	seed(func(w *d.Writer) { w.Open(d.ServerCapabilities); foreignCapability(w); w.Close() })
	f.Fuzz(func(t *testing.T, avps []byte) {
		w := d.Begin(nil, d.Header{Command: d.UAR, Application: d.AppCx})
		w.Raw(avps)
		b, err := w.End()
		if err != nil {
			return
		}
		m, err := d.Parse(b)
		if err != nil || m.Check(nil) != nil {
			return
		}
		v := m.AVPs()
		_ = app.Knows(m)
		roundTrip(t, v, d.UAR, faultless(decodeUAR), appendUAR)
		roundTrip(t, v, d.LIR, faultless(decodeLIR), appendLIR)
		roundTrip(t, v, d.MAR, faultless(decodeMAR), appendMAR)
		roundTrip(t, v, d.SAR, faultless(decodeSAR), appendSAR)
		roundTrip(t, v, d.RTR, faultless(decodeRTR), appendRTR)
		roundTrip(t, v, d.UAR, certain(decodeUAA), appendUAA)
		roundTrip(t, v, d.LIR, certain(decodeLIA), appendLIA)
		roundTrip(t, v, d.RTR, certain(decodeRTA), appendRTA)
		roundTrip(t, v, d.MAR, func(v d.AVPs) (*cx.MultimediaAuthAnswer, bool) {
			a, err := decodeMAA(v, cx.ResultSuccess, aka.AKAv1MD5)
			return a, err == nil
		}, appendMAA)
		_, _ = decodeSAA(v, cx.ResultSuccess)
		_, _ = decodePPR(v)
	})
}
