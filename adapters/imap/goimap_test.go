package imap

import (
	"crypto/tls"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
)

// insecure trusts every certificate.
func insecure() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

// TestGoIMAPClient is a whole session of a client that was written by somebody else.
func TestGoIMAPClient(t *testing.T) {
	s := start(t, withTLS(t), func(c *Config) { c.AllowInsecureAuth = false })
	arrived := make(chan uint32, 10)
	dial := func() *imapclient.Client {
		c, err := imapclient.DialStartTLS(s.plain, &imapclient.Options{
			TLSConfig: insecure(),
			UnilateralDataHandler: &imapclient.UnilateralDataHandler{Mailbox: func(d *imapclient.UnilateralDataMailbox) {
				if d.NumMessages != nil {
					arrived <- *d.NumMessages
				}
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := c.Authenticate(sasl.NewPlainClient("", alice, password)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := dial()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Enable(goimap.CapIMAP4rev2, goimap.CapUTF8Accept).Wait(); err != nil {
		t.Fatal(err)
	}
	if !c.Caps().Has(goimap.CapMove) || !c.Caps().Has(goimap.CapUIDPlus) {
		t.Errorf("capabilities: %v", c.Caps())
	}
	id, err := c.ID(&goimap.IDData{Name: "test"}).Wait()
	must(err)
	if id.Name != "Streampost" {
		t.Errorf("ID is %+v", id)
	}
	space, err := c.Namespace().Wait()
	must(err)
	if len(space.Personal) != 1 || space.Personal[0].Delim != '/' {
		t.Errorf("namespaces: %+v", space)
	}

	must(c.Create("Møte/2024", nil).Wait())
	must(c.Subscribe("Møte/2024").Wait())
	boxes, err := c.List("", "*", &goimap.ListOptions{ReturnSubscribed: true, ReturnStatus: &goimap.StatusOptions{NumMessages: true, UIDNext: true}}).Collect()
	must(err)
	var names []string
	for _, b := range boxes {
		names = append(names, b.Mailbox)
		if b.Mailbox == "Sent" && !slices.Contains(b.Attrs, goimap.MailboxAttrSent) {
			t.Errorf("Sent has %v", b.Attrs)
		}
		if b.Mailbox == "Møte/2024" && (b.Status == nil || *b.Status.NumMessages != 0 || !slices.Contains(b.Attrs, goimap.MailboxAttrSubscribed)) {
			t.Errorf("the new mailbox shows as %+v", b)
		}
	}
	if got := strings.Join(names, " "); got != "INBOX Archive Drafts Junk Møte Møte/2024 Sent Trash" {
		t.Errorf("mailboxes: %s", got)
	}

	upload := c.Append("INBOX", int64(len(mail(1))), &goimap.AppendOptions{Flags: []goimap.Flag{goimap.FlagSeen}, Time: time.Unix(1e9, 0)})
	_, err = io.WriteString(upload, mail(1))
	must(err)
	must(upload.Close())
	appended, err := upload.Wait()
	must(err)
	selected, err := c.Select("INBOX", nil).Wait()
	must(err)
	if appended.UID != 1 || appended.UIDValidity != selected.UIDValidity || selected.NumMessages != 1 || selected.UIDNext != 2 {
		t.Errorf("appended %+v, selected %+v", appended, selected)
	}
	body := &goimap.FetchItemBodySection{Peek: true}
	messages, err := c.Fetch(goimap.SeqSetNum(1), &goimap.FetchOptions{
		UID: true, Flags: true, InternalDate: true, RFC822Size: true, Envelope: true, BodySection: []*goimap.FetchItemBodySection{body},
	}).Collect()
	must(err)
	if m := messages[0]; m.Envelope.Subject != "number 1" || string(m.FindBodySection(body)) != mail(1) || m.InternalDate.Unix() != 1e9 {
		t.Errorf("fetched %+v", m)
	}
	_, err = c.Store(goimap.UIDSetNum(1), &goimap.StoreFlags{Op: goimap.StoreFlagsAdd, Flags: []goimap.Flag{goimap.FlagFlagged, "$Later"}}, nil).Collect()
	must(err)
	copied, err := c.Copy(goimap.UIDSetNum(1), "Møte/2024").Wait()
	must(err)
	if copied.SourceUIDs.String() != "1" || copied.DestUIDs.String() != "1" {
		t.Errorf("copied %+v", copied)
	}

	idle, err := c.Idle()
	must(err)
	for len(arrived) > 0 {
		<-arrived
	}
	s.deliver("INBOX", mail(2))
	if n := <-arrived; n != 2 {
		t.Errorf("IDLE tells of %d messages", n)
	}
	must(idle.Close())
	must(idle.Wait())

	moved, err := c.Move(goimap.SeqSetNum(2), "Trash").Wait()
	must(err)
	if moved.DestUIDs.String() != "1" {
		t.Errorf("moved %+v", moved)
	}
	status, err := c.Status("Trash", &goimap.StatusOptions{NumMessages: true, Size: true, NumDeleted: true}).Wait()
	must(err)
	if *status.NumMessages != 1 || *status.Size != int64(len(mail(2))) {
		t.Errorf("status %+v", status)
	}
	must(c.UnselectAndExpunge().Wait())
	must(c.Rename("Møte/2024", "Møte/2025", nil).Wait())
	must(c.Delete("Møte/2025").Wait())
	must(c.Logout().Wait())
}
