package account

import (
	"unicode/utf8"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
)

// Primary is where an account's clients are sent to. It decides nothing about who may write: the log's append check does.
type Primary struct {
	Epoch uint64 // how often the account was promoted; 0 before the first time
	Node  string // empty before the first time
}

// The bounds of what a promotion says, in octets.
const (
	MaxNode   = 63
	MaxReason = 256
)

// Promote makes a node the account's primary.
type Promote struct {
	Node string
	// Expected is the epoch that the caller saw, so that of two who promote at the same time one is refused. nil takes any.
	Expected *uint64
	// From is the node that must still be the primary; empty takes any.
	From   string
	Reason string // for people
}

func (c Promote) decide(s *State) ([]event.Event, error) {
	switch {
	case c.Node == "" || len(c.Node) > MaxNode || !utf8.ValidString(c.Node):
		return nil, domain.Errorf(domain.Invalid, "a node has a name of 1 to %d octets", MaxNode)
	case len(c.Reason) > MaxReason || !utf8.ValidString(c.Reason):
		return nil, domain.Errorf(domain.Invalid, "the reason of a promotion has at most %d octets", MaxReason)
	case s.Primary.Node == c.Node:
		return nil, nil // whoever asks has what he wants, even if another was first
	case c.Expected != nil && *c.Expected != s.Primary.Epoch:
		return nil, domain.Errorf(domain.Conflict, "the account has been promoted to %s meanwhile: its epoch is %d and not %d", s.Primary.Node, s.Primary.Epoch, *c.Expected)
	case c.From != "" && c.From != s.Primary.Node:
		return nil, domain.Errorf(domain.Conflict, "the account's primary is %q and not %q", s.Primary.Node, c.From)
	}
	return []event.Event{&event.Promoted{Epoch: s.Primary.Epoch + 1, Node: c.Node, Reason: c.Reason}}, nil
}

// PrimaryDigest is what an account's primary adds to its digest; nothing before the first promotion.
func PrimaryDigest(p Primary) Digest {
	if p == (Primary{}) {
		return 0
	}
	return digest(digestPrimary, p.Epoch, text(p.Node))
}
