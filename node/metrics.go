package node

import (
	"errors"
	"iter"
	"net/http"
	"os"
	"strings"

	"imsafe/proto/esp"
	"imsafe/proto/shard"
	"imsafe/proto/xfrm"
	"imsafe/secure"
	"imsafe/store"
	"imsafe/trace"
)

// metrics gathers the counters of every room of this process into one page. Counting is the rooms' own; here they are only
// read.
func (n *Node) metrics() (http.Handler, error) {
	r := trace.NewRegistry()
	err := errors.Join(
		n.transportMetrics(r),
		r.Labelled("node", "refusals_total", "Requests refused, by control.", "control", n.refused()),
		r.Gauge("node", "weakenings", "What of the configuration is weaker than the default; the log says at the start what it is.", func() float64 { return float64(len(n.o.Config.Weakenings())) }),
		r.Gauge("node", "digest_md5", "1 where the access profile digest-md5 is on, which is a weakening.", func() float64 { return one(n.o.Config.CI.DigestMD5.Enabled) }),
		n.ipsecMetrics(r),
		r.Gauge("node", "tasks", "Procedures that run or wait.", n.sum(func(s shard.Stats) float64 { return float64(s.Tasks) })),
		r.Gauge("node", "defects", "Procedures that ended with a panic.", n.sum(func(s shard.Stats) float64 { return float64(s.Panics) })),
		r.Gauge("node", "handovers", "Events that another thread had to run.", n.sum(func(s shard.Stats) float64 { return float64(s.HandedOver) })),
		r.Gauge("store", "changes", "Durable changes.", n.stored(func(s store.Stats) float64 { return float64(s.Changes) })),
		r.Gauge("store", "batches", "Journal writes, each with one sync.", n.stored(func(s store.Stats) float64 { return float64(s.Batches) })),
		r.Gauge("store", "overloads", "Changes refused for too much work or a failed disk.", n.stored(func(s store.Stats) float64 { return float64(s.Overloads) })),
		r.Gauge("store", "unsaved", "Changes that are not in the image yet.", n.stored(func(s store.Stats) float64 { return float64(s.Unsaved) })),
		n.functionMetrics(r),
	)
	if a := n.o.Anchor; a != nil {
		page := r.Handler()
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			a.count() // the page is no older than its reading
			page.ServeHTTP(w, q)
		}), err
	}
	return r.Handler(), err
}

func (n *Node) transportMetrics(r *trace.Registry) error {
	var transports, layers []any
	for _, a := range n.accesses {
		transports = append(transports, &a.counters)
		for _, p := range a.ports {
			layers = append(layers, p.Counters())
		}
	}
	if n.mw != nil {
		transports = append(transports, &n.mw.counters)
		for _, sh := range n.Shards {
			layers = append(layers, n.mw.wire.Port(sh).Counters())
		}
	}
	if len(transports) == 0 {
		return nil
	}
	return errors.Join(r.Counters("siptransport", transports...), r.Counters("siptxn", layers...))
}

// ipsecMetrics are those of security associations: what was dropped, by reason, and which profile is in force.
func (n *Node) ipsecMetrics(r *trace.Registry) error {
	if n.esp == nil {
		return nil
	}
	err := errors.Join(r.Counters("esp", n.esp.Counters()),
		r.Labelled("esp", "dropped_total", "ESP packets dropped, by reason.", "reason", n.droppedESP()),
		r.Gauge("esp", "agreements", "Sets of four security associations.", func() float64 { return float64(n.esp.Len()) }))
	if n.xfrm != nil {
		err = errors.Join(err, r.Counters("xfrm", n.xfrm.Traffic()),
			r.Labelled("xfrm", "dropped_total", "Packets that the kernel dropped, by its reason.", "reason", n.droppedByKernel()))
	}
	weakenings := map[string]int{}
	for _, w := range n.o.Config.Weakenings() {
		if name, ours := strings.CutPrefix(w.Name, "ipsec-"); ours {
			weakenings[name]++
		}
	}
	for name, count := range weakenings {
		err = errors.Join(err, r.Gauge("node", "ipsec_"+name, "How often this weakening of the security agreement is in force: device exceptions are one each.",
			func() float64 { return float64(count) }))
	}
	return err
}

func (n *Node) droppedByKernel() iter.Seq2[string, uint64] {
	return func(yield func(string, uint64) bool) {
		text, err := os.ReadFile(xfrm.StatFile)
		if err == nil { // a kernel may have been built without them
			xfrm.Stat(text)(yield)
		}
	}
}

func (n *Node) droppedESP() iter.Seq2[string, uint64] {
	return func(yield func(string, uint64) bool) {
		for _, d := range esp.Drops() {
			if !yield(d.String(), n.esp.Counters().Dropped(d)) {
				return
			}
		}
	}
}

