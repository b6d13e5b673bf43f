package node

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"time"

	"imsafe/ca"
	"imsafe/iface/imsservice"
	"imsafe/iface/management"
	"imsafe/refpoint/isc"
)

// serviceVerbs are those of service platforms and of the authority that certifies them.
func (o *Operations) serviceVerbs() map[string]management.Verb {
	return map[string]management.Verb{
		"service.invite":  verb(management.Operator, o.inviteService),
		"service.list":    verb(management.Viewer, o.listServices),
		"service.show":    verb(management.Viewer, o.showService),
		"service.approve": verb(management.Operator, o.approveService),
		"service.suspend": verb(management.Operator, o.suspendService),
		"service.resume":  verb(management.Operator, o.resumeService),
		"service.revoke":  verb(management.Operator, o.revokeService),

		"ca.show":    verb(management.Viewer, o.showAuthority),
		"ca.request": verb(management.Operator, o.requestAuthority),
		"ca.install": verb(management.Operator, o.installAuthority),
		"ca.retire":  verb(management.Operator, o.retireAuthority),
	}
}

// InviteService is the input of service.invite.
type InviteService struct {
	Seconds int `json:"seconds"` // how long the invitation holds
}

// Invited is its answer: what a platform needs to send its request.
type Invited struct {
	Token   string    `json:"token"`
	Until   time.Time `json:"until"`
	Listen  string    `json:"listen,omitempty"`  // where the door for enrolment listens; empty: nowhere
	Connect string    `json:"connect,omitempty"` // where platforms connect that are approved; empty: nowhere
	Name    string    `json:"name"`              // that the core shows there, in its certificate
	Domain  string    `json:"domain"`
	CA      string    `json:"ca,omitempty"` // fingerprint of the root
	CertPEM string    `json:"ca_certificate,omitempty"`
}

func (o *Operations) inviteService(_ context.Context, in InviteService) (out Invited, err error) {
	root, err := o.Authority.Root()
	if err != nil {
		return out, err
	}
	certs, err := ca.ParseCertificates(root)
	if err != nil {
		return out, err
	}
	life := time.Duration(in.Seconds) * time.Second
	if err := o.note(imsservice.DeedInvited, "for "+life.String()); err != nil {
		return out, err
	}
	if out.Token, err = o.Registry.Invite(life); err != nil {
		return out, err
	}
	out.Until, out.Listen, out.Domain = o.Clock.Wall().Add(life).UTC(), o.EnrolAt, o.Domain
	out.Connect, out.Name = o.ConnectAt, ISCHost(o.Domain)
	out.CA, out.CertPEM = isc.FingerprintOf(certs[0].RawSubjectPublicKeyInfo).String(), string(root)
	return out, nil
}

// Services is the answer of service.list.
type Services struct {
	Services []*imsservice.Entry `json:"services"`
}

func (o *Operations) listServices(context.Context, None) (Services, error) {
	return Services{o.Registry.List()}, nil
}

func (o *Operations) showService(_ context.Context, in Named) (*imsservice.Entry, error) {
	return o.Registry.Show(in.Name)
}

// ApproveService is the input of service.approve: an approval with its signature, as isc.Approval.Marshal writes it.
type ApproveService struct {
	Approval string `json:"approval"`
}

// ServiceChanged is what a change of a service answers.
type ServiceChanged struct {
	Service *imsservice.Entry `json:"service"`
	Ended   int               `json:"ended,omitempty"`   // dialogs that were ended
	Warning string            `json:"warning,omitempty"` // the change stands, and this is to be known
}

func (o *Operations) approveService(ctx context.Context, in ApproveService) (out ServiceChanged, err error) {
	approval, err := isc.ParseApproval([]byte(in.Approval))
	if err != nil {
		return out, err
	}
	e, err := o.Registry.Show(approval.Service)
	if err != nil {
		return out, err
	}
	text := e.Manifest
	if e.Pending != nil {
		text = e.Pending.Manifest
	}
	if sha256.Sum256([]byte(text)) == approval.Manifest {
		if m, err := isc.Parse([]byte(text)); err == nil {
			if err := o.checkPSI(m.Service, m.PSI); err != nil {
				return out, err
			}
		}
	}
	if err := o.Registry.Approve(approval); err != nil {
		return out, err
	}
	out, err = o.serviceChanged(ctx, approval.Service)
	if err == nil && out.Warning == "" {
		out.Warning, err = o.missingGroups(ctx, approval.Service)
	}
	return out, err
}

// missingGroups tells of groups that nobody has made: a name may be mistyped, and nobody is served then.
func (o *Operations) missingGroups(ctx context.Context, name string) (string, error) {
	groups, err := o.HSS.Groups(ctx)
	if err != nil {
		return "", err
	}
	missing := slices.DeleteFunc(slices.Clone(o.Registry.Service(name).Manifest.Users.Groups), func(g string) bool {
		return g == "default" || slices.Contains(groups, g)
	})
	if len(missing) == 0 {
		return "", nil
	}
	return "it is approved, but there is no group " + strings.Join(missing, ", ") + " yet: nobody of it is served until `imsafe group put` makes it", nil
}

// serviceChanged tells the HSS of a change that the register has made. What the register says holds at once; if the HSS cannot follow, the
// error says so, and the next start brings it there.
func (o *Operations) serviceChanged(ctx context.Context, name string) (out ServiceChanged, err error) {
	if out.Warning, err = o.publish(ctx, name); err != nil {
		return out, err
	}
	out.Service, err = o.Registry.Show(name)
	return out, err
}

