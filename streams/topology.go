package streams

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
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

	metaGeneration = "streampost.generation" // of a log that was restored
	metaRestoring  = "streampost.restoring"  // while a restore fills the streams
)

// Topology says which streams make up the log.
type Topology struct {
	Prefix   string // keeps two installations on one NATS apart; letters, digits, "-" and "_"; may be empty
	Shards   int    // streams that accounts are hashed onto, 1 to 1024; 0 takes what the log records, DefaultShards when it is new
	Replicas int    // copies of every stream in a cluster, 1, 3 or 5; 0 means 1
	Exists   bool   // the log was made before, by a node of this cluster: one that finds none of it must not make another

	// Generation is read from the log: which restore began its history. It is empty for a log that was never restored.
	Generation string
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
func (t *Topology) tasks() string         { return t.stream("TASKS") }
func (t *Topology) keys() string          { return t.stream("KEYS") }
func (t *Topology) accounts(n int) string { return t.stream("ACCOUNTS_" + strconv.Itoa(n)) }

// Streams names every stream that holds transactions, the directory's first and that of tasks last. Shards must be known.
func (t *Topology) Streams() (names []string) {
	names = append(names, t.directory())
	for n := range t.Shards {
		names = append(names, t.accounts(n))
	}
	return append(names, t.tasks())
}

// StreamOf names the stream that holds an account's log. Shards must be known.
func (t *Topology) StreamOf(id domain.AccountID) string {
	switch id {
	case domain.DirectoryID:
		return t.directory()
	case domain.TasksID:
		return t.tasks()
	}
	return t.accounts(t.shard(id))
}

// shard is the account's place among the account streams: FNV-1a of its id, modulo their number.
func (t *Topology) shard(id domain.AccountID) int {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id))
	return int(h.Sum64() % uint64(t.Shards))
}

// subjectOf is where an account's transactions are published.
func (t *Topology) subjectOf(id domain.AccountID) string {
	switch id {
	case domain.DirectoryID:
		return t.subject("directory")
	case domain.TasksID:
		return t.subject("tasks")
	}
	return t.subject("accounts." + strconv.Itoa(t.shard(id)) + "." + string(id))
}

// config is what a stream must be. Log streams forbid every way to lose a message but losing the disk.
func (t *Topology) config(name string, subjects ...string) jetstream.StreamConfig {
	log := name != t.keys() // from KEYS, Erase removes what must not be read again
	metadata := map[string]string{metaShards: strconv.Itoa(t.Shards), metaFormat: format}
	if t.Generation != "" {
		metadata[metaGeneration] = t.Generation
	}
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
		Metadata:          metadata,
	}
}

// configs lists every stream's, the directory's last: it is created last, so that its presence says that the log is complete.
func (t *Topology) configs() []jetstream.StreamConfig {
	var all []jetstream.StreamConfig
	for n := range t.Shards {
		all = append(all, t.config(t.accounts(n), t.subject("accounts."+strconv.Itoa(n)+".*")))
	}
	return append(all, t.config(t.keys(), t.subject("keys.>")), t.config(t.tasks(), t.subject("tasks")), t.config(t.directory(), t.subject("directory")))
}

// ensure creates the streams of a new log, or checks those of an existing one, and makes each durable. It settles t.Shards. In a cluster another node
// may be about to create them, so what is half there is looked at again.
func (t *Topology) ensure(ctx context.Context, js jetstream.JetStream, syncer Syncer, limits Limits) (streams map[string]jetstream.Stream, err error) {
	asked := t.Shards
	for attempt := range maxRequests {
		streams, err = t.once(ctx, js, syncer, limits)
		if !domain.Is(err, domain.Corrupt) || t.Replicas == 1 || wait(ctx, attempt+5) != nil {
			break
		}
		t.Shards = asked
	}
	return streams, err
}

