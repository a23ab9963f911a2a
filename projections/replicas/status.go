package replicas

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/directory"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/door"
)

// Account is one account with its replicas. The fields up to Replicas have Carbonio's names.
type Account struct {
	ID        domain.AccountID `json:"accountId"`
	Name      string           `json:"accountName"`
	MailHost  string           `json:"accountMailHost"` // the primary; empty when it was never promoted: any node serves it
	Paused    bool             `json:"paused"`          // all its replicas are
	MailboxID int              `json:"mailboxId"`       // the number of its stream
	Sequence  domain.Tx        `json:"sequence"`        // its last transaction
	ItemID    domain.EmailID   `json:"itemId"`          // the highest of a message, as far as a node knows
	Replicas  []Replica        `json:"replicas"`        // in the order in which they are promoted

	Stream string `json:"stream"`
}

// Filter says which replicas are looked at. Its lists mean any of theirs; empty ones mean all.
type Filter struct {
	Accounts  directory.Selection // nothing selected: all accounts that have replicas
	MailHosts []string            // primaries
	Replicas  []string            // destinations
	Paused    *bool               // accounts of which all replicas are, or are not, paused
	Available *bool               // replicas whose node answers with rows that can be read, or does not
	States    []State
}

// heard is what one node said.
type heard struct {
	answer
	failure string
}

// silentFor is how long nobody waits for a node that did not answer. What it says in time is heard all the same.
const silentFor = 10 * time.Second