// SuspendService is the input of service.suspend.
type SuspendService struct {
	Name       string `json:"name"`
	EndDialogs bool   `json:"end_dialogs,omitempty"`
}

func (o *Operations) suspendService(ctx context.Context, in SuspendService) (out ServiceChanged, err error) {
	if err := o.Registry.Suspend(in.Name); err != nil {
		return out, err
	}
	out, err = o.serviceChanged(ctx, in.Name)
	if err == nil && in.EndDialogs {
		out.Ended, out.Warning, err = o.endDialogs(ctx, in.Name, out.Warning)
	}
	return out, err
}

// endDialogs ends the dialogs that a service takes part in.
func (o *Operations) endDialogs(ctx context.Context, name, warning string) (int, string, error) {
	if o.EndDialogs == nil {
		return 0, "no node runs here that has dialogs", nil
	}
	n, err := o.EndDialogs(ctx, name)
	return n, warning, err
}

func (o *Operations) resumeService(ctx context.Context, in Named) (out ServiceChanged, err error) {
	if err := o.Registry.Resume(in.Name); err != nil {
		return out, err
	}
	return o.serviceChanged(ctx, in.Name)
}

// RevokeService is the input of service.revoke: the whole service, or one certificate or instance of it.
type RevokeService struct {
	Name     string `json:"name"`
	Serial   string `json:"serial,omitempty"`   // of a certificate, in hexadecimal
	Instance string `json:"instance,omitempty"` // whose keys are revoked
}

func (o *Operations) revokeService(ctx context.Context, in RevokeService) (out ServiceChanged, err error) {
	if in.Serial != "" || in.Instance != "" {
		err = o.Registry.RevokeCertificate(in.Name, in.Serial, in.Instance)
	} else {
		err = o.Registry.Revoke(in.Name)
	}
	if err != nil {
		return out, err
	}
	if out, err = o.serviceChanged(ctx, in.Name); err == nil && in.Serial == "" && in.Instance == "" && o.EndDialogs != nil {
		out.Ended, err = o.EndDialogs(ctx, in.Name) // what it is part of ends with it
	}
	return out, err
}

// AuthorityView is the answer of ca.show.
type AuthorityView struct {
	Root    *CertificateView  `json:"root,omitempty"`
	PEM     string            `json:"pem,omitempty"` // of the root
	Issuers []CertificateView `json:"issuers"`       // the first one issues
}

// CertificateView is one certificate as it is shown.
type CertificateView struct {
	Serial      string    `json:"serial"`
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	Fingerprint string    `json:"fingerprint"` // of its key
}

func viewOf(c *x509.Certificate) CertificateView {
	return CertificateView{c.SerialNumber.Text(16), c.NotBefore.UTC(), c.NotAfter.UTC(), isc.FingerprintOf(c.RawSubjectPublicKeyInfo).String()}
}

func (o *Operations) showAuthority(context.Context, None) (AuthorityView, error) {
	out := AuthorityView{Issuers: []CertificateView{}}
	for _, c := range o.Authority.Issuers() {
		out.Issuers = append(out.Issuers, viewOf(c))
	}
	root, err := o.Authority.Root()
	if err != nil {
		return out, nil // there is none yet
	}
	certs, err := ca.ParseCertificates(root)
	if err != nil {
		return out, err
	}
	view := viewOf(certs[0])
	out.Root, out.PEM = &view, string(root)
	return out, nil
}

// AuthorityText is a request or certificates, in PEM.
type AuthorityText struct {
	PEM string `json:"pem"`
}

// note writes down what an operator is about to do.
func (o *Operations) note(what, detail string) error {
	if o.Record == nil {
		return nil
	}
	return o.Record(imsservice.Deed{What: what, By: imsservice.ByOperator, Detail: detail})
}

// doing writes down what an operator does, and if it comes to nothing, that.
func (o *Operations) doing(what, detail string, do func() error) error {
	if err := o.note(what, detail); err != nil {
		return err
	}
	err := do()
	if err != nil {
		err = errors.Join(err, o.note(imsservice.DeedUndone, detail))
	}
	return err
}

// authorityOf names the first of some certificates by its serial number.
func authorityOf(text string) string {
	certs, err := ca.ParseCertificates([]byte(text))
	if err != nil || len(certs) == 0 {
		return "authority that is none"
	}
	return "authority " + certs[0].SerialNumber.Text(16)
}

func (o *Operations) requestAuthority(context.Context, None) (AuthorityText, error) {
	text, err := o.Authority.Request()
	return AuthorityText{string(text)}, err
}

func (o *Operations) installAuthority(ctx context.Context, in AuthorityText) (AuthorityView, error) {
	if err := o.doing(imsservice.DeedTrusted, authorityOf(in.PEM), func() error { return o.Authority.Install([]byte(in.PEM)) }); err != nil {
		return AuthorityView{}, err
	}
	return o.showAuthority(ctx, None{})
}

// RetireAuthority is the input of ca.retire.
type RetireAuthority struct {
	Serial string `json:"serial"`
}

func (o *Operations) retireAuthority(ctx context.Context, in RetireAuthority) (AuthorityView, error) {
	if err := o.doing(imsservice.DeedRetired, "authority "+in.Serial, func() error { return o.Authority.Retire(in.Serial) }); err != nil {
		return AuthorityView{}, err
	}
	return o.showAuthority(ctx, None{})
}
