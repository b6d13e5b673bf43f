package sh

import (
	"imsafe/proto/xmltree"
	"imsafe/refpoint/cx"
)

// AppendXML appends the XML form of TS 29.328 Annex D to dst: the content of the User-Data AVP. The form is deterministic. Text that XML
// cannot carry is replaced by U+FFFD. ServiceData is written as it is: it was checked when it came in (CheckServiceData).
func (d *Data) AppendXML(dst []byte) []byte {
	w := &xmltree.Writer{Buf: append(dst, xmltree.Declaration...)}
	w.Open("Sh-Data")
	if p := d.Identifiers; p != nil {
		writeIdentifiers(w, "PublicIdentifiers", p)
	}
	for i := range d.Repository {
		writeRepository(w, &d.Repository[i])
	}
	if d.IMS != nil {
		writeIms(w, d.IMS)
	}
	w.Extension(
		func() {},
		func() {
			if len(d.Deleted) > 0 {
				writeIdentifiers(w, "DeletedIdentities", &PublicIdentifiers{IMPUs: d.Deleted})
			}
		})
	w.Close("Sh-Data")
	return w.Buf
}

func writeIdentifiers(w *xmltree.Writer, name string, p *PublicIdentifiers) {
	w.Open(name)
	for _, id := range p.IMPUs {
		w.Text("IMSPublicIdentity", string(id))
	}
	for _, n := range p.MSISDNs {
		w.Text("MSISDN", n)
	}
	w.Extension(
		func() { w.Optional("WildcardedPSI", string(p.WildcardedPSI)) },
		func() { w.Optional("WildcardedIMPU", string(p.WildcardedIMPU)) })
	w.Close(name)
}

func writeRepository(w *xmltree.Writer, r *RepositoryData) {
	w.Open("RepositoryData")
	w.Text("ServiceIndication", r.ServiceIndication)
	w.Number("SequenceNumber", int(r.SequenceNumber))
	if r.ServiceData != nil {
		w.Raw("ServiceData", r.ServiceData)
	}
	w.Close("RepositoryData")
}

func writeIms(w *xmltree.Writer, d *IMSData) {
	w.Open("Sh-IMS-Data")
	if d.SCSCFName != nil {
		w.Text("SCSCFName", *d.SCSCFName)
	}
	if d.Criteria != nil {
		w.Open("IFCs")
		for i := range *d.Criteria {
			cx.WriteCriterion(w, &(*d.Criteria)[i])
		}
		w.Close("IFCs")
	}
	if d.UserState != nil {
		w.Number("IMSUserState", int(*d.UserState))
	}
	if c := d.Charging; c != nil {
		w.Open("ChargingInformation")
		w.Optional("PrimaryEventChargingFunctionName", c.PrimaryECF)
		w.Optional("SecondaryEventChargingFunctionName", c.SecondaryECF)
		w.Optional("PrimaryChargingCollectionFunctionName", c.PrimaryCCF)
		w.Optional("SecondaryChargingCollectionFunctionName", c.SecondaryCCF)
		w.Close("ChargingInformation")
	}
	w.Extension(
		func() {
			if d.PSIActivation != nil {
				w.Number("PSIActivation", oneIf(*d.PSIActivation)) // 1 is ACTIVE here
			}
		},
		func() {
			for _, x := range d.DSAI {
				w.Open("DSAI")
				w.Text("DSAI-Tag", x.Tag)
				w.Number("DSAI-Value", oneIf(!x.Active)) // and INACTIVE here (TS 29.328 table D.1)
				w.Close("DSAI")
			}
		})
	w.Close("Sh-IMS-Data")
}

func oneIf(v bool) int {
	if v {
		return 1
	}
	return 0
}
