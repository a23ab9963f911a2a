package streams

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
)

// DefaultShards is the number of account streams of a new installation that does not ask for another. See docs/measurements.md, "Commit".
const DefaultShards = 4

// maxShards bounds the number of account streams: each has its own writer, projector and view file.
const maxShards = 1024

// dedupe is how long the server remembers message ids, so that a repeated append is not stored twice. It exceeds Limits.Settle.
const dedupe = 2 * time.Minute

// Names of what a stream's metadata records.
const (
	metaShards = "streampost.shards"
	metaFormat = "streampost.format"
	format     = "1"
)

// Topology says which streams make up the log.
type Topology struct {
	Prefix   string // keeps two installations on one NATS apart; letters, digits, "-" and "_"; may be empty
	Shards   int    // streams that accounts are hashed onto, 1 to 1024; 0 takes what the log records, DefaultShards when it is new
	Replicas int    // copies of every stream in a cluster, 1, 3 or 5; 0 means 1
}

var prefixForm = regexp.MustCompile(`^[A-Za-z0-9_-]{0,32}$`)

func (t *Topology) validate() error {
	switch {
	case !prefixForm.MatchString(t.Prefix):
		return domain.Errorf(domain.Invalid, "the log's prefix %q may hold up to 32 letters, digits, \"-\" and \"_\" only", t.Prefix)
	case t.Shards < 0 || t.Shards > maxShards:
		return domain.Errorf(domain.Invalid, "the log can have 1 to %d shards, not %d", maxShards, t.Shards)
	case !slices.Contains([]int{0, 1, 3, 5}, t.Replicas):
		return domain.Errorf(domain.Invalid, "the log can have 1, 3 or 5 replicas, not %d", t.Replicas)
	}
	t.Replicas = max(t.Replicas, 1)
	return nil
}

func (t *Topology) stream(name string) string {
	if t.Prefix == "" {
		return name
	}
	return t.Prefix + "_" + name
}

func (t *Topology) subject(name string) string {
	if t.Prefix == "" {
		return name
	}
	return t.Prefix + "." + name
}

func (t *Topology) directory() string     { return t.stream("DIRECTORY") }
func (t *Topology) keys() string          { return t.stream("KEYS") }
func (t *Topology) accounts(n int) string { return t.stream("ACCOUNTS_" + strconv.Itoa(n)) }

// shard is the account's place among the account streams: FNV-1a of its id, modulo their number.
func (t *Topology) shard(id domain.AccountID) int {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id))
	return int(h.Sum64() % uint64(t.Shards))
}

// subjectOf is where an account's transactions are published.
func (t *Topology) subjectOf(id domain.AccountID) string {
	if id == domain.DirectoryID {
		return t.subject("directory")
	}
	return t.subject("accounts." + strconv.Itoa(t.shard(id)) + "." + string(id))
}

// config is what a stream must be. Log streams forbid every way to lose a message but losing the disk.
func (t *Topology) config(name string, subjects ...string) jetstream.StreamConfig {
	log := name != t.keys() // from KEYS, Erase removes what must not be read again
	return jetstream.StreamConfig{
		Name:              name,
		Description:       "Streampost: log of record. Do not edit.",
		Subjects:          subjects,
		Retention:         jetstream.LimitsPolicy,
		Discard:           jetstream.DiscardNew,
		Storage:           jetstream.FileStorage,
		Replicas:          t.Replicas,
		Duplicates:        dedupe,
		DenyDelete:        log,
		DenyPurge:         log,
		MaxMsgs:           -1,
		MaxBytes:          -1,
		MaxMsgSize:        -1,
		MaxMsgsPerSubject: -1,
		MaxConsumers:      -1,
		Metadata:          map[string]string{metaShards: strconv.Itoa(t.Shards), metaFormat: format},
	}
}

// configs lists every stream's, the directory's last: it is created last, so that its presence says that the log is complete.
func (t *Topology) configs() []jetstream.StreamConfig {
	var all []jetstream.StreamConfig
	for n := range t.Shards {
		all = append(all, t.config(t.accounts(n), t.subject("accounts."+strconv.Itoa(n)+".*")))
	}
	return append(all, t.config(t.keys(), t.subject("keys.>")), t.config(t.directory(), t.subject("directory")))
}

