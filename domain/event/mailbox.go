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
	Bytes     int64 `json:"bytes"`
	Messages  int64 `json:"messages"`
	Mailboxes int64 `json:"mailboxes,omitempty"`
}

func (e *LimitsChanged) fields(c *coder) {
	c.Sint(1, &e.Bytes)
	c.Sint(2, &e.Messages)
	c.Sint(3, &e.Mailboxes)
}

// MetadataChanged sets or removes one annotation (RFC 5464) of a mailbox, or of the account as a whole when Mailbox is 0. Entry is in lower case.
type MetadataChanged struct {
	Mailbox domain.MailboxID `json:"mailbox"`
	Entry   string           `json:"entry"`
	Value   string           `json:"value,omitempty"` // any octets
	Removed bool             `json:"removed,omitempty"`
}

func (e *MetadataChanged) fields(c *coder) {
	uintField(c, 1, &e.Mailbox)
	c.String(2, &e.Entry)
	c.String(3, &e.Value)
	c.Bool(4, &e.Removed)
}

// AccessKeysReset ends the validity of all URLs that were authorized for a mailbox (RFC 4467), or for all mailboxes when Mailbox is 0. Keys are no
// part of it: they derive from the account's key and the Tx of this event.
type AccessKeysReset struct {
	Mailbox domain.MailboxID `json:"mailbox,omitempty"`
}

func (e *AccessKeysReset) fields(c *coder) { uintField(c, 1, &e.Mailbox) }

// RightsChanged sets what one entry of a mailbox's access control list (RFC 4314) says, or removes it when Rights is empty. Identifier is the id of an
// account or "anyone", with "-" before it when the rights are taken away. Rights are letters of "lrswipkxtea", in this order.
type RightsChanged struct {
	Mailbox    domain.MailboxID `json:"mailbox"`
	Identifier string           `json:"identifier"`
	Rights     string           `json:"rights"`
}

func (e *RightsChanged) fields(c *coder) {
	uintField(c, 1, &e.Mailbox)
	c.String(2, &e.Identifier)
	c.String(3, &e.Rights)
}
