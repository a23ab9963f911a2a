package door_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/door/doortest"
)

// TestSessionsOfOneAccount: from one address, with one protocol, there are fewer than in all, and this machine has no such limit.
func TestSessionsOfOneAccount(t *testing.T) {
	n := doortest.Start(t, func(c *door.Config) { c.Sessions = door.Sessions{Account: 6, Address: 2} })
	n.AddAccount(t, "alice@example.org", "pencil")
	who, err := n.Directory.Authenticate(t.Context(), "alice@example.org", "pencil")
	check(t, err)
	enter := func(protocol, source string) (func(), error) {
		who.Protocol, who.Source = protocol, source
		return n.Directory.Enter(t.Context(), who, func() {})
	}
	for _, c := range []struct {
		protocol, source string
		ok               bool
	}{
		{"imap", "192.0.2.1", true}, {"imap", "192.0.2.1", true}, {"imap", "192.0.2.1", false},
		{"smtp", "192.0.2.1", true}, {"imap", "192.0.2.2", true},
		{"imap", "", true},
	} {
		if _, err := enter(c.protocol, c.source); (err == nil) != c.ok || err != nil && err != door.ErrSessions {
			t.Errorf("%s from %q: %v", c.protocol, c.source, err)
		}
	}
	leave, err := enter("imap", "")
	check(t, err)
	if _, err := enter("pop3", ""); err != door.ErrSessions {
		t.Errorf("the seventh session: %v", err)
	}
	leave()
	if _, err := enter("pop3", ""); err != nil {
		t.Errorf("after one has left: %v", err)
	}
}

func TestAppPasswordsExpire(t *testing.T) {
	var late atomic.Int64
	n := doortest.Start(t, func(c *door.Config) {
		c.Clock = func() time.Time { return time.Unix(1_800_000_000, 0).Add(time.Duration(late.Load())) }
	})
	d, id := n.Directory, n.AddAccount(t, "alice@example.org", "")
	password, err := d.AddAppPassword(t.Context(), "test", id, "phone", time.Unix(1_800_003_600, 0), nil)
	check(t, err)
	if _, err := d.AddAppPassword(t.Context(), "test", id, "laptop", time.Unix(1_700_000_000, 0), nil); !domain.Is(err, domain.Invalid) {
		t.Errorf("one that has expired: %v", err)
	}
	late.Store(int64(time.Hour - time.Millisecond))
	who, err := d.Login(t.Context(), "imap", "192.0.2.1", "Alice@example.org", password)
	check(t, err)
	if who.By() != "app password phone" {
		t.Errorf("let in by %s", who.By())
	}
	if _, err := d.Authenticate(t.Context(), "alice@example.org", password); !domain.Is(err, domain.Denied) {
		t.Errorf("an app password passes for the account's own: %v", err)
	}
	list, err := d.AppPasswords(t.Context(), id)
	check(t, err)
	if len(list) != 1 || list[0].LastUsed == nil || list[0].Expires == nil {
		t.Errorf("listed: %+v", list)
	}
	ended := make(chan struct{})
	leave, err := d.Enter(t.Context(), who, func() { close(ended) })
	check(t, err)
	defer leave()
	<-ended // a millisecond later
	late.Store(int64(time.Hour))
	if _, err := d.Login(t.Context(), "imap", "192.0.2.1", "alice@example.org", password); !domain.Is(err, domain.Denied) {
		t.Errorf("after it has expired: %v", err)
	}
}
