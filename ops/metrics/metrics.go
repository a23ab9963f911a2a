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

	connections                           *prometheus.GaugeVec
	accepted, refused, logins, messages   *prometheus.CounterVec
	messageBytes, appends, conflicts      *prometheus.CounterVec
	refusals                              *prometheus.CounterVec
	restored, purged, notices             *prometheus.CounterVec
	blobsDeleted, blobBytes               *prometheus.CounterVec
	snapshotBytes                         *prometheus.CounterVec
	blobsLost                             *prometheus.GaugeVec
	commands, delivery, tasks             *prometheus.HistogramVec
	roundAppends, roundPublish, sync      *prometheus.HistogramVec
	snapshots                             *prometheus.HistogramVec
	promotions                            *prometheus.CounterVec
	attempts                              *prometheus.HistogramVec
	reports, dropped, warnings, loops     *prometheus.CounterVec
	outSessions, outReused, outFailed     *prometheus.CounterVec
	outPolicies, outSecurity, outReports  *prometheus.CounterVec
	sieveRuns, sieveSteps, stepCalls      *prometheus.HistogramVec
	verified, decided, signed             *prometheus.CounterVec
	processed                             *prometheus.CounterVec
	listsAsked, clientsNamed, gateRefused *prometheus.CounterVec

	greylisted    *prometheus.CounterVec
	milterSeconds *prometheus.HistogramVec

	webhookPosts                    *prometheus.HistogramVec
	spamLearnt, exported, published *prometheus.CounterVec
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
	m.blobsLost = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: blobsLost.Name, Help: blobsLost.Help}, blobsLost.Labels)
	m.registry.MustRegister(m.connections, m.blobsLost, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.accepted, m.refused, m.logins, m.messages = counter(accepted), counter(refused), counter(logins), counter(messages)
	m.messageBytes, m.appends, m.conflicts, m.refusals = counter(messageBytes), counter(appends), counter(conflicts), counter(refusals)
	m.notices = counter(notices)
	m.restored, m.purged, m.blobsDeleted, m.blobBytes = counter(restored), counter(purged), counter(blobsDeleted), counter(blobBytes)
	times := prometheus.ExponentialBuckets(0.0001, 4, 10) // 0.1 ms to 26 s
	m.commands, m.roundPublish, m.sync, m.delivery = histogram(commands, times), histogram(roundPublish, times), histogram(roundSync, times), histogram(delivery, times)
	m.tasks = histogram(taskSeconds, prometheus.ExponentialBuckets(0.01, 6, 9)) // 10 ms to 5 h
	m.promotions = counter(promotions)
	m.attempts = histogram(queueAttempts, prometheus.ExponentialBuckets(0.001, 4, 10)) // 1 ms to 4 min
	m.reports, m.dropped, m.warnings, m.loops = counter(queueReports), counter(queueDropped), counter(quotaWarnings), counter(mailLoops)
	m.outSessions, m.outReused, m.outFailed = counter(outSessions), counter(outReused), counter(outFailed)
	m.outPolicies, m.outSecurity, m.outReports = counter(outPolicies), counter(outSecurity), counter(outReports)
	m.stepCalls, m.processed = histogram(stepCalls, times), counter(processed)
	m.listsAsked, m.clientsNamed, m.gateRefused = counter(listsAsked), counter(clientsNamed), counter(gateRefused)
	m.greylisted, m.milterSeconds = counter(greylisted), histogram(milterSeconds, times)
	m.verified, m.decided, m.signed = counter(mailVerified), counter(mailDecided), counter(mailSigned)
	m.sieveRuns, m.sieveSteps = histogram(sieveRuns, times), histogram(sieveSteps, prometheus.ExponentialBuckets(1, 4, 10))
	m.snapshotBytes, m.snapshots = counter(snapshotBytes), histogram(snapshotMade, prometheus.ExponentialBuckets(0.01, 6, 9))
	m.webhookPosts, m.spamLearnt, m.exported = histogram(webhookPosts, times), counter(spamLearnt), counter(exported)
	m.published = counter(published)
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

// Sieve counts the run of a script.
func (m *Metrics) Sieve(outcome string, steps int, took time.Duration) {
	m.sieveRuns.WithLabelValues(outcome).Observe(took.Seconds())
	m.sieveSteps.WithLabelValues().Observe(float64(steps))
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

// Nodes is how many nodes of the cluster are here.
func Nodes(n int) Sample { return Sample{nodesHere, float64(n), nil} }

// Copy tells of a node's own copy of a stream.
func Copy(stream string, holes uint64, current, stale, absent, led bool) []Sample {
	labels := []string{stream}
	return []Sample{
		{copyHoles, float64(holes), labels}, {copyCurrent, truth(current), labels}, {copyStale, truth(stale), labels},
		{copyAbsent, truth(absent), labels}, {copyLed, truth(led), labels},
	}
}

// Repairs counts the bad copies that this node filled anew, and those that it had to keep.
func Repairs(repaired, refused uint64) []Sample {
	return []Sample{{copyRepairs, float64(repaired), []string{"repaired"}}, {copyRepairs, float64(refused), []string{"refused"}}}
}

// Replicas tells how many replicas of accounts a node has.
func Replicas(kept, paused int) []Sample {
	return []Sample{{replicasHere, float64(kept), []string{"kept"}}, {replicasHere, float64(paused), []string{"paused"}}}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Lag tells how far a projection is behind.
func Lag(projection, stream string, entries uint64, seconds float64, up bool) []Sample {
	labels, works := []string{projection, stream}, truth(up)
	return []Sample{{lagEntries, float64(entries), labels}, {lagSeconds, seconds, labels}, {projectionUp, works, labels}}
}

// ViewBytes is what all generations of a projection take.
func ViewBytes(projection, stream string, octets int64) Sample {
	return Sample{viewBytes, float64(octets), []string{projection, stream}}
}

// Generations is how many of a projection's are in a state.
func Generations(projection, stream, state string, n int) Sample {
	return Sample{generations, float64(n), []string{projection, stream, state}}
}

// Views tells of switches and of comparisons with the log. last is when the last comparison ended, in Unix seconds.
func Views(switched uint64, pause time.Duration, accounts, differ uint64, last float64) []Sample {
	return []Sample{
		{switches, float64(switched), nil}, {switchPause, pause.Seconds(), nil}, {verified, float64(accounts), nil}, {differences, float64(differ), nil},
		{lastVerified, last, nil},
	}
}

// Counts tells of comparisons of rows with their digests.
func Counts(accounts, wrong uint64, last float64) []Sample {
	return []Sample{{counted, float64(accounts), nil}, {miscounts, float64(wrong), nil}, {lastCounted, last, nil}}
}

// Door tells what the accounts' door did and holds.
func Door(decided, transactions, again, loads, evictions, mended uint64, hot int, hotBytes int64) []Sample {
	return []Sample{
		{doorCommands, float64(decided), nil}, {doorTx, float64(transactions), nil}, {doorConflicts, float64(again), nil}, {doorLoads, float64(loads), nil},
		{doorEvictions, float64(evictions), nil}, {doorMended, float64(mended), nil}, {doorHot, float64(hot), nil}, {doorHotBytes, float64(hotBytes), nil},
	}
}

// Logins tells of attempts that wait, of what nodes tell each other about them, and of sessions.
func Logins(waited, putOff uint64, blocked, remembered int, sent, heard, lost uint64, sessions int, over uint64) []Sample {
	return []Sample{
		{loginWaits, float64(waited), nil}, {loginPutOff, float64(putOff), nil}, {loginBlocked, float64(blocked), nil}, {loginSeen, float64(remembered), nil},
		{loginGossip, float64(sent), []string{"sent"}}, {loginGossip, float64(heard), []string{"heard"}}, {loginGossip, float64(lost), []string{"lost"}},
		{sessionsOpen, float64(sessions), nil}, {sessionsOver, float64(over), nil},
	}
}

// Issuer tells how fetching a token issuer's keys went.
func Issuer(fetched, failed uint64) []Sample {
	return []Sample{{issuerFetches, float64(fetched), []string{"ok"}}, {issuerFetches, float64(failed), []string{"failed"}}}
}

// Order tells what is kept to put messages in order.
func Order(accounts int, bytes int64) []Sample {
	return []Sample{{orderAccounts, float64(accounts), nil}, {orderBytes, float64(bytes), nil}}
}

// Search tells what the search index took in and was asked.
func Search(documents, octets, partial, missing, answered, failed uint64) []Sample {
	return []Sample{
		{searchDocs, float64(documents), nil}, {searchBytes, float64(octets), nil}, {searchPartial, float64(partial), nil}, {searchMissing, float64(missing), nil},
		{searchAsked, float64(answered), []string{"answered"}}, {searchAsked, float64(failed), []string{"failed"}},
	}
}

// Extracts is what was found in attachments.
func Extracts(extracted, failed, givenUp, octets, unreadable, tooLarge uint64, waiting int64, up bool) []Sample {
	works := truth(up)
	return []Sample{
		{extractFiles, float64(extracted), []string{"extracted"}}, {extractFiles, float64(failed), []string{"failed"}}, {extractFiles, float64(givenUp), []string{"given_up"}},
		{extractBytes, float64(octets), nil}, {extractRefuse, float64(unreadable), []string{"unreadable"}}, {extractRefuse, float64(tooLarge), []string{"size"}},
		{extractWait, float64(waiting), nil}, {extractUp, works, nil},
	}
}

// Audit is what the verification of the log in the background found, and when it last came to its end; never is the zero time.
func Audit(damage int, ended time.Time) []Sample {
	at := 0.0
	if !ended.IsZero() {
		at = float64(ended.Unix())
	}
	return []Sample{{logDamage, float64(damage), nil}, {logVerified, at, nil}}
}

// TasksOpen is how many open tasks of a type have a status.
func TasksOpen(kind, status string, n int) Sample {
	return Sample{tasksOpen, float64(n), []string{kind, status}}
}

// TaskEnded counts a task that ended here.
func (m *Metrics) TaskEnded(kind, status string, took time.Duration) {
	m.tasks.WithLabelValues(kind, status).Observe(took.Seconds())
}

// Noticed counts a notice to administrators.
func (m *Metrics) Noticed(way string, ok bool) {
	outcome := "failed"
	if ok {
		outcome = "ok"
	}
	m.notices.WithLabelValues(way, outcome).Inc()
}

// Restored counts deleted messages that were brought back.
func (m *Metrics) Restored(messages int64) { m.restored.WithLabelValues().Add(float64(messages)) }

// Purged counts deleted messages that were given up.
func (m *Metrics) Purged(messages int64) { m.purged.WithLabelValues().Add(float64(messages)) }

// Collected counts blobs that were deleted.
func (m *Metrics) Collected(blobs, octets int64) {
	m.blobsDeleted.WithLabelValues().Add(float64(blobs))
	m.blobBytes.WithLabelValues().Add(float64(octets))
}

// BlobsLost tells what a verification of all blobs found.
func (m *Metrics) BlobsLost(missing, damaged int64) {
	m.blobsLost.WithLabelValues("missing").Set(float64(missing))
	m.blobsLost.WithLabelValues("damaged").Set(float64(damaged))
}

// Listener tells how a listener of this node is doing.
func Listener(id string, lag, handled, failures, dead uint64, up bool) []Sample {
	works := truth(up)
	l := []string{id}
	return []Sample{
		{listenerLag, float64(lag), l}, {listenerDone, float64(handled), l}, {listenerRetry, float64(failures), l}, {listenerDead, float64(dead), l}, {listenerUp, works, l},
	}
}

// DeadLetters is how many dead letters a listener has.
func DeadLetters(id string, n uint64) Sample { return Sample{deadLetters, float64(n), []string{id}} }

// OpenSearch tells what the index in OpenSearch was sent and asked.
func OpenSearch(written, repeated, stubs, answered, open, failed uint64) []Sample {
	return []Sample{
		{clusterDocs, float64(written), []string{"written"}}, {clusterDocs, float64(repeated), []string{"repeated"}}, {clusterDocs, float64(stubs), []string{"stub"}},
		{clusterAsked, float64(answered), []string{"answered"}}, {clusterAsked, float64(open), []string{"open"}}, {clusterAsked, float64(failed), []string{"failed"}},
	}
}

// Blobs tells what the store of small messages did and has.
func Blobs(records, syncs, compactions, segments, dead int64) []Sample {
	return []Sample{
		{blobRecords, float64(records), nil}, {blobSyncs, float64(syncs), nil}, {blobCompacted, float64(compactions), nil},
		{blobSegments, float64(segments), nil}, {blobDead, float64(dead), nil},
	}
}

// S3 tells what was asked of the S3 server.
func S3(answered, refused, failed int64) []Sample {
	return []Sample{
		{s3Requests, float64(answered), []string{"answered"}}, {s3Requests, float64(refused), []string{"refused"}}, {s3Requests, float64(failed), []string{"failed"}},
	}
}

// BlobCache tells of the cache of blobs.
func BlobCache(hits, misses, evicted, damaged, entries, octets int64) []Sample {
	return []Sample{
		{cacheOpened, float64(hits), []string{"hit"}}, {cacheOpened, float64(misses), []string{"miss"}}, {cacheEvicted, float64(evicted), nil},
		{cacheDamaged, float64(damaged), nil}, {cacheEntries, float64(entries), nil}, {cacheBytes, float64(octets), nil},
	}
}

// SnapshotMade counts an attempt to make a snapshot.
func (m *Metrics) SnapshotMade(octets int64, took time.Duration, ok bool) {
	outcome := "failed"
	if ok {
		outcome = "ok"
	}
	m.snapshots.WithLabelValues(outcome).Observe(took.Seconds())
	m.snapshotBytes.WithLabelValues().Add(float64(octets))
}

// Hydrations tells how often snapshots were used and refused.
func Hydrations(used, refused uint64) []Sample {
	return []Sample{{hydrations, float64(used), []string{"used"}}, {hydrations, float64(refused), []string{"refused"}}}
}

// ArchiveLag tells how far the archive is behind a stream.
func ArchiveLag(stream string, entries uint64, seconds float64) []Sample {
	return []Sample{{archiveLag, float64(entries), []string{stream}}, {archiveLate, seconds, []string{stream}}}
}

// Archive tells what was archived since the start, and what readers took from there.
func Archive(fresh, merged, octets, keys, failures, recalled uint64) []Sample {
	return []Sample{
		{archiveParts, float64(fresh), []string{"fresh"}}, {archiveParts, float64(merged), []string{"merged"}}, {archiveBytes, float64(octets), nil},
		{archiveKeys, float64(keys), nil}, {archiveFails, float64(failures), nil}, {logRecalled, float64(recalled), nil},
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
