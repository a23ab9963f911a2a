// Package door is the one way to mail and to users for every protocol: Accounts for what an account holds, Directory for who there is.
//
// A command is decided on a state in memory and appended to the account's log (RFC 9051 sections 5.5 and 6.4.6 want an order of changes that
// all sessions agree on; the log is that order). A reader sees that state. Rows of the views are read only for what the state does not hold.
//
// Invariants:
//   - Durability: what Do reports, and what View showed when it returns nil, is in the log and synced.
//   - Atomicity: nobody sees some events of a transaction without the others.
//   - Order: after Do returns, every View on this node sees the change, and Emails yields its rows. After Fresh, so it is with what other nodes did.
//   - Facts: times and random identifiers enter here, from Config.Clock and Config.Random.
//   - Bounds: Limits holds every limit. A Watch is one slot. States that nobody uses or watches fit into Config.CacheBytes.
//
// The machinery of heads and transactions is type ledger, which serves accounts and the directory alike.
package door

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/streams"
)

// Accounts is the door to all accounts of this node.
type Accounts struct {
	log        Log
	views      Views
	blobs      Blobs
	setup      *setup
	hot        hotSet
	shares     shares
	promotions promotions
	directory  *Directory
}

// New opens both doors. It creates the directory's log on first use and reads it, so ctx bounds the start.
func New(ctx context.Context, c Config) (*Accounts, *Directory, error) {
	c.setDefaults()
	s := &setup{clock: c.Clock, random: c.Random, logger: c.Logger, limits: c.Limits, shared: c.Shared}
	a := &Accounts{log: c.Log, views: c.Views, blobs: c.Blobs, setup: s}
	k := kind[*account.State]{
		load:  a.load,
		fold:  (*account.State).Apply,
		weigh: (*account.State).Weight,
		apart: bothStore,
		hold: func(id domain.AccountID) func() {
			h := a.hot.acquire(id)
			return func() { a.hot.release(h) }
		},
	}
	a.hot.open(c.CacheBytes, &s.stats, func(id domain.AccountID) *hot {
		h := &hot{id: id}
		k := k
		k.settled = func(s *account.State, at streams.Position, events []event.Event) {
			h.threads.settled(s, at, events)
			h.refs.settled(events)
			a.shares.learn(id, events)
		}
		h.ledger = newLedger(id, c.Log, k, s)
		return h
	})
	d, err := newDirectory(ctx, c, s, a)
	if err != nil {
		return nil, nil, err
	}
	a.directory = d
	return a, d, nil
}

// load reads an account's state from the views, once they have caught up with the account's log. Where they do not in time, as on a full disk,
// it folds what they lack: the log has it all.
func (a *Accounts) load(ctx context.Context, id domain.AccountID) (*account.State, streams.Position, error) {
	if a.directory.hasErased(id) {
		return nil, streams.Position{}, errErased(id)
	}
	last, err := a.log.Last(ctx, id)
	if err != nil {
		return nil, last, err
	}
	if last.Tx == 0 {
		return account.New(), last, nil
	}
	state, at, err := a.rows(ctx, id, last)
	var damage *projections.Damage
	if !errors.As(err, &damage) {
		return state, at, err
	}
	// What the log says is not in doubt: only this account waits until its rows are made anew.
	a.setup.stats.mended.Add(1)
	a.setup.logger.Error("rows of an account are wrong in its view: they are made anew from the log", "account", id, "tx", last.Tx, "error", damage)
	mending, cancel := context.WithTimeout(ctx, a.setup.limits.LoadTimeout/2)
	defer cancel()
	if err = a.views.Mend(mending, id); err == nil {
		state, at, err = a.rows(ctx, id, last)
	}
	if err != nil && !domain.Is(err, domain.Erased) {
		a.setup.logger.Error("rows of an account are wrong and cannot be made anew now: its state is made from the log", "account", id, "error", err)
		state = account.New()
		at, err = a.catchUp(ctx, id, state, streams.Position{})
	}
	return state, at, err
}

