package mailboxes

import (
	"context"
	"fmt"
	"iter"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/streams"
)

// AccountDigests are the digests that the view keeps of one account. They cost no look at its messages.
type AccountDigests struct {
	ID domain.AccountID `json:"id"`
	account.Digests
}

// Digests reads the stored digests of one account, or of every account of the view when id is empty, in order of id and as of one commit. An
// erased account has those of nothing. Two nodes that hold the same stream agree wherever their Tx are the same.
func Digests(ctx context.Context, r projections.Reader, id domain.AccountID) (all []AccountDigests, err error) {
	query, args := `select a.account, a.tx, a.digest, m.mailbox, m.digest from accounts a left join mailboxes m on m.account = a.account`, []any(nil)
	if id != "" {
		query, args = query+` where a.account = $1`, []any{string(id)}
	}
	rows, err := r.Query(ctx, query+` order by a.account, m.mailbox`, args...)
	if err != nil {
		return nil, err
	}
	var of AccountDigests
	var mailbox, digest *int64
	dest := []any{&of.ID, &of.Tx, (*bits)(&of.Account), &mailbox, &digest}
	err = eachRow(rows, func(scan scan) error {
		if err := scan(dest...); err != nil {
			return err
		}
		if n := len(all); n == 0 || all[n-1].ID != of.ID {
			of.Mailboxes = map[domain.MailboxID]account.Digest{}
			all = append(all, of)
		}
		if mailbox != nil {
			all[len(all)-1].Mailboxes[domain.MailboxID(*mailbox)] = account.Digest(*digest)
		}
		return nil
	})
	return all, err
}

// Missum is of projections.Summer: the digest of a mailbox is that of its messages.
func (projection) Missum(ctx context.Context, r projections.Reader, id domain.AccountID) (off map[string]account.Digest, n int64, err error) {
	type place struct {
		account string
		mailbox int64
	}
	sums := map[place]account.Digest{}
	where, args := "", []any(nil)
	if id != "" {
		where, args = " where account = $1", []any{string(id)}
	}
	rows, err := r.Query(ctx, `select account, mailbox, uid, email, thread, flags, modseq, size, internal, saved from messages`+where, args...)
	if err != nil {
		return nil, 0, err
	}
	var at place
	var m account.Message
	dest := append([]any{&at.account, &at.mailbox}, columns(&m)...)
	if err := eachRow(rows, func(scan scan) error {
		err := scan(dest...)
		n++
		sums[at] += m.Digest()
		return err
	}); err != nil {
		return nil, n, err
	}
	if rows, err = r.Query(ctx, `select account, mailbox, digest from mailboxes`+where, args...); err != nil {
		return nil, n, err
	}
	var kept account.Digest
	if err := eachRow(rows, func(scan scan) error {
		err := scan(&at.account, &at.mailbox, (*bits)(&kept))
		sums[at] -= kept
		return err
	}); err != nil {
		return nil, n, err
	}
	off = map[string]account.Digest{}
	for at, by := range sums {
		if by != 0 {
			off[at.account] += account.Digest(uint64(by) * uint64(2*at.mailbox+1)) // so that what one mailbox lacks and another has too much does not cancel out
		}
	}
	return off, n, nil
}

// Audit is one account's digests as everything tells them that can, at the Tx of one snapshot of the view.
type Audit struct {
	Stored account.Digests `json:"stored"` // beside the rows
	Rows   account.Digests `json:"rows"`   // counted anew from the rows
	Log    account.Digests `json:"log"`    // of the state that the account's log folds to
}

// Sound tells whether all agree.
func (a Audit) Sound() bool {
	return len(a.Stored.Against(a.Log)) == 0 && len(a.Rows.Against(a.Log)) == 0
}

// Entries is what an audit needs of the log; *streams.Log has it.
type Entries interface {
	ReadAccount(ctx context.Context, id domain.AccountID, after domain.Seq) iter.Seq2[streams.Entry, error]
}

// Compare audits an account: rows that were changed behind the projection's back make Rows differ, and a projection that folds wrongly makes Stored
// differ from Log. Mail may go on meanwhile. Errors: domain.Erased; domain.Corrupt when the log cannot be folded.
func Compare(ctx context.Context, r projections.Reader, log Entries, id domain.AccountID) (Audit, error) {
	l, err := load(ctx, r, id)
	if err != nil {
		return Audit{}, err
	}
	folded, err := fold(log.ReadAccount(ctx, id, 0), id, l.at.Tx)
	if err != nil {
		return Audit{}, err
	}
	audit := Audit{Stored: l.stored, Rows: l.state.Digests(), Log: folded.Digests()}
	if l.at.Tx == 0 { // no row at all is what an empty log gives
		audit.Stored = account.New().Digests()
	}
	return audit, nil
}

// fold gives the state of an account at a transaction. State.Apply panics on what contradicts the state.
func fold(entries iter.Seq2[streams.Entry, error], id domain.AccountID, upTo domain.Tx) (s *account.State, err error) {
	s = account.New()
	var last streams.Position
	defer func() {
		if r := recover(); r != nil {
			err = domain.Wrap(domain.Corrupt, fmt.Errorf("account %s after Tx %d: %v", id, last.Tx, r), "the account's log contradicts itself")
		}
	}()
	for e, err := range entries {
		switch {
		case err != nil:
			return nil, err
		case e.Tx > upTo:
			return s, nil
		case e.Erased:
			return nil, domain.Errorf(domain.Erased, "account %s was erased", id)
		}
		if err := projections.Link(last, &e); err != nil {
			return nil, err
		}
		last = e.Position()
		for _, event := range e.Transaction.Events {
			s.Apply(e.Tx, event)
		}
	}
	if s.Tx < upTo {
		return nil, domain.Errorf(domain.Corrupt, "account %s: the view shows transaction %d, but the log ends at %d", id, upTo, last.Tx)
	}
	return s, nil
}
