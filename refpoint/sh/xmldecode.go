package sh

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"imsafe/proto/xmltree"
	"imsafe/refpoint/cx"
)

// MaxDataSize is the most octets of XML that Sh-Data has. Data beyond this, or the limits below, is refused whole.
const MaxDataSize = 256 << 10

// limits are those of Sh-Data. ServiceData is the service's own: nobody looks into it.
func limits() xmltree.Limits {
	return xmltree.Limits{Octets: MaxDataSize, Depth: 32, Elements: 20000, Text: 4096,
		Opaque: func(parent *xmltree.Element, name string) bool {
			return parent.Name == "RepositoryData" && name == "ServiceData"
		}}
}

// ErrData is wrapped by every error of DecodeData and CheckServiceData.
var ErrData = errors.New("sh: data")

// DecodeData reads the XML form of TS 29.328 Annex D, as strictly as xmltree does, with no value out of its range and nothing in
// ServiceData that leans on what stands around it. Elements that an IMS HSS has no fields for, that a later release put into an
// Extension, or that stand in a foreign namespace, are skipped. Every error wraps ErrData.
func DecodeData(data []byte) (*Data, error) {
	d := &Data{}
	if err := d.read(data); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrData, err)
	}
	return d, nil
}

func (d *Data) read(data []byte) error {
	root, err := xmltree.Parse(data, limits())
	if err != nil {
		return err
	}
	if root.Name != "Sh-Data" {
		return fmt.Errorf("the root is %q, not Sh-Data", root.Name)
	}
	return root.Each([]string{"RepositoryData"}, func(e *xmltree.Element) error {
		switch e.Name {
		case "PublicIdentifiers":
			d.Identifiers, err = identifiers(e)
			return err
		case "RepositoryData":
			r, err := repository(e)
			d.Repository = append(d.Repository, r)
			return err
		case "Sh-IMS-Data":
			d.IMS, err = ims(e)
			return err
		case "DeletedIdentities":
			p, err := identifiers(e)
			if err == nil {
				d.Deleted = p.IMPUs
			}
			return err
		case "CSLocationInformation", "PSLocationInformation", "CSUserState", "PSUserState":
			return nil // of other domains
		}
		return xmltree.ErrUnknown
	})
}

// CheckServiceData says whether octets can be the content of a ServiceData element wherever it stands: well-formed XML within the limits,
// without document type and processing instructions, with every namespace prefix declared inside. The error wraps ErrData.
func CheckServiceData(data []byte) error {
	const before, after = "<Sh-Data><RepositoryData><ServiceData>", "</ServiceData></RepositoryData></Sh-Data>"
	root, err := xmltree.Parse(slices.Concat([]byte(before), data, []byte(after)), limits())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrData, err)
	}
	// What closes the element and opens another one stands on its own only here.
	if len(root.Kids) != 1 || len(root.Kids[0].Kids) != 1 || !bytes.Equal(root.Kids[0].Kids[0].Inner, data) {
		return fmt.Errorf("%w: it ends before its end", ErrData)
	}
	return nil
}

func identifiers(e *xmltree.Element) (*PublicIdentifiers, error) {
	p := &PublicIdentifiers{}
	err := e.Each([]string{"IMSPublicIdentity", "MSISDN"}, func(k *xmltree.Element) error {
		switch k.Name {
		case "IMSPublicIdentity":
			p.IMPUs = append(p.IMPUs, "")
			return xmltree.String(k, &p.IMPUs[len(p.IMPUs)-1])
		case "MSISDN":
			if !isDigits(k.Text) {
				return fmt.Errorf("MSISDN is %q, not digits", k.Text)
			}
			p.MSISDNs = append(p.MSISDNs, k.Text)
			return nil
		case "IdentityType":
			_, err := k.Number(0, 3)
			return err
		case "WildcardedPSI":
			return xmltree.String(k, &p.WildcardedPSI)
		case "WildcardedIMPU":
			return xmltree.String(k, &p.WildcardedIMPU)
		}
		return xmltree.ErrUnknown
	})
	return p, err
}

