package main

import (
	"archive/zip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/streampost/streampost/adapters/mbox"
	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	deleted "github.com/streampost/streampost/domain/vault"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/blobs"
	"github.com/streampost/streampost/projections/history"
	tasksview "github.com/streampost/streampost/projections/tasks"
	"github.com/streampost/streampost/projections/tasks/worker"
	"github.com/streampost/streampost/projections/vault"
)

// This file joins what brings mail back, and what gives it up, with tasks and the clock.

// recallKinds are the tasks of restoring, of the vault and of blobs.
func (c *core) recallKinds() []worker.Kind {
	return []worker.Kind{
		{Name: webadmin.TaskRestore, Help: "Bring back what an account had; parameters: account, at, mailbox, messages, into, deletedOnly, overQuota, dryRun", Resumable: true, Join: true, Check: c.checkRestore, Run: c.restore},
		{Name: webadmin.TaskVaultRestore, Help: "Restore deleted messages; parameters: account, query, into, original, overQuota, dryRun", Resumable: true, Join: true, Check: c.checkVault, Run: c.vaultRestore},
		{Name: webadmin.TaskVaultExport, Help: "Write deleted messages to a file in exports/ of the data directory; parameters: account, query, exportTo, format", Local: true, Check: c.checkVault, Run: c.vaultExport},
		{Name: webadmin.TaskVaultDelete, Help: "Purge deleted messages; parameters: account, query, dryRun", Destroys: true, Resumable: true, Join: true, Check: c.checkVault, Run: c.vaultDelete},
		{Name: webadmin.TaskVaultExpire, Help: "Purge what was deleted longer ago than the retention; parameters: retention, dryRun", Destroys: true, Resumable: true, Join: true, Check: checkExpire, Run: c.vaultExpire},
		{Name: webadmin.TaskBlobGC, Help: "Delete blobs that nobody claims; parameters: grace, dryRun", Destroys: true, Resumable: true, Join: true, Check: checkCollect, Run: c.collectBlobs},
		{Name: webadmin.TaskBlobVerify, Help: "Look for blobs that are missing or damaged; parameters: account, deep", Resumable: true, Join: true, Check: c.checkBlobs, Run: c.verifyBlobs},
		{Name: webadmin.TaskBlobCopy, Help: "Copy all blobs to another kind of place; parameters: to, deep", Resumable: true, Join: true, Local: true, Check: c.checkCopy, Run: c.copyBlobs},
	}
}

// viewOf is the rows of one projection.
type viewOf struct {
	runner *projections.Runner
	name   string
}

func (v viewOf) Reader(stream string) (projections.Reader, error) {
	return v.runner.Reader(stream, v.name)
}

func (v viewOf) Wait(ctx context.Context, stream string, seq domain.Seq) error {
	return v.runner.WaitFor(ctx, v.name, stream, seq)
}

func (c *core) keeper() *vault.Keeper {
	return &vault.Keeper{Log: c.streams, Views: viewOf{c.runner, vault.Name}, Accounts: c.accounts, Blobs: c.store}
}

func (c *core) blobKeeper() *blobs.Keeper {
	return &blobs.Keeper{Log: c.streams, Views: viewOf{c.runner, blobs.Name}, Store: forgetting{c.stored, c.cache}, Parallel: c.parallelBlobs(), Others: []blobs.Claimant{c.queued()}}
}

// accountID finds an account by id or address.
func (c *core) accountID(ctx context.Context, name string) (string, error) {
	if name == "" {
		return "", domain.Errorf(domain.Invalid, "say which account")
	}
	if _, err := domain.ParseAccountID(name); err == nil {
		return name, nil
	}
	found, err := c.directory.Lookup(ctx, name)
	return string(found.ID), err
}

// kept gives checked parameters the form in which they are kept.
func kept(about string, parameters any) (json.RawMessage, string, error) {
	text, err := json.Marshal(parameters)
	return text, about, err
}

// tell makes a progress of a count.
func tell(job worker.Job, unit string) func(done, total int64) {
	return func(done, total int64) {
		job.Progress(webadmin.Progress{Done: uint64(done), Total: uint64(total), Unit: unit})
	}
}

// actorOf is what the log records as the author of a task's changes.
func actorOf(job worker.Job) string { return "task:" + string(job.ID) }

