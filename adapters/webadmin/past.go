package webadmin

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	query "github.com/streampost/streampost/domain/vault"
	"github.com/streampost/streampost/projections/blobs"
	"github.com/streampost/streampost/projections/history"
	"github.com/streampost/streampost/projections/vault"
)

// Vault is vault.Keeper, and what writes its exports.
type Vault interface {
	Browse(ctx context.Context, id domain.AccountID, q query.Query, f func(*vault.Row) error) error
	// Export writes the deleted messages that meet a query to w, as an mbox file or a zip archive, and tells how many could not be read.
	Export(ctx context.Context, id domain.AccountID, q query.Query, format string, w io.Writer) (exported, failed int64, err error)
	// BlobStats adds up what is stored, claimed and deleted.
	BlobStats(ctx context.Context) (BlobStats, error)
}

// BlobStats are sums over the whole installation.
type BlobStats struct {
	blobs.Stats
	Deleted vault.Totals `json:"deleted"`
}

// pastRoutes are what an account was and what it deleted. Long work on it is tasks: account-restore, deleted-messages-restore, deleted-messages-delete,
// deleted-messages-expire, blob-gc and blob-verify.
var pastRoutes = []Route{
	{Pattern: "GET /v1/accounts/{account}/past", Answer: AccountThen{}, serve: (*Server).showPast, Summary: "Show an account as it was",
		Query: []Query{
			{"at", "A time (RFC 3339), a date, how long ago it was (-2h, 3d ago), or a Tx"}, {"mailbox", "Show this mailbox's messages too"},
			{"from", "Begin with this UID"}, {"limit", "At most so many messages; 1000 if absent, 10000 at most"},
		}},
	{Pattern: "POST /v1/accounts/{account}/vault", Body: map[string]any{}, Answer: []Deleted{}, serve: (*Server).browseVault, Summary: "List deleted messages that meet a query",
		Query: []Query{{"after", "Begin after this messageId"}}},
	{Pattern: "GET /v1/accounts/{account}/vault/export", Streams: true, AnswerType: "application/octet-stream", serve: (*Server).exportVault, Summary: "Give deleted messages as one file",
		Query: []Query{{"format", "mbox or zip; mbox if absent"}, {"query", "Only those that meet it: words such as from:bob, or the JSON form"}}},
	{Pattern: "GET /v1/blobs/stats", Streams: true, serve: (*Server).blobStats, Summary: "Add up what is stored, claimed and deleted"},
}

func (s *Server) blobStats(w http.ResponseWriter, r *http.Request) error {
	out := s.lines(w, r)
	sum, err := s.b.Vault.BlobStats(out.ctx)
	if err != nil {
		return out.fail(err)
	}
	return out.result(sum)
}

// AccountThen is an account at a point of its log.
type AccountThen struct {
	Account   domain.AccountID  `json:"account"`
	Tx        domain.Tx         `json:"tx"`   // of the last transaction that counts
	Time      time.Time         `json:"time"` // when that was decided
	Head      domain.Tx         `json:"head"` // where the account stands now
	Usage     Quota             `json:"usage"`
	Limits    Quota             `json:"limits"` // 0 means none
	Mailboxes []Mailbox         `json:"mailboxes"`
	Messages  []history.Message `json:"messages,omitempty"`
}

func (s *Server) showPast(w http.ResponseWriter, r *http.Request) error {
	id, err := s.account(r.Context(), r.PathValue("account"))
	if err != nil {
		return err
	}
	q := r.URL.Query()
	point, err := history.ParsePoint(q.Get("at"), s.now())
	if err != nil {
		return err
	}
	from, err := number(r, "from", 0)
	if err != nil {
		return err
	}
	limit, err := number(r, "limit", 1000)
	if err != nil {
		return err
	}
	past, err := history.At(r.Context(), s.b.Log, id, point, s.now())
	if err != nil {
		return err
	}
	state := past.State
	then := AccountThen{
		Account: id, Tx: past.Tx, Time: past.At.UTC(), Head: past.Head,
		Usage: usageOf(state), Limits: Quota(state.Limits), Mailboxes: mailboxesOf(state),
	}
	if mailbox := q.Get("mailbox"); mailbox != "" {
		then.Messages, err = past.Messages(r.Context(), s.b.Log, id, mailbox, domain.UID(min(from, 1<<32-1)), int(min(limit, history.MaxPage)))
	}
	if err == nil {
		writeJSON(w, http.StatusOK, then)
	}
	return err
}

// mailboxesOf describes all mailboxes of a state.
func mailboxesOf(state *account.State) []Mailbox {
	list := []Mailbox{}
	for _, m := range state.Sorted() {
		list = append(list, Mailbox{m.Name, m.SpecialUse, m.Counts.Messages, m.Counts.Unseen, m.Counts.Bytes, m.UIDValidity, m.UIDNext, m.ModSeq})
	}
	return list
}

