// Package parking keeps mail that could not be processed, or that is not to be processed yet, until an operator says what shall become of it: James calls the places repositories.
//
// Invariants:
//   - Parked mail lies in the records of the queue (streams/queue), on a shelf of its own. Whatever is done to it is one append, so that mail that is moved, processed again or taken
//     away is neither lost nor in two places.
//   - Each parked message says why, how often, and since when. That stays with it when it is processed again.
//   - Who changes something is in the record, and in the server's log.
//   - Counts and ages are folded with the records and cost nothing to ask.
package parking

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/queue"
)

// Queue is the queue; *streams/queue.Queue is one.
type Queue interface {
	View(f func(*queue.State))
	Entries(ctx context.Context, ids []queue.ID) ([]*queue.Entry, error)
	Append(ctx context.Context, records ...queue.Record) error
	Cut(ctx context.Context, force bool) error
}

// Blobs is the store of message bytes; see blob.Store.
type Blobs interface {
	Open(ctx context.Context, ref domain.BlobRef, off, n int64) (io.ReadCloser, error)
}

// Config is what Lots work with. Queue, Blobs and Node are needed.
type Config struct {
	Queue Queue
	Blobs Blobs
	Node  string   // this one's
	Known []string // repositories that are there without mail, besides queue.Repositories

	Clock  func() time.Time // nil means time.Now
	Random func() uint64    // ids; nil means math/rand/v2
	Logger *slog.Logger     // nil discards
	// Failpoint is called at named steps, for tests that kill the process there: parking.park, parking.change.
	Failpoint func(name string)
}

// Lots is all repositories. It is safe for concurrent use.
type Lots struct{ cfg Config }