// restoreOrder is the parameters of account-restore.
type restoreOrder struct {
	Account     string `json:"account"`
	At          string `json:"at"`
	Mailbox     string `json:"mailbox,omitempty"`
	Messages    string `json:"messages,omitempty"` // UIDs of Mailbox, or words such as from:bob
	Into        string `json:"into,omitempty"`
	DeletedOnly bool   `json:"deletedOnly,omitempty"`
	OverQuota   bool   `json:"overQuota,omitempty"`
	DryRun      bool   `json:"dryRun,omitempty"`
}

// request reads the order. A time that is relative becomes a time.
func (o *restoreOrder) request(now time.Time) (q history.Request, err error) {
	q = history.Request{Mailbox: o.Mailbox, Into: o.Into, DeletedOnly: o.DeletedOnly, OverQuota: o.OverQuota, DryRun: o.DryRun}
	if q.At, err = history.ParsePoint(o.At, now); err != nil {
		return q, err
	}
	if o.Messages == "" {
		return q, nil
	}
	if q.UIDs, err = domain.ParseUIDSet(o.Messages); err == nil {
		if o.Mailbox == "" {
			err = domain.Errorf(domain.Invalid, "UIDs belong to a mailbox: name it")
		}
		return q, err
	}
	q.UIDs = nil
	q.Query, err = deleted.ParseTerms(o.Messages)
	return q, err
}

func (c *core) checkRestore(ctx context.Context, text json.RawMessage) (json.RawMessage, string, error) {
	var o restoreOrder
	err := parameters(text, &o)
	if err == nil {
		o.Account, err = c.accountID(ctx, o.Account)
	}
	if err != nil {
		return nil, "", err
	}
	q, err := o.request(time.Now())
	if err != nil {
		return nil, "", err
	}
	if o.At = q.At.String(); q.At.Tx == 0 {
		o.At = q.At.Time.UTC().Format(time.RFC3339Nano)
	}
	return kept(o.Account, o)
}

// restored is the result of a restoration. James's fields stand beside ours.
type restored struct {
	found[history.Result, history.Failure]
	Success int64  `json:"successfulRestoreCount"`
	Errors  int64  `json:"errorRestoreCount"`
	User    string `json:"user"`
	Name    string `json:"username"` // James has either, by its version
}

func (c *core) restoredFrom(ctx context.Context, account string, r history.Result) restored {
	out := restored{Success: r.Restored, Errors: r.Failed, User: c.loginOf(ctx, account)}
	out.Name = out.User
	out.Items, r.Failures = r.Failures, nil
	out.Sum = r
	if !r.DryRun {
		c.metrics.Restored(r.Restored)
	}
	return out
}

// loginOf is an account's login name, or its id when it has none any more.
func (c *core) loginOf(ctx context.Context, account string) string {
	if found, err := c.directory.Lookup(ctx, account); err == nil {
		return found.Login
	}
	return account
}

func (c *core) restore(ctx context.Context, job worker.Job) (any, error) {
	var o restoreOrder
	if err := parameters(job.Parameters, &o); err != nil {
		return nil, err
	}
	q, err := o.request(time.Now())
	if err != nil {
		return nil, err
	}
	q.Progress = tell(job, "messages")
	r := history.Restorer{Log: c.streams, Accounts: c.accounts, Blobs: c.store}
	result, err := r.Restore(ctx, domain.AccountID(o.Account), actorOf(job), q)
	return c.restoredFrom(ctx, o.Account, result), err
}

// orderQuery reads the query of an order: an object is James's JSON, a text is words.
func orderQuery(text json.RawMessage) (deleted.Query, error) {
	var words string
	switch {
	case len(text) == 0:
		return deleted.Query{}, nil
	case json.Unmarshal(text, &words) == nil:
		return deleted.ParseTerms(words)
	}
	return deleted.ParseQuery(text)
}

func (c *core) checkVault(ctx context.Context, text json.RawMessage) (json.RawMessage, string, error) {
	var o webadmin.VaultOrder
	err := parameters(text, &o)
	if err == nil {
		o.Account, err = c.accountID(ctx, o.Account)
	}
	if err == nil {
		_, err = orderQuery(o.Query)
	}
	if err == nil && !slices.Contains([]string{"", "mbox", "zip"}, o.Format) {
		err = domain.Errorf(domain.Invalid, "the format %q is neither mbox nor zip", o.Format)
	}
	if err == nil && o.Original && o.Into != "" {
		err = domain.Errorf(domain.Invalid, "restore into one mailbox or into the original ones, not both")
	}
	if err != nil {
		return nil, "", err
	}
	return kept(o.Account, o)
}

