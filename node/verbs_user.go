package node

import (
	"context"
	"errors"
	"io"
	"strings"

	"imsafe/iface/management"
	"imsafe/imsbox/hss"
)

// AddUser is the input of user.add.
type AddUser struct {
	Subscriber hss.Subscriber `json:"subscriber"`
	DryRun     bool           `json:"dry_run"`
}

// Changed is what a change answers.
type Changed struct {
	User    *hss.View `json:"user,omitempty"` // as it is now, or was when it was removed
	DryRun  bool      `json:"dry_run,omitempty"`
	Warning string    `json:"warning,omitempty"` // the change stands, and this is to be known
}

func (o *Operations) addUser(ctx context.Context, in AddUser) (out Changed, err error) {
	out.DryRun = in.DryRun
	if in.DryRun {
		return out, o.HSS.Check(&in.Subscriber)
	}
	if err := o.HSS.Add(ctx, &in.Subscriber); err != nil {
		return out, err
	}
	out.User, err = o.HSS.Show(in.Subscriber.IMPI)
	return out, err
}

// UserName names a subscriber by any of its identities.
type UserName struct {
	Name   string `json:"name"`
	DryRun bool   `json:"dry_run,omitempty"` // of user.remove
}

func (o *Operations) showUser(_ context.Context, in UserName) (*hss.View, error) {
	return o.HSS.Show(in.Name)
}

// CompareUser is the input of user.compare: keys of a card of which somebody believes that they are those of a subscriber.
type CompareUser struct {
	Name string    `json:"name"` // private identity of the card, or any identity of who has one card
	Keys hss.Given `json:"keys"`
}

// compareUser says what fits, and shows no key. It is for operators alone: who asks may try keys.
func (o *Operations) compareUser(_ context.Context, in CompareUser) (hss.Comparison, error) {
	return o.HSS.Compare(in.Name, &in.Keys)
}

// ConsentUser is the input of user.consent.
type ConsentUser struct {
	Name     string `json:"name"`
	Service  string `json:"service"`
	Withdraw bool   `json:"withdraw,omitempty"`
}

// consentUser takes down what a subscriber has agreed to. The service need not be there yet: who agrees to it has agreed to its name.
func (o *Operations) consentUser(ctx context.Context, in ConsentUser) (out Changed, err error) {
	if out.Warning, err = warning(o.HSS.Consent(ctx, in.Name, in.Service, !in.Withdraw)); err != nil {
		return out, err
	}
	out.User, err = o.HSS.Show(in.Name)
	return out, err
}

func (o *Operations) removeUser(ctx context.Context, in UserName) (out Changed, err error) {
	out.DryRun = in.DryRun
	if out.User, err = o.HSS.Show(in.Name); err != nil || in.DryRun {
		return out, err
	}
	out.Warning, err = warning(o.HSS.Remove(ctx, in.Name))
	return out, err
}

// ListUsers is the input of user.list: at most Limit subscribers after the id After.
type ListUsers struct {
	After string `json:"after,omitempty"`
	Limit int    `json:"limit,omitempty"` // 0: as many as one page may have
}

// UserPage is one page of user.list.
type UserPage struct {
	Users []*hss.View `json:"users"`
	Next  string      `json:"next,omitempty"` // After of the next page; "" at the end
}

// maxPage bounds one page of user.list: some 500 octets each.
const maxPage = 1000

func (o *Operations) listUsers(ctx context.Context, in ListUsers) (out UserPage, err error) {
	if in.Limit <= 0 || in.Limit > maxPage {
		in.Limit = maxPage
	}
	out.Users, out.Next, err = o.HSS.List(ctx, in.After, in.Limit)
	return out, err
}

// ImportUsers is the input of user.import: one subscriber per line, in JSON. Empty lines keep the numbers of a file that had
// another form.
type ImportUsers struct {
	Lines  string `json:"lines"`
	DryRun bool   `json:"dry_run"`
}

func (o *Operations) importUsers(ctx context.Context, in ImportUsers) (hss.ImportReport, error) {
	return o.importFile(ctx, strings.NewReader(in.Lines), in.DryRun, nil)
}

// ImportFile is user.import for who has the store in his own process: lines come from r, which is read twice, and progress hears how far it is. A
// refusal is a *management.Error.
func (o *Operations) ImportFile(ctx context.Context, r io.ReadSeeker, dryRun bool, progress func(hss.ImportReport)) (hss.ImportReport, error) {
	report, err := o.importFile(ctx, r, dryRun, progress)
	if err != nil {
		err = told(err)
	}
	return report, err
}

func (o *Operations) importFile(ctx context.Context, r io.ReadSeeker, dryRun bool, progress func(hss.ImportReport)) (hss.ImportReport, error) {
	report, err := o.HSS.Import(ctx, r, dryRun, progress)
	var mistakes hss.Mistakes
	if err != nil && !errors.As(err, &mistakes) && report.Added > 0 {
		return report, &management.Error{Code: "import.partial", Message: err.Error(),
			Hint: "what was added before stays: `imsafe user list` shows it; import the rest again without those lines"}
	}
	return report, err
}
