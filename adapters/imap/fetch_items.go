package imap

import (
	"context"
	"slices"

	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections/door"
)

// The items of FETCH that are no sections (RFC 9051 section 7.5.2).

func init() {
	fetches("", fetchItem{name: "UID", send: func(r *fetchReply) error {
		r.item("UID").Number(uint64(r.row.UID))
		return nil
	}})
	fetches("", fetchItem{name: "FLAGS", send: sendFlagsItem})
	fetches("", fetchItem{name: "INTERNALDATE", send: func(r *fetchReply) error {
		r.item("INTERNALDATE").DateTime(r.row.Internal)
		return nil
	}})
	fetches("", fetchItem{name: "RFC822.SIZE", send: func(r *fetchReply) error {
		r.item("RFC822.SIZE").Number(uint64(r.row.Size))
		return nil
	}})
	fetches("", fetchItem{name: "ENVELOPE", want: door.WantEnvelope, send: func(r *fetchReply) error {
		r.item("ENVELOPE").Bytes(r.mail.envelope)
		return nil
	}})
	fetches("", fetchItem{name: "BODYSTRUCTURE", want: door.WantStructure, send: func(r *fetchReply) error {
		r.item("BODYSTRUCTURE").Bytes(r.mail.structure)
		return nil
	}})
	fetches("SAVEDATE", fetchItem{name: "SAVEDATE", send: func(r *fetchReply) error { // RFC 8514 section 4.2.
		r.item("SAVEDATE").DateTime(r.row.Saved)
		return nil
	}})
	fetchesParsed("PREVIEW", "PREVIEW", parsePreview)
	advertise("SAVEDATE", whenAuthenticated)
	advertise("PREVIEW", whenAuthenticated)
}

// sendFlagsItem writes FLAGS, \Recent included where the protocol has it.
func sendFlagsItem(r *fetchReply) error {
	enc := r.item("FLAGS")
	if !r.c.rev2 && r.c.sel.isRecent(r.row.UID) {
		enc.Byte('(').Append(func(b []byte) []byte { return appendFlags(b, r.row.Flags, r.keywords, true) }).Byte(')')
		return nil
	}
	text, known := r.flags[r.row.Flags]
	if !known {
		text = append(appendFlags([]byte{'('}, r.row.Flags, r.keywords, false), ')')
		if len(r.flags) < 1000 {
			r.flags[r.row.Flags] = text
		}
	}
	enc.Bytes(text)
	return nil
}

// parsePreview is PREVIEW, alone or with modifiers (RFC 8970 section 3.1). Every preview is made when its message arrives, so LAZY changes nothing.
func parsePreview(_ *conn, d *wire.Decoder, _ string) (fetchItem, bool) {
	if d.Follows(" (") {
		d.SP()
		modifier := ""
		if !d.ExpectList(func() bool {
			return d.ExpectName(&modifier) && (modifier == "LAZY" || d.Fail(wire.Syntaxf("unknown PREVIEW modifier %s", modifier)))
		}) || modifier == "" && !d.Fail(wire.Syntaxf("parentheses behind PREVIEW hold a modifier")) {
			return fetchItem{}, false
		}
	}
	return fetchItem{name: "PREVIEW", want: door.WantHead, send: func(r *fetchReply) error {
		r.item("PREVIEW").String(r.mail.summary.Preview)
		return nil
	}}, d.Err() == nil
}

// fetchReply is one FETCH response while it is written.
type fetchReply struct {
	c   *conn
	ctx context.Context

	row      account.Message
	mail     *mailRow
	seq      uint32
	begun    bool
	keywords []string

	flags map[event.Flags][]byte // wire forms, since most messages share a few combinations
}

// learn takes note of the account's keywords.
func (r *fetchReply) learn(keywords []string) {
	if r.flags == nil || len(keywords) != len(r.keywords) {
		r.keywords, r.flags = slices.Clone(keywords), map[event.Flags][]byte{}
	}
}

// item begins an item, and the response with the first of them.
func (r *fetchReply) item(name string) *wire.Encoder {
	enc := r.c.enc
	if r.begun {
		enc.SP()
	} else {
		r.c.beginFetch(r.seq, r.row.UID)
		r.begun = true
	}
	return enc.Raw(name).SP()
}

// end ends the response, if it was begun.
func (r *fetchReply) end() {
	if r.begun {
		r.c.enc.Raw(")\r\n")
	}
}
