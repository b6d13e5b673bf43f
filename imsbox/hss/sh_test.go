package hss

import (
	"encoding/hex"
	"errors"
	"slices"
	"testing"
	"time"

	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/cx/cxtest"
	"imsafe/refpoint/sh"
	"imsafe/refpoint/sh/shtest"
	"imsafe/store"
)

// setting is a house whose services have grants.
func (h *house) setting(w shtest.World) *Permissions {
	h.t.Helper()
	list := NewPermissions(h.clock)
	for _, s := range w.Services {
		var grants []Grant
		for _, g := range w.Grants {
			if g.Service == s.AS.Service {
				grants = append(grants, Grant{Data: g.Data, AllData: g.AllData, Indications: g.Indications, Ops: g.Ops, Groups: g.Groups, Everybody: g.Everybody,
					PerSecond: g.PerSecond, Burst: g.Burst})
			}
		}
		if err := list.Set(s.AS.Service, grants...); err != nil {
			h.t.Fatal(err)
		}
	}
	h.ports.Permission = list
	h.ports.Notify = func(as sh.AS) sh.Client {
		for _, s := range w.Services {
			if s.AS == as {
				return s.Client
			}
		}
		return nil
	}
	h.restart()
	return list
}

// restart makes another HSS on the same store, with the present ports.
func (h *house) restart() {
	h.t.Helper()
	h.ports.Store = h.db
	var err error
	if h.HSS, err = New(h.cfg, h.ports); err != nil {
		h.t.Fatal(err)
	}
}

// provisionSh writes the world of the suite as an operator would.
func (h *house) provisionSh(w shtest.World) {
	h.t.Helper()
	groups := map[string]*Group{}
	for _, s := range w.Subscribers {
		groups[s.Group] = &Group{Name: s.Group, Profile: s.Group}
	}
	for name, g := range groups {
		p := &cx.ServiceProfile{SubscribedMediaProfile: -1}
		for _, c := range w.Criteria {
			if c.Group == name {
				p.Criteria = append(p.Criteria, cx.InitialFilterCriteria{Priority: c.Priority, DSAI: c.DSAI, Server: cx.ApplicationServer{ServerName: c.Server}})
			}
		}
		if ccf := w.Charging[name]; ccf != "" {
			g.Charging = &cx.ChargingInformation{PrimaryCCF: ccf}
		}
		if err := errors.Join(h.PutProfile(background, name, p), h.PutGroup(background, g)); err != nil {
			h.t.Fatal(err)
		}
	}
	for i, s := range w.Subscribers {
		sub := Subscriber{Card: Card{IMPI: string(s.IMPI)}, Group: s.Group}
		if s.Service {
			sub.Service = &Service{}
		} else {
			sub.K, sub.OPc = Secret(hex.EncodeToString(slices.Repeat([]byte{byte(i), 100}, 8))), Secret(hex.EncodeToString(slices.Repeat([]byte{byte(i), 200}, 8)))
		}
		for _, impu := range s.IMPUs {
			sub.Public = append(sub.Public, Public{IMPU: string(impu), Barred: slices.Contains(s.Barred, impu)})
		}
		if err := h.Add(background, &sub); err != nil {
			h.t.Fatal(err)
		}
	}
}

func (h *house) assigns(kind cx.ServerAssignmentType) func(sh.IMPI, sh.IMPU, string) {
	return func(impi sh.IMPI, impu sh.IMPU, server string) {
		h.t.Helper()
		h.run(func(t *shard.Task) {
			b := new(cx.Batch)
			_, err := h.ServerAssignment(t, &cx.ServerAssignmentRequest{IMPI: impi, IMPUs: []cx.IMPU{impu}, ServerName: server, Type: kind, Batch: b})
			if err == nil && len(b.Changes) > 0 {
				ops := make([]store.Op, len(b.Changes))
				for i, c := range b.Changes {
					ops[i] = store.Op{Table: store.Table(c.Table), Key: c.Key, Value: c.Value, Cond: store.Cond(c.Cond), Version: c.Version}
				}
				err = h.apply(t, b.Partition, ops...)
			}
			b.Settle(err)
			if err != nil {
				h.t.Error(err)
			}
		})
	}
}

func TestShContract(t *testing.T) {
	if shtest.Home != cxtest.Home {
		t.Fatal("the suites are of two networks")
	}
	shtest.Run(t, func(t *testing.T, w shtest.World) *shtest.Fixture {
		h := newHouse(t)
		h.setting(w)
		h.provisionSh(w)
		f := &shtest.Fixture{As: func(sh.AS) sh.Server { return h.HSS }, Run: h.run, Now: h.clock.Wall,
			Late: func() <-chan time.Time { return time.After(time.Minute) }, Register: h.assigns(cx.AssignRegistration),
			Deregister: h.assigns(cx.UserDeregistration)}
		f.Remove = func(impu sh.IMPU) {
			if err := h.HSS.Remove(background, string(impu)); err != nil {
				t.Error(err)
			}
		}
		f.Crash = func() {
			permission, notify := h.ports.Permission, h.ports.Notify
			h.crash()
			h.ports.Permission, h.ports.Notify = permission, notify
			h.restart()
		}
		return f
	})
}
