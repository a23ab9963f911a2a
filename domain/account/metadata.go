package account

import (
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
)

// Metadata is the annotations of a mailbox, or of an account as a whole, by entry (RFC 5464); nil without any.
type Metadata map[string]string

// MaxEntry bounds the name of an annotation in octets.
const MaxEntry = 512

// CanonicalEntry is the one spelling of an entry that is stored: its case does not matter (RFC 5464 section 3.1).
func CanonicalEntry(entry string) string { return strings.ToLower(entry) }

// CheckEntry says whether an entry may be given a value (RFC 5464 sections 3.1 and 3.2): it is private or shared, has two components or more, and
// four below "vendor".
func CheckEntry(entry string) error {
	if len(entry) > MaxEntry {
		return domain.Errorf(domain.TooLarge, "an entry has at most %d octets", MaxEntry)
	}
	for i := range len(entry) {
		if c := entry[i]; c < ' ' || c >= 0x7f || c == '*' || c == '%' {
			return domain.Errorf(domain.Invalid, "an entry is of ASCII and contains neither * nor %%")
		}
	}
	components := strings.Split(entry, "/")
	switch {
	case components[0] != "" || strings.Contains(entry, "//") || strings.HasSuffix(entry, "/"):
		return domain.Errorf(domain.Invalid, "an entry begins with / and has no empty component")
	case len(components) < 3 || components[1] != "private" && components[1] != "shared":
		return domain.Errorf(domain.Invalid, "an entry begins with /private/ or /shared/")
	case components[2] == "vendor" && len(components) < 5:
		return domain.Errorf(domain.Invalid, "an entry of a vendor has four components at least")
	}
	return nil
}

// Annotate sets or removes one annotation. Apply and loading from a view use it.
func (s *State) Annotate(mailbox domain.MailboxID, entry, value string, removed bool) {
	of := &s.Metadata
	if mailbox != 0 {
		of = &s.Mailboxes[mailbox].Metadata
	}
	if old, there := (*of)[entry]; there {
		s.MetadataOctets -= int64(len(entry) + len(old))
	}
	if removed {
		if delete(*of, entry); len(*of) == 0 {
			*of = nil
		}
		return
	}
	if *of == nil {
		*of = Metadata{}
	}
	(*of)[entry] = value
	s.MetadataOctets += int64(len(entry) + len(value))
}

func (m Metadata) octets() (n int64) {
	for entry, value := range m {
		n += int64(len(entry) + len(value))
	}
	return n
}

func (m Metadata) digest(mailbox domain.MailboxID) (d Digest) {
	for entry, value := range m {
		d += MetadataDigest(mailbox, entry, value)
	}
	return d
}

// MetadataDigest is what an annotation adds to its account's digest.
func MetadataDigest(mailbox domain.MailboxID, entry, value string) Digest {
	return digest(digestMetadata, uint64(mailbox), text(entry), text(value))
}

// MetadataLimits bounds the annotations of one account.
type MetadataLimits struct {
	Value   int   // octets of one value
	Entries int   // of a mailbox, or of the account as a whole
	Octets  int64 // of all entries and values of the account
}

// Why an annotation is refused, beside what its entry says.
var (
	ErrValueTooLarge   = domain.Errorf(domain.TooLarge, "the value is too large")
	ErrTooManyMetadata = domain.Errorf(domain.TooLarge, "there are too many annotations")
)

// SetMetadata is SETMETADATA (RFC 5464 section 4.3): all changes happen, or none.
type SetMetadata struct {
	Mailbox string // full name; empty for the account as a whole
	Changes []MetadataChange
	Limits  MetadataLimits
}

// MetadataChange sets an entry, or removes it when Value is nil.
type MetadataChange struct {
	Entry string
	Value *string
}

func (c SetMetadata) decide(s *State) ([]event.Event, error) {
	of, id := s.Metadata, domain.MailboxID(0)
	if c.Mailbox != "" {
		m, ok := s.Mailbox(c.Mailbox)
		if !ok {
			return nil, noMailbox(c.Mailbox)
		}
		of, id = m.Metadata, m.ID
	}
	var events []event.Event
	after := map[string]*string{} // what the changes so far come to, where it differs
	entries, octets := len(of), s.MetadataOctets
	for _, change := range c.Changes {
		entry := CanonicalEntry(change.Entry)
		if err := CheckEntry(entry); err != nil {
			return nil, err
		}
		if entry == SpecialUseEntry {
			if _, again := after[entry]; again {
				return nil, domain.Errorf(domain.Invalid, "a mailbox gets one special use at a time")
			}
			after[entry] = change.Value
			e, err := s.dedicate(id, change.Value)
			if err != nil {
				return nil, err
			}
			if e != nil {
				events = append(events, e)
			}
			continue
		}
		var old *string
		if value, there := of[entry]; there {
			old = &value
		}
		if value, changed := after[entry]; changed {
			old = value
		}
		if old != nil {
			entries--
			octets -= int64(len(entry) + len(*old))
		}
		e := &event.MetadataChanged{Mailbox: id, Entry: entry, Removed: change.Value == nil}
		if !e.Removed {
			if e.Value = *change.Value; len(e.Value) > c.Limits.Value {
				return nil, ErrValueTooLarge
			}
			entries++
			octets += int64(len(entry) + len(e.Value))
		}
		after[entry] = change.Value
		if old == nil && e.Removed || old != nil && !e.Removed && *old == e.Value {
			continue
		}
		events = append(events, e)
	}
	// What shrinks is allowed although a limit has been lowered meanwhile.
	if entries > max(c.Limits.Entries, len(of)) || octets > max(c.Limits.Octets, s.MetadataOctets) {
		return nil, ErrTooManyMetadata
	}
	return events, nil
}

// SpecialUseEntry is the entry that shows and sets a mailbox's special use (RFC 6154 section 4). It is not kept as an annotation.
const SpecialUseEntry = "/private/specialuse"

// ErrSpecialUse says that a mailbox cannot have a special use.
var ErrSpecialUse = domain.Errorf(domain.Invalid, "the mailbox cannot have this special use, or another one has it")

// dedicate gives a mailbox its special use, or takes it away.
func (s *State) dedicate(id domain.MailboxID, value *string) (event.Event, error) {
	m, ok := s.Mailboxes[id]
	if !ok {
		return nil, domain.Errorf(domain.Invalid, "the server has no special use")
	}
	use := ""
	if value != nil {
		use = strings.TrimSpace(*value)
	}
	use, err := specialUse(use)
	if err != nil {
		return nil, ErrSpecialUse
	}
	if other, taken := s.BySpecialUse(use); taken && other.ID != id {
		return nil, ErrSpecialUse
	}
	if use == m.SpecialUse {
		return nil, nil
	}
	return &event.SpecialUseChanged{Mailbox: id, SpecialUse: use}, nil
}
