package webadmin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/projections/door"
)

// importType is the media type of an import's body: lines of JSON with messages between them, which no registered type describes.
const importType = "application/octet-stream"

// ImportHeader goes before each message of an import: one line of JSON, then Size octets of message.
type ImportHeader struct {
	Mailbox  string   `json:"mailbox"` // full name; made when it does not exist
	Flags    []string `json:"flags,omitempty"`
	Internal int64    `json:"internalDate,omitempty"` // Unix seconds; 0 means the Date field, or else now
	Size     int64    `json:"size"`
	Ref      string   `json:"ref,omitempty"` // comes back in the answer, for a client that resumes
}

// Imported is the answer to one message. Error is set when it was refused.
type Imported struct {
	Ref     string    `json:"ref,omitempty"`
	Mailbox string    `json:"mailbox"`
	Tx      domain.Tx `json:"tx,omitempty"`
	Error   *Error    `json:"error,omitempty"`
}

// ImportSum ends the answer to an import.
type ImportSum struct {
	Imported int `json:"imported"`
	Refused  int `json:"refused"`
}

// ImportWriter writes the body of an import.
type ImportWriter struct{ W io.Writer }

// Add writes one message; h.Size octets are read from r.
func (w ImportWriter) Add(h ImportHeader, r io.Reader) error {
	head, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if _, err := w.W.Write(append(head, '\n')); err != nil {
		return err
	}
	_, err = io.CopyN(w.W, r, h.Size)
	return err
}

// An import stores up to importWindow small messages at the same time, so that their syncs overlap; larger ones stream through alone.
const (
	importWindow = 16
	importSmall  = 256 << 10
	importHeader = 64 << 10 // octets of one ImportHeader line
)

// incoming is a message whose bytes are being stored.
type incoming struct {
	head   ImportHeader
	stored chan stored
}

type stored struct {
	door.Stored
	err error
}

// importMessages stores messages several at a time and appends them in the order in which they came, so that UIDs follow the source.
func (s *Server) importMessages(w http.ResponseWriter, r *http.Request) error {
	found, err := s.lookup(r)
	if err != nil {
		return err
	}
	control := http.NewResponseController(w)
	_ = control.EnableFullDuplex() // answers go out while the body comes in
	out := s.lines(w, r)
	pending := make(chan *incoming, importWindow)
	received := make(chan error, 1)
	go func() {
		defer close(pending)
		body := bufio.NewReaderSize(deadlineReader{r.Body, control, s.limits.RequestTime}, importHeader)
		received <- s.receive(out.ctx, body, pending)
	}()
	var sum ImportSum
	for m := range pending {
		got := Imported{Ref: m.head.Ref, Mailbox: m.head.Mailbox}
		blob := <-m.stored
		if err := blob.err; err == nil {
			got.Tx, err = s.add(out.ctx, found.ID, m.head, blob.Stored)
			blob.err = err
		}
		if blob.err != nil {
			answer := s.explain(r, blob.err)
			got.Error = &answer
			sum.Refused++
		} else {
			sum.Imported++
		}
		if domain.Is(blob.err, domain.Unavailable) { // the rest would fail alike: the client resumes here
			out.cancel(blob.err)
		}
		if err := out.item(got); err != nil {
			out.cancel(err)
		}
	}
	if err := errors.Join(context.Cause(out.ctx), <-received); err != nil {
		return out.fail(err)
	}
	return out.result(sum)
}

// receive cuts the body into messages until it ends. Each message goes to pending before its bytes are durable.
func (s *Server) receive(ctx context.Context, body *bufio.Reader, pending chan<- *incoming) error {
	for {
		line, err := body.ReadSlice('\n')
		if err == io.EOF && len(line) == 0 {
			return nil
		}
		if err != nil {
			return domain.Wrap(domain.Invalid, err, "the import broke off inside a header line")
		}
		m := &incoming{stored: make(chan stored, 1)}
		if err := json.Unmarshal(line, &m.head); err != nil || m.head.Size < 0 {
			return domain.Wrap(domain.Invalid, err, "the import has a header line that is not an ImportHeader")
		}
		select {
		case pending <- m:
		case <-ctx.Done():
			m.stored <- stored{err: context.Cause(ctx)}
			return nil
		}
		bytes := io.LimitReader(body, m.head.Size)
		if err := s.take(ctx, m, bytes); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, bytes); err != nil { // what a refused message left unread
			return domain.Wrap(domain.Invalid, err, "the import broke off inside a message")
		}
	}
}

