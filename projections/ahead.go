package projections

import (
	"context"
	"fmt"
	"maps"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// Ahead is the table, beside head, of the accounts whose rows show more of their logs than the head says: they come from a snapshot, or were folded from
// the account's log alone because somebody wanted them. The rows of such an account show its log up to the position that is named there, and its entries
// up to it are passed over when the stream comes to them.
//
// It changes in the transaction that changes the rows. A line is of no use once the head has passed it, and goes when the rows are complete.
const Ahead = "ahead"

// readAhead reads the table in a committed state.
func readAhead(ctx context.Context, r Reader) (map[domain.AccountID]streams.Position, error) {
	rows, err := r.Query(ctx, "select account, seq, tx, hash from "+Ahead)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[domain.AccountID]streams.Position{}
	for rows.Next() {
		var id domain.AccountID
		var at streams.Position
		var hash []byte
		if err := rows.Scan(&id, &at.Seq, &at.Tx, &hash); err != nil {
			return nil, fmt.Errorf("read which accounts are ahead: %w", err)
		}
		copy(at.Hash[:], hash)
		all[id] = at
	}
	return all, rows.Err()
}

// shown is up to which position of the stream the rows of an account show its log. Only who writes the generation may ask without the group's lock.
func (g *generation) shown(id domain.AccountID) domain.Seq { return max(g.seq, g.ahead[id].Seq) }

// advance writes that an account's rows, which the transaction has changed, show its log up to a position.
func (g *generation) advance(ctx context.Context, tx Tx, id domain.AccountID, at streams.Position) error {
	if at.Seq > g.seq {
		_, err := tx.Exec(ctx, "insert into "+Ahead+` (account, seq, tx, hash) values ($1, $2, $3, $4)
			on conflict (account) do update set seq = excluded.seq, tx = excluded.tx, hash = excluded.hash`, string(id), int64(at.Seq), int64(at.Tx), at.Hash[:])
		return err
	}
	if _, there := g.ahead[id]; !there {
		return nil
	}
	_, err := tx.Exec(ctx, "delete from "+Ahead+" where account = $1", string(id))
	return err
}

// advanced takes note of what advance wrote and was committed. The caller holds the group's lock.
func (g *generation) advanced(id domain.AccountID, at streams.Position) {
	if at.Seq > g.seq {
		g.ahead[id] = at
	} else {
		delete(g.ahead, id)
	}
}

// passes deletes the lines that a complete generation has passed with a new head. It tells whether there may be any.
func (g *generation) passes(ctx context.Context, tx Tx, h head) (bool, error) {
	if !h.ready || len(g.ahead) == 0 {
		return false, nil
	}
	_, err := tx.Exec(ctx, "delete from "+Ahead+" where seq <= $1", int64(h.seq))
	return err == nil, err
}

// passed takes note of what passes deleted and was committed. The caller holds the group's lock.
func (g *generation) passed() {
	maps.DeleteFunc(g.ahead, func(_ domain.AccountID, at streams.Position) bool { return at.Seq <= g.seq })
}

// knows tells whether an entry is passed over because the rows show it. Errors: *Damage when they follow on another entry than the log has.
func (g *generation) knows(e *streams.Entry) (bool, error) {
	at, ahead := g.ahead[e.Account]
	switch {
	case !ahead || e.Seq > at.Seq:
		if e.Closed {
			return false, domain.Errorf(domain.Unavailable, "position %d was left closed, but the rows of %s do not show it", e.Seq, g.Generation)
		}
		return false, nil
	case e.Seq == at.Seq && e.Position() != at:
		return false, &Damage{Account: e.Account, What: fmt.Sprintf("its rows follow on another entry at position %d than the log has there", at.Seq)}
	}
	return true, nil
}

// furthest is up to where any account's rows are ahead of the head; the head itself without any.
func (s *slot) furthest() domain.Seq {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	if s.live == nil {
		return 0
	}
	far := s.live.seq
	for _, at := range s.live.ahead {
		far = max(far, at.Seq)
	}
	return far
}

// known tells which entries none of some generations needs, so that they need not be opened.
func known(works []*work) streams.Known {
	all := streams.Known{}
	for i, w := range works {
		if i == 0 {
			for id, at := range w.gen.ahead {
				all[id] = at.Seq
			}
			continue
		}
		for id, seq := range all {
			all[id] = min(seq, w.gen.ahead[id].Seq)
		}
	}
	maps.DeleteFunc(all, func(_ domain.AccountID, seq domain.Seq) bool { return seq == 0 })
	return all
}
