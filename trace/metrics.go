package trace

import (
	"errors"
	"fmt"
	"iter"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// labels are the only label names there are: each has few values, all of them ours. A subscriber's
// identity or a peer's address as a label would be a list of users and grow without bound.
var labels = []string{"control", "reason", "code", "method", "function", "interface", "role", "shard", "state", "table"}

var (
	roomName   = regexp.MustCompile(`^[a-z][a-z0-9]*$`)
	metricName = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
)

// Registry exports the counters of the rooms for Prometheus, with those of the Go run time and
// of the process. Counters are read when somebody asks; counting is an atomic add in the room.
type Registry struct{ r *prometheus.Registry }

// NewRegistry returns a registry with the metrics of the Go run time and of the process.
func NewRegistry() *Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &Registry{r}
}

// Counters exports the exported fields of the structs that the pointers point to: an atomic.Uint64
// PacketsIn of room siptransport becomes the counter imsafe_siptransport_packets_in_total, an
// atomic.Int64 a gauge without the ending. A tag help:"..." gives the help text. Several pointers, one per
// shard say, must be of one type and are added up. Other fields are the room's own.
func (r *Registry) Counters(room string, structs ...any) error {
	if !roomName.MatchString(room) {
		return fmt.Errorf("trace: %q is no name of a room", room)
	}
	if len(structs) == 0 {
		return fmt.Errorf("trace: room %s gives no counters", room)
	}
	var values []reflect.Value
	for _, s := range structs {
		v := reflect.ValueOf(s)
		if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct || v.Type() != reflect.TypeOf(structs[0]) {
			return fmt.Errorf("trace: counters of room %s: want pointers to one type of struct, have %T", room, s)
		}
		values = append(values, v.Elem())
	}
	found := 0
	for i := range values[0].NumField() {
		field := values[0].Type().Field(i)
		if !field.IsExported() {
			continue
		}
		var metric prometheus.Collector
		switch values[0].Field(i).Addr().Interface().(type) {
		case *atomic.Uint64:
			parts := fields[*atomic.Uint64](values, i)
			metric = prometheus.NewCounterFunc(prometheus.CounterOpts(options(room, snake(field.Name)+"_total", help(field))), func() float64 { return sum(parts) })
		case *atomic.Int64:
			parts := fields[*atomic.Int64](values, i)
			metric = prometheus.NewGaugeFunc(prometheus.GaugeOpts(options(room, snake(field.Name), help(field))), func() float64 { return sum(parts) })
		default:
			continue
		}
		found++
		if err := r.r.Register(metric); err != nil {
			return fmt.Errorf("trace: %s.%s: %w", room, field.Name, err)
		}
	}
	if found == 0 {
		return fmt.Errorf("trace: %T has no counters", structs[0])
	}
	return nil
}

// fields collects the same field of all structs.
func fields[T any](values []reflect.Value, i int) []T {
	var all []T
	for _, v := range values {
		all = append(all, v.Field(i).Addr().Interface().(T))
	}
	return all
}

func sum[N uint64 | int64, T interface{ Load() N }](parts []T) float64 {
	var n N
	for _, p := range parts {
		n += p.Load()
	}
	return float64(n)
}

// help is the tag of a counter's field, or its name in words.
func help(f reflect.StructField) string {
	if h := f.Tag.Get("help"); h != "" {
		return h
	}
	return strings.ReplaceAll(snake(f.Name), "_", " ")
}

// Gauge exports a value that is computed when asked for. name is without the room and says its unit, as
// in "journal_octets". fn must be quick and safe for concurrent use.
func (r *Registry) Gauge(room, name, help string, fn func() float64) error {
	if !roomName.MatchString(room) || !metricName.MatchString(name) {
		return fmt.Errorf("trace: %s_%s is no name of a metric", room, name)
	}
	return r.r.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts(options(room, name, help)), fn))
}

// Labelled exports counters that differ by one label, such as refusals by control. each is asked at every
// scrape and yields the label's value and the count; values must be constants of the program.
func (r *Registry) Labelled(room, name, help, label string, each iter.Seq2[string, uint64]) error {
	if !slices.Contains(labels, label) {
		return fmt.Errorf("trace: metric label %q: only %s may be labels", label, strings.Join(labels, ", "))
	}
	if !roomName.MatchString(room) || !metricName.MatchString(name) || !strings.HasSuffix(name, "_total") {
		return fmt.Errorf("trace: %s_%s is no name of a counter", room, name)
	}
	o := options(room, name, help)
	return r.r.Register(&labelled{prometheus.NewDesc(prometheus.BuildFQName(o.Namespace, o.Subsystem, o.Name), help, []string{label}, nil), each})
}

// labelled is the collector behind Labelled.
type labelled struct {
	desc *prometheus.Desc
	each iter.Seq2[string, uint64]
}

// Describe implements prometheus.Collector.
func (l *labelled) Describe(ch chan<- *prometheus.Desc) { ch <- l.desc }

// Collect implements prometheus.Collector.
func (l *labelled) Collect(ch chan<- prometheus.Metric) {
	for value, n := range l.each {
		ch <- prometheus.MustNewConstMetric(l.desc, prometheus.CounterValue, float64(n), value)
	}
}

func options(room, name, help string) prometheus.Opts {
	return prometheus.Opts{Namespace: "imsafe", Subsystem: room, Name: name, Help: help}
}

// Handler serves the metrics. It has no access control of its own: it belongs on loopback or behind one.
func (r *Registry) Handler() http.Handler {
	return promhttp.HandlerFor(r.r, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError})
}

// Read returns the current value of each metric by its full name and labels, as Prometheus would write
// it, for tests and for the management interface.
func (r *Registry) Read() (map[string]float64, error) {
	families, err := r.r.Gather()
	if err != nil {
		return nil, errors.Join(errors.New("trace: metrics contradict each other"), err)
	}
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += fmt.Sprintf("{%s=%q}", l.GetName(), l.GetValue())
			}
			values[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return values, nil
}

// snake turns a Go name into the words of a metric: PacketsIn is packets_in, RTPOctets is rtp_octets.
func snake(name string) string {
	var b strings.Builder
	for i, r := range name {
		upper := r >= 'A' && r <= 'Z'
		if upper && i > 0 {
			before := name[i-1]
			endOfAcronym := i+1 < len(name) && name[i+1] >= 'a' && name[i+1] <= 'z'
			if before < 'A' || before > 'Z' || endOfAcronym {
				b.WriteByte('_')
			}
		}
		b.WriteString(strings.ToLower(string(r)))
	}
	return b.String()
}