// Deleted is a deleted message as James describes it, with the names of the mailboxes that lost it beside their ids.
type Deleted struct {
	ID            string    `json:"messageId"` // unique in the account: EMAILID
	Origins       []string  `json:"originMailboxes"`
	OriginNames   []string  `json:"originMailboxNames"`
	Owner         string    `json:"owner"`
	DeliveryDate  time.Time `json:"deliveryDate"`
	DeletionDate  time.Time `json:"deletionDate"`
	Sender        string    `json:"sender"`
	Recipients    []string  `json:"recipients"`
	Subject       string    `json:"subject"`
	HasAttachment bool      `json:"hasAttachment"`
	Size          int64     `json:"size"`
}

// DescribeDeleted makes a row what clients see.
func DescribeDeleted(owner string, row *vault.Row) Deleted {
	d := Deleted{
		ID: strconv.FormatUint(uint64(row.Email), 10), Origins: []string{}, OriginNames: []string{}, Owner: owner,
		DeliveryDate: time.Unix(row.Delivered, 0).UTC(), DeletionDate: time.UnixMilli(row.Message.Deleted).UTC(),
		Sender: row.Sender, Recipients: notNil(row.Recipients), Subject: row.Subject, HasAttachment: row.HasAttachment, Size: row.Size,
	}
	for _, o := range row.Origins {
		d.Origins = append(d.Origins, strconv.FormatUint(uint64(o.ID), 10))
		d.OriginNames = append(d.OriginNames, o.Name)
	}
	return d
}

// maxDeleted bounds the messages of one answer. Who wants more asks again with ?after=.
const maxDeleted = 10_000

func (s *Server) browseVault(w http.ResponseWriter, r *http.Request) error {
	found, err := s.lookup(r)
	if err != nil {
		return err
	}
	return s.listDeleted(w, r, found.ID, found.Login)
}

// listDeleted answers a query in the body. An empty body asks for all.
func (s *Server) listDeleted(w http.ResponseWriter, r *http.Request, id domain.AccountID, owner string) error {
	q, _, err := readQuery(r)
	if err != nil {
		return err
	}
	after, err := number(r, "after", 0)
	if err != nil {
		return err
	}
	limit := maxDeleted
	if q.Limit > 0 {
		limit = min(limit, q.Limit)
	}
	q.Limit = 0
	list := []Deleted{}
	err = s.b.Vault.Browse(r.Context(), id, q, func(row *vault.Row) error {
		if uint64(row.Email) <= after {
			return nil
		}
		if len(list) == limit {
			return errEnough
		}
		list = append(list, DescribeDeleted(owner, row))
		return nil
	})
	if err != nil && err != errEnough {
		return err
	}
	writeJSON(w, http.StatusOK, list)
	return nil
}

var errEnough = domain.Errorf(domain.TooLarge, "the answer is full")

// readQuery reads a body in James's query language, and gives its text too.
func readQuery(r *http.Request) (query.Query, json.RawMessage, error) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return query.Query{}, nil, err
	}
	if len(text) == 0 {
		text = []byte("{}")
	}
	q, err := query.ParseQuery(text)
	return q, text, err
}

func (s *Server) exportVault(w http.ResponseWriter, r *http.Request) error {
	found, err := s.lookup(r)
	if err != nil {
		return err
	}
	q, err := query.ParseTerms(r.URL.Query().Get("query"))
	if err != nil {
		return err
	}
	format := r.URL.Query().Get("format")
	kind, known := exportTypes[format]
	if !known {
		return domain.Errorf(domain.Invalid, "format=%q is neither mbox nor zip", format)
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // an export may take long; a client that goes away is seen without a deadline
	w.Header().Set("Content-Type", kind.mediaType)
	w.Header().Set("Content-Disposition", `attachment; filename="deleted-messages.`+kind.format+`"`) // RFC 6266.
	w.Header().Set("Trailer", exportedTrailer+", "+failedTrailer)
	exported, failed, err := s.b.Vault.Export(r.Context(), found.ID, q, kind.format, deadlineWriter{w, control, s.limits.RequestTime})
	if err != nil {
		s.log.Error("an export was cut short", "account", found.ID, "err", err)
		panic(http.ErrAbortHandler) // the status has gone out: only a connection that breaks says that the file is not whole
	}
	w.Header().Set(exportedTrailer, strconv.FormatInt(exported, 10))
	w.Header().Set(failedTrailer, strconv.FormatInt(failed, 10))
	return nil
}

// The trailers of an export say how many messages are in it, and how many could not be read.
const (
	exportedTrailer = "X-Exported"
	failedTrailer   = "X-Failed"
)

var exportTypes = map[string]struct{ format, mediaType string }{
	"": {"mbox", "application/mbox"}, "mbox": {"mbox", "application/mbox"}, "zip": {"zip", "application/zip"}, // RFC 4155.
}

// deadlineWriter gives each write its own time.
type deadlineWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	each    time.Duration
}

func (d deadlineWriter) Write(p []byte) (int, error) {
	_ = d.control.SetWriteDeadline(time.Now().Add(d.each))
	return d.ResponseWriter.Write(p)
}