// gather asks all nodes, and gives what they say by name. It waits for those that are there, but for the ones that did not answer lately.
func (r *Replicas) gather(ctx context.Context, q question) (map[string]*heard, error) {
	_, there := r.cfg.Members()
	all := map[string]*heard{}
	waited := r.patient(there)
	asking, enough := context.WithCancel(ctx)
	defer enough()
	complete := func() bool { return !slices.ContainsFunc(waited, func(node string) bool { return all[node] == nil }) }
	err := r.cfg.Nodes.Ask(asking, askStanding, q, len(there), func(node string, said json.RawMessage, failure string) {
		h := &heard{failure: failure}
		if failure == "" {
			if err := json.Unmarshal(said, &h.answer); err != nil {
				h.failure = err.Error()
			}
		}
		if all[node] = h; complete() {
			enough()
		}
	})
	if err != nil && (ctx.Err() != nil || !complete()) {
		return all, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for node, h := range all {
		if delete(r.silent, node); h.failure == "" {
			r.witnesses[node] = h.Witness
		}
	}
	for _, node := range waited {
		if all[node] == nil {
			r.silent[node] = time.Now()
		}
	}
	return all, nil
}

// gatherAll is gather that waits for nodes which did not answer lately, too.
func (r *Replicas) gatherAll(ctx context.Context, q question) (map[string]*heard, error) {
	r.mu.Lock()
	clear(r.silent)
	r.mu.Unlock()
	return r.gather(ctx, q)
}

// witness tells whether a node is known to be one, because it said so the last time that it said anything.
func (r *Replicas) witness(node string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.witnesses[node]
}

// patient gives the nodes that are worth waiting for.
func (r *Replicas) patient(there []string) (all []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, node := range there {
		if since, silent := r.silent[node]; !silent || time.Since(since) > silentFor {
			all = append(all, node)
		}
	}
	return all
}

// Status tells of the replicas that a filter lets through, in order of login, and what of the filter's selection is no account.
// Errors: domain.Unavailable when the log cannot be asked.
func (r *Replicas) Status(ctx context.Context, f Filter) (all []Account, problems []directory.Problem, err error) {
	sel := f.Accounts
	if len(sel.Names)+len(sel.Domains) == 0 {
		sel = directory.Selection{All: true}
	}
	placed, problems, err := r.cfg.Directory.Placed(ctx, sel)
	if err != nil {
		return nil, nil, err
	}
	placed = slices.DeleteFunc(placed, func(a door.Placed) bool { return sel.All && len(a.Placements) == 0 })
	for accounts, err := range r.look(ctx, placed) {
		if err != nil {
			return nil, nil, err
		}
		for _, a := range accounts {
			if f.pass(&a) {
				all = append(all, a)
			}
		}
	}
	return all, problems, nil
}

// pass tells whether a filter lets an account through, and takes away replicas that it does not.
func (f *Filter) pass(a *Account) bool {
	if len(f.MailHosts) > 0 && !slices.Contains(f.MailHosts, a.MailHost) || f.Paused != nil && a.Paused != *f.Paused {
		return false
	}
	whole := len(f.Replicas) == 0 && f.Available == nil && len(f.States) == 0
	a.Replicas = slices.DeleteFunc(a.Replicas, func(r Replica) bool {
		return len(f.Replicas) > 0 && !slices.Contains(f.Replicas, r.Destination) || f.Available != nil && r.Available != *f.Available ||
			len(f.States) > 0 && !slices.Contains(f.States, r.State)
	})
	return whole || len(a.Replicas) > 0
}

// look asks after accounts, many at once.
func (r *Replicas) look(ctx context.Context, placed []door.Placed) iter.Seq2[[]Account, error] {
	return func(yield func([]Account, error) bool) {
		for some := range slices.Chunk(placed, r.cfg.Limits.AtOnce) {
			if !yield(r.lookAt(ctx, some)) {
				return
			}
		}
	}
}

func (r *Replicas) lookAt(ctx context.Context, placed []door.Placed) ([]Account, error) {
	var ids []domain.AccountID
	heads := map[string]domain.Seq{}
	for _, a := range placed {
		ids = append(ids, a.ID)
		stream := r.cfg.Log.StreamOf(a.ID)
		if _, known := heads[stream]; !known {
			var err error
			if heads[stream], err = r.cfg.Log.Head(ctx, stream); err != nil {
				return nil, err
			}
		}
	}
	said, err := r.gather(ctx, question{Accounts: ids})
	if err != nil {
		return nil, err
	}
	primaries := map[domain.AccountID]string{}
	if r.cfg.Primaries != nil {
		if primaries, err = r.cfg.Primaries(ctx); err != nil {
			return nil, err
		}
	}
	all := []Account{}
	for _, p := range placed {
		stream := r.cfg.Log.StreamOf(p.ID)
		log, err := r.known(ctx, p.ID, stream, heads[stream], said)
		if err != nil {
			return nil, err
		}
		a := Account{
			ID: p.ID, Name: p.Login, MailHost: primaries[p.ID], MailboxID: numberOf(stream), Sequence: log.Tx, Stream: stream,
			Paused:   len(p.Placements) > 0 && !slices.ContainsFunc(p.Placements, func(p directory.Placement) bool { return !p.Paused }),
			Replicas: []Replica{},
		}
		for _, h := range said {
			a.ItemID = max(a.ItemID, h.Accounts[p.ID].Email)
		}
		for _, place := range p.Placements {
			one := judge(place, p.ID, stream, said[place.Node], log, r.cfg.Limits)
			one.MailboxID = a.MailboxID
			a.Replicas = append(a.Replicas, one)
		}
		all = append(all, a)
	}
	return all, nil
}

// reads tells whether a node has read the rows of a stream's accounts, so that what it says of them counts.
func (h *heard) reads(stream string) bool {
	v, has := h.Views[stream]
	return has && v.Unread == ""
}

// known finds out where an account's log stands. Two nodes whose rows show their whole stream, and that agree, know; otherwise the log is asked. A node that
// could not read its rows is not heard.
func (r *Replicas) known(ctx context.Context, id domain.AccountID, stream string, head domain.Seq, said map[string]*heard) (log known, err error) {
	whole, agree, highest := 0, true, domain.Tx(0)
	for _, h := range said {
		if !h.reads(stream) {
			continue
		}
		at := h.Accounts[id]
		highest = max(highest, at.Tx)
		if v := h.Views[stream]; v.Cursor >= head && v.State != projections.Stopped {
			agree = agree && (whole == 0 || at.Tx == log.Tx && at.Hash == log.Hash)
			whole, log.Tx, log.Hash = whole+1, at.Tx, at.Hash
		}
	}
	if whole < 2 || !agree || highest > log.Tx {
		last, err := r.cfg.Log.Last(ctx, id)
		if err != nil {
			return log, err
		}
		log.Tx, log.Hash = last.Tx, hex.EncodeToString(last.Hash[:])
	}
	votes := map[account.Digest]int{}
	for _, h := range said {
		if at, has := h.Accounts[id]; has && at.Tx == log.Tx && at.Hash == log.Hash && h.reads(stream) {
			votes[at.Digest]++
		}
	}
	best := slices.SortedFunc(maps.Keys(votes), func(a, b account.Digest) int {
		return cmp.Or(cmp.Compare(votes[b], votes[a]), cmp.Compare(a, b))
	})
	if len(best) > 0 {
		log.Digest, log.Votes = best[0], votes[best[0]]
		log.Open = len(best) > 1 && votes[best[1]] == log.Votes
	}
	return log, nil
}

// numberOf is the number at the end of a stream's name.
func numberOf(stream string) int {
	n, err := strconv.Atoi(stream[strings.LastIndexByte(stream, '_')+1:])
	if err != nil {
		return 0
	}
	return n
}