// rows reads an account's state from its rows. Where these are behind the log for long, it folds what they lack. The position that it gives is
// one that the log has, whatever the rows say.
func (a *Accounts) rows(ctx context.Context, id domain.AccountID, last streams.Position) (*account.State, streams.Position, error) {
	waiting, cancel := context.WithTimeout(ctx, a.setup.limits.LoadPatience)
	defer cancel()
	err := a.views.Wait(waiting, id, last.Seq)
	late := err != nil && waiting.Err() != nil && ctx.Err() == nil
	if err != nil && !late {
		return nil, last, classify(err, "wait for the account's view")
	}
	state, at, err := a.views.Load(ctx, id)
	if late && domain.Is(err, domain.NotFound) {
		state, at, err = account.New(), streams.Position{}, nil
	}
	if domain.Is(err, domain.Erased) {
		err = a.erased(ctx, id, last, err)
	}
	if err == nil {
		state.Scripts, err = a.scripts(ctx, id, at)
	}
	further := err == nil && at.Seq > last.Seq // other nodes may have gone on
	if further {
		last, err = a.lastFrom(waiting, id, at.Seq)
	}
	var damage *projections.Damage
	switch {
	case errors.As(err, &damage):
		return nil, last, err
	case err != nil:
		return nil, last, classify(err, "load the account from its view")
	case at == last:
		return state, at, nil
	case at.Seq >= last.Seq || !late && !further:
		// What is appended to a position is chained to it: one that the log does not have would spoil the log.
		return nil, last, &projections.Damage{Account: id, What: fmt.Sprintf("it shows transaction %d at position %d, and not %d at %d as the log does, or another hash",
			at.Tx, at.Seq, last.Tx, last.Seq)}
	}
	a.setup.logger.Warn("the account's view is late: its state is made from the log", "account", id, "view", at.Tx, "log", last.Tx)
	if at, err = a.catchUp(ctx, id, state, at); errors.Is(err, projections.ErrLog) {
		return nil, last, &projections.Damage{Account: id, What: err.Error()}
	} else if err != nil {
		return nil, last, err
	}
	return state, at, nil
}

// erased gives said, what the rows say, when the log's last entry cannot be read any more either.
func (a *Accounts) erased(ctx context.Context, id domain.AccountID, last streams.Position, said error) error {
	for e, err := range a.log.ReadAccount(ctx, id, last.Seq-1) {
		switch {
		case err != nil:
			return classify(err, "read the account's log")
		case e.Transaction != nil:
			return &projections.Damage{Account: id, What: "it says that the account was erased, but its log can be read"}
		}
		break
	}
	return said
}

// catchUp folds what an account's log has after a position.
func (a *Accounts) catchUp(ctx context.Context, id domain.AccountID, state *account.State, at streams.Position) (_ streams.Position, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = domain.Wrap(domain.Corrupt, fmt.Errorf("account %s, after transaction %d: %v", id, at.Tx, r), "the account's log contradicts its view")
		}
	}()
	for e, err := range a.log.ReadAccount(ctx, id, at.Seq) {
		if err != nil {
			return at, classify(err, "read the account's log")
		}
		if e.Transaction == nil {
			return at, errErased(id)
		}
		if err := projections.Link(at, &e); err != nil {
			return at, err
		}
		for _, fact := range e.Transaction.Events {
			state.Apply(e.Tx, fact)
		}
		at = e.Position()
	}
	return at, nil
}

// classify makes sure that an error has a kind: what nobody classified may pass.
func classify(err error, doing string) error {
	var known *domain.Error
	if errors.As(err, &known) {
		return err
	}
	return domain.Wrap(domain.Unavailable, err, doing)
}

// Outcome tells what a command did. Tx is 0 and Events is nil when there was nothing to do. Other commands may have a part in the same Tx.
type Outcome struct {
	Tx     domain.Tx
	Events []event.Event
}

// Do decides the command, appends its events and returns once they are durable. Later Views see them. actor is for the log's readers:
// "imap:alice@example.org".
//
// Errors: those of account.Decide; domain.Conflict when other nodes changed the account again and again; domain.Unavailable, also when ctx
// ended or the log did not answer, and then the outcome is unknown: the change may be in the log; domain.NotFound, domain.Erased;
// domain.Corrupt when the log contradicts itself.
func (a *Accounts) Do(ctx context.Context, id domain.AccountID, actor string, c account.Command) (Outcome, error) {
	return a.DoOn(ctx, id, actor, func(*account.State) (account.Command, error) { return c, nil })
}

