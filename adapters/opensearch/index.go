package opensearch

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"sync"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/search"
	"github.com/streampost/streampost/streams/listen"
)

// Config is what an Index needs.
type Config struct {
	URLs           []string // of the cluster's nodes
	User, Password string
	TLS            *tls.Config // nil means the operating system's authorities
	Prefix         string      // of the names of indexes and aliases; small letters, digits and "-"
	Shards         int         // of a new index; 0 means 1
	Replicas       int         // of a new index
	Message        search.IndexLimits
	Limits         Limits
	Blobs          Blobs
	// Emails gives the emails that an account has now, and where its log stands. With a mailbox they are those in it only.
	Emails func(ctx context.Context, id domain.AccountID, mailbox string) (map[domain.EmailID]bool, domain.Tx, error)
	Logger *slog.Logger // nil discards
}

// Blobs opens messages: n octets from off on. Errors: domain.NotFound, domain.Corrupt, domain.Unavailable.
type Blobs interface {
	Open(ctx context.Context, ref domain.BlobRef, off, n int64) (io.ReadCloser, error)
}

// Index is the index of messages in a cluster. Make one with New. Its methods may be called at once from many goroutines.
type Index struct {
	cfg      Config
	client   *client
	bulk     bulker
	indexers chan *search.Indexer
	stats    stats

	mu     sync.Mutex
	ensure map[int]*sync.Mutex // by generation; held while its index is looked for
	there  map[int]bool
	dirty  map[domain.AccountID]int // expunged something since the last sweep, in this generation
}

var prefixForm = regexp.MustCompile(`^[a-z][a-z0-9-]{0,60}$`)

// New makes an Index. It does not speak to the cluster, which may be away.
func New(cfg Config) (*Index, error) {
	cfg.Limits = cfg.Limits.withDefaults()
	cfg.Shards = max(cfg.Shards, 1)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case len(cfg.URLs) == 0 || cfg.Blobs == nil || cfg.Emails == nil:
		return nil, domain.Errorf(domain.Invalid, "the OpenSearch index needs URLs, blobs and emails")
	case !prefixForm.MatchString(cfg.Prefix):
		return nil, domain.Errorf(domain.Invalid, "the prefix %q of OpenSearch's indexes may hold small letters, digits and \"-\" only", cfg.Prefix)
	case cfg.Replicas < 0 || cfg.Limits.Found > 10_000:
		return nil, domain.Errorf(domain.Invalid, "OpenSearch has no fewer than 0 replicas and finds no more than 10,000 documents at once")
	}
	c, err := newClient(&cfg)
	if err != nil {
		return nil, err
	}
	x := &Index{
		cfg: cfg, client: c, indexers: make(chan *search.Indexer, cfg.Limits.Readers),
		ensure: map[int]*sync.Mutex{}, there: map[int]bool{}, dirty: map[domain.AccountID]int{},
	}
	x.bulk = bulker{x: x}
	for range cfg.Limits.Readers {
		x.indexers <- search.NewIndexer(cfg.Message)
	}
	return x, nil
}

// Names. Questions go to the alias that is read, documents to their generation's write alias: a write to an index that somebody deleted then fails,
// where one to its name would make it anew without a mapping.
func (x *Index) read() string           { return x.cfg.Prefix + "-messages" }
func (x *Index) index(n int) string     { return fmt.Sprintf("%s-messages-%d", x.cfg.Prefix, n) }
func (x *Index) writeTo(n int) string   { return x.index(n) + "-write" }
func (x *Index) lock(n int) *sync.Mutex { return locked(&x.mu, x.ensure, n) }

func locked(mu *sync.Mutex, all map[int]*sync.Mutex, n int) *sync.Mutex {
	mu.Lock()
	defer mu.Unlock()
	if all[n] == nil {
		all[n] = new(sync.Mutex)
	}
	return all[n]
}

