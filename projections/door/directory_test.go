package door_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/door/doortest"
	"github.com/xdg-go/scram"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestResolve(t *testing.T) {
	n := doortest.Start(t)
	d := n.Directory
	bob := n.AddAccount(t, "bob@example.org", "")
	alice := n.AddAccount(t, "Alice@Example.ORG", "")
	carol := n.AddAccount(t, "carol@example.net", "")
	check(t, d.AddAddress(t.Context(), "x", alice, "alice+lists@example.org"))
	check(t, d.AddAddress(t.Context(), "x", alice, "jürgen@example.org"))
	check(t, d.AddDomain(t.Context(), "x", "empty.example"))
	for _, c := range []struct {
		address string
		id      domain.AccountID
		detail  string
	}{
		{"alice@example.org", alice, ""},
		{"ALICE@EXAMPLE.ORG", alice, ""},
		{`"alice"@example.org`, alice, ""},
		{"alice+Work@example.org", alice, "work"},
		{"alice+a+b@example.org", alice, "a+b"},
		{"alice+lists@example.org", alice, ""},
		{"JÜRGEN@example.org", alice, ""},
		{"postmaster@example.org", bob, ""}, // the oldest account of the domain
		{"Postmaster+x@example.net", carol, ""},
		{"postmaster@empty.example", bob, ""},
		{"PostMaster", bob, ""},
	} {
		id, detail, err := d.Resolve(t.Context(), c.address)
		if id != c.id || detail != c.detail || err != nil {
			t.Errorf("%s is %s with detail %q, %v", c.address, id, detail, err)
		}
	}
	for address, kind := range map[string]domain.Kind{
		"nobody@example.org":       domain.NotFound,
		"nobody+alice@example.org": domain.NotFound,
		"alice@elsewhere.example":  domain.NotFound,
		"postmaster@elsewhere.org": domain.NotFound,
		"alice":                    domain.Invalid,
		"al ice@example.org":       domain.Invalid,
		"alice@[127.0.0.1]":        domain.Invalid,
	} {
		if id, _, err := d.Resolve(t.Context(), address); !domain.Is(err, kind) || id != "" {
			t.Errorf("%s is %q, %v", address, id, err)
		}
	}
	check(t, d.AddAddress(t.Context(), "x", carol, "postmaster@example.org"))
	if id, _, _ := d.Resolve(t.Context(), "postmaster@example.org"); id != carol {
		t.Errorf("the postmaster's own address leads to %s", id)
	}
	for name, local := range map[string]bool{"example.org": true, "EXAMPLE.org": true, "example.com": false, "": false, "-": false} {
		if d.LocalDomain(name) != local {
			t.Errorf("%q is local: %v", name, !local)
		}
	}
}

// TestBothSpellingsOfADomain: what was added in A-labels is found in U-labels and the other way round, by mail and by logins.
func TestBothSpellingsOfADomain(t *testing.T) {
	n := doortest.Start(t)
	d := n.Directory
	alice := n.AddAccount(t, "alice@xn--bcher-kva.example", "secret")
	for _, host := range []string{"bücher.example", "xn--bcher-kva.example", "XN--BCHER-KVA.example", "BÜCHER.example"} {
		if !d.LocalDomain(host) {
			t.Errorf("%s is not local", host)
		}
		for _, local := range []string{"alice", "postmaster"} {
			if id, _, err := d.Resolve(t.Context(), local+"@"+host); id != alice || err != nil {
				t.Errorf("%s@%s is %s, %v", local, host, id, err)
			}
		}
		who, err := d.Authenticate(t.Context(), "alice@"+host, "secret")
		if who.Account != alice || who.Login != "alice@bücher.example" || err != nil {
			t.Errorf("alice@%s logs in as %+v, %v", host, who, err)
		}
		if a, err := d.Lookup(t.Context(), "alice@"+host); a.ID != alice || err != nil {
			t.Errorf("alice@%s is %+v, %v", host, a, err)
		}
	}
}

func TestPostmasterByConfiguration(t *testing.T) {
	n := doortest.Start(t, func(c *door.Config) { c.Postmaster = "Carol@example.org" })
	bob := n.AddAccount(t, "bob@example.org", "")
	if id, _, _ := n.Directory.Resolve(t.Context(), "postmaster@example.org"); id != bob {
		t.Errorf("before carol exists, the postmaster is %s", id)
	}
	carol := n.AddAccount(t, "carol@example.org", "")
	if id, _, _ := n.Directory.Resolve(t.Context(), "postmaster@example.org"); id != carol {
		t.Errorf("the postmaster is %s", id)
	}
}