// DoOn is Do of a command that f makes, or refuses, on the very state on which it is decided, so that no change comes between. f may be called more
// than once, as in View.
func (a *Accounts) DoOn(ctx context.Context, id domain.AccountID, actor string, f func(*account.State) (account.Command, error)) (Outcome, error) {
	h, err := a.acquire(id)
	if err != nil {
		return Outcome{}, err
	}
	defer a.hot.release(h)
	return h.ledger.do(ctx, actor, func(s *account.State) ([]event.Event, error) {
		c, err := f(s)
		if err != nil {
			return nil, err
		}
		return account.Decide(s, c)
	})
}

// bothStore keeps two STOREs on one mailbox out of one transaction: RFC 7162 section 3.1 wants each of them to have a MODSEQ of its own.
func bothStore(open, more []event.Event) bool {
	stored := func(e event.Event) domain.MailboxID {
		if changed, ok := e.(*event.FlagsChanged); ok {
			return changed.Mailbox
		}
		return 0
	}
	return slices.ContainsFunc(more, func(e event.Event) bool {
		mailbox := stored(e)
		return mailbox != 0 && slices.ContainsFunc(open, func(e event.Event) bool { return stored(e) == mailbox })
	})
}

// View runs f on the account's state, which f must not change or keep. What f saw is durable when View returns nil. f may be called
// more than once and must start afresh each time. f must not call the door, and holds up the account's commands for as long as it runs.
//
// Errors: that of f; domain.NotFound, domain.Erased, domain.Unavailable, domain.Conflict, domain.Corrupt.
func (a *Accounts) View(ctx context.Context, id domain.AccountID, f func(*account.State) error) error {
	h, err := a.acquire(id)
	if err != nil {
		return err
	}
	defer a.hot.release(h)
	return h.view(ctx, f)
}

func (h *hot) view(ctx context.Context, f func(*account.State) error) error {
	return h.ledger.view(ctx, func(s *account.State) error {
		if s.Tx == 0 {
			return domain.Errorf(domain.NotFound, "account %s does not exist", h.id)
		}
		return f(s)
	})
}

// acquire takes an account's ledger into use. The logs of the directory and of tasks are not an account's.
func (a *Accounts) acquire(id domain.AccountID) (*hot, error) {
	if id.Pseudo() || id == "" {
		return nil, domain.Errorf(domain.NotFound, "account %q does not exist", id)
	}
	return a.hot.acquire(id), nil
}

// Watch begins to watch an account and keeps its state in memory. Close it.
func (a *Accounts) Watch(ctx context.Context, id domain.AccountID) (*Watch, error) {
	return a.WatchWith(ctx, id, nil)
}

// WatchWith is Watch whose tokens come where those of another watch do, so that one reader hears of both accounts.
func (a *Accounts) WatchWith(ctx context.Context, id domain.AccountID, other *Watch) (*Watch, error) {
	h, err := a.acquire(id)
	if err != nil {
		return nil, err
	}
	if err := h.view(ctx, func(*account.State) error { return nil }); err != nil {
		a.hot.release(h)
		return nil, err
	}
	return h.ledger.watches.add(other, func() { a.hot.release(h) }), nil
}

// Observe takes entries of a stream that its projector read, in their order, whoever wrote them. It follows what other nodes do, never waits
// for I/O, and keeps nothing of the slice. It is for projections.Runner.Notify.
func (a *Accounts) Observe(_ string, entries []streams.Entry) {
	for i := range entries {
		e := &entries[i]
		if e.Account == domain.DirectoryID {
			a.directory.ledger.observe(e)
			continue
		}
		if e.Transaction != nil {
			a.shares.learn(e.Account, e.Transaction.Events)
			a.promotions.tell(e)
		}
		if h := a.hot.find(e.Account); h != nil {
			h.ledger.observe(e)
			a.hot.release(h)
		}
	}
}

// Rebuilt forgets the states that were loaded from rows which were made anew or removed: one account's, or those of every account of a stream
// when id is empty. They load again when somebody wants them. It is for projections.Runner.OnRebuilt.
func (a *Accounts) Rebuilt(stream string, id domain.AccountID) {
	for _, h := range a.hot.holdAll() {
		if h.id == id || id == "" && a.log.StreamOf(h.id) == stream {
			h.ledger.forget()
		}
		a.hot.release(h)
	}
}