func vaultOrder(job worker.Job) (o webadmin.VaultOrder, q deleted.Query, err error) {
	if err = parameters(job.Parameters, &o); err == nil {
		q, err = orderQuery(o.Query)
	}
	return o, q, err
}

func (c *core) vaultRestore(ctx context.Context, job worker.Job) (any, error) {
	o, q, err := vaultOrder(job)
	if err != nil {
		return nil, err
	}
	result, err := c.keeper().Restore(ctx, domain.AccountID(o.Account), actorOf(job), vault.Restoration{
		Query: q, Into: o.Into, Original: o.Original, OverQuota: o.OverQuota, DryRun: o.DryRun, Progress: tell(job, "messages"),
	})
	return c.restoredFrom(ctx, o.Account, result), err
}

// purged is the result of a purge.
type purged = found[vault.Purged, struct{}]

func (c *core) purgedFrom(sum vault.Purged) purged {
	if !sum.DryRun {
		c.metrics.Purged(sum.Messages)
	}
	return purged{Sum: sum}
}

func (c *core) vaultDelete(ctx context.Context, job worker.Job) (any, error) {
	o, q, err := vaultOrder(job)
	if err != nil {
		return nil, err
	}
	sum, err := c.keeper().Purge(ctx, domain.AccountID(o.Account), actorOf(job), q, o.DryRun)
	return c.purgedFrom(sum), err
}

// period is a length of time as parameters have it, such as "720h".
type period struct{ time.Duration }

// MarshalText gives the form of time.Duration.
func (p period) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads the form of time.ParseDuration, and days.
func (p *period) UnmarshalText(text []byte) (err error) {
	if days, ok := strings.CutSuffix(string(text), "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		p.Duration = time.Duration(n) * 24 * time.Hour
		return err
	}
	p.Duration, err = time.ParseDuration(string(text))
	return err
}

// expireOrder is the parameters of deleted-messages-expire. Without a retention the configured one counts.
type expireOrder struct {
	Retention *period `json:"retention,omitempty"`
	DryRun    bool    `json:"dryRun,omitempty"`
}

func checkExpire(_ context.Context, text json.RawMessage) (json.RawMessage, string, error) {
	var o expireOrder
	err := parameters(text, &o)
	if err == nil && o.Retention != nil && o.Retention.Duration < 0 {
		err = domain.Errorf(domain.Invalid, "the retention cannot be negative")
	}
	if err != nil {
		return nil, "", err
	}
	return kept("", o)
}

func (c *core) vaultExpire(ctx context.Context, job worker.Job) (any, error) {
	var o expireOrder
	if err := parameters(job.Parameters, &o); err != nil {
		return nil, err
	}
	retention := c.cfg.Vault.Retention
	if o.Retention != nil {
		retention = o.Retention.Duration
	}
	sum, err := c.keeper().Expire(ctx, actorOf(job), retention, o.DryRun, func(done int64) { tell(job, "messages")(done, 0) })
	return c.purgedFrom(sum), err
}

// collectOrder is the parameters of blob-gc. Without a grace period the configured one counts.
type collectOrder struct {
	Grace  *period `json:"grace,omitempty"`
	DryRun bool    `json:"dryRun,omitempty"`
}

func checkCollect(_ context.Context, text json.RawMessage) (json.RawMessage, string, error) {
	var o collectOrder
	err := parameters(text, &o)
	if err == nil && o.Grace != nil && o.Grace.Duration < blobs.MinGrace {
		err = &domain.Error{
			Kind: domain.Invalid, Msg: fmt.Sprintf("the grace period is at least %v", blobs.MinGrace), Hint: "a message is stored before the log names it: what is young may be on its way",
		}
	}
	if err != nil {
		return nil, "", err
	}
	return kept("", o)
}

// deletedBlob is one blob that was deleted, or would be.
type deletedBlob struct {
	Blob   domain.BlobID `json:"blob"`
	Size   int64         `json:"size"` // sealed octets
	Stored time.Time     `json:"stored"`
}

// collected is the result of a collection. James's fields stand beside ours.
type collected struct {
	found[blobs.Collected, deletedBlob]
	References int64 `json:"referenceSourceCount"`
	Blobs      int64 `json:"blobCount"`
	Deleted    int64 `json:"gcedBlobCount"`
	Errors     int64 `json:"errorCount"`
}