// ensure creates the streams of a new log, or checks those of an existing one, and makes each durable. It settles t.Shards.
func (t *Topology) ensure(ctx context.Context, js jetstream.JetStream, syncer Syncer) (map[string]jetstream.Stream, error) {
	existing, err := lookup(ctx, js, t.directory())
	if err != nil {
		return nil, err
	}
	complete := existing != nil
	if !complete {
		// A first start that was interrupted leaves some of the account streams.
		if existing, err = lookup(ctx, js, t.accounts(0)); err != nil {
			return nil, err
		}
	}
	if err := t.settleShards(existing); err != nil {
		return nil, err
	}
	streams := map[string]jetstream.Stream{}
	for _, want := range t.configs() {
		s, err := lookup(ctx, js, want.Name)
		switch {
		case err != nil:
			return nil, err
		case s != nil:
			err = t.check(s.CachedInfo(), &want, complete)
		case complete:
			err = &domain.Error{
				Kind: domain.Corrupt,
				Msg:  fmt.Sprintf("the log is damaged: stream %s is missing", want.Name),
				Hint: "restore it from a backup; creating an empty one would hide the loss",
			}
		default:
			s, err = js.CreateStream(ctx, want)
			err = unavailable(err, "create stream "+want.Name)
		}
		if err != nil {
			return nil, err
		}
		if syncer != nil {
			if err := syncer.SyncAll(ctx, want.Name); err != nil {
				return nil, err
			}
		}
		streams[want.Name] = s
	}
	return streams, nil
}

// settleShards compares the configured number of shards with the recorded one.
func (t *Topology) settleShards(existing jetstream.Stream) error {
	if existing == nil {
		if t.Shards == 0 {
			t.Shards = DefaultShards
		}
		return nil
	}
	cfg := existing.CachedInfo().Config
	recorded, err := strconv.Atoi(cfg.Metadata[metaShards])
	if err != nil || recorded < 1 || recorded > maxShards {
		return &domain.Error{Kind: domain.Invalid, Msg: "stream " + cfg.Name + " exists but is not Streampost's", Hint: "choose another prefix for this installation's log"}
	}
	if t.Shards != 0 && t.Shards != recorded {
		return &domain.Error{
			Kind: domain.Invalid,
			Msg:  fmt.Sprintf("the log was created with %d shards, but the configuration says %d", recorded, t.Shards),
			Hint: fmt.Sprintf("the number of shards is fixed when an installation is created: configure %d, or leave it out", recorded),
		}
	}
	t.Shards = recorded
	return nil
}

// check refuses a stream that is not as it must be, naming both values.
func (t *Topology) check(info *jetstream.StreamInfo, want *jetstream.StreamConfig, complete bool) error {
	is := &info.Config
	if !complete && info.State.LastSeq > 0 {
		return &domain.Error{
			Kind: domain.Corrupt,
			Msg:  fmt.Sprintf("the log is damaged: stream %s holds transactions, but stream %s is missing", is.Name, t.directory()),
			Hint: "restore it from a backup; creating an empty one would hide the loss",
		}
	}
	for _, field := range []struct {
		name     string
		is, want any
	}{
		{"format", is.Metadata[metaFormat], want.Metadata[metaFormat]},
		{"shards", is.Metadata[metaShards], want.Metadata[metaShards]},
		{"subjects", fmt.Sprint(is.Subjects), fmt.Sprint(want.Subjects)},
		{"retention", is.Retention, want.Retention},
		{"discard", is.Discard, want.Discard},
		{"storage", is.Storage, want.Storage},
		{"replicas", is.Replicas, want.Replicas},
		{"deny_delete", is.DenyDelete, want.DenyDelete},
		{"deny_purge", is.DenyPurge, want.DenyPurge},
		{"allow_direct", is.AllowDirect, want.AllowDirect},
		{"allow_msg_ttl", is.AllowMsgTTL, false},
		{"allow_rollup_hdrs", is.AllowRollup, false},
		{"max_age", is.MaxAge, want.MaxAge},
		{"max_msgs", is.MaxMsgs, want.MaxMsgs},
		{"max_bytes", is.MaxBytes, want.MaxBytes},
		{"max_msgs_per_subject", is.MaxMsgsPerSubject, want.MaxMsgsPerSubject},
		{"sealed", is.Sealed, false},
		{"persist_mode", is.PersistMode, want.PersistMode},
	} {
		if field.is != field.want {
			return &domain.Error{
				Kind: domain.Invalid,
				Msg:  fmt.Sprintf("stream %s has %s %v, but must have %v", is.Name, field.name, field.is, field.want),
				Hint: "somebody else made or edited this stream; edit it back, or choose another prefix",
			}
		}
	}
	return nil
}

// lookup finds a stream; nil when there is none.
func lookup(ctx context.Context, js jetstream.JetStream, name string) (jetstream.Stream, error) {
	s, err := js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, unavailable(err, "look up stream "+name)
	}
	return s, nil
}

// unavailable wraps an error of the NATS client; nil stays nil.
func unavailable(err error, doing string) error {
	if err == nil {
		return nil
	}
	return domain.Wrap(domain.Unavailable, err, doing)
}
