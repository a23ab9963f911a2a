package event

// Promoted makes a node the account's primary: the one that clients are sent to. Epoch counts the account's promotions, dense from 1. Because it
// lies in the account's own log, no write that a node decided on before it can come after it.
type Promoted struct {
	Epoch  uint64 `json:"epoch"`
	Node   string `json:"node"`
	Reason string `json:"reason,omitempty"` // for people
}

func (e *Promoted) fields(c *coder) {
	uintField(c, 1, &e.Epoch)
	c.String(2, &e.Node)
	c.String(3, &e.Reason)
}
