package streams

import (
	"context"
	"encoding/hex"
	"errors"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
)

// This file lets an archive copy the log as it is, sealed, and lets readers of the log take from the archive what a stream has lost.

// Sealed is an entry as the stream holds it. Everything but Written and Seq follows from Data; neither is bound into the chain.
type Sealed struct {
	Account domain.AccountID
	Stream  string
	Seq     domain.Seq
	Written time.Time // when the server stored it; that of the original for an entry that was restored
	Tx      domain.Tx
	Prev    Hash // of the one before it in the account's log
	Hash    Hash
	Data    []byte
}

// NewSealed reads what Data says of itself. Error: domain.Corrupt for what is no sealed transaction.
func NewSealed(id domain.AccountID, stream string, seq domain.Seq, written time.Time, data []byte) (Sealed, error) {
	h, err := parseHeader(data)
	if err != nil {
		return Sealed{}, domain.Wrap(domain.Corrupt, err, "read a sealed transaction of account "+string(id))
	}
	return Sealed{Account: id, Stream: stream, Seq: seq, Written: written, Tx: h.tx, Prev: h.prev, Hash: hashOf(data), Data: data}, nil
}

// writtenHeader tells when an entry was first stored that a restore stored again, in nanoseconds since 1970.
const writtenHeader = "Streampost-Written"

// writtenAt is when an entry was first stored, given when this message was.
func writtenAt(h nats.Header, stored time.Time) time.Time {
	if first := h.Get(writtenHeader); first != "" {
		if ns, err := strconv.ParseInt(first, 10, 64); err == nil {
			return time.Unix(0, ns)
		}
	}
	return stored
}