func (t *Topology) once(ctx context.Context, js jetstream.JetStream, syncer Syncer, limits Limits) (map[string]jetstream.Stream, error) {
	lookup := func(name string) (jetstream.Stream, error) { return lookup(ctx, js, limits, name) }
	existing, err := lookup(t.directory())
	if err != nil {
		return nil, err
	}
	complete := existing != nil
	if !complete {
		// A first start that was interrupted leaves some of the account streams.
		if existing, err = lookup(t.accounts(0)); err != nil {
			return nil, err
		}
	}
	if !complete && t.Exists {
		return nil, unavailable(errBehind, "find the log")
	}
	if existing != nil && existing.CachedInfo().Config.Metadata[metaRestoring] != "" {
		return nil, &domain.Error{
			Kind: domain.Unavailable, Msg: "a restore of the log has not come to its end", Hint: "run log restore again: it begins anew",
		}
	}
	if err := t.settleShards(existing); err != nil {
		return nil, err
	}
	streams := map[string]jetstream.Stream{}
	for _, want := range t.configs() {
		s, err := lookup(want.Name)
		switch {
		case err != nil:
			return nil, err
		case s != nil:
			err = t.check(s.CachedInfo(), &want, complete)
		case complete && !t.younger(ctx, want.Name, streams[t.keys()]):
			err = &domain.Error{
				Kind: domain.Corrupt,
				Msg:  fmt.Sprintf("the log is damaged: stream %s is missing", want.Name),
				Hint: "restore it from a backup; creating an empty one would hide the loss",
			}
		default:
			// Creating it twice is creating it once.
			s, err = order(ctx, limits.Publish, func(ctx context.Context) (jetstream.Stream, error) { return js.CreateStream(ctx, want) })
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

// younger tells whether a stream may be missing from a complete log, because the log was made by a version that had no such stream. The key
// of the stream's one account is made after it and never removed, so where that is, the stream was too.
func (t *Topology) younger(ctx context.Context, name string, keys jetstream.Stream) bool {
	if name != t.tasks() || keys == nil {
		return false
	}
	_, err := keys.GetLastMsgForSubject(ctx, t.subject("keys."+accountRecord(domain.TasksID)))
	return errors.Is(err, jetstream.ErrMsgNotFound)
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
	t.Shards, t.Generation = recorded, cfg.Metadata[metaGeneration]
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
		{"no_ack", is.NoAck, false},
		{"mirror", is.Mirror != nil, false},
		{"sources", len(is.Sources), 0},
		{"subject_transform", is.SubjectTransform != nil, false},
		{"duplicate_window", is.Duplicates, want.Duplicates},
		{"storage", is.Storage, want.Storage},
		{"replicas", t.Grown(is.Replicas), want.Replicas},
		{"deny_delete", is.DenyDelete, want.DenyDelete},
		{"deny_purge", is.DenyPurge, want.DenyPurge},
		{"allow_direct", is.AllowDirect, want.AllowDirect},
		{"allow_msg_ttl", is.AllowMsgTTL, false},
		{"allow_rollup_hdrs", is.AllowRollup, false},
		{"max_age", is.MaxAge, want.MaxAge},
		{"max_msgs", is.MaxMsgs, want.MaxMsgs},
		{"max_bytes", is.MaxBytes, want.MaxBytes},
		{"max_msg_size", is.MaxMsgSize, want.MaxMsgSize},
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

// Grown is how many copies a stream has, or is taken to have: the log of a node may still be growing from one copy to those that it is to have.
func (t *Topology) Grown(copies int) int {
	if t.Exists && copies < t.Replicas {
		return t.Replicas
	}
	return copies
}

// HasKeys reports whether the log has keys of accounts, none of which a new master key would open.
func HasKeys(ctx context.Context, conn *nats.Conn, t Topology) (bool, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return false, unavailable(err, "use the log server")
	}
	s, err := lookup(ctx, js, Limits{}.withDefaults(), t.keys())
	return s != nil && s.CachedInfo().State.LastSeq > 0, err
}

// lookup finds a stream; nil when there is none.
func lookup(ctx context.Context, js jetstream.JetStream, limits Limits, name string) (jetstream.Stream, error) {
	s, err := ask(ctx, limits.Request, func(ctx context.Context) (jetstream.Stream, error) {
		s, err := js.Stream(ctx, name)
		if refused := js.Conn().LastError(); err != nil && errors.Is(refused, nats.ErrPermissionViolation) && strings.Contains(refused.Error(), "."+name+`"`) {
			return nil, &domain.Error{
				Kind: domain.Denied, Msg: "the NATS server does not let this user look at stream " + name, Err: refused,
				Hint: "give the user the permissions that docs/operator.md lists under \"An external NATS\"",
			}
		}
		return s, err
	})
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return nil, nil
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return nil, &domain.Error{
			Kind: domain.Unavailable, Msg: "the NATS server has no JetStream for this account", Err: err,
			Hint: "enable jetstream in the server's configuration, and for the account",
		}
	case domain.Is(err, domain.Denied):
		return nil, err
	}
	return nil, unavailable(err, "look up stream "+name)
}

var errAway = errors.New("the connection to the log server is lost")

// unavailable wraps an error of the NATS client; nil stays nil.
func unavailable(err error, doing string) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, nats.ErrReconnectBufExceeded) { // which is what the client says while it has no connection
		err = errAway
	}
	return domain.Wrap(domain.Unavailable, err, doing)
}