// take stores one message; small ones in the background. The error is about the body, not about the message.
func (s *Server) take(ctx context.Context, m *incoming, r io.Reader) error {
	if m.head.Size > s.limits.Message {
		m.stored <- stored{err: domain.Errorf(domain.TooLarge, "the message has %d octets, the limit is %d", m.head.Size, s.limits.Message)}
		return nil
	}
	if m.head.Size > importSmall {
		got, err := s.b.Accounts.Ingest(ctx, &wholeReader{r: r, left: m.head.Size})
		m.stored <- stored{got, err}
		return nil
	}
	small := make([]byte, m.head.Size)
	if _, err := io.ReadFull(r, small); err != nil {
		err = domain.Wrap(domain.Invalid, err, "the import broke off inside a message")
		m.stored <- stored{err: err}
		return err
	}
	go func() {
		got, err := s.b.Accounts.Ingest(ctx, bytes.NewReader(small))
		m.stored <- stored{got, err}
	}()
	return nil
}

// add puts a stored message into its mailbox, which it makes when there is none.
func (s *Server) add(ctx context.Context, id domain.AccountID, h ImportHeader, m door.Stored) (domain.Tx, error) {
	thread, err := s.b.Accounts.Thread(ctx, id, &m.Summary)
	if err != nil {
		return 0, err
	}
	now := s.now().Unix()
	if h.Internal == 0 {
		h.Internal = m.Summary.SentAt
	}
	if h.Internal <= 0 {
		h.Internal = now
	}
	command := account.AddMessage{Mailbox: h.Mailbox, Blob: m.Blob, Summary: m.Summary, Flags: h.Flags, Internal: h.Internal, Now: now, Thread: thread}
	outcome, err := s.b.Accounts.Do(ctx, id, actor, command)
	if domain.Is(err, domain.NotFound) {
		if err := s.makeMailbox(ctx, id, h.Mailbox, now); err != nil {
			return 0, err
		}
		outcome, err = s.b.Accounts.Do(ctx, id, actor, command)
	}
	return outcome.Tx, err
}

// makeMailbox creates a mailbox with its superiors and subscribes to it, as clients list subscribed ones only.
func (s *Server) makeMailbox(ctx context.Context, id domain.AccountID, name string, now int64) error {
	name = account.CanonicalName(name)
	if err := account.CheckName(name); err != nil { // or its superiors would stay behind alone
		return err
	}
	for i := range name + "/" {
		if i < len(name) && name[i] != '/' || i == 0 {
			continue
		}
		level := name[:i]
		for _, c := range []account.Command{
			account.CreateMailbox{Name: level, UIDValidity: uint32(now)},
			account.Subscribe{Name: level, On: true},
		} {
			if _, err := s.b.Accounts.Do(ctx, id, actor, c); err != nil && !domain.Is(err, domain.Exists) {
				return err
			}
		}
	}
	return nil
}

func (s *Server) now() time.Time {
	if s.b.Now != nil {
		return s.b.Now()
	}
	return time.Now()
}

// deadlineReader gives the client RequestTime for every read.
type deadlineReader struct {
	r       io.Reader
	control *http.ResponseController
	timeout time.Duration
}

func (d deadlineReader) Read(p []byte) (int, error) {
	_ = d.control.SetReadDeadline(time.Now().Add(d.timeout)) // a recorder of a test has none
	n, err := d.r.Read(p)
	if err != nil && err != io.EOF && strings.Contains(err.Error(), "timeout") {
		err = domain.Errorf(domain.Unavailable, "the client sent nothing for %s", d.timeout)
	}
	return n, err
}

// wholeReader fails when the message ends early, so that half a message is never stored.
type wholeReader struct {
	r    io.Reader
	left int64
}

func (w *wholeReader) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	w.left -= int64(n)
	if err == io.EOF && w.left > 0 {
		err = domain.Errorf(domain.Invalid, "the import broke off inside a message")
	}
	return n, err
}
