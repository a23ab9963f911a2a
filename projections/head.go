package projections

import (
	"context"
	"fmt"
	"math"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/streams"
)

// head is how far a generation has come.
type head struct {
	version int // 0 before the first commit
	ready   bool
	seq     domain.Seq
	at      int64      // of the entry there, Unix milliseconds
	counted domain.Seq // seq, if the digests are those of the rows: builds that know none leave it behind
}

// readHead reads the head of a committed state.
func readHead(ctx context.Context, r Reader) (h head, err error) {
	rows, err := r.Query(ctx, `select version, ready, seq, at, counted from head`)
	if err != nil {
		return h, err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&h.version, &h.ready, &h.seq, &h.at, &h.counted); err != nil {
			return h, fmt.Errorf("read the head of a view: %w", err)
		}
	}
	return h, rows.Err()
}

// Position tells how far the rows of a state have come in their stream.
func Position(ctx context.Context, r Reader) (domain.Seq, error) {
	h, err := readHead(ctx, r)
	return h.seq, err
}

func writeHead(ctx context.Context, tx Tx, h head) error {
	ready := int64(0)
	if h.ready {
		ready = 1
	}
	n, err := tx.Exec(ctx, `update head set version = $1, ready = $2, seq = $3, at = $4, counted = $3`, int64(h.version), ready, int64(h.seq), h.at)
	if err == nil && n != 1 {
		err = domain.Wrap(domain.Unavailable, ErrDamaged, "the view has lost its head")
	}
	return err
}

// generation is one set of rows that is open. Its head is written by whoever fills it, under the group's lock, and may be read under it.
type generation struct {
	Generation
	view View
	head
	ahead map[domain.AccountID]streams.Position // as the table says, under the same rule as the head

	readers int    // who use it now
	gone    func() // what to do when none does any more; nil while it is in use
}

// open opens a generation and reads its head.
func (r *Runner) open(ctx context.Context, id Generation) (*generation, error) {
	view, err := r.cfg.Views.Open(ctx, id)
	if err != nil {
		return nil, err
	}
	g := &generation{Generation: id, view: view}
	err = view.Snapshot(ctx, func(r Reader) error {
		if g.head, err = readHead(ctx, r); err == nil {
			g.ahead, err = readAhead(ctx, r)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return g, nil
}

// lowest gives the lowest position of works; the highest number there is when there are none.
func lowest(works []*work) domain.Seq {
	low := domain.Seq(math.MaxUint64)
	for _, w := range works {
		low = min(low, w.gen.seq)
	}
	return low
}