func TestTheDirectoryOutlivesTheProcess(t *testing.T) {
	n := doortest.Start(t)
	alice := n.AddAccount(t, "alice@example.org", "secret")
	bob := n.AddAccount(t, "bob@example.org", "")
	check(t, n.Directory.SetDisabled(t.Context(), "x", bob, true))
	check(t, n.Directory.AddAddress(t.Context(), "x", bob, "bobby@example.org"))
	check(t, n.Directory.AddDomain(t.Context(), "x", "example.net"))
	check(t, n.Directory.RemoveDomain(t.Context(), "x", "example.net"))
	if err := n.Directory.RemoveDomain(t.Context(), "x", "example.org"); !domain.Is(err, domain.Exists) {
		t.Errorf("a domain in use was removed: %v", err)
	}
	again := doortest.Join(t, n.Log, n.Blobs)
	all, err := again.Directory.Accounts(t.Context())
	check(t, err)
	if len(all) != 2 || all[0].ID != alice || !all[1].Disabled || !slices.Equal(all[1].Addresses, []string{"bob@example.org", "bobby@example.org"}) {
		t.Errorf("the accounts are %+v", all)
	}
	if names, err := again.Directory.Domains(t.Context()); !slices.Equal(names, []string{"example.org"}) || err != nil {
		t.Errorf("the domains are %v, %v", names, err)
	}
	for _, name := range []string{string(alice), "alice@example.org", "ALICE@example.org"} {
		if a, err := again.Directory.Lookup(t.Context(), name); a.ID != alice || a.Login != "alice@example.org" || err != nil {
			t.Errorf("%s is %+v, %v", name, a, err)
		}
	}
	if who, err := again.Directory.Authenticate(t.Context(), "alice@example.org", "secret"); who.Account != alice || err != nil {
		t.Errorf("alice is %+v, %v", who, err)
	}
	// What another node changes counts here as well.
	check(t, n.Directory.AddDomain(t.Context(), "x", "example.com"))
	if !again.Directory.LocalDomain("example.com") {
		t.Error("the other node's domain is not local here")
	}
}

func TestCheckPassword(t *testing.T) {
	for shortest, n := range map[int]*doortest.Node{8: doortest.Start(t), 12: doortest.Start(t, func(c *door.Config) { c.MinPassword = 12 })} {
		for password, length := range map[string]int{"ab": 2, "sevenca": 7, "pässwörd": 8, "eleven long": 11, "twelve chars": 12, "$2b$04$bcrypt": 99} {
			if err := n.Directory.CheckPassword(password); (err == nil) != (length >= shortest) || err != nil && !domain.Is(err, domain.Invalid) {
				t.Errorf("%q where %d characters are needed: %v", password, shortest, err)
			}
		}
	}
}

func TestAuthenticate(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	n := doortest.Start(t, func(c *door.Config) { c.Clock = func() time.Time { return now } })
	d := n.Directory
	alice := n.AddAccount(t, "alice@example.org", "päss word")
	n.AddAccount(t, "nologin@example.org", "")
	check(t, d.AddAddress(t.Context(), "x", alice, "al@example.org"))
	passes := func(login, password string) {
		t.Helper()
		if who, err := d.Authenticate(t.Context(), login, password); err != nil || who.Account != alice || who.Login != "alice@example.org" {
			t.Errorf("%s with %q: %+v, %v", login, password, who, err)
		}
	}
	fails := func(login, password string) {
		t.Helper()
		if who, err := d.Authenticate(t.Context(), login, password); !domain.Is(err, domain.Denied) || who != (door.Identity{}) {
			t.Errorf("%s with %q: %+v, %v", login, password, who, err)
		}
	}
	for range 2 { // The second time from memory.
		passes("Alice@example.org", "päss word")
		passes("al@example.org", "pa\u0308ss\u00a0word") // RFC 4013 makes them one.
		fails("alice@example.org", "wrong")
		fails("alice@example.org", "")
		fails("nobody@example.org", "päss word")
		fails("nologin@example.org", "")
		fails("not an address", "x")
	}
	now = now.Add(time.Hour)
	passes("alice@example.org", "päss word")
	check(t, d.SetDisabled(t.Context(), "x", alice, true))
	fails("alice@example.org", "päss word")
	check(t, d.SetDisabled(t.Context(), "x", alice, false))
	passes("alice@example.org", "päss word")
	check(t, d.SetPassword(t.Context(), "x", alice, "other"))
	fails("alice@example.org", "päss word")
	passes("alice@example.org", "other")
	check(t, d.Erase(t.Context(), "x", alice))
	fails("alice@example.org", "other")
}

