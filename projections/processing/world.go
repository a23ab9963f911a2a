package processing

import (
	"context"
	"errors"
	"io"
	"maps"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/pipeline"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/domain/rewriting"
)

// mailOf is an entry as the processors see it.
func mailOf(e *queue.Entry) *pipeline.Mail {
	m := &pipeline.Mail{
		Sender: e.Sender, Size: e.Size(), Junk: e.Junk, Login: e.Login, RemoteAddress: e.Parking.RemoteAddress, RemoteHost: e.Parking.RemoteHost, Attributes: maps.Clone(e.Attributes), Processor: e.Parking.Processor,
		Step: e.Parking.Step, Visited: e.Parking.Visited,
	}
	for _, r := range e.Recipients {
		m.Recipients = append(m.Recipients, r.Address)
	}
	return m
}

// world is what matchers see besides a mail.
type world struct {
	p     *Processor
	ctx   context.Context
	e     *queue.Entry
	local map[string]bool
}

func (p *Processor) world(ctx context.Context, e *queue.Entry, local map[string]bool) *world {
	return &world{p, ctx, e, local}
}

func (w *world) LocalDomain(name string) bool { return w.p.cfg.Directory.LocalDomain(name) }

func (w *world) LocalRecipient(address string) (bool, error) {
	if is, known := w.local[address]; known {
		return is, nil
	}
	a, err := delivery.ParseAddress(address)
	if err != nil || !w.LocalDomain(a.Domain) {
		return false, nil
	}
	_, err = w.p.cfg.Directory.Rewrite(w.ctx, a)
	var fault *rewriting.Fault
	switch {
	case errors.As(err, &fault): // Delivery parks it, with the path.
		return true, nil
	case domain.Is(err, domain.NotFound), domain.Is(err, domain.Invalid), domain.Is(err, domain.Erased):
		return false, nil
	case err != nil:
		return false, err
	}
	return true, nil
}

func (w *world) InNetwork(address string, networks []string) bool {
	return w.p.cfg.InNetwork(address, networks)
}

func (w *world) Header() (string, error) {
	header, _, err := w.p.header(w.ctx, w.e)
	return header, err
}

// header reads the header of a message as it would travel, with its last line end, and tells where the body begins. What is longer than Limits.Header is refused.
func (p *Processor) header(ctx context.Context, e *queue.Entry) (header string, body int64, err error) {
	in, err := e.Content(ctx, p.cfg.Blobs, 0, p.cfg.Limits.Header)
	if err != nil {
		return "", 0, err
	}
	defer in.Close()
	var text strings.Builder
	buffer := make([]byte, 16<<10)
	for {
		n, err := in.Read(buffer)
		text.Write(buffer[:n])
		if strings.HasPrefix(text.String(), "\r\n") { // there is no header
			return "", 0, nil
		}
		if end := strings.Index(text.String(), "\r\n\r\n"); end >= 0 {
			return text.String()[:end+2], int64(end) + 2, nil
		}
		switch {
		case err == io.EOF && int64(text.Len()) >= e.Size(): // a header without a body
			return text.String(), int64(text.Len()), nil
		case err == io.EOF:
			return "", 0, domain.Errorf(domain.TooLarge, "the header has more than %d octets", p.cfg.Limits.Header)
		case err != nil:
			return "", 0, domain.Wrap(domain.Unavailable, err, "read the message")
		}
	}
}

// signature names the fields of Head that are of the message as it was (RFC 6376 section 3.5).
const signature = "DKIM-Signature"

// edited stores a message with another header. What is in front of it becomes a part of it, but for signatures.
func (p *Processor) edited(ctx context.Context, e *queue.Entry, edits []pipeline.Edit) (queue.Blob, error) {
	header, at, err := p.header(ctx, e)
	if err != nil {
		return queue.Blob{}, err
	}
	top, err := p.cfg.Blobs.Open(ctx, e.Blob.BlobRef, 0, e.Skip)
	if err != nil {
		return queue.Blob{}, err
	}
	defer top.Close()
	body, err := e.Content(ctx, p.cfg.Blobs, at, -1)
	if err != nil {
		return queue.Blob{}, err
	}
	defer body.Close()
	header = pipeline.EditHeader(e.Head, []pipeline.Edit{{Name: signature}}) + header[len(e.Head):]
	ref, err := p.cfg.Blobs.Put(ctx, io.MultiReader(top, strings.NewReader(pipeline.EditHeader(header, edits)), body))
	return queue.Blob{BlobRef: ref}, err
}
