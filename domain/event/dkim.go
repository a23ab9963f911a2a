package event

// DKIMKeyAdded gives a domain a key to sign with (RFC 6376). It signs nothing until it is activated, so that its record can be published first.
type DKIMKeyAdded struct {
	Domain    string `json:"domain"`
	Selector  string `json:"selector"`
	Algorithm string `json:"algorithm"` // rsa or ed25519
	Private   []byte `json:"-"`         // PKCS #8
	Public    []byte `json:"public"`    // as its record has it: SubjectPublicKeyInfo of RSA (RFC 6376 section 3.6.1), the 32 octets of Ed25519 (RFC 8463 section 4)
	Created   int64  `json:"created"`   // Unix seconds
}

func (e *DKIMKeyAdded) fields(c *coder) {
	c.String(1, &e.Domain)
	c.String(2, &e.Selector)
	c.String(3, &e.Algorithm)
	c.Blob(4, &e.Private)
	c.Blob(5, &e.Public)
	c.Sint(6, &e.Created)
}

// DKIMKeyActivated has a key sign from now on.
type DKIMKeyActivated struct {
	Domain   string `json:"domain"`
	Selector string `json:"selector"`
	At       int64  `json:"at"` // Unix seconds
}

func (e *DKIMKeyActivated) fields(c *coder) {
	c.String(1, &e.Domain)
	c.String(2, &e.Selector)
	c.Sint(3, &e.At)
}

// DKIMKeyRetired has a key sign no longer. Its record has to stay for as long as there is mail on its way that it has signed.
type DKIMKeyRetired struct {
	Domain   string `json:"domain"`
	Selector string `json:"selector"`
	At       int64  `json:"at"` // Unix seconds
}

func (e *DKIMKeyRetired) fields(c *coder) {
	c.String(1, &e.Domain)
	c.String(2, &e.Selector)
	c.Sint(3, &e.At)
}

// DKIMKeyRemoved forgets a key.
type DKIMKeyRemoved struct {
	Domain   string `json:"domain"`
	Selector string `json:"selector"`
}

func (e *DKIMKeyRemoved) fields(c *coder) {
	c.String(1, &e.Domain)
	c.String(2, &e.Selector)
}
