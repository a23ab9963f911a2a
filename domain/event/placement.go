package event

import "github.com/streampost/streampost/domain"

// ReplicaPlaced makes a node one where an account's replica is kept, or gives the replica there another priority.
type ReplicaPlaced struct {
	Account  domain.AccountID `json:"account"`
	Node     string           `json:"node"`
	Priority uint32           `json:"priority"` // the lowest is promoted first
}

func (e *ReplicaPlaced) fields(c *coder) {
	stringField(c, 1, &e.Account)
	c.String(2, &e.Node)
	uintField(c, 3, &e.Priority)
}

// ReplicaRemoved ends an account's replica on a node.
type ReplicaRemoved struct {
	Account domain.AccountID `json:"account"`
	Node    string           `json:"node"`
}

func (e *ReplicaRemoved) fields(c *coder) {
	stringField(c, 1, &e.Account)
	c.String(2, &e.Node)
}

// ReplicaPaused says whether an account's replica on a node stands still.
type ReplicaPaused struct {
	Account domain.AccountID `json:"account"`
	Node    string           `json:"node"`
	Paused  bool             `json:"paused"`
}

func (e *ReplicaPaused) fields(c *coder) {
	stringField(c, 1, &e.Account)
	c.String(2, &e.Node)
	c.Bool(3, &e.Paused)
}

// EnrolmentSet gives replicas to accounts that will be added. It replaces what was set for the same selector.
type EnrolmentSet struct {
	Selector     string        `json:"selector"`       // "all", "domain:" and a domain's name, or "name:" and a pattern for addresses
	Keep         uint32        `json:"keep,omitempty"` // how many of the destinations an account gets; 0: all of them, with their priorities
	Destinations []Destination `json:"destinations"`
}

func (e *EnrolmentSet) fields(c *coder) {
	c.String(1, &e.Selector)
	uintField(c, 2, &e.Keep)
	repeated(c, 3, &e.Destinations, destinationFields)
}

// Destination is a node with the priority of the replicas there.
type Destination struct {
	Node     string `json:"node"`
	Priority uint32 `json:"priority"`
}

func destinationFields(d *Destination) func(*coder) {
	return func(c *coder) {
		c.String(1, &d.Node)
		uintField(c, 2, &d.Priority)
	}
}

// EnrolmentRemoved gives accounts that will be added no more replicas because of a selector. Those that are there stay.
type EnrolmentRemoved struct {
	Selector string `json:"selector"`
}

func (e *EnrolmentRemoved) fields(c *coder) { c.String(1, &e.Selector) }