func TestLoginsAreHashedAFewAtATime(t *testing.T) {
	n := doortest.Start(t, func(c *door.Config) { c.Limits.Passwords = 1; c.Limits.CachedLogins = 1 })
	n.AddAccount(t, "alice@example.org", "secret")
	login := func(ctx context.Context) error {
		_, err := n.Directory.Authenticate(ctx, "alice@example.org", "wrong")
		return err
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := login(ctx); !domain.Is(err, domain.Unavailable) {
		t.Errorf("a client that is gone got %v", err)
	}
	if err := login(t.Context()); !domain.Is(err, domain.Denied) {
		t.Error(err)
	}
}

// scramLogin runs a whole SCRAM-SHA-256 exchange (RFC 7677) against the directory's keys.
func scramLogin(t *testing.T, d *door.Directory, login, password string) (door.Identity, error) {
	t.Helper()
	var who door.Identity
	server, err := scram.SHA256.NewServer(func(login string) (scram.StoredCredentials, error) {
		id, keys, err := d.Scram(t.Context(), door.SHA256, login)
		who = id
		return scram.StoredCredentials{
			KeyFactors: scram.KeyFactors{Salt: string(keys.Salt), Iters: int(keys.Iterations)}, StoredKey: keys.StoredKey, ServerKey: keys.ServerKey,
		}, err
	})
	check(t, err)
	client, err := scram.SHA256.NewClient(login, password, "")
	check(t, err)
	c, s := client.NewConversation(), server.NewConversation()
	answer := ""
	for !s.Done() {
		said, err := c.Step(answer)
		check(t, err)
		if answer, err = s.Step(said); err != nil {
			return door.Identity{}, err
		}
	}
	if _, err := c.Step(answer); err != nil || !c.Valid() {
		t.Errorf("the client does not trust the server: %v", err)
	}
	return who, nil
}

func TestScram(t *testing.T) {
	n := doortest.Start(t, func(c *door.Config) { c.Secret = []byte("of the installation") })
	d := n.Directory
	alice := n.AddAccount(t, "alice@example.org", "pen\u00a0cil")
	imported := n.AddAccount(t, "imported@example.org", "$2a$04$S1J0mvC63I59F.qE5V8dl.Y/xdrLwqCKuPrhaS4qFZgjCUkEsa6Ja")
	if who, err := scramLogin(t, d, "alice@example.org", "pen cil"); err != nil || who.Account != alice {
		t.Errorf("alice is %+v, %v", who, err)
	}
	for _, login := range []string{"alice@example.org", "imported@example.org", "nobody@example.org", "nobody"} {
		if who, err := scramLogin(t, d, login, "wrong"); err == nil {
			t.Errorf("%s came in as %+v", login, who)
		}
	}
	check(t, d.SetDisabled(t.Context(), "x", alice, true))
	if who, err := scramLogin(t, d, "alice@example.org", "pen cil"); err == nil {
		t.Errorf("a disabled account came in as %+v", who)
	}
	// Users who do not exist look like others, today and after a restart.
	again := doortest.Join(t, n.Log, n.Blobs, func(c *door.Config) { c.Secret = []byte("of the installation") })
	_, real, _ := d.Scram(t.Context(), door.SHA256, "alice@example.org")
	_, one, err := d.Scram(t.Context(), door.SHA256, "Nobody@example.org")
	check(t, err)
	_, two, err := again.Directory.Scram(t.Context(), door.SHA256, "nobody@example.org")
	check(t, err)
	if fmt.Sprint(one) != fmt.Sprint(two) || one.Iterations != real.Iterations || len(one.Salt) != len(real.Salt) {
		t.Errorf("fake keys %v and %v, real ones %v", one, two, real)
	}
	if who, _, _ := d.Scram(t.Context(), door.SHA256, "imported@example.org"); who != (door.Identity{}) {
		t.Errorf("%s has no SCRAM keys but is %+v", imported, who)
	}
}

func TestAddAccountRefusesBeforeItMakesAnything(t *testing.T) {
	n := doortest.Start(t)
	n.AddAccount(t, "alice@example.org", "")
	before, err := n.Log.Last(t.Context(), domain.DirectoryID)
	check(t, err)
	creates := n.Log.Keys()
	for _, c := range []struct {
		address, password string
		kind              domain.Kind
	}{
		{"Alice@example.org", "x", domain.Exists},
		{"bob@example.com", "x", domain.NotFound},
		{"bob", "x", domain.Invalid},
		{"bob@example.org", "a\x00b", domain.Invalid},
		{"bob@example.org", strings.Repeat("x", 5000), domain.TooLarge},
		{"bob@example.org", "$2a$04$short", domain.Invalid},
	} {
		if _, err := n.Directory.AddAccount(t.Context(), "x", c.address, c.password); !domain.Is(err, c.kind) {
			t.Errorf("%s with %.20q: %v", c.address, c.password, err)
		}
	}
	after, err := n.Log.Last(t.Context(), domain.DirectoryID)
	check(t, err)
	if before != after || n.Log.Keys() != creates {
		t.Errorf("the directory went from %v to %v, %d keys became %d", before, after, creates, n.Log.Keys())
	}
}

// TestAddAccountCanBeRepeated stops AddAccount at each of its appends, as a crash or a silent log would, and repeats it.
func TestAddAccountCanBeRepeated(t *testing.T) {
	for stop := range 3 {
		for _, fault := range []doortest.Fault{doortest.LostKept, doortest.LostSent} {
			n := doortest.Start(t)
			check(t, n.Directory.AddDomain(t.Context(), "x", "example.org"))
			appends := 0
			n.Log.Before = func(domain.AccountID, *event.Transaction) doortest.Fault {
				if appends++; appends == stop+1 {
					return fault
				}
				return doortest.None
			}
			_, err := n.Directory.AddAccount(t.Context(), "x", "alice@example.org", "")
			if (err == nil) != (stop == 2) {
				t.Fatalf("stop %d: %v", stop, err)
			}
			n.Log.Before = nil
			n = doortest.Join(t, n.Log, n.Blobs) // a new process
			a, err := n.Directory.AddAccount(t.Context(), "x", "alice@example.org", "")
			if domain.Is(err, domain.Exists) {
				if stop == 0 || stop == 1 && fault == doortest.LostKept {
					t.Errorf("stop %d, fault %d: %v", stop, fault, err)
				}
				a, err = n.Directory.Lookup(t.Context(), "alice@example.org")
			}
			check(t, err)
			doortest.Deliver(t, n.Accounts, a.ID, "INBOX", letter)
			if all, _ := n.Directory.Accounts(t.Context()); len(all) != 1 {
				t.Errorf("stop %d: there are %+v", stop, all)
			}
		}
	}
}

func TestTwoWhoWantOneAddress(t *testing.T) {
	n := doortest.Start(t)
	check(t, n.Directory.AddDomain(t.Context(), "x", "example.org"))
	first := true
	n.Log.Before = func(id domain.AccountID, _ *event.Transaction) doortest.Fault {
		if id != domain.DirectoryID && first { // Between the loser's look at the directory and its change of it.
			first = false
			n.AddAccount(t, "alice@example.org", "")
		}
		return doortest.None
	}
	if a, err := n.Directory.AddAccount(t.Context(), "x", "alice@example.org", ""); !domain.Is(err, domain.Exists) {
		t.Errorf("the loser got %+v, %v", a, err)
	}
	n.Log.Before = nil
	winner, err := n.Directory.Lookup(t.Context(), "alice@example.org")
	check(t, err)
	doortest.Deliver(t, n.Accounts, winner.ID, "INBOX", letter)
	if usable := n.Log.Keys() - n.Log.ErasedKeys(); usable != 2 { // the directory's and the winner's
		t.Errorf("%d keys are left", usable)
	}
}

func TestErase(t *testing.T) {
	n := doortest.Start(t)
	alice := n.AddAccount(t, "alice@example.org", "")
	uid := doortest.Deliver(t, n.Accounts, alice, "INBOX", letter)
	w, err := n.Accounts.Watch(t.Context(), alice)
	check(t, err)
	defer w.Close()
	check(t, n.Directory.Erase(t.Context(), "x", alice))
	<-w.C
	gone := func(n *doortest.Node) {
		t.Helper()
		errs := []error{n.Accounts.View(t.Context(), alice, func(*account.State) error { return nil })}
		_, err := n.Accounts.Do(t.Context(), alice, "x", create("box"))
		errs = append(errs, err)
		_, err = n.Accounts.Watch(t.Context(), alice)
		errs = append(errs, err)
		for _, err := range n.Accounts.Emails(t.Context(), alice, 1, domain.UIDs(uid), door.WantBlob) {
			errs = append(errs, err)
		}
		_, err = n.Directory.Lookup(t.Context(), string(alice))
		errs = append(errs, err, n.Directory.SetPassword(t.Context(), "x", alice, "x"))
		for i, err := range errs {
			if !domain.Is(err, domain.Erased) {
				t.Errorf("use %d of an erased account gave %v", i, err)
			}
		}
		if _, _, err := n.Directory.Resolve(t.Context(), "alice@example.org"); !domain.Is(err, domain.NotFound) {
			t.Errorf("its address gave %v", err)
		}
	}
	gone(n)
	check(t, n.Directory.Erase(t.Context(), "x", alice)) // again
	gone(doortest.Join(t, n.Log, n.Blobs))
	if err := n.Directory.Erase(t.Context(), "x", domain.NewAccountID([10]byte{9})); !domain.Is(err, domain.NotFound) {
		t.Errorf("erasing nobody gave %v", err)
	}
	again := n.AddAccount(t, "alice@example.org", "") // The address is free.
	if again == alice {
		t.Error("an id came back")
	}
}

// mute is a log that does not erase keys, as one that dies before.
type mute struct{ door.Log }

func (mute) Erase(context.Context, domain.AccountID) error {
	return domain.Errorf(domain.Unavailable, "no")
}

func TestAnInterruptedErasureIsFinished(t *testing.T) {
	n := doortest.Start(t, func(c *door.Config) { c.Log = mute{c.Log} })
	alice := n.AddAccount(t, "alice@example.org", "")
	if err := n.Directory.Erase(t.Context(), "x", alice); !domain.Is(err, domain.Unavailable) {
		t.Fatal(err)
	}
	if _, err := n.Log.Last(t.Context(), alice); err != nil {
		t.Fatal("the key is gone already")
	}
	n = doortest.Join(t, n.Log, n.Blobs)
	if count, err := n.Directory.FinishErasures(t.Context()); count != 1 || err != nil {
		t.Errorf("finished %d, %v", count, err)
	}
	if _, err := n.Log.Last(t.Context(), alice); !domain.Is(err, domain.Erased) {
		t.Errorf("the key is still there: %v", err)
	}
}

type brokenReader struct{ err error }

func (b brokenReader) Read([]byte) (int, error) { return 0, b.err }

func TestIngestAndOpen(t *testing.T) {
	n := doortest.Start(t)
	lost := errors.New("the client went away")
	if _, err := n.Accounts.Ingest(t.Context(), io.MultiReader(strings.NewReader("From: a"), brokenReader{lost})); err != lost {
		t.Errorf("a reader's own error became %v", err)
	}
	stored, err := n.Accounts.Ingest(t.Context(), strings.NewReader(letter))
	check(t, err)
	read := func(off, n1 int64) string {
		t.Helper()
		r, err := n.Accounts.Open(t.Context(), stored.Blob, off, n1)
		check(t, err)
		defer r.Close()
		text, err := io.ReadAll(r)
		check(t, err)
		return string(text)
	}
	size := int64(len(letter))
	for _, c := range []struct {
		off, n int64
		want   string
	}{{0, -1, letter}, {6, 13, "a@example.org"}, {size - 2, 100, "\r\n"}, {size, -1, ""}, {0, 0, ""}, {3, size, letter[3:]}} {
		if got := read(c.off, c.n); got != c.want {
			t.Errorf("octets %d+%d are %q", c.off, c.n, got)
		}
	}
	for _, off := range []int64{-1, size + 1} {
		if _, err := n.Accounts.Open(t.Context(), stored.Blob, off, 1); !domain.Is(err, domain.Invalid) {
			t.Errorf("octet %d gave %v", off, err)
		}
	}
	n.Blobs.Damage(stored.Blob.ID)
	if _, err := n.Accounts.Open(t.Context(), stored.Blob, 0, -1); !domain.Is(err, domain.Corrupt) {
		t.Errorf("a damaged message gave %v", err)
	}
	n.Blobs.Remove(stored.Blob.ID)
	if _, err := n.Accounts.Open(t.Context(), stored.Blob, 0, -1); !domain.Is(err, domain.NotFound) {
		t.Errorf("a missing message gave %v", err)
	}
}

func TestAnswersJoinTheThread(t *testing.T) {
	n, alice := open(t)
	doortest.Deliver(t, n.Accounts, alice, "INBOX", letter)
	doortest.Deliver(t, n.Accounts, alice, "INBOX", "Message-ID: <2@example.org>\r\nSubject: other\r\n\r\nhello\r\n")
	doortest.Deliver(t, n.Accounts, alice, "INBOX", "Message-ID: <3@example.org>\r\nIn-Reply-To: <1@example.org>\r\nReferences: <1@example.org>\r\nSubject: Re: hello\r\n\r\nyes\r\n")
	check(t, n.Accounts.View(t.Context(), alice, func(s *account.State) error {
		if got := fmt.Sprint(s.Mailboxes[1].Thread); got != "[1 2 1]" {
			t.Errorf("the threads are %s", got)
		}
		return nil
	}))
}