// isDigits says whether s can be an MSISDN (TS 23.003 3.3): up to fifteen digits.
func isDigits(s string) bool {
	return len(s) > 0 && len(s) <= 15 && strings.Trim(s, "0123456789") == ""
}

func repository(e *xmltree.Element) (RepositoryData, error) {
	var r RepositoryData
	sequence := false
	for _, k := range e.Kids {
		if k.Name == "" { // a ServiceData in a namespace of its own would pass for none, and none removes what is stored
			return r, errors.New("an element of another namespace in RepositoryData")
		}
	}
	err := e.Each(nil, func(k *xmltree.Element) error {
		switch k.Name {
		case "ServiceIndication":
			return xmltree.String(k, &r.ServiceIndication)
		case "SequenceNumber":
			n, err := k.Number(0, 1<<16-1)
			r.SequenceNumber, sequence = uint16(n), true
			return err
		case "ServiceData":
			r.ServiceData = append([]byte{}, k.Inner...)
			return nil
		}
		return xmltree.ErrUnknown
	})
	switch {
	case err != nil:
	case r.ServiceIndication == "":
		err = errors.New("ServiceIndication is missing in RepositoryData")
	case !sequence:
		err = errors.New("SequenceNumber is missing in RepositoryData")
	}
	return r, err
}

func ims(e *xmltree.Element) (*IMSData, error) {
	d := &IMSData{}
	err := e.Each([]string{"DSAI"}, func(k *xmltree.Element) error {
		switch k.Name {
		case "SCSCFName":
			d.SCSCFName = new(string)
			return xmltree.String(k, d.SCSCFName)
		case "IFCs":
			return criteria(k, d)
		case "IMSUserState":
			n, err := k.Number(0, int(AuthenticationPending))
			state := IMSUserState(n)
			d.UserState = &state
			return err
		case "ChargingInformation":
			return charging(k, d)
		case "PSIActivation":
			n, err := k.Number(0, 1)
			active := n == 1
			d.PSIActivation = &active
			return err
		case "DSAI":
			x, err := dsai(k)
			d.DSAI = append(d.DSAI, x)
			return err
		}
		return xmltree.ErrUnknown
	})
	return d, err
}

func criteria(e *xmltree.Element, d *IMSData) error {
	all := []cx.InitialFilterCriteria{}
	d.Criteria = &all
	return e.Each([]string{"InitialFilterCriteria"}, func(k *xmltree.Element) error {
		if k.Name != "InitialFilterCriteria" {
			return xmltree.ErrUnknown
		}
		c, err := cx.ReadCriterion(k)
		all = append(all, c)
		return err
	})
}

func charging(e *xmltree.Element, d *IMSData) error {
	d.Charging = &cx.ChargingInformation{}
	return e.Each(nil, func(k *xmltree.Element) error {
		switch k.Name {
		case "PrimaryEventChargingFunctionName":
			return xmltree.String(k, &d.Charging.PrimaryECF)
		case "SecondaryEventChargingFunctionName":
			return xmltree.String(k, &d.Charging.SecondaryECF)
		case "PrimaryChargingCollectionFunctionName":
			return xmltree.String(k, &d.Charging.PrimaryCCF)
		case "SecondaryChargingCollectionFunctionName":
			return xmltree.String(k, &d.Charging.SecondaryCCF)
		}
		return xmltree.ErrUnknown
	})
}

func dsai(e *xmltree.Element) (DSAI, error) {
	x, value := DSAI{}, false
	err := e.Each(nil, func(k *xmltree.Element) error {
		switch k.Name {
		case "DSAI-Tag":
			return xmltree.String(k, &x.Tag)
		case "DSAI-Value":
			n, err := k.Number(0, 1)
			x.Active, value = n == 0, true
			return err
		}
		return xmltree.ErrUnknown
	})
	if err == nil && (x.Tag == "" || !value) {
		err = errors.New("DSAI-Tag or DSAI-Value is missing in DSAI")
	}
	return x, err
}
