package projections

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

// Digested is the digests that one generation keeps of its rows, as of one commit.
type Digested struct {
	Stream     string                    `json:"stream"`
	Projection string                    `json:"projection"`
	Version    int                       `json:"version"`
	Generation int                       `json:"generation"`
	Seq        domain.Seq                `json:"seq"`     // position of the last entry applied
	Digests    map[string]account.Digest `json:"digests"` // without those of accounts that show more than Seq (Ahead)
}

// Digests reads what the live generations keep. It looks at no row. Errors: those of a Selection; domain.Unavailable.
func (r *Runner) Digests(ctx context.Context, sel Selection) (all []Digested, err error) {
	chosen, err := r.chosen(sel)
	if err != nil {
		return nil, err
	}
	for _, t := range chosen {
		for _, s := range t.slots {
			if s.absent() {
				continue
			}
			one, err := s.digests(ctx, t.accounts)
			if err != nil {
				return nil, fmt.Errorf("digests of stream %s: %w", t.group.stream, err)
			}
			all = append(all, one)
		}
	}
	return all, nil
}

// digests reads those of some accounts, or of all when none is named.
func (s *slot) digests(ctx context.Context, accounts []domain.AccountID) (Digested, error) {
	if err := s.wait(ctx, s.furthest(), true); err != nil {
		return Digested{}, err
	}
	gen, release, err := s.use()
	if err != nil {
		return Digested{}, err
	}
	defer release()
	one := Digested{Stream: s.group.stream, Projection: s.name(), Version: s.projection.Version(), Generation: gen.Number}
	err = gen.view.Snapshot(ctx, func(r Reader) error {
		if one.Seq, err = Position(ctx, r); err != nil {
			return err
		}
		if one.Digests, err = readDigests(ctx, r, accounts); err != nil {
			return err
		}
		ahead, err := readAhead(ctx, r)
		for id, at := range ahead {
			if at.Seq > one.Seq {
				delete(one.Digests, string(id))
			}
		}
		return err
	})
	return one, s.suspect(err)
}