func (c *core) collectBlobs(ctx context.Context, job worker.Job) (any, error) {
	var o collectOrder
	if err := parameters(job.Parameters, &o); err != nil {
		return nil, err
	}
	q := blobs.Request{DryRun: o.DryRun, Grace: c.cfg.Blobs.Grace}
	if o.Grace != nil {
		q.Grace = o.Grace.Duration
	}
	var out collected
	q.Each = func(id domain.BlobID, size int64, stored time.Time) { out.keep(deletedBlob{id, size, stored.UTC()}) }
	q.Progress = func(done int64) { tell(job, "blobs")(done, 0) }
	if !o.DryRun {
		c.sweepBlobs(ctx)
		if err := c.collectArchive(ctx); err != nil {
			c.log.Warn("what nobody needs is still in the archive: the next collection tries again", "error", err)
		}
	}
	sum, err := c.blobKeeper().Collect(ctx, q)
	out.Sum, out.References, out.Blobs, out.Deleted = sum, sum.Claimed, sum.Stored, sum.Deleted
	if err != nil {
		out.Errors = 1
	}
	if !o.DryRun {
		c.metrics.Collected(sum.Deleted, sum.Octets)
	}
	return out, err
}

// verifyOrder is the parameters of blob-verify.
type verifyOrder struct {
	Account string `json:"account,omitempty"`
	Deep    bool   `json:"deep,omitempty"`
}

func (c *core) checkBlobs(ctx context.Context, text json.RawMessage) (json.RawMessage, string, error) {
	var o verifyOrder
	err := parameters(text, &o)
	if err == nil && o.Account != "" {
		o.Account, err = c.accountID(ctx, o.Account)
	}
	if err != nil {
		return nil, "", err
	}
	return kept(o.Account, o)
}

// lostBlob is a message whose octets cannot be read.
type lostBlob struct {
	Account domain.AccountID `json:"account"`
	Login   string           `json:"login,omitempty"`
	Email   domain.EmailID   `json:"emailId"`
	Places  []string         `json:"places,omitempty"` // mailbox and UID; none when the message is deleted
	Blob    domain.BlobID    `json:"blob"`
	Size    int64            `json:"size"`
	Problem string           `json:"problem"`
}

func (c *core) verifyBlobs(ctx context.Context, job worker.Job) (any, error) {
	var o verifyOrder
	if err := parameters(job.Parameters, &o); err != nil {
		return nil, err
	}
	var out found[blobs.Verified, lostBlob]
	sum, err := c.blobKeeper().Verify(ctx, blobs.Check{
		Account: domain.AccountID(o.Account), Deep: o.Deep,
		Progress: func(done int64) { tell(job, "messages")(done, 0) },
		Each: func(claim blobs.Claim, why error) {
			if len(out.Items) < keptItems {
				out.keep(lostBlob{
					Account: claim.Account, Login: c.loginOf(ctx, string(claim.Account)), Email: claim.Email, Places: c.placesOf(ctx, claim), Blob: claim.Blob.ID, Size: claim.Blob.Size,
					Problem: why.Error(),
				})
			}
		},
	})
	out.Sum = sum
	if err == nil && o.Account == "" {
		c.metrics.BlobsLost(sum.Missing, sum.Damaged)
	}
	return out, err
}

// placesOf says where a message lies.
func (c *core) placesOf(ctx context.Context, claim blobs.Claim) (places []string) {
	_ = c.accounts.View(ctx, claim.Account, func(s *account.State) error { // an account that cannot be read has no places to show
		places = nil
		for _, m := range s.Sorted() {
			for i, email := range m.Email {
				if email == claim.Email {
					places = append(places, fmt.Sprintf("%s UID %d", m.Name, m.UID[i]))
				}
			}
		}
		return nil
	})
	return places
}

// exported is the result of an export. James's fields stand beside ours.
type exported struct {
	User   string `json:"userExportFrom"`
	To     string `json:"exportTo"`
	Total  int64  `json:"totalExportedMessages"`
	Failed int64  `json:"failedMessages"`
	File   string `json:"file"`
}