// Stats tells what the doors did so far.
func (a *Accounts) Stats() Stats {
	s := &a.setup.stats
	n, size := a.hot.size()
	return Stats{s.commands.Load(), s.transactions.Load(), s.conflicts.Load(), s.loads.Load(), s.evictions.Load(), s.mended.Load(), n, size}
}

// Stored is a message whose bytes are durable and whose structure is known: what AddMessage wants.
type Stored struct {
	Blob    domain.BlobRef
	Summary message.Summary
}

// Ingest streams a message into the blob store and scans it on the way. An error of r comes back as it is.
func (a *Accounts) Ingest(ctx context.Context, r io.Reader) (Stored, error) {
	source := &failing{r: r}
	scanner := message.NewScanner()
	ref, err := a.blobs.Put(ctx, io.TeeReader(source, scanner))
	switch {
	case source.err != nil:
		return Stored{}, source.err
	case err != nil:
		return Stored{}, classify(err, "store the message")
	}
	return Stored{Blob: ref, Summary: scanner.Finish()}, nil
}

// failing remembers the error with which its reader ended.
type failing struct {
	r   io.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err
}

// await returns once the rows show all of the account that is durable now, or when that has taken too long.
func (a *Accounts) await(ctx context.Context, id domain.AccountID, tooLong time.Duration) error {
	h, err := a.acquire(id)
	if err != nil {
		return err
	}
	defer a.hot.release(h)
	at, err := h.ledger.position(ctx)
	if err != nil {
		return err
	}
	if at.Tx == 0 {
		return nil
	}
	// A projector that cannot write, on a full disk for instance, must not hold a session for ever.
	ctx, cancel := context.WithTimeout(ctx, tooLong)
	defer cancel()
	return classifyNil(a.views.Wait(ctx, id, at.Seq), "wait for the account's rows")
}

func classifyNil(err error, doing string) error {
	if err == nil {
		return nil
	}
	return classify(err, doing)
}

// Columns says which parts of an Email are wanted.
type Columns uint8

// The columns of an Email.
const (
	WantEnvelope  Columns = 1 << iota // Envelope
	WantStructure                     // Structure
	WantSummary                       // Summary
	WantBlob                          // Blob
	WantHead                          // Summary without its MIME tree, which is faster
)

// Email is a row of the mailbox view. Envelope and Structure are IMAP wire forms. Byte slices are valid until the next row only.
type Email struct {
	UID       domain.UID
	Email     domain.EmailID
	Envelope  []byte
	Structure []byte // BODYSTRUCTURE
	Summary   *message.Summary
	Blob      domain.BlobRef
}

// Emails yields the rows of a mailbox's messages in rising order of UID. A message that was expunged meanwhile may be left out. It waits until the view
// shows all that is durable; when that takes long, on a full disk for instance, it takes the rows that are there, for what a message is never changes, and
// waits only for those that are missing. Blobs alone of a few messages come from memory when they were delivered or read lately.
func (a *Accounts) Emails(ctx context.Context, id domain.AccountID, mailbox domain.MailboxID, uids domain.UIDSet, want Columns) iter.Seq2[Email, error] {
	return func(yield func(Email, error) bool) {
		h, err := a.acquire(id)
		if err != nil {
			yield(Email{}, err)
			return
		}
		defer a.hot.release(h)
		found, ok, err := a.remembered(ctx, h, mailbox, uids, want)
		if err != nil {
			yield(Email{}, err)
			return
		}
		for _, e := range found {
			if !yield(e, nil) {
				return
			}
		}
		if ok {
			return
		}
		late := a.await(ctx, id, min(a.setup.limits.LoadPatience, a.setup.limits.RowsTimeout))
		if late != nil && !behind(ctx, late) {
			yield(Email{}, late)
			return
		}
		var last domain.UID
		rows := func(uids domain.UIDSet) bool {
			for e, err := range a.views.Emails(ctx, id, mailbox, uids, want) {
				if err != nil {
					yield(Email{}, classify(err, "read the mailbox's rows"))
					return false
				}
				last = e.UID
				if want == WantBlob {
					h.refs.put(e.Email, e.Blob)
				}
				if !yield(e, nil) {
					return false
				}
			}
			return true
		}
		if !rows(uids) || late == nil {
			return
		}
		missing, err := a.after(ctx, id, mailbox, uids, last)
		if err == nil && len(missing) > 0 {
			err = a.await(ctx, id, a.setup.limits.RowsTimeout)
		}
		switch {
		case err != nil:
			yield(Email{}, err)
		case len(missing) > 0:
			rows(missing)
		}
	}
}

