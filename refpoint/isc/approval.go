package isc

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Approval is what an operator has decided about a manifest. It is signed with a key that is not on the core: who owns the core
// owns no platform by that.
type Approval struct {
	Service  string
	Manifest [sha256.Size]byte // SHA-256 of the exact octets of the manifest
	Key      Fingerprint       // the key of the platform
	Granted  Scopes            // no more than the manifest asks for
	AllUsers bool              // all users, if the manifest asks for them
	Approver string            // who decided: a name for the record
	Time     time.Time         // when, to the second, by the approver's clock
	Serial   uint64            // one more than that of the service's last approval, from 1: an old one does not come back

	Signature []byte // Ed25519, over Encode (RFC 8032 5.1.6)
}

// The errors of approvals.
var (
	ErrApprovalForm      = errors.New("isc: the approval is not in its form")
	ErrApprovalSignature = errors.New("isc: the approval is not signed by the operator's approval key")
	ErrApprovalManifest  = errors.New("isc: the approval is about another manifest")
	ErrApprovalScopes    = errors.New("isc: the approval grants what the manifest does not ask for")
)

// approvalHead begins what is signed, so that the signature says nothing about texts of other kinds.
const approvalHead = "imsafe approval 1"

// maxApproval bounds an encoded approval, in octets.
const maxApproval = 32 << 10

// approvalKeys are the lines after the head, in this order, each once.
var approvalKeys = []string{"service", "manifest", "key", "scopes", "users", "approver", "time", "serial"}

var approverForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 @._-]{0,63}$`)

// Encode returns the one text of an approval: what is signed, and what a person can read.
func (a *Approval) Encode() []byte {
	users := "groups"
	if a.AllUsers {
		users = "all"
	}
	values := []string{
		a.Service, hex.EncodeToString(a.Manifest[:]), hex.EncodeToString(a.Key[:]), a.Granted.String(), users,
		a.Approver, a.Time.UTC().Format(time.RFC3339), strconv.FormatUint(a.Serial, 10),
	}
	b := append([]byte(approvalHead), '\n')
	for i, key := range approvalKeys {
		b = append(append(append(append(b, key...), ' '), values[i]...), '\n')
	}
	return b
}

// Sign signs the approval. It fails if the approval has no canonical text: a name that breaks a line, a time before 1970.
func (a *Approval) Sign(key ed25519.PrivateKey) error {
	text := a.Encode()
	if _, err := decodeApproval(text); err != nil {
		return err
	}
	a.Signature = ed25519.Sign(key, text)
	return nil
}

// Verify checks the signature: ErrApprovalSignature. What is signed says nothing about now; the registry checks the serial.
func (a *Approval) Verify(key ed25519.PublicKey) error {
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, a.Encode(), a.Signature) {
		return ErrApprovalSignature
	}
	return nil
}

// Covers checks that the approval is about exactly these octets and grants no more than the manifest that they are asks for:
// ErrApprovalManifest, ErrApprovalScopes.
func (a *Approval) Covers(text []byte, m *Manifest) error {
	switch {
	case sha256.Sum256(text) != a.Manifest || m.Service != a.Service:
		return ErrApprovalManifest
	case !a.Granted.Within(m.Asked) || a.AllUsers && !m.Users.All:
		return ErrApprovalScopes
	}
	return nil
}

// Marshal returns the text with the signature as its last line.
func (a *Approval) Marshal() []byte {
	return append(a.Encode(), "signature "+hex.EncodeToString(a.Signature)+"\n"...)
}

// ParseApproval reads what Marshal writes, and nothing else: ErrApprovalForm. The signature is not verified.
func ParseApproval(text []byte) (*Approval, error) {
	i := strings.LastIndex(string(text), "signature ")
	if len(text) > maxApproval || i < 0 || text[len(text)-1] != '\n' {
		return nil, ErrApprovalForm
	}
	a, err := decodeApproval(text[:i])
	if err != nil {
		return nil, err
	}
	a.Signature, err = hex.DecodeString(string(text[i+len("signature ") : len(text)-1]))
	if err != nil || len(a.Signature) != ed25519.SignatureSize || string(a.Marshal()) != string(text) {
		return nil, ErrApprovalForm
	}
	return a, nil
}

// decodeApproval reads what Encode writes. That it is the one text is made sure of by writing it again.
func decodeApproval(text []byte) (*Approval, error) {
	lines := strings.Split(string(text), "\n")
	if len(lines) != len(approvalKeys)+2 || lines[0] != approvalHead {
		return nil, ErrApprovalForm
	}
	values := make([]string, len(approvalKeys))
	for i, key := range approvalKeys {
		var ok bool
		if values[i], ok = strings.CutPrefix(lines[i+1], key+" "); !ok {
			return nil, ErrApprovalForm
		}
	}
	a := &Approval{Service: values[0], AllUsers: values[4] == "all", Approver: values[5]}
	var failed [5]error
	_, failed[0] = hex.Decode(a.Manifest[:], []byte(fixed(values[1])))
	_, failed[1] = hex.Decode(a.Key[:], []byte(fixed(values[2])))
	a.Granted, failed[2] = ParseScopes(strings.FieldsFunc(values[3], func(r rune) bool { return r == ',' }))
	a.Time, failed[3] = time.Parse(time.RFC3339, values[6])
	a.Serial, failed[4] = strconv.ParseUint(values[7], 10, 64)
	if err := errors.Join(failed[:]...); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrApprovalForm, err)
	}
	a.Time = a.Time.UTC()
	if !nameForm.MatchString(a.Service) || !approverForm.MatchString(a.Approver) || a.Serial == 0 || a.Time.Unix() < 0 || string(a.Encode()) != string(text) {
		return nil, ErrApprovalForm
	}
	return a, nil
}

// fixed returns s if it is as long as a hash in hexadecimal digits, else a text that is none.
func fixed(s string) string {
	if len(s) != 2*sha256.Size {
		return "-"
	}
	return s
}
