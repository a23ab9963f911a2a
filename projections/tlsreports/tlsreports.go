// Package tlsreports counts how TLS went with the servers of other domains, and sends each domain that wants it a report of the day before (RFC 8460).
//
// Every node counts what it did itself and sends reports of its own. Invariants: a report is made of a day that has ended, and is in the queue before its counts are forgotten; the same day, domain and node have
// the same id, so that who gets a report twice, after a crash between the two, can tell; nothing here keeps mail waiting.
package tlsreports

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/domain/tlsrpt"
	"github.com/streampost/streampost/projections/outgoing"
)

// Config is what a Collector works with.
type Config struct {
	Queue interface {
		Accept(ctx context.Context, m *outgoing.Mail) error
	}
	Blobs interface {
		Put(ctx context.Context, r io.Reader) (domain.BlobRef, error)
	}
	// TXT asks DNS. Errors: domain.NotFound for a name that does not exist, all others for what cannot be told now.
	TXT func(ctx context.Context, name string) ([]string, error)
	// Post sends a packed report to an address of https; nil: domains that want that get none.
	Post     func(ctx context.Context, url string, packed []byte) error
	Hostname string // of this server
	From     delivery.Address
	Node     string
	Clock    func() time.Time       // nil means time.Now
	Load     func() ([]byte, error) // gives what Save was given last; nil means that nothing is kept
	Save     func([]byte) error     // needed with Load
	Count    func(outcome string)   // of each report: mailed, posted, unwanted or failed; may be nil
	Logger   *slog.Logger           // nil discards
	Wait     time.Duration          // from the end of a day to its reports, which other servers send at that time, too (RFC 8460 section 4.1)
	Limits   Limits
}

// Limits bound what a report may take. A zero field means its default.
type Limits struct {
	Time  time.Duration // for one domain; 1 minute
	Retry time.Duration // between two attempts at what could not be sent; 1 hour
	Keep  time.Duration // from the end of a day to giving up; 48 hours
	Save  time.Duration // between two times that counts are saved: a crash loses no more; 5 minutes
}

// Collector counts and reports. Its methods may be called at once from many goroutines.
type Collector struct {
	cfg Config

	mu     sync.Mutex
	counts tlsrpt.Counts
	dirty  bool
	lost   int // sessions for which there was no room

	tried time.Time // the last attempt at reports; of Run's goroutine
	saved time.Time
}

// New makes a Collector with what was saved. What cannot be read is forgotten.
func New(cfg Config) *Collector {
	l := &cfg.Limits
	l.Time, l.Retry, l.Keep, l.Save = cmp.Or(l.Time, time.Minute), cmp.Or(l.Retry, time.Hour), cmp.Or(l.Keep, 48*time.Hour), cmp.Or(l.Save, 5*time.Minute)
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Count == nil {
		cfg.Count = func(string) {}
	}
	c := &Collector{cfg: cfg}
	if cfg.Load == nil {
		return c
	}
	text, err := cfg.Load()
	if err == nil && len(text) > 0 {
		err = json.Unmarshal(text, &c.counts)
	}
	if err != nil {
		cfg.Logger.Warn("what was counted for TLS reports is forgotten", "error", err)
		c.counts = tlsrpt.Counts{}
	}
	c.counts.Measure()
	return c
}

// Observe counts a session.
func (c *Collector) Observe(s tlsrpt.Session) {
	now := c.cfg.Clock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.counts.Add(now, &s) {
		c.lost++
	}
	c.dirty = true
}

// pause is how often a Collector looks whether something is due.
const pause = time.Minute

// Run saves counts and sends reports until ctx ends.
func (c *Collector) Run(ctx context.Context) error {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			c.Work(ctx)
		}
	}
}

// Work does what is due.
func (c *Collector) Work(ctx context.Context) {
	now := c.cfg.Clock()
	if now.Sub(c.tried) >= c.cfg.Limits.Retry {
		c.mu.Lock()
		dates := c.counts.Before(now.Add(-c.cfg.Wait))
		lost := c.lost
		c.lost = 0
		c.mu.Unlock()
		if c.tried = now; lost > 0 {
			c.cfg.Logger.Warn("there was no room to count all for TLS reports", "sessions", lost)
		}
		for _, date := range dates {
			c.reports(ctx, date, now)
		}
	}
	if now.Sub(c.saved) >= c.cfg.Limits.Save {
		if c.saved = now; c.save() != nil {
			return
		}
	}
}