// New makes Lots.
func New(cfg Config) (*Lots, error) {
	if cfg.Queue == nil || cfg.Blobs == nil || cfg.Node == "" {
		return nil, domain.Errorf(domain.Invalid, "parked mail needs the queue, blobs, and a name of its node")
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Random == nil {
		cfg.Random = rand.Uint64
	}
	if cfg.Failpoint == nil {
		cfg.Failpoint = func(string) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Lots{cfg}, nil
}

// Cause is why.
type Cause struct {
	Code string // short, for machines: letters in lower case, digits and hyphens
	Text string // for people
}

// Park parks a message, whose blob is durable: an entry of its own, with all that is known of e. It is durable when Park returns. Errors: domain.Invalid when there can be no such repository, those of Queue.Append.
func (l *Lots) Park(ctx context.Context, repository string, e *queue.Entry, cause Cause) (queue.ID, error) {
	shelf, err := queue.Repository(repository)
	if err != nil {
		return 0, err
	}
	now := queue.Millis(l.cfg.Clock())
	e = e.Parked(shelf, cause.Code, now)
	e.ID, e.Node, e.Arrived, e.Error = queue.ID(l.cfg.Random()), l.cfg.Node, cmp.Or(e.Arrived, now), cause.Text
	l.cfg.Failpoint("parking.park")
	if err := l.cfg.Queue.Append(ctx, queue.Record{Put: e}); err != nil {
		return 0, err
	}
	l.cfg.Logger.Warn("mail is parked", "repository", shelf.Name(), "key", e.ID, "id", e.Transfer, "messageId", e.MessageID, "from", e.Sender, "cause", cause.Code, "error", cause.Text)
	return e.ID, nil
}

// Standing is what a repository holds.
type Standing struct {
	Name   string    `json:"repository"`
	Size   int       `json:"size"`
	Octets int64     `json:"octets"`
	Oldest time.Time `json:"oldest,omitzero"` // when the mail that is there longest came there
}

// Repositories tells of all repositories that have mail or are known, by name.
func (l *Lots) Repositories() (all []Standing) {
	l.cfg.Queue.View(func(s *queue.State) {
		shelves := s.Parked()
		for _, name := range slices.Concat(queue.Repositories, l.cfg.Known) {
			if shelf, err := queue.Repository(name); err == nil {
				shelves = append(shelves, shelf)
			}
		}
		slices.Sort(shelves)
		for _, shelf := range slices.Compact(shelves) {
			all = append(all, standing(s, shelf))
		}
	})
	return all
}

// Repository tells of one. Errors: domain.Invalid.
func (l *Lots) Repository(name string) (of Standing, err error) {
	shelf, err := queue.Repository(name)
	if err == nil {
		l.cfg.Queue.View(func(s *queue.State) { of = standing(s, shelf) })
	}
	return of, err
}

func standing(s *queue.State, shelf queue.Shelf) Standing {
	on := s.On(shelf)
	of := Standing{Name: shelf.Name(), Size: on.Len(), Octets: on.Octets()}
	if oldest := on.Oldest(); oldest != nil {
		of.Oldest = time.UnixMilli(cmp.Or(oldest.Parking().Last, oldest.Arrived))
	}
	return of
}

// Parked is a message as lists show it.
type Parked struct {
	Key           queue.ID  `json:"key"`
	Repository    string    `json:"repository"`
	Sender        string    `json:"sender"` // empty: the null sender
	Recipients    []string  `json:"recipients"`
	Cause         string    `json:"cause"`
	Error         string    `json:"error"`
	Processor     string    `json:"processor,omitempty"`
	RemoteAddress string    `json:"remoteAddress,omitempty"`
	RemoteHost    string    `json:"remoteHost,omitempty"`
	Octets        int64     `json:"octets"`
	Arrived       time.Time `json:"arrived"`
	First         time.Time `json:"first"`
	Last          time.Time `json:"last"`
	Times         int       `json:"times"`
}

// Page is some of a list.
type Page struct {
	Messages []Parked `json:"messages"`
	Next     string   `json:"next,omitempty"` // where to go on; absent at the end
}

// List gives messages of a repository that fit, in the order in which they came there, after so many that fit and are passed over, or from one with a key on. Errors: domain.Invalid.
func (l *Lots) List(repository string, f *queue.Filter, from queue.ID, offset, most int) (page Page, err error) {
	page.Messages = []Parked{}
	shelf, err := queue.Repository(repository)
	if err != nil {
		return page, err
	}
	l.cfg.Queue.View(func(s *queue.State) {
		items, next := s.On(shelf).List(f, from, offset+most)
		for _, i := range items[min(offset, len(items)):] {
			page.Messages = append(page.Messages, shown(i))
		}
		if next != 0 {
			page.Next = next.String()
		}
	})
	return page, nil
}

func shown(i *queue.Item) Parked {
	p := i.Parking()
	return Parked{
		Key: i.ID, Repository: i.Shelf().Name(), Sender: i.Sender(), Recipients: i.Recipients(), Cause: p.Cause, Error: i.Error, Processor: p.Processor, RemoteAddress: p.RemoteAddress,
		RemoteHost: p.RemoteHost, Octets: i.Size(), Arrived: time.UnixMilli(i.Arrived), First: time.UnixMilli(p.First), Last: time.UnixMilli(p.Last), Times: p.Times,
	}
}

// Entry reads a message of a repository. An empty name looks in all. Errors: domain.NotFound, domain.Unavailable.
func (l *Lots) Entry(ctx context.Context, repository string, key queue.ID) (*queue.Entry, error) {
	entries, err := l.cfg.Queue.Entries(ctx, []queue.ID{key})
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 || !entries[0].Shelf.IsRepository() {
		return nil, domain.Errorf(domain.NotFound, "no mail is parked under the key %s", key)
	}
	if repository != "" {
		shelf, err := queue.Repository(repository)
		if err != nil {
			return nil, err
		}
		if entries[0].Shelf != shelf {
			return nil, domain.Errorf(domain.NotFound, "repository %s has no mail %s", shelf.Name(), key)
		}
	}
	return entries[0], nil
}

// Open gives the message as it would travel, from an octet on and at most so many; -1 is all.
func (l *Lots) Open(ctx context.Context, e *queue.Entry, off, n int64) (io.ReadCloser, error) {
	return e.Content(ctx, l.cfg.Blobs, off, n)
}
