package event

import "github.com/streampost/streampost/domain"

// DomainAdded makes a domain local. Name is in lower case, U-label form (RFC 5890).
type DomainAdded struct {
	Name string `json:"name"`
}

func (e *DomainAdded) fields(c *coder) { c.String(1, &e.Name) }

// DomainRemoved makes a domain foreign again. No address may be left in it.
type DomainRemoved struct {
	Name string `json:"name"`
}

func (e *DomainRemoved) fields(c *coder) { c.String(1, &e.Name) }

// AccountAdded registers an account under its first address, which is also its login name.
type AccountAdded struct {
	Account domain.AccountID `json:"account"`
	Address string           `json:"address"`
}

func (e *AccountAdded) fields(c *coder) {
	stringField(c, 1, &e.Account)
	c.String(2, &e.Address)
}

// AccountDisabled stops or again allows logins; mail is still accepted.
type AccountDisabled struct {
	Account  domain.AccountID `json:"account"`
	Disabled bool             `json:"disabled"`
}

func (e *AccountDisabled) fields(c *coder) {
	stringField(c, 1, &e.Account)
	c.Bool(2, &e.Disabled)
}

// AccountShared says whether the mailboxes of an account belong to a group rather than to a user, and so where others see them.
type AccountShared struct {
	Account domain.AccountID `json:"account"`
	Shared  bool             `json:"shared"`
}

func (e *AccountShared) fields(c *coder) {
	stringField(c, 1, &e.Account)
	c.Bool(2, &e.Shared)
}

// AccountErased removes an account with its addresses and credentials. Its key is destroyed, so its log and blobs can no longer be read.
type AccountErased struct {
	Account domain.AccountID `json:"account"`
}

func (e *AccountErased) fields(c *coder) { stringField(c, 1, &e.Account) }

// AddressAdded makes an address deliver to an account. It is normalised: lower-case domain in U-label form, lower-case local part.
type AddressAdded struct {
	Address string           `json:"address"`
	Account domain.AccountID `json:"account"`
}

func (e *AddressAdded) fields(c *coder) {
	c.String(1, &e.Address)
	stringField(c, 2, &e.Account)
}

// AddressRemoved frees an address.
type AddressRemoved struct {
	Address string `json:"address"`
}

func (e *AddressRemoved) fields(c *coder) { c.String(1, &e.Address) }

// PasswordChanged replaces an account's password verifiers. No password is ever stored.
type PasswordChanged struct {
	Account domain.AccountID `json:"account"`
	Hash    string           `json:"-"` // PHC string: Argon2id, or an imported bcrypt or PBKDF2 hash
	Scram   ScramKeys        `json:"-"`
}

func (e *PasswordChanged) fields(c *coder) {
	stringField(c, 1, &e.Account)
	c.String(2, &e.Hash)
	c.Message(3, e.Scram.Iterations != 0, e.Scram.fields)
}

// AppPasswordAdded gives an account one more password, for one program. It was drawn, not chosen, and nobody is told it again.
type AppPasswordAdded struct {
	Account   domain.AccountID `json:"account"`
	Name      string           `json:"name"`
	Hash      []byte           `json:"-"` // SHA-256 of at least 112 random bits
	Created   int64            `json:"created"`
	Expires   int64            `json:"expires,omitempty"`   // Unix seconds; 0: never
	Protocols []string         `json:"protocols,omitempty"` // that it opens; none: all
}

func (e *AppPasswordAdded) fields(c *coder) {
	stringField(c, 1, &e.Account)
	c.String(2, &e.Name)
	c.Blob(3, &e.Hash)
	c.Sint(4, &e.Created)
	c.Sint(5, &e.Expires)
	c.Strings(6, &e.Protocols)
}

// AppPasswordRemoved takes an app password away.
type AppPasswordRemoved struct {
	Account domain.AccountID `json:"account"`
	Name    string           `json:"name"`
}

func (e *AppPasswordRemoved) fields(c *coder) {
	stringField(c, 1, &e.Account)
	c.String(2, &e.Name)
}

// ScramKeys is what a SCRAM-SHA-256 server keeps (RFC 5802 section 3, RFC 7677). Iterations is 0 when the password came as a hash, from
// which these keys cannot be derived.
type ScramKeys struct {
	Iterations uint32
	Salt       []byte
	StoredKey  []byte
	ServerKey  []byte
}

func (k *ScramKeys) fields(c *coder) {
	uintField(c, 1, &k.Iterations)
	c.Blob(2, &k.Salt)
	c.Blob(3, &k.StoredKey)
	c.Blob(4, &k.ServerKey)
}
