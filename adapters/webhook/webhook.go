// Package webhook tells other systems of events by HTTP: one POST of JSON for each event (domain/feed), signed after the Standard Webhooks
// specification (https://www.standardwebhooks.com), by a listener of the log for each hook.
//
// Invariants:
//   - The events of an account are sent one after the other, in the order of its log, also over failures. Different accounts' are sent at the same time.
//   - At least once: webhook-id is the same whenever an event is sent again, so receivers drop doubles by it.
//   - Only 2xx is success. 410 ends the hook until the server starts anew or a ping succeeds; a receiver that asks for patience with Retry-After gets it. Both
//     keep the events in the log. Anything else is tried again with growing pauses, and then becomes a dead letter with the status as its cause.
//   - No redirect is followed and no proxy is used; what is signed for one place is not sent to another. Addresses of this machine and of private networks
//     are refused when the connection is made, whatever name led there, unless the hook allows them.
//   - Nothing of an answer's body is believed, kept or shown, and neither is the path of a URL, which may be a secret.
package webhook

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/feed"
	"github.com/streampost/streampost/projections/telling"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/listen"
)

// Bounds of what a hook does.
const (
	connections = 16               // to a receiver at a time
	maxAnswer   = 64 << 10         // octets of an answer that are read, so that its connection can be used again
	maxPatience = time.Hour        // that one Retry-After is given
	maxSecrets  = 4                // that sign a request
	maxSecret   = 4 << 10          // octets of the file with them
	minKey      = 24               // octets of a key, as the specification wants
	firstPause  = time.Second / 5  // before the second attempt
	maxPause    = 5 * time.Minute  // before the last ones
	idle        = 90 * time.Second // that a connection is kept
)

// Hook is what an operator configures.
type Hook struct {
	Name     string // of small letters, digits and "-"; the listener is webhook-NAME-1
	URL      string
	Source   telling.Source // of the events
	Secret   string         // a file with one secret a line; all of them sign
	Roots    *x509.CertPool // nil means those of the operating system
	Timeout  time.Duration  // for one request
	Attempts int            // before an event becomes a dead letter
	Private  bool           // the URL may lead to this machine and to private networks
}

// Config is what all hooks share.
type Config struct {
	Logger *slog.Logger                                          // nil means slog.Default()
	Now    func() time.Time                                      // nil means time.Now
	Count  func(hook string, outcome string, took time.Duration) // is told of each request; nil tells nobody. outcome is sent, refused, failed, patience or gone
}

// Webhook is a hook at work. It is safe for concurrent use.
type Webhook struct {
	hook Hook
	cfg  Config
	http *http.Client
	site string // what may be shown of the URL

	gone  atomic.Bool  // the receiver said 410
	until atomic.Int64 // the receiver wants no request before, Unix nanoseconds

	mu   sync.Mutex
	half map[domain.AccountID]part
}

// part is how much of a transaction the receiver has, while the rest of it fails.
type part struct {
	tx   domain.Tx
	sent int
}

// New makes a Webhook. Errors: domain.Invalid.
func New(h Hook, cfg Config) (*Webhook, error) {
	u, err := url.Parse(h.URL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, domain.Errorf(domain.Invalid, "webhook %s: its URL is none such as https://hooks.example.org/mail", h.Name) // which is not quoted, for it may hold a secret
	}
	if err := h.Source.Events.Check(); err != nil {
		return nil, err
	}
	if _, err := readSecrets(h.Secret); err != nil {
		return nil, err
	}
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Count == nil {
		cfg.Count = func(string, string, time.Duration) {}
	}
	w := &Webhook{hook: h, cfg: cfg, site: u.Scheme + "://" + u.Host, half: map[domain.AccountID]part{}}
	w.http = w.client()
	return w, nil
}

// Close ends idle connections.
func (w *Webhook) Close() { w.http.CloseIdleConnections() }

// Prefix begins the names of the hooks' listeners.
const Prefix = "webhook-"

// Listener gives what listen.Listeners run.
func (w *Webhook) Listener() listen.Listener {
	l := w.hook.Source.Listener(Prefix+w.hook.Name, w.handle)
	l.Retry = listen.Retry{Attempts: w.hook.Attempts, First: firstPause, Max: maxPause}
	return l
}

// State tells of a hook.
type State struct {
	Name     string    `json:"name"`
	Listener string    `json:"listener"` // its id
	Site     string    `json:"site"`     // the URL without its path
	Events   []string  `json:"events"`   // none: all
	Gone     bool      `json:"gone"`     // the receiver said 410, and gets nothing more
	Until    time.Time `json:"until,omitzero"`
	Secrets  int       `json:"secrets"` // that sign
	Problem  string    `json:"problem,omitempty"`
}

// State tells how the hook is doing.
func (w *Webhook) State() State {
	l := w.Listener()
	s := State{Name: w.hook.Name, Listener: l.ID(), Site: w.site, Events: w.hook.Source.Events.Kinds, Gone: w.gone.Load()}
	if until := time.Unix(0, w.until.Load()); w.cfg.Now().Before(until) {
		s.Until = until.UTC()
	}
	keys, err := readSecrets(w.hook.Secret)
	if s.Secrets = len(keys); err != nil {
		s.Problem = err.Error()
	}
	return s
}

func (w *Webhook) handle(ctx context.Context, entries []streams.Entry) (done int, err error) {
	for i := range entries {
		if err := w.tell(ctx, &entries[i]); err != nil {
			return i, err
		}
	}
	return len(entries), nil
}

// tell sends the events of one transaction. Those that the receiver has taken are not sent again when a later one is.
func (w *Webhook) tell(ctx context.Context, e *streams.Entry) error {
	items, err := w.hook.Source.Items(ctx, e)
	if err != nil {
		return err
	}
	sent := w.sent(e.Account, e.Tx)
	for i := range items {
		if items[i].Index < sent {
			continue
		}
		body, err := json.Marshal(&items[i])
		if err != nil {
			return domain.Wrap(domain.Internal, err, "write an event")
		}
		if err = w.ready(); err == nil {
			err = w.post(ctx, items[i].ID, body)
		}
		if err != nil {
			w.note(e.Account, part{e.Tx, items[i].Index})
			return err
		}
	}
	w.note(e.Account, part{})
	return nil
}

func (w *Webhook) sent(id domain.AccountID, tx domain.Tx) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.half[id]; p.tx == tx {
		return p.sent
	}
	return 0
}

func (w *Webhook) note(id domain.AccountID, p part) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.sent == 0 {
		delete(w.half, id)
	} else {
		w.half[id] = p
	}
}

// Answer is what came of a ping.
type Answer struct {
	Status  int     `json:"status,omitempty"` // of HTTP; 0 when there was no answer
	Seconds float64 `json:"seconds"`
	Problem string  `json:"problem,omitempty"` // empty when the receiver took it
}

// Ping sends an event of the type ping, which has no data, and tells what the receiver says. A success has a hook that is gone, or that waits, go on.
func (w *Webhook) Ping(ctx context.Context) Answer {
	began := w.cfg.Now()
	item := feed.Item{Version: feed.Version, ID: "ping/" + rand.Text(), Type: "ping", Timestamp: began.UTC().Truncate(time.Millisecond), Data: json.RawMessage("{}")}
	body, err := json.Marshal(&item)
	var status int
	if err == nil {
		status, err = w.once(ctx, item.ID, body)
	}
	answer := Answer{Status: status, Seconds: w.cfg.Now().Sub(began).Seconds()}
	if err != nil {
		answer.Problem = err.Error()
		return answer
	}
	w.gone.Store(false)
	w.until.Store(0)
	return answer
}