// Close saves what was counted.
func (c *Collector) Close(context.Context) error { return c.save() }

func (c *Collector) save() error {
	c.mu.Lock()
	if !c.dirty || c.cfg.Save == nil {
		c.mu.Unlock()
		return nil
	}
	text, err := json.Marshal(&c.counts)
	c.dirty = false
	c.mu.Unlock()
	if err == nil {
		err = c.cfg.Save(text)
	}
	if err != nil {
		c.mu.Lock()
		c.dirty = true
		c.mu.Unlock()
		c.cfg.Logger.Warn("what was counted for TLS reports cannot be saved", "error", err)
	}
	return err
}

// reports sends those of a day. What cannot be sent now is tried again.
func (c *Collector) reports(ctx context.Context, date string, now time.Time) {
	start, ok := tlsrpt.Begin(date)
	c.mu.Lock()
	names := c.counts.Domains(date)
	c.mu.Unlock()
	over := !ok || now.Sub(start) > 24*time.Hour+c.cfg.Limits.Keep
	for _, name := range names {
		if ctx.Err() != nil {
			return
		}
		outcome, err := "failed", error(nil)
		if !over {
			outcome, err = c.report(ctx, date, start, name, now)
		}
		if err != nil {
			c.cfg.Logger.Info("a TLS report cannot be sent yet", "domain", name, "day", date, "error", err)
			continue
		}
		c.cfg.Count(outcome)
		c.mu.Lock()
		c.counts.Remove(date, name)
		c.dirty = true
		c.mu.Unlock()
	}
	if err := c.save(); err == nil { // what was sent is not sent again
		c.saved = now
	}
}

// report sends one, and says what became of it.
func (c *Collector) report(ctx context.Context, date string, start time.Time, name string, now time.Time) (outcome string, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Limits.Time)
	defer cancel()
	texts, err := c.cfg.TXT(ctx, "_smtp._tls."+name)
	if err != nil && !domain.Is(err, domain.NotFound) {
		return "", err
	}
	places, found := tlsrpt.ParseRecord(texts)
	if !found || len(places.Mail) == 0 && c.cfg.Post == nil {
		return "unwanted", nil
	}
	r := &tlsrpt.Report{Submitter: c.cfg.Hostname, From: c.cfg.From, ID: c.id(date, name), Domain: name, Start: start, Now: now}
	c.mu.Lock()
	r.Day = c.counts.Days[date]
	packed, err := r.Packed() // a day that has ended does not change, but for what removes it
	c.mu.Unlock()
	if err != nil {
		return "", err
	}
	for _, to := range places.Mail {
		if err := c.mail(ctx, r, to, packed); err != nil {
			return "", err
		}
		outcome = "mailed"
	}
	if c.cfg.Post == nil {
		return outcome, nil
	}
	for _, url := range places.Web {
		if err := c.cfg.Post(ctx, url, packed); err != nil {
			if outcome == "mailed" { // it has the report
				c.cfg.Logger.Info("a TLS report cannot be posted", "domain", name, "url", url, "error", err)
				continue
			}
			return "", err
		}
		outcome = cmp.Or(outcome, "posted")
	}
	return outcome, nil
}

// mail puts a report into the queue.
func (c *Collector) mail(ctx context.Context, r *tlsrpt.Report, to delivery.Address, packed []byte) error {
	blob, err := c.cfg.Blobs.Put(ctx, bytes.NewReader(r.Message(to, packed)))
	if err != nil {
		return err
	}
	return c.cfg.Queue.Accept(ctx, &outgoing.Mail{
		Transfer: "tlsrpt-" + r.ID, MessageID: r.MessageID(), Sender: c.cfg.From, Recipients: []outgoing.Recipient{{Address: to, Notify: queue.Never}}, Blob: blob, Sign: true, TLS: queue.TLSOptional,
	})
}

// id names a report: the same whenever it is made.
func (c *Collector) id(date, name string) string {
	sum := sha256.Sum256([]byte(c.cfg.Node + "\n" + date + "\n" + name))
	return hex.EncodeToString(sum[:16])
}
