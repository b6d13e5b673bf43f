package sh

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"imsafe/refpoint/cx"
)

// The limits of Sh-Data in XML. Data beyond them is refused whole.
const (
	MaxDataSize     = 256 << 10 // octets of XML
	maxDataDepth    = 32        // nested elements, those of ServiceData included
	maxDataElements = 20000
	maxDataText     = 4096 // octets of one value, outside ServiceData
)

// ErrData is wrapped by every error of DecodeData and CheckServiceData.
var ErrData = errors.New("sh: data")

func dataError(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrData, fmt.Errorf(format, args...))
}

// DecodeData reads the XML form of TS 29.328 Annex D. It is strict where a mistake could change what is stored or believed: no DTD,
// no entities of its own, no processing instructions, no element twice that stands once in the schema, no unknown element outside an
// Extension, no value out of its range, nothing in ServiceData that leans on what stands around it. Elements that an IMS HSS has no fields
// for, that a later release put into an Extension, or that stand in a foreign namespace, are skipped. Every error wraps ErrData.
func DecodeData(data []byte) (*Data, error) {
	root, err := parseTree(data)
	if err != nil {
		return nil, err
	}
	if root.name != "Sh-Data" {
		return nil, dataError("the root is %q, not Sh-Data", root.name)
	}
	d := &Data{}
	err = root.each([]string{"RepositoryData"}, func(e *element) error {
		switch e.name {
		case "PublicIdentifiers":
			d.Identifiers, err = e.identifiers()
			return err
		case "RepositoryData":
			r, err := e.repository()
			d.Repository = append(d.Repository, r)
			return err
		case "Sh-IMS-Data":
			d.IMS, err = e.ims()
			return err
		case "DeletedIdentities":
			p, err := e.identifiers()
			if err == nil {
				d.Deleted = p.IMPUs
			}
			return err
		case "CSLocationInformation", "PSLocationInformation", "CSUserState", "PSUserState":
			return nil // of other domains
		}
		return errUnknownElement
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// element is a parsed element. Text is kept of leaves only, and inner of those that are read octet by octet.
type element struct {
	name  string
	text  string
	inner []byte
	start int // of its content, in the document
	kids  []*element
}

// newDecoder reads one document: only the five entities of XML, only UTF-8.
func newDecoder(data []byte) *xml.Decoder {
	d := xml.NewDecoder(bytes.NewReader(data))
	d.Entity = map[string]string{}
	d.CharsetReader = func(charset string, _ io.Reader) (io.Reader, error) {
		return nil, fmt.Errorf("encoding %q, only UTF-8", charset)
	}
	return d
}

// tree is a document while it is read.
type tree struct {
	data     []byte
	root     *element
	open     []*element
	opaque   int // levels inside an element that is not looked into
	elements int
}

// parseTree reads one document into memory, within the limits.
func parseTree(data []byte) (*element, error) {
	if len(data) > MaxDataSize {
		return nil, dataError("%d octets, at most %d", len(data), MaxDataSize)
	}
	d := newDecoder(data)
	t := tree{data: data}
	for {
		before := int(d.InputOffset())
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, dataError("%w", err)
		}
		switch tok := tok.(type) {
		case xml.Directive:
			err = dataError("a document type is not allowed")
		case xml.ProcInst:
			if t.root != nil || tok.Target != "xml" {
				err = dataError("a processing instruction is not allowed")
			}
		case xml.StartElement:
			err = t.start(tok.Name, int(d.InputOffset()))
		case xml.EndElement:
			err = t.end(before)
		case xml.CharData:
			err = t.chars(tok)
		}
		if err != nil {
			return nil, err
		}
	}
	if t.root == nil {
		return nil, dataError("no element")
	}
	return t.root, nil
}

// opaqueElement says whether the content of an element is kept as it is: ServiceData, and filter criteria, which Cx reads.
func opaqueElement(parent *element, name string) bool {
	return parent.name == "RepositoryData" && name == "ServiceData" || parent.name == "IFCs" && name == "InitialFilterCriteria"
}

func (t *tree) start(name xml.Name, offset int) error {
	if t.elements++; t.elements > maxDataElements || len(t.open)+t.opaque >= maxDataDepth {
		return dataError("more than %d elements or %d levels", maxDataElements, maxDataDepth)
	}
	if t.opaque > 0 {
		t.opaque++
		return nil
	}
	e := &element{name: name.Local, start: offset}
	if name.Space != "" {
		e.name = "" // foreign namespace: kept as a nameless element, which everybody skips
	}
	switch {
	case len(t.open) > 0:
		top := t.open[len(t.open)-1]
		top.kids = append(top.kids, e)
		if opaqueElement(top, e.name) {
			t.opaque = 1
		}
	case t.root == nil:
		t.root = e
	default:
		return dataError("a second root")
	}
	t.open = append(t.open, e)
	return nil
}

func (t *tree) end(before int) error {
	if t.opaque > 1 {
		t.opaque--
		return nil
	}
	top := t.open[len(t.open)-1]
	t.open = t.open[:len(t.open)-1]
	if t.opaque == 1 {
		t.opaque = 0
		top.inner = t.data[top.start:max(before, top.start)] // an element that closes itself has no content
		return checkInner(top.inner)
	}
	top.text = strings.TrimSpace(top.text)
	if len(top.kids) > 0 && top.text != "" {
		return dataError("text beside the elements of %s", top.name)
	}
	return nil
}

func (t *tree) chars(text xml.CharData) error {
	if t.opaque > 0 {
		return nil
	}
	if len(t.open) == 0 {
		if len(bytes.TrimSpace(text)) > 0 {
			return dataError("text outside the root")
		}
		return nil
	}
	top := t.open[len(t.open)-1]
	if len(top.text)+len(text) > maxDataText {
		return dataError("the text of %s is longer than %d octets", top.name, maxDataText)
	}
	top.text += string(text)
	return nil
}

// CheckServiceData says whether octets can be the content of a ServiceData element wherever it stands: well-formed XML within the limits,
// without document type and processing instructions, with every namespace prefix declared inside. The error wraps ErrData.
func CheckServiceData(data []byte) error {
	const before, after = "<Sh-Data><RepositoryData><ServiceData>", "</ServiceData></RepositoryData></Sh-Data>"
	root, err := parseTree(slices.Concat([]byte(before), data, []byte(after)))
	if err != nil {
		return err
	}
	// What closes the element and opens another one stands on its own only here.
	if len(root.kids) != 1 || len(root.kids[0].kids) != 1 || !bytes.Equal(root.kids[0].kids[0].inner, data) {
		return dataError("it ends before its end")
	}
	return nil
}

// errUnknownElement is what a visitor returns for a name it does not know.
var errUnknownElement = errors.New("unknown element")

// each visits the children, those inside nested Extensions too (Annex D nests one per release). An element outside repeatable may stand
// once. Unknown elements are skipped inside an Extension only.
func (e *element) each(repeatable []string, visit func(*element) error) error {
	var seen []string
	var walk func(*element, bool) error
	walk = func(parent *element, strict bool) error {
		extended := false
		for _, k := range parent.kids {
			switch {
			case k.name == "":
				continue
			case k.name == "Extension":
				if extended {
					return dataError("two Extensions in %s", parent.name)
				}
				extended = true
				if err := walk(k, false); err != nil {
					return err
				}
				continue
			case !slices.Contains(repeatable, k.name):
				if slices.Contains(seen, k.name) {
					return dataError("%s stands twice in %s", k.name, e.name)
				}
				seen = append(seen, k.name)
			}
			err := visit(k)
			if err == errUnknownElement {
				if !strict {
					continue
				}
				return dataError("unknown element %s in %s", k.name, e.name)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return walk(e, true)
}

// number reads an integer from 0 to most.
func (e *element) number(most int) (int, error) {
	n, err := strconv.Atoi(e.text)
	if err != nil || n < 0 || n > most || len(e.kids) > 0 {
		return 0, dataError("%s is %q, not a number from 0 to %d", e.name, e.text, most)
	}
	return n, nil
}

// leaf reads text, which may be empty.
func (e *element) leaf() (string, error) {
	if len(e.kids) > 0 {
		return "", dataError("%s has elements", e.name)
	}
	return e.text, nil
}

// into reads text into a field.
func into[T ~string](e *element, to *T) error {
	s, err := e.leaf()
	*to = T(s)
	return err
}

func (e *element) identifiers() (*PublicIdentifiers, error) {
	p := &PublicIdentifiers{}
	err := e.each([]string{"IMSPublicIdentity", "MSISDN"}, func(k *element) error {
		switch k.name {
		case "IMSPublicIdentity":
			p.IMPUs = append(p.IMPUs, "")
			return into(k, &p.IMPUs[len(p.IMPUs)-1])
		case "MSISDN":
			if !isDigits(k.text) {
				return dataError("MSISDN is %q, not digits", k.text)
			}
			p.MSISDNs = append(p.MSISDNs, k.text)
		case "IdentityType":
			_, err := k.number(3)
			return err
		case "WildcardedPSI":
			return into(k, &p.WildcardedPSI)
		case "WildcardedIMPU":
			return into(k, &p.WildcardedIMPU)
		default:
			return errUnknownElement
		}
		return nil
	})
	return p, err
}

// isDigits says whether s can be an MSISDN (TS 23.003 3.3): up to fifteen digits.
func isDigits(s string) bool {
	return len(s) > 0 && len(s) <= 15 && strings.Trim(s, "0123456789") == ""
}

func (e *element) repository() (RepositoryData, error) {
	var r RepositoryData
	sequence := false
	for _, k := range e.kids {
		if k.name == "" { // a ServiceData in a namespace of its own would pass for none, and none removes what is stored
			return r, dataError("an element of another namespace in RepositoryData")
		}
	}
	err := e.each(nil, func(k *element) error {
		switch k.name {
		case "ServiceIndication":
			return into(k, &r.ServiceIndication)
		case "SequenceNumber":
			n, err := k.number(1<<16 - 1)
			r.SequenceNumber, sequence = uint16(n), true
			return err
		case "ServiceData":
			r.ServiceData = append([]byte{}, k.inner...)
			return nil
		}
		return errUnknownElement
	})
	switch {
	case err != nil:
	case r.ServiceIndication == "":
		err = dataError("ServiceIndication is missing in RepositoryData")
	case !sequence:
		err = dataError("SequenceNumber is missing in RepositoryData")
	}
	return r, err
}

func (e *element) ims() (*IMSData, error) {
	d := &IMSData{}
	err := e.each([]string{"DSAI"}, func(k *element) error {
		switch k.name {
		case "SCSCFName":
			d.SCSCFName = new(string)
			return into(k, d.SCSCFName)
		case "IFCs":
			return k.criteria(d)
		case "IMSUserState":
			n, err := k.number(int(AuthenticationPending))
			state := IMSUserState(n)
			d.UserState = &state
			return err
		case "ChargingInformation":
			return k.charging(d)
		case "PSIActivation":
			n, err := k.number(1)
			active := n == 1
			d.PSIActivation = &active
			return err
		case "DSAI":
			x, err := k.dsai()
			d.DSAI = append(d.DSAI, x)
			return err
		}
		return errUnknownElement
	})
	return d, err
}

func (e *element) criteria(d *IMSData) error {
	all := []cx.InitialFilterCriteria{}
	d.Criteria = &all
	return e.each([]string{"InitialFilterCriteria"}, func(k *element) error {
		if k.name != "InitialFilterCriteria" {
			return errUnknownElement
		}
		c, err := cx.DecodeCriterion(slices.Concat([]byte("<InitialFilterCriteria>"), k.inner, []byte("</InitialFilterCriteria>")))
		if err != nil {
			return dataError("%w", err)
		}
		all = append(all, c)
		return nil
	})
}

func (e *element) charging(d *IMSData) error {
	d.Charging = &cx.ChargingInformation{}
	return e.each(nil, func(k *element) error {
		switch k.name {
		case "PrimaryEventChargingFunctionName":
			return into(k, &d.Charging.PrimaryECF)
		case "SecondaryEventChargingFunctionName":
			return into(k, &d.Charging.SecondaryECF)
		case "PrimaryChargingCollectionFunctionName":
			return into(k, &d.Charging.PrimaryCCF)
		case "SecondaryChargingCollectionFunctionName":
			return into(k, &d.Charging.SecondaryCCF)
		}
		return errUnknownElement
	})
}

func (e *element) dsai() (DSAI, error) {
	x, value := DSAI{}, false
	err := e.each(nil, func(k *element) error {
		switch k.name {
		case "DSAI-Tag":
			return into(k, &x.Tag)
		case "DSAI-Value":
			n, err := k.number(1)
			x.Active, value = n == 0, true
			return err
		}
		return errUnknownElement
	})
	if err == nil && (x.Tag == "" || !value) {
		err = dataError("DSAI-Tag or DSAI-Value is missing in DSAI")
	}
	return x, err
}
