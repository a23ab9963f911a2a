package mailboxes

import (
	"context"
	"database/sql"
	"iter"
	"strconv"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/projections"
)

// Columns says which parts of an Email are wanted.
type Columns uint8

// The columns of an Email.
const (
	WantEnvelope  Columns = 1 << iota // Envelope
	WantStructure                     // Structure
	WantSummary                       // Summary
	WantBlob                          // Blob
	WantHead                          // Summary without its MIME tree, which is faster
)

// Email is what the view knows of one message. Envelope and Structure are IMAP wire forms. Byte slices are valid until the next one only.
type Email struct {
	UID       domain.UID
	Email     domain.EmailID
	Envelope  []byte
	Structure []byte // BODYSTRUCTURE
	Summary   *message.Summary
	Blob      domain.BlobRef
}

// Limits of one read, after which the connection goes back: the consumer may be a slow client.
const (
	chunkRows   = 512
	chunkOctets = 1 << 20
)

// Emails yields what the view has of a mailbox's messages, in rising order of UID. Messages that are not there are left out, and each chunk is
// read from the view as it then is. An error ends the sequence.
func Emails(ctx context.Context, r projections.Reader, id domain.AccountID, mailbox domain.MailboxID, uids domain.UIDSet, want Columns) iter.Seq2[Email, error] {
	query := emailQueries[want&(WantEnvelope|WantStructure|WantSummary|WantBlob|WantHead)]
	return func(yield func(Email, error) bool) {
		var chunk chunk
		for _, span := range uids {
			lo, more := int64(span.Lo), true
			for more {
				rows, err := r.Query(ctx, query, string(id), int64(mailbox), lo, int64(span.Hi))
				if err == nil {
					more, err = chunk.read(rows, want)
				}
				if err != nil {
					yield(Email{}, err)
					return
				}
				for i := range chunk.emails {
					if !yield(chunk.emails[i], nil) {
						return
					}
				}
				if n := len(chunk.emails); n > 0 {
					lo = int64(chunk.emails[n-1].UID) + 1
				}
			}
		}
	}
}

// emailQueries has a query for each set of wanted columns. SQLite compiles a statement again whenever a parameter of LIMIT is bound, so it is none.
var emailQueries = func() (all [32]string) {
	for want := range all {
		columns, join := []string{"m.uid", "m.email"}, ""
		if want := Columns(want); want != 0 {
			if want&(WantEnvelope|WantStructure|WantBlob) != 0 {
				join += " join emails e on e.account = m.account and e.email = m.email"
			}
			if want&(WantSummary|WantHead) != 0 {
				join += " join summaries s on s.account = m.account and s.email = m.email"
			}
			for _, c := range []struct {
				want Columns
				name string
			}{{WantEnvelope, "e.envelope"}, {WantStructure, "e.structure"}, {WantSummary | WantHead, "s.summary"}, {WantBlob, "e.blob_id, e.blob_key, e.size"}} {
				if want&c.want != 0 {
					columns = append(columns, c.name)
				}
			}
		}
		all[want] = "select " + strings.Join(columns, ", ") + " from messages m" + join +
			" where m.account = $1 and m.mailbox = $2 and m.uid between $3 and $4 order by m.uid limit " + strconv.Itoa(chunkRows)
	}
	return all
}()

// chunk is some rows in memory.
type chunk struct {
	emails []Email
	octets []byte // what the emails' slices point into
}

// read takes rows until there are none or the chunk is full, and tells whether there may be more.
func (c *chunk) read(rows *sql.Rows, want Columns) (more bool, err error) {
	defer rows.Close()
	c.emails, c.octets = c.emails[:0], c.octets[:0]
	var envelope, structure, summary, blobID, blobKey sql.RawBytes
	var e Email
	dest := []any{&e.UID, &e.Email}
	for _, d := range []struct {
		want Columns
		dest []any
	}{{WantEnvelope, []any{&envelope}}, {WantStructure, []any{&structure}}, {WantSummary | WantHead, []any{&summary}}, {WantBlob, []any{&blobID, &blobKey, &e.Blob.Size}}} {
		if want&d.want != 0 {
			dest = append(dest, d.dest...)
		}
	}
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return false, err
		}
		e.Envelope, e.Structure = c.keep(envelope), c.keep(structure)
		if want&(WantSummary|WantHead) != 0 {
			unmarshal := event.UnmarshalSummary
			if want&WantSummary == 0 {
				unmarshal = event.UnmarshalHead
			}
			s, err := unmarshal(summary)
			if err != nil {
				return false, err
			}
			e.Summary = &s
		}
		copy(e.Blob.ID[:], blobID)
		copy(e.Blob.Key[:], blobKey)
		c.emails = append(c.emails, e)
		if len(c.octets) > chunkOctets {
			return true, nil
		}
	}
	return len(c.emails) == chunkRows, rows.Err()
}

// keep copies b behind what is kept already. A slice given earlier stays valid when the buffer grows, because it points into the old one.
func (c *chunk) keep(b []byte) []byte {
	at := len(c.octets)
	c.octets = append(c.octets, b...)
	return c.octets[at:len(c.octets):len(c.octets)]
}
