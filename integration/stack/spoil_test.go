package stack_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streampost/streampost/adapters/sqlview/storetest"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/directory"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/domain/rewriting"
	"github.com/streampost/streampost/integration/stack"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/door/doortest"
	"github.com/streampost/streampost/projections/projectiontest"
	"github.com/streampost/streampost/projections/search"
	"github.com/streampost/streampost/projections/tasks"
	"github.com/streampost/streampost/streams"
	"github.com/streampost/streampost/streams/blob"
)

// spoiling is a server with rows in every table of every projection.
type spoiling struct {
	*stack.Stack
	*testing.T
	projections []projections.Projection
	alice       domain.AccountID
}

func newSpoiling(t *testing.T) *spoiling {
	s := &spoiling{T: t}
	s.Stack = stack.New(t, func(c *stack.Config) {
		c.Shards = 1
		c.Projections = func(blobs *blob.Store) []projections.Projection {
			cfg := search.Config{Blobs: blobs}
			if storetest.Postgres() {
				cfg.Postings = search.Postgres{}
			}
			return []projections.Projection{search.New(cfg), tasks.New()}
		}
	})
	s.alice = s.AddAccount(t, "alice@example.org", "secret")
	for i := range 4 {
		doortest.Deliver(t, s.Accounts, s.alice, "INBOX", strings.ReplaceAll(letter, "hello", fmt.Sprint("hello ", i)), "$Junk")
	}
	if _, err := s.Accounts.PutScript(t.Context(), s.alice, "test", "main", "keep;"); err != nil {
		t.Fatal(err)
	}
	comment, now := "mine", time.Now().Unix()
	stored, err := s.Accounts.Ingest(t.Context(), strings.NewReader(letter))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []account.Command{
		account.Deliver{
			Message: account.AddMessage{Mailbox: "INBOX", Blob: stored.Blob, Summary: stored.Summary, Internal: now, Now: now}, Into: []account.Placement{{Mailbox: "INBOX"}},
			Marks: []account.SetMark{{Mark: account.Mark{Kind: account.MarkVacation, Name: "carol"}, Until: now + 1_000_000}},
		},
		account.SetVacation{Vacation: account.Vacation{Enabled: true, Text: "I am away.", Set: now}},
		account.Subscribe{Name: "Lists", On: true},
		account.SetMetadata{Mailbox: "INBOX", Changes: []account.MetadataChange{{Entry: "/private/comment", Value: &comment}},
			Limits: account.MetadataLimits{Value: 100, Entries: 10, Octets: 1000}},
		account.SetRights{Mailbox: "INBOX", Identifier: account.Anyone, Rights: account.MayRead},
		account.Transfer{From: 1, To: "Archive", UIDs: domain.UIDs(1), Now: 1},
		account.Expunge{Mailbox: 1, UIDs: domain.UIDs(2), Any: true},
	} {
		if _, err := s.Accounts.Do(t.Context(), s.alice, "test", c); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Directory.AddAppPassword(t.Context(), "test", s.alice, "phone", time.Time{}, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Directory.ChangeMappings(t.Context(), "test", directory.ChangeMappings{Add: []rewriting.Mapping{{Source: "sales@example.org", Kind: event.Alias, Target: "alice@example.org"}}}); err != nil {
		t.Fatal(err)
	}
	nodes := []string{"node1"}
	if failed := s.Directory.ChangePlacements(t.Context(), "test", []domain.AccountID{s.alice}, func(ids []domain.AccountID) directory.Command {
		return directory.Place{Accounts: ids, Node: "node1", Priority: 10, Nodes: nodes}
	}); len(failed) > 0 {
		t.Fatal(failed)
	}
	if err := s.Directory.ChangeEnrolments(t.Context(), "test", directory.Enrol{Selector: directory.NameSelector("x*"), Node: "node1", Priority: 10, Nodes: nodes}); err != nil {
		t.Fatal(err)
	}
	gone := s.AddAccount(t, "gone@example.org", "secret")
	if err := s.Directory.Erase(t.Context(), "test", gone); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Log.Append(t.Context(), domain.TasksID, streams.Position{}, &event.Transaction{ID: [16]byte{1}, At: 1, Events: []event.Event{
		&event.TaskCreated{Task: "00000000000000000000000001", Kind: "dig", Parameters: "{}"},
	}}); err != nil {
		t.Fatal(err)
	}
	s.Settle()
	head, err := s.Log.Head(t.Context(), s.Log.StreamOf(s.alice))
	if err == nil {
		err = s.Runner.WaitFor(t.Context(), search.Name, s.Log.StreamOf(s.alice), head)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// stream is where the rows of a projection are.
func (s *spoiling) stream(projection string) string {
	switch projection {
	case "directory":
		return s.Log.StreamOf(domain.DirectoryID)
	case tasks.Name:
		return s.Log.StreamOf(domain.TasksID)
	}
	return s.Log.StreamOf(s.alice)
}

func (s *spoiling) live(projection string) projections.Generation {
	s.Helper()
	return projectiontest.Live(s.T, s.Runner, s.stream(projection), projection)
}

// found tells what a comparison with the log finds in a projection, and what a comparison of its rows with their digests finds.
func (s *spoiling) found(projection string, verify, count bool) (differences, miscounts int64) {
	s.Helper()
	sel := projections.Selection{Projection: projection, Stream: s.stream(projection)}
	report, err := s.Runner.Verify(s.Context(), sel, projections.VerifyOptions{Limit: 3, Repair: verify}, nil)
	if err != nil {
		s.Fatal(err)
	}
	counted, err := s.Runner.Count(s.Context(), sel, projections.CountOptions{Limit: 3, Repair: count}, nil)
	if err != nil {
		s.Fatal(err)
	}
	return report.Total, counted.Total
}

// clean fails unless neither finds anything.
func (s *spoiling) clean(projection string) {
	s.Helper()
	if differences, miscounts := s.found(projection, false, false); differences != 0 || miscounts != 0 {
		s.Fatalf("%s has %d differences and %d miscounts", projection, differences, miscounts)
	}
}

// serve delivers and reads mail of another account until stop is called, which tells how often.
func (s *spoiling) serve() (stop func() int) {
	bob := s.AddAccount(s.T, "bob@example.org", "")
	ctx, cancel := context.WithCancel(s.Context())
	var wg sync.WaitGroup
	n := 0
	wg.Go(func() {
		for ctx.Err() == nil {
			stored, err := s.Accounts.Ingest(s.Context(), strings.NewReader(letter))
			if err == nil {
				_, err = doortest.Add(s.Context(), s.Accounts, bob, "INBOX", stored)
			}
			if err == nil {
				err = s.Accounts.View(s.Context(), bob, func(a *account.State) error {
					if n++; len(a.Mailboxes[1].UID) != n {
						return fmt.Errorf("%d messages are there of %d", len(a.Mailboxes[1].UID), n)
					}
					return nil
				})
			}
			if err != nil {
				s.Error("while rows were spoilt and made anew: ", err)
				return
			}
			_ = projections.Pause(ctx, 100*time.Millisecond)
		}
	})
	return func() int { cancel(); wg.Wait(); return n }
}

// columns names those of a table.
func (s *spoiling) columns(projection, table string) []string {
	s.Helper()
	r, err := s.Runner.Reader(s.stream(projection), projection)
	if err != nil {
		s.Fatal(err)
	}
	rows, err := r.Query(s.Context(), "select * from "+table)
	if err != nil {
		s.Fatal(err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil || !rows.Next() {
		s.Fatalf("%s has no rows: %v", table, errors.Join(err, rows.Err()))
	}
	return names
}

// texts are the columns of text among those that the harms change.
var texts = map[string]bool{"account": true, "name": true, "login": true, "address": true, "hash": true, "task": true, "blob_id": true, "envelope": true, "summary": true, "kind": true, "entry": true, "identifier": true, "node": true, "selector": true, "source": true, "target": true}

// harms are statements that change a row of a table, take one away and add one. Which row that is may not depend on others, so it is one of Alice's.
func (s *spoiling) harms(projection string, table projections.Table) map[string]string {
	columns := s.columns(projection, table.Name)
	of := ""
	if slices.Contains(columns, "account") && projection != "directory" && projection != tasks.Name {
		of = " where account = '" + string(s.alice) + "'"
	}
	where := " where "
	for i, key := range table.Key {
		if i > 0 {
			where += " and "
		}
		order := fmt.Sprintf("(select %s from %s%s order by %s limit 1)", key, table.Name, of, strings.Join(table.Key, ", "))
		where += key + " = " + order
	}
	var change string
	for _, column := range columns {
		if !slices.Contains(table.Key, column) && column != "doc" {
			change = column
		}
	}
	last := table.Key[len(table.Key)-1]
	var added []string
	for _, column := range columns {
		switch {
		case column == "doc", column == last && !texts[column]:
			added = append(added, column+" + 1000")
		case column == last && column == "account": // somebody else's
			added = append(added, "'"+string(domain.NewAccountID([10]byte{9, 9}))+"'")
		case column == last:
			added = append(added, "'other'")
		default:
			added = append(added, column)
		}
	}
	harms := map[string]string{
		"deleted": "delete from " + table.Name + where,
		"added":   "insert into " + table.Name + " select " + strings.Join(added, ", ") + " from " + table.Name + where,
	}
	if change != "" {
		value := map[bool]string{true: "1", false: "'x'"}[s.integer(projection, table.Name, change)]
		if value == "1" {
			value = "coalesce(" + change + ", 0) + 1"
		} else if s.octets(projection, table.Name, change) {
			value = map[bool]string{true: `'\x78'::bytea`, false: "x'78'"}[storetest.Postgres()]
		}
		harms["changed"] = "update " + table.Name + " set " + change + " = " + value + where
	} else { // all columns are the key
		harms["changed"] = "update " + table.Name + " set " + last + " = 'x'" + where
	}
	return harms
}

// integer and octets tell what a column holds.
func (s *spoiling) integer(projection, table, column string) bool {
	_, is := s.value(projection, table, column).(int64)
	return is
}

func (s *spoiling) octets(projection, table, column string) bool {
	_, are := s.value(projection, table, column).([]byte)
	return are
}

func (s *spoiling) value(projection, table, column string) (value any) {
	s.Helper()
	r, err := s.Runner.Reader(s.stream(projection), projection)
	if err != nil {
		s.Fatal(err)
	}
	rows, err := r.Query(s.Context(), "select "+column+" from "+table+" where "+column+" is not null")
	if err != nil {
		s.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&value); err != nil {
			s.Fatal(err)
		}
	}
	return value
}

// TestEveryTableSpoilt changes, deletes and adds a row in every table of every projection behind the projectors' back. A comparison with the log finds
// it, and so do the digests; it is made anew by the one or the other, while mail comes and is read; and then neither finds anything.
func TestEveryTableSpoilt(t *testing.T) {
	t.Parallel()
	s := newSpoiling(t)
	for _, p := range s.everything() {
		s.clean(p.Name())
	}
	stop := s.serve()
	turn := 0
	spoil := func(projection, what, statement string) {
		t.Helper()
		storetest.Spoil(t, filepath.Join(s.Dir, "views"), s.live(projection), statement)
		differences, miscounts := s.found(projection, false, false)
		if differences == 0 || miscounts == 0 {
			t.Errorf("%s, %s: %d differences, %d miscounts: %s", projection, what, differences, miscounts, statement)
		}
		turn++
		s.found(projection, turn%2 == 0, turn%2 == 1)
		s.clean(projection)
	}
	for _, p := range s.everything() {
		for _, table := range p.Tables() {
			if table.Wrong != "" { // no table
				continue
			}
			for what, statement := range s.harms(p.Name(), table) {
				if testing.Short() && what != "changed" { // which takes both the row and its digest
					continue
				}
				spoil(p.Name(), "a row of "+table.Name+" "+what, statement)
			}
		}
		for what, statement := range map[string]string{
			"a digest changed": `update digests set digest = 7`, "digests deleted": `delete from digests`,
			"a digest added": `insert into digests (account, digest) values ('other', 1)`,
		} {
			spoil(p.Name(), what, statement)
		}
	}
	row := map[bool]string{true: "doc", false: "rowid"}[storetest.Postgres()]
	spoil(search.Name, "a row of the full text missing", `delete from grams where `+row+` = (select min(doc) from documents)`)
	if n := stop(); n == 0 {
		t.Error("no mail came meanwhile")
	}
	for _, p := range s.everything() {
		s.clean(p.Name())
	}
}

// everything gives all projections that are served.
func (s *spoiling) everything() []projections.Projection {
	if s.projections == nil {
		s.projections = s.Stack.Projections()
	}
	return s.projections
}

// TestEveryFileSpoilt does the same to the files.
func TestEveryFileSpoilt(t *testing.T) {
	if storetest.Postgres() {
		t.Skip("views have no files in PostgreSQL")
	}
	s := newSpoiling(t)
	stop := s.serve()
	for _, p := range s.everything() {
		for what, harm := range map[string]func(path string) error{
			"deleted": os.Remove,
			"truncated": func(path string) error {
				info, err := os.Stat(path)
				if err == nil {
					err = os.Truncate(path, info.Size()/2)
				}
				return err
			},
		} {
			for _, verify := range []bool{true, false} {
				name := p.Name()
				before := s.live(name)
				if err := harm(filepath.Join(s.Dir, "views", before.String()+".db")); err != nil {
					t.Fatal(err)
				}
				sel := projections.Selection{Projection: name, Stream: s.stream(name)}
				found := int64(0)
				if verify {
					report, err := s.Runner.Verify(t.Context(), sel, projections.VerifyOptions{Limit: 3, Repair: true}, nil)
					if found = report.Total; err != nil {
						t.Fatal(err)
					}
				} else {
					report, err := s.Runner.Count(t.Context(), sel, projections.CountOptions{Limit: 3, Repair: true}, nil)
					if found = report.Total; err != nil {
						t.Fatal(err)
					}
				}
				// Mail that comes meanwhile finds it too, and has the view made anew at once.
				if after := s.live(name); found == 0 && after == before {
					t.Errorf("the file of %s %s: nothing was found", name, what)
				}
				s.clean(name)
			}
		}
	}
	if n := stop(); n == 0 {
		t.Error("no mail came meanwhile")
	}
}
