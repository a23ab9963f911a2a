package projections_test

import (
	"testing"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/counters"
	"github.com/streampost/streampost/projections/mailboxes"
)

// Digests are kept in files and compared between nodes of different builds and stores.
func TestRowDigestIsForEver(t *testing.T) {
	for want, row := range map[string][]any{
		"a100cd92af71431a": nil,
		"cebe545c68d5926b": {nil},
		"d07a28f83242a27a": {int64(-1), "größer", []byte{0, 255}, nil},
		"d98d8b1248b275e9": {"", []byte{}},
	} {
		if got := projections.RowDigest("messages", row).String(); got != want {
			t.Errorf("%v: %s, not %s", row, got, want)
		}
	}
}

// Rows that another build changed, which knows no digests, are counted when the generation is opened again.
func TestDigestsThatWereLeftBehind(t *testing.T) {
	b := newBench(t)
	b.open(alice, 3)
	b.start()
	b.wait()
	b.write(counters.Name, `update counters set messages = messages + 1 where mailbox = 1`)
	b.write(counters.Name, `update head set counted = 0`)
	count := func(sel projections.Selection) int64 {
		t.Helper()
		report, err := b.runner.Count(b.ctx, sel, projections.CountOptions{Limit: 9}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return report.Total
	}
	if n := count(projections.Selection{}); n != 1 {
		t.Errorf("%d miscounts", n)
	}
	b.start()
	b.wait()
	if n := count(projections.Selection{}); n != 0 {
		t.Errorf("%d miscounts after the rows were counted", n)
	}
	if n := b.verify(projections.Selection{}).Total; n != 2 { // the row, and now its digest
		t.Errorf("%d differences", n)
	}
}

// A comparison may be narrowed to a mailbox and a message; making anew may not, and neither may dropping be to an account.
func TestNarrowSelections(t *testing.T) {
	b := newBench(t)
	b.open(alice, 3)
	b.start()
	b.wait()
	b.write(mailboxes.Name, `update messages set flags = 1 where uid = 2`)
	b.write(counters.Name, `update counters set unseen = 9 where mailbox = 1`)
	of := func(mailbox domain.MailboxID, uid domain.UID) projections.Selection {
		return projections.Selection{Accounts: []domain.AccountID{alice}, Mailbox: mailbox, UID: uid}
	}
	for _, c := range []struct {
		sel  projections.Selection
		want int64
	}{{of(1, 0), 2}, {of(2, 0), 0}, {of(1, 2), 1}, {of(1, 3), 0}} {
		if got := b.verify(c.sel).Total; got != c.want {
			t.Errorf("%+v: %d differences, not %d", c.sel, got, c.want)
		}
	}
	if _, err := b.runner.Verify(b.ctx, projections.Selection{Mailbox: 1}, projections.VerifyOptions{}, nil); !domain.Is(err, domain.Invalid) {
		t.Errorf("a mailbox of nobody: %v", err)
	}
	if _, err := b.runner.Rebuild(b.ctx, of(1, 0), projections.RebuildOptions{}, nil); !domain.Is(err, domain.Invalid) {
		t.Errorf("a mailbox made anew: %v", err)
	}
	if _, err := b.runner.Discard(b.ctx, projections.Selection{Projection: counters.Name, Accounts: []domain.AccountID{alice}}); !domain.Is(err, domain.Invalid) {
		t.Errorf("rows of an account dropped: %v", err)
	}
	if report, err := b.runner.Verify(b.ctx, projections.Selection{}, projections.VerifyOptions{Limit: 9, Digests: true}, nil); err != nil || report.Total != 0 {
		t.Errorf("the digests follow the log, and not who changed rows: %+v, %v", report, err)
	}
}