// Sealed yields the durable entries of a stream after one position up to and including another, or up to its present end, without opening them. Each
// account's are dense and chained among themselves. It ends with an error as Follow does.
func (l *Log) Sealed(ctx context.Context, stream string, after, upTo domain.Seq) iter.Seq2[Sealed, error] {
	return func(yield func(Sealed, error) bool) {
		s, err := l.streamNamed(stream)
		if err == nil {
			var head domain.Seq
			head, err = l.Head(ctx, stream)
			upTo = min(upTo, head)
		}
		if err != nil {
			yield(Sealed{}, err)
			return
		}
		if upTo <= after {
			return
		}
		chain := newChain(after == 0)
		err = (&scan{log: l, stream: s, next: after + 1, upTo: upTo, clear: true}).run(ctx, func(opened []openedEntry) error {
			for i := range opened {
				o := &opened[i]
				if finding := chain.check(o); finding != nil {
					return finding.corrupt()
				}
				if !yield(Sealed{o.Account, o.Stream, o.Seq, o.raw.written, o.Tx, o.Prev, o.Hash, o.raw.data}, nil) {
					return errStop
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(Sealed{}, err)
		}
	}
}

// SealedAfter reads the first entry of an account after a position of its stream; ok is false when there is none.
func (l *Log) SealedAfter(ctx context.Context, id domain.AccountID, after domain.Seq) (e Sealed, ok bool, err error) {
	s, err := l.streamFor(id)
	if err != nil {
		return e, false, err
	}
	m, err := l.nextMessage(ctx, s.handle, after+1, l.cfg.Topology.subjectOf(id))
	if err != nil || m == nil {
		return e, false, err
	}
	if err := s.durable(ctx, domain.Seq(m.Sequence)); err != nil {
		return e, false, err
	}
	e, err = NewSealed(id, s.name, domain.Seq(m.Sequence), writtenAt(m.Header, m.Time), m.Data)
	return e, err == nil, err
}

// Opens proves that a sealed entry opens with its account's key. erased says that the key was destroyed, so that nobody can tell. Errors: domain.Corrupt,
// domain.NotFound without a key, domain.Unavailable.
func (l *Log) Opens(ctx context.Context, e *Sealed) (erased bool, err error) {
	key, err := l.keys.key(ctx, e.Account)
	if err != nil {
		return false, err
	}
	if key.erased {
		return true, nil
	}
	h, err := parseHeader(e.Data)
	if err == nil {
		_, err = unseal(key, e.Account, &h, e.Data)
	}
	if err != nil {
		return false, domain.Wrap(domain.Corrupt, err, "open a sealed transaction")
	}
	return false, nil
}

// Erased tells whether an account's key was destroyed. An account without a key is not erased.
func (l *Log) Erased(ctx context.Context, id domain.AccountID) (bool, error) {
	key, err := l.keys.key(ctx, id)
	if domain.Is(err, domain.NotFound) {
		return false, nil
	}
	return err == nil && key.erased, err
}

// Accounts lists the accounts that have entries in a stream.
func (l *Log) Accounts(ctx context.Context, stream string) ([]domain.AccountID, error) {
	s, err := l.streamNamed(stream)
	if err != nil {
		return nil, err
	}
	info, err := l.info(ctx, s.handle, jetstream.WithSubjectFilter(">"))
	if err != nil {
		return nil, err
	}
	var ids []domain.AccountID
	for subject := range info.State.Subjects {
		ids = append(ids, accountOf(subject))
	}
	return ids, nil
}

// KeyRecord is a wrapped key or secret as the stream KEYS holds it.
type KeyRecord struct {
	Name    string
	Account domain.AccountID // whose key it is; empty for a secret of the installation
	Erased  bool             // the key was destroyed, the record only says so
	Seq     domain.Seq
	Data    []byte
}

// NewKeyRecord reads what a record says of itself without opening it. Error: domain.Corrupt.
func NewKeyRecord(name string, seq domain.Seq, data []byte) (KeyRecord, error) {
	r := KeyRecord{Name: name, Seq: seq, Data: data}
	if len(data) < recordHeader || data[0] != recordVersion {
		return r, domain.Errorf(domain.Corrupt, "key record %s is malformed", name)
	}
	r.Erased = data[1] == kindErased
	if id, found := strings.CutPrefix(name, accountRecord("")); found {
		r.Account = domain.AccountID(id)
	}
	return r, nil
}

// KeysHead is the sequence of the newest record of KEYS.
func (l *Log) KeysHead(ctx context.Context) (domain.Seq, error) {
	info, err := l.info(ctx, l.keys.handle)
	if err != nil {
		return 0, err
	}
	return domain.Seq(info.State.LastSeq), nil
}

// KeyRecord reads the present record of a name. Error: domain.NotFound.
func (l *Log) KeyRecord(ctx context.Context, name string) (KeyRecord, error) {
	m, err := l.lastMessage(ctx, l.keys.handle, l.keys.prefix+name)
	if err != nil {
		return KeyRecord{}, err
	}
	if m == nil {
		return KeyRecord{}, domain.Errorf(domain.NotFound, "there is no key record %s", name)
	}
	return NewKeyRecord(name, domain.Seq(m.Sequence), m.Data)
}

// AccountRecord names the record of an account's key.
func AccountRecord(id domain.AccountID) string { return accountRecord(id) }

// KeyNames lists the names of all records.
func (l *Log) KeyNames(ctx context.Context) ([]string, error) {
	all, err := l.keys.names(ctx)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	return names, nil
}

// KeyRecords reads the records of KEYS that were written after a sequence, up to the present head, in order. What is no longer there is passed over:
// every record was replaced by a later one of its name before it was removed.
func (l *Log) KeyRecords(ctx context.Context, after domain.Seq, f func(KeyRecord) error) (head domain.Seq, err error) {
	if head, err = l.KeysHead(ctx); err != nil || head <= after {
		return head, err
	}
	for from := after + 1; from <= head; {
		m, err := ask(ctx, l.cfg.Limits.Request, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
			return l.keys.handle.GetMsg(ctx, uint64(from), jetstream.WithGetMsgSubject(l.keys.prefix+">"))
		})
		if m, err = found(m, err, l.keys.name); err != nil {
			return head, err
		}
		if m == nil {
			break
		}
		from = domain.Seq(m.Sequence) + 1
		name := strings.TrimPrefix(m.Subject, l.keys.prefix)
		if name == fillerName || domain.Seq(m.Sequence) > head {
			continue
		}
		record, err := NewKeyRecord(name, domain.Seq(m.Sequence), m.Data)
		if err == nil {
			err = f(record)
		}
		if err != nil {
			return head, err
		}
	}
	return head, nil
}

// Check proves that a record is wrapped by a master key at hand and opens under its own name. Errors: domain.Corrupt, domain.Unavailable.
func (m *MasterKeys) Check(r *KeyRecord) error {
	_, _, err := m.unwrap(r.Name, r.Data)
	return err
}

// SecretRecord names the record of the secret that Log.Secret gives for a purpose.
func SecretRecord(purpose string) string { return "secret.for-" + purpose }

// Secret opens the record of a secret outside of the log, which may be lost. Errors: domain.Corrupt, domain.Unavailable without the master key.
func (m *MasterKeys) Secret(purpose string, record []byte) (secret [32]byte, err error) {
	r, _, err := m.unwrap(SecretRecord(purpose), record)
	if err != nil {
		return secret, err
	}
	if r.kind != kindSecret {
		return secret, domain.Errorf(domain.Corrupt, "the record of the secret for %s is of kind %q", purpose, r.kind)
	}
	return [32]byte(r.secret), nil
}

// Master is what wraps the log's keys.
func (l *Log) Master() *MasterKeys { return l.cfg.Master }

// Generation tells one history of the log from others that restores began; it is empty for a log that was never restored.
func (l *Log) Generation() string { return l.cfg.Topology.Generation }

// newGeneration names a history.
func newGeneration(now time.Time, random [4]byte) string {
	return now.UTC().Format("20060102T150405Z") + "-" + hex.EncodeToString(random[:])
}
