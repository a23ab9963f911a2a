// Package metrics counts what the server does, for Prometheus.
//
// names.go lists every metric with its help. Parts of the server know nothing of this package: they are given small hooks (Protocol, Round)
// that have the shape of what they call, and what can be read at any time (lag, hot states, free disk) is asked for at each scrape.
package metrics

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics holds the server's counters.
type Metrics struct {
	registry *prometheus.Registry

	connections                         *prometheus.GaugeVec
	accepted, refused, logins, messages *prometheus.CounterVec
	messageBytes, appends, conflicts    *prometheus.CounterVec
	refusals                            *prometheus.CounterVec
	commands, delivery                  *prometheus.HistogramVec
	roundAppends, roundPublish, sync    *prometheus.HistogramVec
}

// New makes all metrics at zero.
func New() *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	counter := func(d Desc) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: d.Name, Help: d.Help}, d.Labels)
		m.registry.MustRegister(c)
		return c
	}
	histogram := func(d Desc, buckets []float64) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: d.Name, Help: d.Help, Buckets: buckets}, d.Labels)
		m.registry.MustRegister(h)
		return h
	}
	m.connections = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: connections.Name, Help: connections.Help}, connections.Labels)
	m.registry.MustRegister(m.connections, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.accepted, m.refused, m.logins, m.messages = counter(accepted), counter(refused), counter(logins), counter(messages)
	m.messageBytes, m.appends, m.conflicts, m.refusals = counter(messageBytes), counter(appends), counter(conflicts), counter(refusals)
	times := prometheus.ExponentialBuckets(0.0001, 4, 10) // 0.1 ms to 26 s
	m.commands, m.roundPublish, m.sync, m.delivery = histogram(commands, times), histogram(roundPublish, times), histogram(roundSync, times), histogram(delivery, times)
	m.roundAppends = histogram(roundAppends, prometheus.ExponentialBuckets(1, 2, 11)) // 1 to 1024
	return m
}

// Handler serves the Prometheus text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Round counts one commit round of the log.
func (m *Metrics) Round(stream string, stored, refused int, publish, sync time.Duration) {
	m.appends.WithLabelValues(stream).Add(float64(stored))
	m.conflicts.WithLabelValues(stream).Add(float64(refused))
	m.roundAppends.WithLabelValues().Observe(float64(stored))
	m.roundPublish.WithLabelValues().Observe(publish.Seconds())
	if sync > 0 {
		m.sync.WithLabelValues().Observe(sync.Seconds())
	}
}

// Protocol gives the hooks of one protocol's listeners.
func (m *Metrics) Protocol(name string) *Protocol { return &Protocol{m, name} }

// Protocol counts what clients of one protocol do.
type Protocol struct {
	m    *Metrics
	name string
}

// Connected counts a connection that was accepted.
func (p *Protocol) Connected() {
	p.m.accepted.WithLabelValues(p.name).Inc()
	p.m.connections.WithLabelValues(p.name).Inc()
}

// Disconnected counts its end.
func (p *Protocol) Disconnected() { p.m.connections.WithLabelValues(p.name).Dec() }

// Refused counts a connection above a limit.
func (p *Protocol) Refused() { p.m.refused.WithLabelValues(p.name).Inc() }

// LoggedIn counts an attempt to log in.
func (p *Protocol) LoggedIn(ok bool) {
	outcome := "denied"
	if ok {
		outcome = "ok"
	}
	p.m.logins.WithLabelValues(p.name, outcome).Inc()
}

// Answered counts a command. The caller bounds the set of commands: unknown ones share a name.
func (p *Protocol) Answered(command, status string, took time.Duration) {
	p.m.commands.WithLabelValues(p.name, command, status).Observe(took.Seconds())
}

// Answer counts a refusal with an SMTP reply code.
func (p *Protocol) Answer(code int) { p.m.refusals.WithLabelValues(p.name, strconv.Itoa(code)).Inc() }

// Delivered counts a message that became durable in that many mailboxes.
func (p *Protocol) Delivered(recipients int, octets int64, took time.Duration) {
	p.m.messages.WithLabelValues(p.name).Add(float64(recipients))
	p.m.messageBytes.WithLabelValues(p.name).Add(float64(octets))
	p.m.delivery.WithLabelValues(p.name).Observe(took.Seconds())
}

// Sample is a value that is read at a scrape.
type Sample struct {
	desc   Desc
	value  float64
	labels []string
}

// Scrape is asked at each scrape for what can be read at any time.
func (m *Metrics) Scrape(read func() []Sample) {
	descs := map[string]*prometheus.Desc{}
	for _, d := range All() {
		descs[d.Name] = prometheus.NewDesc(d.Name, d.Help, d.Labels, nil)
	}
	m.registry.MustRegister(&scraper{descs, read})
}

type scraper struct {
	descs map[string]*prometheus.Desc
	read  func() []Sample
}

// Describe says nothing: the collector is unchecked, because which streams there are is known later.
func (*scraper) Describe(chan<- *prometheus.Desc) {}

func (s *scraper) Collect(out chan<- prometheus.Metric) {
	for _, sample := range s.read() {
		kind := prometheus.GaugeValue
		if sample.desc.Kind == "counter" {
			kind = prometheus.CounterValue
		}
		out <- prometheus.MustNewConstMetric(s.descs[sample.desc.Name], kind, sample.value, sample.labels...)
	}
}

// LogHead is the position of a stream's last durable entry.
func LogHead(stream string, seq uint64) Sample {
	return Sample{logHead, float64(seq), []string{stream}}
}

// Lag tells how far a projection is behind.
func Lag(projection, stream string, entries uint64, seconds float64, up bool) []Sample {
	labels, works := []string{projection, stream}, 0.0
	if up {
		works = 1
	}
	return []Sample{{lagEntries, float64(entries), labels}, {lagSeconds, seconds, labels}, {projectionUp, works, labels}}
}

// Door tells what the accounts' door did and holds.
func Door(decided, transactions, again, loads, evictions uint64, hot int, hotBytes int64) []Sample {
	return []Sample{
		{doorCommands, float64(decided), nil}, {doorTx, float64(transactions), nil}, {doorConflicts, float64(again), nil}, {doorLoads, float64(loads), nil},
		{doorEvictions, float64(evictions), nil}, {doorHot, float64(hot), nil}, {doorHotBytes, float64(hotBytes), nil},
	}
}

// DiskFree is the room on the data directory's file system.
func DiskFree(octets uint64) Sample { return Sample{diskFree, float64(octets), nil} }

// WriteMarkdown prints docs/metrics.md.
func WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString("# Metrics\n\nThis page is made from ops/metrics/names.go by `streampost docs`; a test fails when the two differ.\n\n")
	b.WriteString("`GET /metrics` on the admin listener gives them in Prometheus' text format, without a token, together with those of the Go runtime\n(`go_*`) and the process (`process_*`).\n\n")
	b.WriteString("| metric | kind | labels | meaning |\n|---|---|---|---|\n")
	for _, d := range All() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", d.Name, d.Kind, strings.Join(d.Labels, ", "), d.Help)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
