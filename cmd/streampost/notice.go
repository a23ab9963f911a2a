package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

// notice tells administrators what has ended: in the server's log, by mail to local addresses, and by a request to a URL.
type notice struct {
	Event     string `json:"event"` // what happened, in words with hyphens
	Node      string `json:"node"`  // that says it
	Operation string `json:"operation,omitempty"`
	Failed    int    `json:"failed"` // of what was to be done
	Subject   string `json:"subject"`
	Text      string `json:"text"`
	Details   any    `json:"details,omitempty"`
}

// noticeTime bounds one request, and the delivery of one mail.
const noticeTime = 10 * time.Second

// notify tells administrators. What does not reach them is in the log: nothing waits for it and nothing fails by it.
func (c *core) notify(ctx context.Context, n notice) {
	n.Node = c.hostname()
	if c.nats != nil && c.nodes != nil {
		n.Node = c.nats.Name()
	}
	tell := c.log.Info
	if n.Failed > 0 {
		tell = c.log.Warn
	}
	tell(n.Subject, "event", n.Event, "operation", n.Operation, "failed", n.Failed, "text", n.Text)
	sent := func(way, to string, err error) {
		c.metrics.Noticed(way, err == nil)
		if err != nil {
			c.log.Error("administrators are not told", "event", n.Event, "operation", n.Operation, "way", way, "to", to, "error", err)
		}
	}
	for _, address := range c.cfg.Cluster.Notify.Mail {
		sent("mail", address, c.mailNotice(ctx, address, n))
	}
	if hook := c.cfg.Cluster.Notify.Webhook.Reveal(); hook != "" {
		sent("webhook", siteOf(hook), postNotice(ctx, hook, n))
	}
}

// siteOf is what a log may know of a webhook's URL: who knows the rest may post there.
func siteOf(hook string) string {
	u, err := url.Parse(hook)
	if err != nil {
		return "a URL that cannot be read"
	}
	return u.Scheme + "://" + u.Host
}

// noticeClient posts notices. It follows no redirect, because the notice is for the configured site and no other.
var noticeClient = &http.Client{
	Timeout:       noticeTime,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// postNotice sends a notice as JSON. Its errors do not tell the URL.
func postNotice(ctx context.Context, hook string, n notice) error {
	ctx, cancel := context.WithTimeout(ctx, noticeTime)
	defer cancel()
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, hook, bytes.NewReader(text))
	if err != nil {
		return errors.New("cluster.notify.webhook is not a URL") // the error would quote it
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := noticeClient.Do(req)
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
	switch {
	case resp.StatusCode >= 400:
		return fmt.Errorf("the answer is %s", resp.Status)
	case resp.StatusCode >= 300:
		return fmt.Errorf("the answer is %s, and redirects are not followed: configure the URL to which it leads", resp.Status)
	}
	return nil
}

// mailNotice puts a notice into the INBOX of a local address.
func (c *core) mailNotice(ctx context.Context, address string, n notice) error {
	ctx, cancel := context.WithTimeout(ctx, noticeTime)
	defer cancel()
	_, host, _ := strings.Cut(address, "@")
	if !c.directory.LocalDomain(host) {
		return domain.Errorf(domain.Invalid, "%s is not local, and this server sends no mail elsewhere", address)
	}
	id, _, err := c.directory.Resolve(ctx, address)
	if err != nil {
		return err
	}
	now := time.Now()
	stored, err := c.accounts.Ingest(ctx, bytes.NewReader(n.message(c.hostname(), address, now)))
	if err != nil {
		return err
	}
	thread, err := c.accounts.Thread(ctx, id, &stored.Summary)
	if err != nil {
		return err
	}
	_, err = c.accounts.Do(ctx, id, "notice", account.AddMessage{
		Mailbox: account.Inbox, Blob: stored.Blob, Summary: stored.Summary, Internal: now.Unix(), Now: now.Unix(), Thread: thread,
	})
	return err
}

// message makes a mail of a notice (RFC 5322). RFC 3834 section 5: it is marked as made by a program.
func (n *notice) message(host, to string, now time.Time) []byte {
	var b bytes.Buffer
	field := func(name, value string) { fmt.Fprintf(&b, "%s: %s\r\n", name, value) }
	field("From", "Streampost <postmaster@"+host+">")
	field("To", "<"+to+">")
	field("Subject", mime.QEncoding.Encode("utf-8", n.Subject+" ("+n.Node+")"))
	field("Date", now.Format(time.RFC1123Z))
	field("Message-ID", fmt.Sprintf("<%s.%d.%s@%s>", n.Event, now.UnixNano(), n.Operation, host))
	field("Auto-Submitted", "auto-generated")
	field("MIME-Version", "1.0")
	field("Content-Type", "text/plain; charset=utf-8")
	field("Content-Transfer-Encoding", "8bit")
	text := n.Text + "\n"
	if n.Operation != "" {
		text += "\nOperation " + n.Operation + "\n"
	}
	b.WriteString("\r\n" + strings.ReplaceAll(text, "\n", "\r\n"))
	return b.Bytes()
}
