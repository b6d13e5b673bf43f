package attack

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"imsafe/secure"
)

// adminOpen: an account of the host that the operator has given nothing finds the management door.
func adminOpen() Attack {
	return Attack{
		ID: "mgmt.admin.open", Number: "MG-01", Title: "an account of the host without a role calls the operator's door",
		Text:     "whoever gets any shell on the host reads who is a subscriber, takes subscribers away and makes some of his own",
		Services: []Service{Authentication}, Stride: Elevation, Threats: []Threat{Removal, Disclosure}, Module: InfrastructureAdmin,
		Source: "ITU-T X.805 8.1; OWASP ASVS V4.3.1", Access: []Access{Admin},
		Bounds:   Bounds{Packets: 80, Bytes: 80_000, Conns: 10, Time: 3 * time.Second},
		Variants: []Variant{{Name: "open", Position: LocalAccount, Controls: []secure.ControlID{secure.ManagementAuthenticationAdmin}, Run: callsOperator}},
	}
}

// named is the input of verbs about one thing.
type named struct {
	Name string `json:"name"`
}

// operatorsDoor is a connection to the operator's socket, by which verbs are called.
func (f *Field) operatorsDoor(ctx context.Context) (call func(verb string, in any) (status int, answer string, err error), hangUp func()) {
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return f.dialLocal(ctx, f.Management) }}}
	return func(verb string, in any) (status int, answer string, err error) {
		input, err := json.Marshal(in)
		if err != nil {
			return 0, "", err
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://node/v1/"+verb, bytes.NewReader(input))
		if err != nil {
			return 0, "", err
		}
		got, err := client.Do(r)
		if err != nil {
			return 0, "", fmt.Errorf("attack: the operator's door: %w", err)
		}
		defer func() { _ = got.Body.Close() }()
		text, err := io.ReadAll(io.LimitReader(got.Body, 1<<20))
		return got.StatusCode, string(text), err
	}, client.CloseIdleConnections
}

// callsOperator reads what there is to read, and takes carol away.
func callsOperator(ctx context.Context, f *Field, o *Outcome) error {
	call, hangUp := f.operatorsDoor(ctx)
	defer hangUp()
	read, calls, last := 0, 0, 0
	const rounds = 13 // of four calls
	for range rounds {
		for verb, in := range map[string]any{"status": struct{}{}, "user.list": struct{}{}, "user.show": named{f.Users[Alice].IMPI}, "policy": struct{}{}} {
			status, answer, err := call(verb, in)
			if err != nil {
				return err
			}
			if calls++; strings.Contains(answer, f.Users[Alice].IMPI) {
				read++
			}
			last = status
		}
	}
	o.Arrived("%d calls, the last answered %d", calls, last)
	removed, _, err := call("user.remove", named{f.Users[Carol].IMPI})
	if err != nil {
		return err
	}
	carol, err := f.witness(ctx, Carol, nil)
	if err != nil {
		return err
	}
	answer, err := carol.RegisterAs(ctx, Registering{User: carol.User, Expires: 600})
	if err != nil {
		return err
	}
	gone := answer.Status() != 200
	if o.Users = read; gone {
		o.Users = max(1, o.Users)
	}
	o.Wire(read > 0, "%d of %d calls of an account without a role name alice, the last is answered %d", read, calls, last)
	o.Peer(gone, "to take carol away is answered %d, and her own registration then %d", removed, answer.Status())
	return nil
}