// Vanished gives the UIDs that left a mailbox in transactions after since, of all that is durable (RFC 7162). When complete is false, older ones
// are forgotten, or the history cannot be had now, and the answer is a part of the truth. Errors: domain.NotFound, domain.Erased, domain.Unavailable.
func (a *Accounts) Vanished(ctx context.Context, id domain.AccountID, mailbox domain.MailboxID, since domain.Tx) (uids domain.UIDSet, complete bool, err error) {
	h, err := a.acquire(id)
	if err != nil {
		return nil, false, err
	}
	defer a.hot.release(h)
	at, err := h.ledger.position(ctx)
	if err != nil {
		return nil, false, err
	}
	waiting, cancel := context.WithTimeout(ctx, a.setup.limits.LoadPatience)
	defer cancel()
	uids, complete, err = a.views.Vanished(waiting, id, mailbox, since, at.Seq)
	if err != nil && ctx.Err() == nil { // RFC 7162 section 5.1: what is not remembered costs bandwidth, and nothing else.
		a.setup.logger.Warn("the history of a mailbox cannot be read: its clients are told more than they need", "account", id, "mailbox", mailbox, "error", err)
		return nil, false, nil
	}
	return uids, complete, classifyNil(err, "read what vanished")
}

// behind reports whether an error only says that the rows are late.
func behind(ctx context.Context, err error) bool {
	return errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil
}

// after gives those of the UIDs above last that a mailbox has. The rows of an earlier transaction lack the highest UIDs and no others.
func (a *Accounts) after(ctx context.Context, id domain.AccountID, mailbox domain.MailboxID, uids domain.UIDSet, last domain.UID) (rest domain.UIDSet, err error) {
	err = a.View(ctx, id, func(s *account.State) error {
		if m, ok := s.Mailboxes[mailbox]; ok {
			for _, uid := range m.UID {
				if uid > last && uids.Contains(uid) {
					rest = rest.Add(uid)
				}
			}
		}
		return nil
	})
	return rest, err
}

// Open reads n octets of a message from off on; n < 0 reads to the end. Errors: domain.NotFound, domain.Corrupt, never an empty message.
func (a *Accounts) Open(ctx context.Context, ref domain.BlobRef, off, n int64) (io.ReadCloser, error) {
	if off < 0 || off > ref.Size {
		return nil, domain.Errorf(domain.Invalid, "octet %d lies outside a message of %d", off, ref.Size)
	}
	if rest := ref.Size - off; n < 0 || n > rest {
		n = rest
	}
	if n == 0 && ref.Size > 0 { // Nothing is wanted of it, so its state does not matter.
		return io.NopCloser(strings.NewReader("")), nil
	}
	r, err := a.blobs.Open(ctx, ref, off, n)
	if err != nil {
		return nil, classify(err, "open the message")
	}
	return r, nil
}

// Secret derives a secret of an account for a purpose. It is the same for as long as the account lives. Errors: domain.Erased, domain.NotFound,
// domain.Unavailable.
func (a *Accounts) Secret(ctx context.Context, id domain.AccountID, purpose string) ([32]byte, error) {
	return a.log.AccountSecret(ctx, id, purpose)
}

// unixTime is the clock in the unit of UIDVALIDITY.
func (s *setup) unixTime() uint32 { return uint32(s.clock().Truncate(time.Second).Unix()) }

// forget makes an account that was erased refuse everything, and tells those who watch it.
func (a *Accounts) forget(id domain.AccountID) {
	if h := a.hot.find(id); h != nil {
		h.ledger.erase()
		a.hot.release(h)
	}
}
