package sh

import (
	"bytes"
	"encoding/xml"
	"strconv"

	"imsafe/refpoint/cx"
)

// AppendXML appends the XML form of TS 29.328 Annex D to dst: the content of the User-Data AVP. The form is deterministic. Text that XML
// cannot carry is replaced by U+FFFD. ServiceData is written as it is: it was checked when it came in (CheckServiceData).
func (d *Data) AppendXML(dst []byte) []byte {
	w := xmlWriter{buf: append(dst, `<?xml version="1.0" encoding="UTF-8"?>`...)}
	w.open("Sh-Data")
	if p := d.Identifiers; p != nil {
		w.identifiers("PublicIdentifiers", p)
	}
	for i := range d.Repository {
		w.repository(&d.Repository[i])
	}
	if d.IMS != nil {
		w.ims(d.IMS)
	}
	w.extension(
		func() {},
		func() {
			if len(d.Deleted) > 0 {
				w.identifiers("DeletedIdentities", &PublicIdentifiers{IMPUs: d.Deleted})
			}
		})
	w.close("Sh-Data")
	return w.buf
}

// xmlWriter appends elements without white space between them.
type xmlWriter struct{ buf []byte }

func (w *xmlWriter) open(name string)  { w.buf = append(append(append(w.buf, '<'), name...), '>') }
func (w *xmlWriter) close(name string) { w.buf = append(append(append(w.buf, "</"...), name...), '>') }

func (w *xmlWriter) text(name, value string) {
	w.open(name)
	b := bytes.NewBuffer(w.buf)
	_ = xml.EscapeText(b, []byte(value)) // a bytes.Buffer does not fail
	w.buf = b.Bytes()
	w.close(name)
}

func (w *xmlWriter) optional(name, value string) {
	if value != "" {
		w.text(name, value)
	}
}

func (w *xmlWriter) number(name string, n int) { w.text(name, strconv.Itoa(n)) }

// extension writes the Extension elements that later releases nested into each other; a level that is empty, and has only empty
// ones below it, is left out.
func (w *xmlWriter) extension(levels ...func()) {
	if len(levels) == 0 {
		return
	}
	before := len(w.buf)
	w.open("Extension")
	start := len(w.buf)
	levels[0]()
	w.extension(levels[1:]...)
	if len(w.buf) == start {
		w.buf = w.buf[:before]
		return
	}
	w.close("Extension")
}

func (w *xmlWriter) identifiers(name string, p *PublicIdentifiers) {
	w.open(name)
	for _, id := range p.IMPUs {
		w.text("IMSPublicIdentity", string(id))
	}
	for _, n := range p.MSISDNs {
		w.text("MSISDN", n)
	}
	w.extension(
		func() { w.optional("WildcardedPSI", string(p.WildcardedPSI)) },
		func() { w.optional("WildcardedIMPU", string(p.WildcardedIMPU)) })
	w.close(name)
}

func (w *xmlWriter) repository(r *RepositoryData) {
	w.open("RepositoryData")
	w.text("ServiceIndication", r.ServiceIndication)
	w.number("SequenceNumber", int(r.SequenceNumber))
	if r.ServiceData != nil {
		w.open("ServiceData")
		w.buf = append(w.buf, r.ServiceData...)
		w.close("ServiceData")
	}
	w.close("RepositoryData")
}

func (w *xmlWriter) ims(d *IMSData) {
	w.open("Sh-IMS-Data")
	if d.SCSCFName != nil {
		w.text("SCSCFName", *d.SCSCFName)
	}
	if d.Criteria != nil {
		w.open("IFCs")
		for i := range *d.Criteria {
			w.buf = cx.AppendCriterion(w.buf, &(*d.Criteria)[i])
		}
		w.close("IFCs")
	}
	if d.UserState != nil {
		w.number("IMSUserState", int(*d.UserState))
	}
	if c := d.Charging; c != nil {
		w.open("ChargingInformation")
		w.optional("PrimaryEventChargingFunctionName", c.PrimaryECF)
		w.optional("SecondaryEventChargingFunctionName", c.SecondaryECF)
		w.optional("PrimaryChargingCollectionFunctionName", c.PrimaryCCF)
		w.optional("SecondaryChargingCollectionFunctionName", c.SecondaryCCF)
		w.close("ChargingInformation")
	}
	w.extension(
		func() {
			if d.PSIActivation != nil {
				w.number("PSIActivation", oneIf(*d.PSIActivation)) // 1 is ACTIVE here
			}
		},
		func() {
			for _, x := range d.DSAI {
				w.open("DSAI")
				w.text("DSAI-Tag", x.Tag)
				w.number("DSAI-Value", oneIf(!x.Active)) // and INACTIVE here (TS 29.328 table D.1)
				w.close("DSAI")
			}
		})
	w.close("Sh-IMS-Data")
}

func oneIf(v bool) int {
	if v {
		return 1
	}
	return 0
}
