package webadmin

import (
	"bytes"
	"context"
	"io"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/domain/queue"
)

// shownText bounds how much of a message is read to show its texts, in octets.
const shownText = 1 << 20

// parkedTexts reads the first plain and the first HTML text of a message, as far as they lie within shownText. nil: there is none.
func (s *Server) parkedTexts(ctx context.Context, lots Parked, e *queue.Entry) (plain, html *string, err error) {
	in, err := lots.Open(ctx, e, 0, shownText)
	if err != nil {
		return nil, nil, err
	}
	defer in.Close()
	octets, err := io.ReadAll(in)
	if err != nil {
		return nil, nil, domain.Wrap(domain.Unavailable, err, "read the message")
	}
	scanner := message.NewScanner()
	_, _ = scanner.Write(octets) // never fails
	summary := scanner.Finish()
	summary.Root.All(func(p *message.Part, _ int) bool {
		if p.Type != "text" || len(p.Parts) > 0 {
			return true
		}
		switch text := textOf(p, octets); {
		case p.Subtype == "plain" && plain == nil:
			plain = &text
		case p.Subtype == "html" && html == nil:
			html = &text
		}
		return plain == nil || html == nil
	})
	return plain, html, nil
}

// textOf decodes a part; what cannot be decoded ends it.
func textOf(p *message.Part, octets []byte) string {
	var r io.Reader = bytes.NewReader(octets[min(p.Body, int64(len(octets))):min(p.End, int64(len(octets)))])
	if decoded, err := message.TransferReader(p.Encoding, r); err == nil {
		r = decoded
	}
	if decoded, ok := message.CharsetReader(p.Param("charset"), r); ok {
		r = decoded
	}
	text, _ := io.ReadAll(io.LimitReader(r, 4*shownText))
	return strings.ToValidUTF8(string(text), "\ufffd")
}