// mapping is what documents are. Grams are tokens between spaces, of which only is kept which document has them.
func (x *Index) mapping() map[string]any {
	keyword := map[string]any{"type": "keyword"}
	part := map[string]any{"type": "wildcard", "doc_values": true} // by which matches are proved, as there is no source
	return map[string]any{
		"dynamic": "strict",
		"_source": map[string]any{"enabled": false},
		"_meta":   map[string]any{"streampost": formatVersion},
		"properties": map[string]any{
			"account": keyword,
			"email":   map[string]any{"type": "long"},
			"tx":      map[string]any{"type": "long"},
			"state":   map[string]any{"type": "byte"},
			"gone":    map[string]any{"type": "boolean"},
			"sent":    map[string]any{"type": "long"},
			"grams":   map[string]any{"type": "text", "analyzer": "whitespace", "index_options": "docs", "norms": false},
			"subject": part, "from": part, "to": part, "cc": part, "bcc": part,
		},
	}
}

// formatVersion is what documents look like. A build that knows another one makes its own generation.
const formatVersion = 1

// provide makes a generation's index with its write alias unless it is there, and has the read alias lead somewhere.
func (x *Index) provide(ctx context.Context, n int) error {
	lock := x.lock(n)
	lock.Lock()
	defer lock.Unlock()
	x.mu.Lock()
	there := x.there[n]
	x.mu.Unlock()
	if there {
		return nil
	}
	err := x.client.do(ctx, http.MethodHead, "/"+x.index(n), nil, nil)
	if r, ok := err.(*refused); ok && r.status == http.StatusNotFound {
		body, jsonErr := json.Marshal(map[string]any{
			"settings": map[string]any{"number_of_shards": x.cfg.Shards, "number_of_replicas": x.cfg.Replicas},
			"mappings": x.mapping(),
			"aliases":  map[string]any{x.writeTo(n): map[string]any{"is_write_index": true}},
		})
		if jsonErr != nil {
			return domain.Wrap(domain.Internal, jsonErr, "make an index")
		}
		if err = x.client.do(ctx, http.MethodPut, "/"+x.index(n), body, nil); isRefused(err, "resource_already_exists_exception") {
			err = nil // somebody else made it just now
		}
	}
	if err == nil {
		err = x.client.do(ctx, http.MethodHead, "/_alias/"+x.read(), nil, nil)
		if r, ok := err.(*refused); ok && r.status == http.StatusNotFound {
			err = x.point(ctx, n)
		}
	}
	if err != nil {
		return setup(err)
	}
	x.mu.Lock()
	x.there[n] = true
	x.mu.Unlock()
	return nil
}

// setup makes a refusal to make an index an outage: no entry is to blame for it.
func setup(err error) error {
	if r, ok := err.(*refused); ok {
		return listen.Outage(&domain.Error{Kind: domain.Unavailable, Msg: "OpenSearch cannot have the index of messages", Err: r, Hint: "check search.opensearch and the user's permissions"})
	}
	return err
}

// forget has the next write look for the index again.
func (x *Index) forget(n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.there, n)
}

// point has the read alias lead to a generation and to no other, in one step.
func (x *Index) point(ctx context.Context, n int) error {
	body, err := json.Marshal(map[string]any{"actions": []any{
		map[string]any{"remove": map[string]any{"index": x.cfg.Prefix + "-messages-*", "alias": x.read(), "must_exist": false}},
		map[string]any{"add": map[string]any{"index": x.index(n), "alias": x.read()}},
	}})
	if err != nil {
		return domain.Wrap(domain.Internal, err, "switch the alias")
	}
	return x.client.do(ctx, http.MethodPost, "/_aliases", body, nil)
}

// drop deletes a generation's index. One that is not there is no error.
func (x *Index) drop(ctx context.Context, n int) error {
	x.forget(n)
	err := x.client.do(ctx, http.MethodDelete, "/"+x.index(n), nil, nil)
	if r, ok := err.(*refused); ok && r.status == http.StatusNotFound {
		return nil
	}
	return err
}

// refresh has questions see all that was written.
func (x *Index) refresh(ctx context.Context, n int) error {
	return x.client.do(ctx, http.MethodPost, "/"+x.index(n)+"/_refresh", nil, nil)
}

// Remove deletes every index of messages in the cluster, for a site that gives OpenSearch up. The listeners are to be removed first: see
// listen.Listeners.Remove.
func (x *Index) Remove(ctx context.Context) error {
	var found map[string]any
	if err := x.client.do(ctx, http.MethodGet, "/"+x.cfg.Prefix+"-messages-*", nil, &found); err != nil {
		return setup(err)
	}
	for name := range found {
		if err := x.client.do(ctx, http.MethodDelete, "/"+name, nil, nil); err != nil {
			return setup(err)
		}
	}
	return nil
}
