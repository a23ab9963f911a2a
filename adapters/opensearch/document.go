package opensearch

import (
	"context"
	"encoding/json"
	"io"
	"strconv"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/domain/search"
	"github.com/streampost/streampost/streams/listen"
)

// The states of a document.
const (
	whole   = 0 // all of its text is in the index
	partial = 1 // there is more than the limits allow: the message is read when it is searched
	missing = 2 // the message could not be read or indexed: likewise
)

// document is what the index has of a message.
type document struct {
	Account domain.AccountID `json:"account"`
	Email   domain.EmailID   `json:"email"`
	State   int              `json:"state"`
	Tx      domain.Tx        `json:"tx,omitempty"`   // by which the message came; none when it is gone
	Gone    bool             `json:"gone,omitempty"` // no mailbox has it any more, and nothing else is left of it here
	Sent    *int64           `json:"sent,omitempty"` // a search.Day
	Subject *string          `json:"subject,omitempty"`
	From    *string          `json:"from,omitempty"`
	To      *string          `json:"to,omitempty"`
	Cc      *string          `json:"cc,omitempty"`
	Bcc     *string          `json:"bcc,omitempty"`
	Grams   string           `json:"grams,omitempty"`
}

func (d *document) id() string {
	return string(d.Account) + ":" + strconv.FormatUint(uint64(d.Email), 10)
}

// compose makes the document of a message, reading its text. What the message is like is no error; a store that does not answer now is an outage.
func (x *Index) compose(ctx context.Context, id domain.AccountID, tx domain.Tx, e *event.MessageAdded) (*document, error) {
	d := &document{Account: id, Email: e.Email, Tx: tx}
	d.describe(&e.Summary, x.cfg.Limits.Column)
	var indexer *search.Indexer
	select {
	case indexer = <-x.indexers:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { x.indexers <- indexer }()
	text, err := indexer.Index(&e.Summary, func(off, n int64) (io.ReadCloser, error) { return x.cfg.Blobs.Open(ctx, e.Blob, off, n) })
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case domain.Is(err, domain.NotFound), domain.Is(err, domain.Corrupt):
		d.State = missing
		return d, nil
	case err != nil:
		return nil, listen.Outage(err)
	case !text.Whole:
		d.State = partial
	}
	d.Grams = tokens(text.Grams)
	return d, nil
}

// describe takes what the log itself has.
func (d *document) describe(s *message.Summary, most int) {
	if day, dated := search.SentDay(s); dated {
		n := int64(day)
		d.Sent = &n
	}
	folded := func(text string, is bool) *string {
		if !is {
			return nil
		}
		f := strings.ReplaceAll(string(search.Fold(text)), "\x00", "\uFFFD")
		if len(f) > most {
			d.State = partial
			return nil
		}
		return &f
	}
	d.Subject = folded(search.SubjectOf(s))
	d.From = folded(search.AddressesOf(s, search.From))
	d.To = folded(search.AddressesOf(s, search.To))
	d.Cc = folded(search.AddressesOf(s, search.Cc))
	d.Bcc = folded(search.AddressesOf(s, search.Bcc))
}

// token writes a gram as the index has it.
func token(g search.Gram) string { return strconv.FormatUint(uint64(g), 36) }

func tokens(grams []search.Gram) string {
	b := make([]byte, 0, 13*len(grams))
	for i, g := range grams {
		if i > 0 {
			b = append(b, ' ')
		}
		b = strconv.AppendUint(b, uint64(g), 36)
	}
	return string(b)
}

// operation is one line, or two, of a bulk request.
type operation struct {
	generation int
	doc        *document
	version    domain.Tx
	again      bool // write also what is there already
}

func (o *operation) lines(x *Index) ([]byte, error) {
	kind := "external"
	if o.again {
		kind = "external_gte"
	}
	action, err := json.Marshal(map[string]any{"index": map[string]any{
		"_index": x.writeTo(o.generation), "_id": o.doc.id(), "routing": o.doc.Account, "version": o.version, "version_type": kind, "require_alias": true,
	}})
	if err != nil {
		return nil, err
	}
	doc, err := json.Marshal(o.doc)
	if err != nil {
		return nil, err
	}
	return append(append(append(action, '\n'), doc...), '\n'), nil
}
