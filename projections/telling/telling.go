// Package telling makes of entries of the log what listeners tell other systems (domain/feed), with the accounts' present addresses.
package telling

import (
	"context"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/feed"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/listen"
)

// Source makes items. It is safe for concurrent use.
type Source struct {
	Events feed.Selection
	// Address gives the present address of an account. Errors: domain.NotFound and domain.Erased for none.
	Address func(ctx context.Context, id domain.AccountID) (string, error)
	From    listen.From // where a new listener begins
}

// Listener gives a listener that hears what is selected.
func (s *Source) Listener(name string, handle listen.Handle) listen.Listener {
	return listen.Listener{Name: name, Version: 1, From: s.From, Directory: s.Events.Directory(), Batch: 16, Handle: handle}
}

// Items gives those of an entry. Errors: those of listen.Outage when the directory cannot be read.
func (s *Source) Items(ctx context.Context, e *streams.Entry) ([]feed.Item, error) {
	var lost error
	lookup := func(id domain.AccountID) string {
		address, err := s.Address(ctx, id)
		if err != nil && !domain.Is(err, domain.NotFound) && !domain.Is(err, domain.Erased) {
			lost = err
		}
		return address
	}
	at := feed.Place{Account: e.Account, Stream: e.Stream, Seq: e.Seq, Tx: e.Tx}
	if !e.Account.Pseudo() {
		at.Address = lookup(e.Account)
	}
	items, err := s.Events.Items(at, e.Transaction, lookup)
	if lost != nil {
		return nil, listen.Outage(lost)
	}
	return items, err
}
