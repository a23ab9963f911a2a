package imap

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections/door"
	"github.com/streampost/streampost/projections/door/doortest"
)

// TestSessionsEndWithTheirLogin: what let a session in is gone, and so is the session, whatever it is doing.
func TestSessionsEndWithTheirLogin(t *testing.T) {
	const bye = "* BYE [EXPIRED] ..."
	for name, revoke := range map[string]func(t *testing.T, s *testServer, id domain.AccountID) error{
		"password": func(t *testing.T, s *testServer, id domain.AccountID) error {
			return s.Directory.SetPassword(t.Context(), "test", id, "another one")
		},
		"disabled": func(t *testing.T, s *testServer, id domain.AccountID) error {
			return s.Directory.SetDisabled(t.Context(), "test", id, true)
		},
		"erased": func(t *testing.T, s *testServer, id domain.AccountID) error {
			return s.Directory.Erase(t.Context(), "test", id)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			waiting, idle, stranger := s.login(), s.selected("INBOX"), s.dial()
			idle.begin("IDLE")
			idle.expect("+ idling")
			who, err := s.Directory.Lookup(t.Context(), alice)
			if err == nil {
				err = revoke(t, s, who.ID)
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range []*client{waiting, idle} {
				if name == "erased" { // the account itself may be missed first
					c.expect("* BYE ...")
				} else {
					c.expect(bye)
				}
				c.ended()
			}
			stranger.cmd("NOOP").ok()
			stranger.cmd("LOGIN %s %s", alice, password).no()
		})
	}
}

func TestOtherSessionsStay(t *testing.T) {
	s := start(t)
	c := s.login()
	if _, err := s.Directory.AddAccount(t.Context(), "test", "carol@example.org", "whatever"); err != nil {
		t.Fatal(err)
	}
	carol, err := s.Directory.Lookup(t.Context(), "carol@example.org")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Directory.SetPassword(t.Context(), "test", carol.ID, "something"); err != nil {
		t.Fatal(err)
	}
	c.cmd("NOOP").ok()
}

// TestAppPasswords: each program has a password of its own, which can be taken away from it alone.
func TestAppPasswords(t *testing.T) {
	s := start(t)
	made := func(name string, protocols ...string) string {
		password, err := s.Directory.AddAppPassword(t.Context(), "test", s.account, name, time.Time{}, protocols)
		if err != nil {
			t.Fatal(err)
		}
		return password
	}
	phone, laptop, printer := made("phone"), made("laptop", "imap"), made("printer", "smtp")
	login := func(password string) *client {
		c := s.dial()
		c.cmd("AUTHENTICATE PLAIN %s", b64("\x00"+alice+"\x00"+password)).ok()
		return c
	}
	own, onPhone, onLaptop := login(password), login(strings.ToUpper(strings.ReplaceAll(phone, "-", " "))), login(laptop)
	s.dial().cmd("LOGIN %s %s", alice, printer).no("[AUTHENTICATIONFAILED] ...") // it is for submission
	s.dial().cmd("LOGIN bob@example.org %s", phone).no("[AUTHENTICATIONFAILED] ...")
	if err := s.Directory.RemoveAppPassword(t.Context(), "test", s.account, "phone"); err != nil {
		t.Fatal(err)
	}
	onPhone.expect("* BYE [EXPIRED] ...")
	onPhone.ended()
	s.dial().cmd("LOGIN %s %s", alice, phone).no("[AUTHENTICATIONFAILED] ...")
	onLaptop.cmd("NOOP").ok()
	if err := s.Directory.SetPassword(t.Context(), "test", s.account, "another one"); err != nil {
		t.Fatal(err)
	}
	own.expect("* BYE [EXPIRED] ...")
	onLaptop.cmd("NOOP").ok()
	if err := s.Directory.SetDisabled(t.Context(), "test", s.account, true); err != nil {
		t.Fatal(err)
	}
	onLaptop.expect("* BYE [EXPIRED] ...")
}

// TestTooManySessions: an account has only so many sessions, and one that ends makes room.
func TestTooManySessions(t *testing.T) {
	s := startOn(t, doortest.Start(t, func(c *door.Config) { c.Sessions = door.Sessions{Account: 2} }))
	one, _ := s.login(), s.login()
	c := s.dial()
	c.cmd("LOGIN %s %s", alice, password).no("[LIMIT] too many sessions of this account ...")
	one.cmd("LOGOUT").want("* BYE logging out", "OK LOGOUT completed")
	one.ended()
	c.cmd("LOGIN %s %s", alice, password).ok()
}

// openBlobs calls opened before messages are opened.
type openBlobs struct {
	door.Blobs
	opened func()
}

func (b *openBlobs) Open(ctx context.Context, ref domain.BlobRef, off, n int64) (io.ReadCloser, error) {
	b.opened()
	return b.Blobs.Open(ctx, ref, off, n)
}

// TestARunningCommandEndsWithItsLogin: who changes a password because it was stolen stops the thief in the middle of the mail.
func TestARunningCommandEndsWithItsLogin(t *testing.T) {
	blobs := &openBlobs{opened: func() {}}
	s := startOn(t, doortest.Start(t, func(c *door.Config) { blobs.Blobs, c.Blobs = c.Blobs, blobs }))
	for n := range 3 {
		s.deliver("INBOX", mail(n))
	}
	c := s.selected("INBOX")
	blobs.opened = func() {
		if err := s.Directory.SetPassword(t.Context(), "test", s.account, "another one"); err != nil {
			t.Error(err)
		}
	}
	c.begin("FETCH 1:3 BODY.PEEK[TEXT]")
	c.expect("* 1 FETCH (BODY[TEXT] ...", "* BYE [EXPIRED] ...")
	c.ended()
}
