package main

import (
	"context"
	"time"

	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/domain/srs"
)

// openForwarding draws the secret by which senders of what is sent on are rewritten, see package srs. It is one for all nodes.
func (c *core) openForwarding(ctx context.Context) error {
	secret, err := c.streams.Secret(ctx, "srs")
	c.srs = secret[:]
	if err != nil {
		return err
	}
	marks, err := c.streams.Secret(ctx, "batv")
	c.batv = marks[:]
	return err
}

// mark gives the sender whom other servers are told: one of a local domain with a mark, by which a report about the message is known (BATV).
func (c *core) mark(sender string) string {
	a, err := delivery.ParseAddress(sender)
	if err != nil || srs.Is(a.Local) || !c.directory.LocalDomain(a.Domain) {
		return sender
	}
	return c.batv.Mark(a, time.Now().Unix()).String()
}

// returnPath gives the sender of what is sent on for a recipient here.
func (c *core) returnPath(sender, recipient delivery.Address) delivery.Address {
	return c.srs.ReturnPath(sender, recipient, c.directory.LocalDomain, time.Now().Unix())
}

// origin gives the sender who is behind one that this installation has rewritten.
func (c *core) origin(sender delivery.Address) delivery.Address {
	if !srs.Is(sender.Local) || !c.directory.LocalDomain(sender.Domain) {
		return sender
	}
	if before, err := c.srs.Reverse(sender, time.Now().Unix()); err == nil {
		return before
	}
	return sender
}