// vaultExport writes a file. Its name says whose messages and when, and it is whole when the task has completed.
func (c *core) vaultExport(ctx context.Context, job worker.Job) (any, error) {
	o, q, err := vaultOrder(job)
	if err != nil {
		return nil, err
	}
	if o.Format == "" {
		o.Format = "zip"
	}
	out := exported{User: c.loginOf(ctx, o.Account), To: o.ExportTo}
	dir := c.data.join("exports")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return out, domain.Wrap(domain.Unavailable, err, "write the export")
	}
	out.File = filepath.Join(dir, fmt.Sprintf("%s-%s.%s", o.Account, job.ID, o.Format))
	f, err := os.OpenFile(out.File, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return out, domain.Wrap(domain.Unavailable, err, "write the export")
	}
	out.Total, out.Failed, err = vaultBackend{c.keeper(), c}.Export(ctx, domain.AccountID(o.Account), q, o.Format, f)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		_ = os.Remove(out.File)
	}
	return out, err
}

// vaultBackend is the vault as the admin door wants it.
type vaultBackend struct {
	*vault.Keeper
	core *core
}

func (v vaultBackend) Export(ctx context.Context, id domain.AccountID, q deleted.Query, format string, w io.Writer) (done, failed int64, err error) {
	sink := mboxSink(w)
	if format == "zip" {
		sink = zipSink(w, v.core.loginOf(ctx, string(id)))
	}
	err = v.Keeper.Export(ctx, id, q, func(row *vault.Row, r io.Reader) error {
		done++
		return sink.add(row, r)
	}, func(row *vault.Row, why error) {
		failed++
		v.core.log.Error("a deleted message cannot be exported", "account", id, "email", row.Email, "err", why)
	})
	if err == nil {
		err = sink.end()
	}
	return done, failed, err
}

func (v vaultBackend) BlobStats(ctx context.Context) (all webadmin.BlobStats, err error) {
	if all.Stats, err = v.core.blobKeeper().Stats(ctx); err == nil {
		all.Deleted, err = v.Keeper.Stats(ctx)
	}
	return all, err
}

// sink is a file that messages are written to.
type sink struct {
	add func(*vault.Row, io.Reader) error
	end func() error
}

func mboxSink(w io.Writer) sink {
	file := mbox.NewWriter(w)
	return sink{
		add: func(row *vault.Row, r io.Reader) error { return file.Add(row.Sender, time.Unix(row.Delivered, 0), r) },
		end: file.Flush,
	}
}

// zipSink names each message after its id, and says in metadata.jsonl what the vault knew of it.
func zipSink(w io.Writer, owner string) sink {
	archive := zip.NewWriter(w)
	var known strings.Builder
	return sink{
		add: func(row *vault.Row, r io.Reader) error {
			known.Write(append(mustJSON(webadmin.DescribeDeleted(owner, row)), '\n'))
			part, err := archive.CreateHeader(&zip.FileHeader{Name: fmt.Sprintf("%d.eml", row.Email), Method: zip.Deflate, Modified: time.Unix(row.Delivered, 0).UTC()})
			if err == nil {
				_, err = io.Copy(part, r)
			}
			return err
		},
		end: func() error {
			part, err := archive.Create("metadata.jsonl")
			if err == nil {
				_, err = io.WriteString(part, known.String())
			}
			if err == nil {
				err = archive.Close()
			}
			return err
		},
	}
}

// regularly orders the tasks that keep the vault's and the bucket's promises, each as often as the configuration says.
func (c *core) regularly(ctx context.Context) error {
	for _, work := range []struct {
		kind  string
		every time.Duration
	}{{webadmin.TaskVaultExpire, c.cfg.Vault.PurgeEvery}, {webadmin.TaskBlobGC, c.cfg.Blobs.CollectEvery}, {webadmin.TaskParkedExpire, min(c.cfg.Pipeline.KeepDead, 24*time.Hour)}} {
		if work.every > 0 {
			go c.repeat(ctx, work.kind, work.every)
		}
	}
	<-ctx.Done()
	return nil
}

// repeat orders a task whenever the last one of its kind was ordered long enough ago, whichever node did.
func (c *core) repeat(ctx context.Context, kind string, every time.Duration) {
	look := time.NewTicker(max(time.Second, min(every/10, 10*time.Minute)))
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		last, err := c.tasks.List(ctx, tasksview.Filter{Kind: kind}, tasksview.Page{Limit: 1})
		if err == nil && (len(last) == 0 || time.Since(time.UnixMilli(last[0].Submitted)) >= every && last[0].Status.Ended()) {
			_, err = c.tasks.Submit(ctx, "schedule", kind, nil)
		}
		if err != nil && ctx.Err() == nil {
			c.log.Warn("regular work cannot be ordered: it is tried again", "task", kind, "err", err)
		}
	}
}
