package event

import "github.com/streampost/streampost/domain"

// MailboxCreated adds a mailbox. Name is the full path in UTF-8 with "/" between levels; the first mailbox of an account is INBOX.
type MailboxCreated struct {
	Mailbox     domain.MailboxID `json:"mailbox"`
	Name        string           `json:"name"`
	UIDValidity uint32           `json:"uidValidity"`
	SpecialUse  string           `json:"specialUse,omitempty"` // RFC 6154 attribute such as "\Sent", or empty
}

func (e *MailboxCreated) fields(c *coder) {
	uintField(c, 1, &e.Mailbox)
	c.String(2, &e.Name)
	uintField(c, 3, &e.UIDValidity)
	c.String(4, &e.SpecialUse)
}

// MailboxRenamed gives one mailbox a new full path. Renaming a tree is one event for each mailbox in it.
type MailboxRenamed struct {
	Mailbox domain.MailboxID `json:"mailbox"`
	Name    string           `json:"name"`
}

func (e *MailboxRenamed) fields(c *coder) {
	uintField(c, 1, &e.Mailbox)
	c.String(2, &e.Name)
}

// MailboxDeleted removes a mailbox with all that is in it; Delta is the (negative) sum of what it held.
type MailboxDeleted struct {
	Mailbox domain.MailboxID `json:"mailbox"`
	Delta   Delta            `json:"delta"`
}

func (e *MailboxDeleted) fields(c *coder) {
	uintField(c, 1, &e.Mailbox)
	c.Message(2, e.Delta != Delta{}, e.Delta.fields)
}

// SpecialUseChanged sets or, when empty, clears a mailbox's RFC 6154 attribute.
type SpecialUseChanged struct {
	Mailbox    domain.MailboxID `json:"mailbox"`
	SpecialUse string           `json:"specialUse"`
}

func (e *SpecialUseChanged) fields(c *coder) {
	uintField(c, 1, &e.Mailbox)
	c.String(2, &e.SpecialUse)
}

// SubscriptionChanged records interest in a name, which need not exist (RFC 9051 section 6.3.7).
type SubscriptionChanged struct {
	Name       string `json:"name"`
	Subscribed bool   `json:"subscribed"`
}

func (e *SubscriptionChanged) fields(c *coder) {
	c.String(1, &e.Name)
	c.Bool(2, &e.Subscribed)
}

// KeywordCreated gives a keyword its place among the account's flags. Number counts from 0 without gaps.
type KeywordCreated struct {
	Number uint32 `json:"number"`
	Name   string `json:"name"`
}

func (e *KeywordCreated) fields(c *coder) {
	uintField(c, 1, &e.Number)
	c.String(2, &e.Name)
}

// LimitsChanged sets the account's quota. Zero means no limit.
type LimitsChanged struct {
	Bytes    int64 `json:"bytes"`
	Messages int64 `json:"messages"`
}

func (e *LimitsChanged) fields(c *coder) {
	c.Sint(1, &e.Bytes)
	c.Sint(2, &e.Messages)
}
