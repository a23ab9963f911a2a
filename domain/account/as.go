package account

import (
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
)

// As is a command that somebody gives who does not own the account. Whether he may is decided on the state on which the command itself is decided, so no
// change of his rights comes between.
type As struct {
	Actor   domain.AccountID
	Command Command
}

// guarded is a command that others than the owner may give. permit says whether one may, and gives what he may do of it (RFC 4314 section 4).
type guarded interface {
	Command
	permit(s *State, who domain.AccountID) (Command, error)
}

func (c As) decide(s *State) ([]event.Event, error) {
	wish, ok := c.Command.(guarded)
	if !ok {
		return nil, domain.Errorf(domain.Denied, "only the owner of an account may do this")
	}
	permitted, err := wish.permit(s, c.Actor)
	if err != nil {
		return nil, err
	}
	events, err := permitted.decide(s)
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		if k, made := e.(*event.KeywordCreated); made && k.Number >= OthersKeywords {
			return nil, domain.Errorf(domain.TooLarge, "only the owner of an account gives it more than %d keywords", OthersKeywords)
		}
	}
	return events, nil
}

// OthersKeywords is how many keywords an account has at most when others than its owner make one. Keywords are numbered for ever, so the rest stays free for
// the owner.
const OthersKeywords = (event.MaxKeywords + 1) / 2

// ErrMayNotCreate refuses a name whatever is there, so that it tells nothing.
var ErrMayNotCreate = domain.Errorf(domain.Denied, "you may not create a mailbox of that name")

// mayCreateBelow tells whether somebody may make a mailbox of a name: "k" on the nearest one above it.
func (s *State) mayCreateBelow(name string, who domain.AccountID) error {
	if above := s.Above(CanonicalName(name)); above == nil || above.Rights(who)&MayCreate == 0 {
		return ErrMayNotCreate
	}
	return nil
}

func (c CreateMailbox) permit(s *State, who domain.AccountID) (Command, error) {
	if c.SpecialUse != "" {
		return nil, domain.Errorf(domain.Denied, "only the owner of an account gives its mailboxes a special use")
	}
	return c, s.mayCreateBelow(c.Name, who)
}

func (c DeleteMailbox) permit(s *State, who domain.AccountID) (Command, error) {
	_, err := s.Shared(c.Name, who, MayDelete)
	return c, err
}

func (c RenameMailbox) permit(s *State, who domain.AccountID) (Command, error) {
	m, err := s.Shared(c.From, who, MayDelete)
	switch {
	case err != nil:
		return nil, err
	case m.Name == Inbox: // which would move its messages and keep it.
		return nil, domain.Errorf(domain.Denied, "only the owner of an account renames its INBOX")
	}
	// RFC 4314 section 4 asks for "x" on what is renamed, and inferior mailboxes are renamed too. Those that one may not see are not there for him
	// (section 6): they stay, and nothing tells of them.
	c.leaves = map[domain.MailboxID]bool{}
	for _, inferior := range s.Sorted() {
		if !strings.HasPrefix(inferior.Name, m.Name+"/") {
			continue
		}
		switch err := inferior.admits(who, MayDelete); {
		case err == ErrNoMailbox:
			c.leaves[inferior.ID] = true
		case err != nil:
			return nil, domain.Errorf(domain.Denied, "you lack the right \"x\" on %q, which is below the mailbox", inferior.Name)
		}
	}
	return c, s.mayCreateBelow(c.To, who)
}

func (c AddMessage) permit(s *State, who domain.AccountID) (Command, error) {
	return AddMessages{c}.permit(s, who)
}

func (c AddMessages) permit(s *State, who domain.AccountID) (Command, error) {
	permitted := slices.Clone(c)
	for i := range permitted {
		m, err := s.Shared(c[i].Mailbox, who, MayInsert)
		if err != nil {
			return nil, err
		}
		permitted[i].Flags = m.Rights(who).mutable(c[i].Flags) // RFC 4314 section 4: without an error.
	}
	return permitted, nil
}

func (c Replace) permit(s *State, who domain.AccountID) (Command, error) {
	if _, err := s.sharedByID(c.From, who, MayRead|MayMark|MayExpunge); err != nil {
		return nil, err
	}
	with, err := AddMessages{c.With}.permit(s, who)
	if err != nil {
		return nil, err
	}
	c.With = with.(AddMessages)[0]
	return c, nil
}

// permit leaves those flags alone that one may not change, and refuses when that leaves nothing (RFC 4314 section 4).
func (c StoreFlags) permit(s *State, who domain.AccountID) (Command, error) {
	m, err := s.sharedByID(c.Mailbox, who, MayRead)
	if err != nil {
		return nil, err
	}
	rights := m.Rights(who)
	names := rights.mutable(c.Flags)
	switch {
	case c.Mode == ReplaceFlags && rights.Mutable() == 0, c.Mode != ReplaceFlags && len(names) == 0 && len(c.Flags) > 0:
		return nil, domain.Errorf(domain.Denied, "you may not change these flags")
	}
	c.Flags, c.except = names, rights.immutable()
	return c, nil
}

func (c Transfer) permit(s *State, who domain.AccountID) (Command, error) {
	needed := MayRead
	if c.Move { // RFC 6851 section 4.4
		needed |= MayMark | MayExpunge
	}
	if _, err := s.sharedByID(c.From, who, needed); err != nil {
		return nil, err
	}
	to, err := s.Shared(c.To, who, MayInsert)
	if err != nil {
		return nil, err
	}
	c.without = to.Rights(who).immutable()
	return c, nil
}

func (c Expunge) permit(s *State, who domain.AccountID) (Command, error) {
	needed := MayRead | MayExpunge
	if c.Any { // it does what marking and expunging would.
		needed |= MayMark
	}
	_, err := s.sharedByID(c.Mailbox, who, needed)
	return c, err
}

func (c SetRights) permit(s *State, who domain.AccountID) (Command, error) {
	_, err := s.Shared(c.Mailbox, who, MayAdminister)
	return c, err
}

// ErrPrivate says that an annotation is the owner's own.
var ErrPrivate = domain.Errorf(domain.Denied, "private annotations are the owner's")

func (c SetMetadata) permit(s *State, who domain.AccountID) (Command, error) {
	if c.Mailbox == "" {
		return nil, domain.Errorf(domain.Denied, "only the owner annotates an account")
	}
	if _, err := s.Shared(c.Mailbox, who, MayLookup|MayWrite); err != nil { // RFC 5464 section 3.3.
		return nil, err
	}
	if slices.ContainsFunc(c.Changes, func(change MetadataChange) bool { return !strings.HasPrefix(CanonicalEntry(change.Entry), "/shared/") }) {
		return nil, ErrPrivate
	}
	return c, nil
}