func readDigests(ctx context.Context, r Reader, accounts []domain.AccountID) (map[string]account.Digest, error) {
	all := map[string]account.Digest{}
	read := func(query string, args ...any) error {
		rows, err := r.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		var id string
		var digest int64
		for rows.Next() {
			if err := rows.Scan(&id, &digest); err != nil {
				return fmt.Errorf("read a digest: %w", err)
			}
			all[id] = account.Digest(digest)
		}
		return rows.Err()
	}
	if len(accounts) == 0 {
		return all, read("select account, digest from " + Digests)
	}
	for _, id := range accounts {
		if err := read("select account, digest from "+Digests+" where account = $1", string(id)); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// DigestOf reads what a generation keeps of one account.
func DigestOf(ctx context.Context, r Reader, id domain.AccountID) (account.Digest, error) {
	all, err := readDigests(ctx, r, []domain.AccountID{id})
	return all[string(id)], err
}

// countRows adds up the digests of rows that are there: of an account, or of all when none is named. It tells how many rows it read.
func countRows(ctx context.Context, query func(context.Context, string, ...any) (*sql.Rows, error), projection Projection, id domain.AccountID) (all map[string]account.Digest, n int64, err error) {
	all = map[string]account.Digest{}
	for _, table := range projection.Tables() {
		if table.Summed {
			continue
		}
		text, args := "select * from "+table.Name+" where 1 = 1", []any(nil)
		if id != "" {
			text, args = text+" and account = $1", []any{string(id)}
		}
		if table.Wrong != "" {
			text += " and " + table.Wrong
		}
		rows, err := query(ctx, text, args...)
		if err != nil {
			return nil, n, err
		}
		read, err := addRows(rows, table.Name, all)
		if n += read; err != nil {
			return nil, n, fmt.Errorf("read table %s: %w", table.Name, err)
		}
	}
	maps.DeleteFunc(all, func(_ string, d account.Digest) bool { return d == 0 })
	return all, n, nil
}

func addRows(rows *sql.Rows, table string, all map[string]account.Digest) (n int64, err error) {
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return 0, err
	}
	owner := slices.Index(columns, "account")
	row, dest := make([]any, len(columns)), make([]any, len(columns))
	for i := range row {
		dest[i] = &row[i]
	}
	for ; rows.Next(); n++ {
		if err := rows.Scan(dest...); err != nil {
			return n, err
		}
		id := ""
		if owner >= 0 {
			id, _ = row[owner].(string)
		}
		all[id] += RowDigest(table, row)
	}
	return n, rows.Err()
}

// count makes the digests of a generation whose last writer knew none.
func (s *slot) count(ctx context.Context, gen *generation) error {
	return gen.view.Update(ctx, func(tx Tx) error {
		all, n, err := countRows(ctx, tx.Query, s.projection, "")
		if err != nil {
			return err
		}
		s.group.log.Info("the rows of a view that has no digests are counted", "generation", gen.Generation, "rows", n)
		if _, err := tx.Exec(ctx, "delete from "+Digests); err != nil {
			return err
		}
		var rows [][]any
		for _, id := range slices.Sorted(maps.Keys(all)) {
			rows = append(rows, []any{id, int64(all[id])})
		}
		if err := tx.Insert(ctx, Digests, []string{"account", "digest"}, rows); err != nil {
			return err
		}
		gen.counted = gen.seq // its head is not read by others yet
		return writeHead(ctx, tx, gen.head)
	})
}

// CountOptions say how rows are counted. The zero value means: at full speed, and nothing is changed.
type CountOptions struct {
	Limit    int     // miscounts that are listed; all are counted
	CPUShare float64 // as of RebuildOptions
	Repair   bool    // make anew what differs
}

// Counted is what a comparison of rows with the digests beside them found.
type Counted struct {
	Accounts  int        `json:"accounts"` // or generations whose rows belong to none
	Rows      int64      `json:"rows"`
	Total     int64      `json:"total"` // miscounts found
	Miscounts []Miscount `json:"miscounts"`
	Repaired  int        `json:"repaired"`
}

// Miscount is a digest that the rows of an account do not add up to: something other than the projector changed rows, or the digest.
type Miscount struct {
	Stream     string         `json:"stream"`
	Projection string         `json:"projection"`
	Account    string         `json:"account"` // empty: rows that belong to none
	Kept       account.Digest `json:"kept"`
	Rows       account.Digest `json:"rows"`
	Damage     string         `json:"damage,omitempty"` // why rows cannot be read at all
}

func (m Miscount) String() string {
	where := m.Stream + " " + m.Projection
	if m.Account != "" {
		where += ", account " + m.Account
	}
	if m.Damage != "" {
		return where + ": " + m.Damage
	}
	return fmt.Sprintf("%s: the rows add up to %s and not to %s", where, m.Rows, m.Kept)
}

// Count adds up the digests of rows and compares them with those that are kept. It reads neither log nor blob, so it costs a small part of Verify, and
// finds every row that was changed behind the projector's back. progress may be nil. Miscounts are no error.
func (r *Runner) Count(ctx context.Context, sel Selection, opt CountOptions, progress func(Progress)) (Counted, error) {
	var report Counted
	chosen, err := r.chosen(sel)
	if err == nil {
		err = (RebuildOptions{CPUShare: opt.CPUShare}).check()
	}
	if err != nil {
		return report, err
	}
	if progress == nil {
		progress = func(Progress) {}
	}
	pace := newPace(0, opt.CPUShare)
	for _, t := range chosen {
		if err := t.group.look(ctx); err != nil {
			return report, fmt.Errorf("count stream %s: %w", t.group.stream, err)
		}
		for _, s := range t.slots {
			if s.absent() {
				continue
			}
			c := &count{slot: s, opt: opt, pace: pace, report: &report}
			err := c.run(ctx, t.accounts, progress)
			if err == nil && opt.Repair {
				err = c.repair(ctx, progress)
			}
			if err != nil {
				return report, fmt.Errorf("count stream %s: %w", t.group.stream, err)
			}
		}
	}
	return report, nil
}

// count is that of one slot.
type count struct {
	slot   *slot
	opt    CountOptions
	pace   *pace
	report *Counted
	wrong  wrong
}

// run counts an account after the other where they are named or the work is to be slow, so that no state is held for long; else all rows at once.
func (c *count) run(ctx context.Context, accounts []domain.AccountID, progress func(Progress)) error {
	s := c.slot
	if damage := s.damage(); damage != nil {
		c.found(Miscount{Damage: damage.Error()})
		return nil
	}
	if len(accounts) == 0 && c.opt.CPUShare > 0 && s.byAccount() {
		var err error
		if accounts, err = s.group.r.accounts(ctx, s.group.stream); err != nil {
			return err
		}
	}
	if len(accounts) == 0 {
		accounts = []domain.AccountID{""}
	}
	for i, id := range accounts {
		if err := c.one(ctx, id); err != nil {
			if errors.Is(err, ErrDamaged) {
				c.found(Miscount{Damage: err.Error()})
				return nil
			}
			return err
		}
		progress(Progress{Stream: s.group.stream, Projections: []string{s.name()}, Phase: Comparing, Done: domain.Seq(i + 1), Total: domain.Seq(len(accounts))})
	}
	return nil
}

// one compares what is kept with the rows of an account, or of all, in one state.
func (c *count) one(ctx context.Context, id domain.AccountID) error {
	s := c.slot
	release, err := s.group.r.looks.take(ctx, 1)
	if err != nil {
		return err
	}
	defer release()
	return c.pace.work(ctx, func() (int, error) {
		var only []domain.AccountID
		if id != "" {
			only = []domain.AccountID{id}
		}
		var kept, rows map[string]account.Digest
		var n int64
		err := reader{s: s}.Snapshot(ctx, func(r Reader) (err error) {
			if kept, err = readDigests(ctx, r, only); err == nil {
				rows, n, err = countRows(ctx, r.Query, s.projection, id)
			}
			summer, is := s.projection.(Summer)
			if !is || err != nil {
				return err
			}
			off, more, err := summer.Missum(ctx, r, id)
			for owner, by := range off {
				rows[owner] += by
			}
			n += more
			return err
		})
		if err != nil {
			return 0, err
		}
		c.report.Rows += n
		c.report.Accounts += max(len(kept), 1)
		all := maps.Clone(kept)
		maps.Copy(all, rows)
		for _, owner := range slices.Sorted(maps.Keys(all)) {
			if kept[owner] != rows[owner] {
				c.found(Miscount{Account: owner, Kept: kept[owner], Rows: rows[owner]})
			}
		}
		return 0, nil
	})
}

// found books a miscount.
func (c *count) found(m Miscount) {
	m.Stream, m.Projection = c.slot.group.stream, c.slot.name()
	id, err := domain.ParseAccountID(m.Account)
	c.wrong.add(id, err == nil && c.slot.byAccount() && c.slot.group.r.cfg.Log.StreamOf(id) == m.Stream)
	if c.report.Total++; len(c.report.Miscounts) < c.opt.Limit {
		c.report.Miscounts = append(c.report.Miscounts, m)
	}
}

func (c *count) repair(ctx context.Context, progress func(Progress)) error {
	n, err := c.wrong.repair(ctx, c.slot, RebuildOptions{CPUShare: c.opt.CPUShare, pace: c.pace}, progress)
	c.report.Repaired += n
	return err
}

// look has the group find out whether its views can still be written, on its own goroutine.
func (g *group) look(ctx context.Context) error {
	return g.schedule(ctx, func(ctx context.Context) (bool, error) {
		err := g.examine(ctx)
		if errors.Is(err, errAgain) {
			return true, nil
		}
		return false, err
	})
}

// damage tells why the rows that are read cannot be written any more; nil when they can.
func (s *slot) damage() error {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	if s.state != Damaged {
		return nil
	}
	return s.err
}
