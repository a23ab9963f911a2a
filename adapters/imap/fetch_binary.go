package imap

import (
	"io"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/projections/door"
)

// BINARY (RFC 3516, RFC 9051 section 6.4.5): parts with their transfer encoding undone. Such a part may hold NUL and then is a literal8.

func init() {
	advertise("BINARY", whenAuthenticated)
	fetchesParsed("", "BINARY", parseBinary)
	fetchesParsed("", "BINARY.PEEK", parseBinary)
	fetchesParsed("", "BINARY.SIZE", parseBinary)
}

// parseBinary is BINARY[part]<partial> or BINARY.SIZE[part].
func parseBinary(_ *conn, d *wire.Decoder, name string) (fetchItem, bool) {
	s := section{name: "BINARY", peek: name == "BINARY.PEEK"}
	size := name == "BINARY.SIZE"
	if size {
		s.name = name
	}
	if !d.ExpectSpecial('[') || !s.parsePath(d) || !d.ExpectSpecial(']') {
		return fetchItem{}, false
	}
	s.name += "]"
	if !size && !s.parsePartial(d) {
		return fetchItem{}, false
	}
	item := fetchItem{name: s.name, want: door.WantBlob | door.WantSummary, sees: !s.peek && !size}
	item.send = func(r *fetchReply) error { return s.sendBinary(r) }
	if size {
		item.send = func(r *fetchReply) error { return s.sendBinarySize(r) }
	}
	return item, d.Err() == nil
}

// binary computes the decoded octets of the section; nil when the message has no such part.
func (s *section) binary(r *fetchReply) (producer, error) {
	p := r.mail.summary.Root.Section(s.path...)
	if p == nil {
		return nil, nil
	}
	at, encoding := span{p.Body, p.End}, p.Encoding
	if len(s.path) == 0 { // BINARY[] is the message, which has no encoding of its own.
		at.from, encoding = p.Start, ""
	}
	if _, err := message.TransferReader(encoding, nil); err != nil {
		return nil, coded("UNKNOWN-CTE", err) // RFC 3516 section 4.3.
	}
	return func(w io.Writer) error {
		if at.from == at.to {
			return nil
		}
		body, err := r.open(at.from, at.to-at.from)
		if err != nil {
			return err
		}
		defer body.Close()
		decoded, err := message.TransferReader(encoding, body)
		if err == nil {
			_, err = io.Copy(w, decoded)
		}
		return err
	}, nil
}

func (s *section) sendBinary(r *fetchReply) error {
	produce, err := s.binary(r)
	if err != nil {
		return err
	}
	if produce == nil {
		r.item(s.name).NIL()
		return nil
	}
	return r.sendProduced(s, true, produce)
}

func (s *section) sendBinarySize(r *fetchReply) error {
	produce, err := s.binary(r)
	if err != nil {
		return err
	}
	var m measure
	if produce != nil {
		if err := produce(&m); err != nil {
			return r.unreadable(err)
		}
	}
	r.item(s.name).Number(uint64(m.size))
	return nil
}