// functionMetrics are those of the functions that this process has.
func (n *Node) functionMetrics(r *trace.Registry) (err error) {
	if n.Door != nil {
		err = errors.Join(
			r.Gauge("clientims", "associations", "Paths to clients, those included that prove nothing yet.", func() float64 { return float64(n.Door.Associations()) }),
			r.Counters("clientims", n.Door.Budgets()),
			r.Gauge("node", "overload_loss", "Percent of the work that is turned away because there is too much of it; of the shard that has most.", n.overloadLoss),
			r.Gauge("clientims", "amplification", "Octets sent to UDP sources that were never proven, for each octet that came from them.", n.Door.Budgets().Amplification))
	}
	if n.o.Sockets.Drop != nil {
		err = errors.Join(err, r.Counters("nftdrop", &n.o.Sockets.Drop.Counters),
			r.Gauge("nftdrop", "packets", "Packets that the kernel has dropped for [ci.drop].", n.droppedSources))
	}
	if n.Media != nil {
		err = errors.Join(err, r.Counters("media", n.Media.Counters()),
			r.Gauge("media", "free_ports", "Pairs of ports that no call has.", func() float64 { return float64(n.Media.Free()) }),
			r.Gauge("pcscf", "anchored_calls", "Calls whose media are anchored.", func() float64 { return float64(n.PCSCF.Anchored()) }))
	}
	if a := n.o.Anchor; a != nil {
		err = errors.Join(err, r.Counters("media", &a.counters),
			r.Gauge("media", "free_ports", "Pairs of ports that no call has.", func() float64 { return float64(a.Free()) }),
			r.Gauge("media", "process_starts", "How often the process of the media anchor was started.", func() float64 { return float64(a.starts.Load()) }),
			r.Gauge("pcscf", "anchored_calls", "Calls whose media are anchored.", func() float64 { return float64(n.PCSCF.Anchored()) }))
	}
	if n.SCSCF != nil {
		err = errors.Join(err,
			r.Gauge("scscf", "registered_users", "Private identities in memory.", func() float64 { return float64(n.SCSCF.Registered()) }),
			r.Gauge("scscf", "unvouched", "Messages that went on without a signature of the network that they should have had.", func() float64 { return float64(n.SCSCF.Unvouched()) }),
			r.Gauge("scscf", "digest_wrong", "Wrong answers to challenges of SIP Digest.", func() float64 { return float64(n.SCSCF.WrongDigests()) }),
			r.Gauge("charging", "records_lost", "Call records that the store refused.", func() float64 { return float64(n.Charging.Lost()) }))
	}
	if n.enrolment != nil {
		err = errors.Join(err, r.Counters("enrolment", &n.enrolment.Counters),
			r.Gauge("services", "active", "Service platforms that may do something now.", func() float64 { return float64(n.Registry.ActiveCount()) }),
			r.Gauge("ca", "ends_seconds", "Unix time at which the intermediate that issues ends; 0 without one.", n.authorityEnds))
	}
	if n.Web != nil {
		err = errors.Join(err, r.Counters("clientweb", &n.Web.Counters))
	}
	if n.cx != nil {
		err = errors.Join(err, r.Counters("diameter", &n.cx.counters))
	}
	if n.sh != nil {
		err = errors.Join(err, r.Counters("diameter_sh", &n.sh.counters))
	}
	if n.HSS != nil {
		for _, c := range n.HSS.Counts() {
			err = errors.Join(err, r.Gauge("hss", hssMetric(c.Name, c.Operation), "Work of the HSS.", n.hssCount(c.Name, c.Operation)))
		}
	}
	return err
}

// Handovers returns how many datagrams came in, and how many of them were responses that belonged to another shard than
// the one whose socket they came to. A packet is handed over at most once: its branch names the shard.
func (n *Node) Handovers() (packets, given uint64) {
	for _, a := range n.accesses {
		packets += a.counters.PacketsIn.Load()
		for _, p := range a.ports {
			given += p.Counters().ForeignGiven.Load()
		}
	}
	return packets, given
}

// overloadLoss is how much the busiest shard turns away, in percent.
func (n *Node) overloadLoss() float64 {
	loss := 0
	for _, c := range n.Load {
		loss = max(loss, c.Loss())
	}
	return float64(loss)
}

// one is 1 for true.
func one(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

func (n *Node) sum(of func(shard.Stats) float64) func() float64 {
	return func() (total float64) {
		for _, sh := range n.Shards {
			total += of(sh.Stats())
		}
		return total
	}
}

func (n *Node) stored(of func(store.Stats) float64) func() float64 {
	return func() float64 { return of(n.o.Store.Stats()) }
}

// refused yields how often each control refused.
func (n *Node) refused() iter.Seq2[string, uint64] {
	return func(yield func(string, uint64) bool) {
		for _, c := range secure.Controls() {
			if refused, _ := n.Gate.Counts(c); !yield(c.String(), refused) {
				return
			}
		}
	}
}

func hssMetric(name, operation string) string {
	if operation == "" {
		return name
	}
	return operation + "_" + name
}

func (n *Node) hssCount(name, operation string) func() float64 {
	return func() float64 {
		for _, c := range n.HSS.Counts() {
			if c.Name == name && c.Operation == operation {
				return float64(c.Value)
			}
		}
		return 0
	}
}
