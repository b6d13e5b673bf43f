package node

import (
	"crypto/rand"
	"log/slog"

	"imsafe/config"
	"imsafe/imsbox/hss"
	"imsafe/policy"
	"imsafe/proto/shard"
	"imsafe/store"
)

// OpenOperations makes the operations of a store that no node uses: st is open, and so locked. Nobody is told of a change,
// because nobody is registered with a process that does not run; a node that starts later reads what is there.
func OpenOperations(c *config.Config, clock shard.Clock, log *slog.Logger, st store.Engine, keys *Keys) (*Operations, error) {
	meta := st.Meta()
	gate := policy.Default().Gate(nil)
	h, err := hss.New(hss.Config{HomeDomains: []string{c.HomeDomain()}, IND: indexOf(c), RestoreEpoch: meta.Epoch, RestoredAt: meta.RestoredAt,
		Digest: DigestAlgorithms(c)},
		hss.Ports{Store: st, Keys: keys.Keyring, Random: rand.Reader, Clock: clock, Gate: gate, Log: log})
	if err != nil {
		return nil, err
	}
	dir, err := DecisionsDir(c)
	if err != nil {
		return nil, err
	}
	kept := decisionsWorld{disk: dir, store: st, keys: keys, random: rand.Reader, clock: clock, number: sharedNumber(c)}
	s, err := openServices(servicesWorld{domain: c.HomeDomain(), approvers: c.Approvers(), nodes: nodeNames(c), epoch: meta.Epoch, store: st, keys: keys.Keyring,
		random: rand.Reader, clock: clock, gate: gate, record: kept.record})
	if err != nil {
		return nil, err
	}
	return &Operations{number: sharedNumber(c), HSS: h, Store: st, Keys: keys, Random: rand.Reader, Domain: c.HomeDomain(), Clock: clock, Scheme: cardScheme(c), Authority: s.authority,
		Registry: s.registry, Pseudonyms: s.pseudonyms, SharedSets: s.sharedSets, Decisions: dir, Record: kept.record, EnrolAt: c.IS.Enrol.Listen.String(), ConnectAt: c.IS.Listen.String()}, nil
}

// indexOf is the array index of a node in sequence numbers (TS 33.102 C.1.1.1).
func indexOf(c *config.Config) uint8 { return uint8((c.Node.Number - 1) % 32) }
