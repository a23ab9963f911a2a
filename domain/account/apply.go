package account

import (
	"fmt"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
)

// Apply folds one event of transaction tx. It panics on a fact that contradicts the state, since a log that decoded, whose chain holds and
// whose events came from Decide cannot hold one; the caller that folds foreign bytes recovers and reports the log as corrupt.
func (s *State) Apply(tx domain.Tx, e event.Event) {
	must(tx >= s.Tx, "Tx %d follows %d", tx, s.Tx)
	s.Tx = tx
	switch e := e.(type) {
	case *event.MailboxCreated:
		must(e.Mailbox >= s.NextMailbox, "mailbox %d is created again", e.Mailbox)
		must(s.names[e.Name] == 0, "mailbox %q is created again", e.Name)
		must(e.UIDValidity > s.LastUIDValidity, "UIDVALIDITY %d follows %d", e.UIDValidity, s.LastUIDValidity)
		m := &Mailbox{ID: e.Mailbox, SpecialUse: e.SpecialUse, UIDValidity: e.UIDValidity, UIDNext: 1, Created: tx, ModSeq: tx}
		s.Mailboxes[m.ID] = m
		s.name(m, e.Name)
		s.NextMailbox = m.ID + 1
		s.LastUIDValidity = m.UIDValidity
	case *event.MailboxRenamed:
		m := s.mailbox(e.Mailbox)
		s.unname(m)
		s.name(m, e.Name)
	case *event.MailboxDeleted:
		m := s.mailbox(e.Mailbox)
		s.MetadataOctets -= m.Metadata.octets()
		for who := range m.ACL {
			s.octets -= entryOctets(who)
		}
		s.unname(m)
		delete(s.Mailboxes, m.ID)
		s.Usage = s.Usage.Plus(e.Delta)
	case *event.SpecialUseChanged:
		s.mailbox(e.Mailbox).SpecialUse = e.SpecialUse
	case *event.SubscriptionChanged:
		s.Subscribe(e.Name, e.Subscribed)
	case *event.KeywordCreated:
		must(int(e.Number) == len(s.Keywords), "keyword %d follows %d others", e.Number, len(s.Keywords))
		s.Keywords = append(s.Keywords, e.Name)
	case *event.LimitsChanged:
		s.Limits = Limits{Bytes: e.Bytes, Messages: e.Messages, Mailboxes: e.Mailboxes}
	case *event.MetadataChanged:
		must(e.Mailbox == 0 || s.Mailboxes[e.Mailbox] != nil, "mailbox %d does not exist", e.Mailbox)
		s.Annotate(e.Mailbox, e.Entry, e.Value, e.Removed)
		if m := s.Mailboxes[e.Mailbox]; m != nil {
			m.ModSeq = tx // RFC 7162 section 3.2.
		}
	case *event.RightsChanged:
		rights, err := ParseRights(e.Rights)
		must(err == nil, "%v", err)
		s.Grant(e.Mailbox, Identifier(e.Identifier), rights)
	case *event.SieveScriptStored, *event.SieveScriptRenamed, *event.SieveScriptDeleted, *event.SieveScriptActivated, *event.MarkSet, *event.VacationSet:
		s.Scripts.Apply(e)
	case *event.AccessKeysReset:
		if e.Mailbox == 0 {
			s.AccessReset = tx
		} else {
			s.mailbox(e.Mailbox).AccessReset = tx
		}
	case *event.Promoted:
		must(e.Epoch == s.Primary.Epoch+1, "epoch %d follows %d", e.Epoch, s.Primary.Epoch)
		s.Primary = Primary{Epoch: e.Epoch, Node: e.Node}
	case *event.MessageAdded:
		must(e.Email >= s.NextEmail, "email %d is added again", e.Email)
		s.arrive(tx, e)
		s.NextEmail = e.Email + 1
	case *event.MessageRestored:
		must(e.Email < s.NextEmail, "email %d is restored and was never there", e.Email)
		s.arrive(tx, (*event.MessageAdded)(e))
	case *event.MessagesPurged:
		s.Purged = tx
	case *event.MessagesCopied:
		s.transfer(tx, e)
	case *event.MessagesMoved:
		s.transfer(tx, (*event.MessagesCopied)(e))
		from := s.mailbox(e.From)
		from.remove(e.UIDs) // transfer has seen that they are all there
		s.counted(from, tx, e.Delta.Negate())
	case *event.FlagsChanged:
		m := s.mailbox(e.Mailbox)
		changed := 0
		m.Each(e.UIDs, func(i int) {
			m.Digest -= FlagsDigest(m.UID[i], m.Flags[i], m.Modified[i])
			m.Flags[i] = m.Flags[i]&^e.Remove | e.Add
			m.Modified[i] = tx
			m.Digest += FlagsDigest(m.UID[i], m.Flags[i], m.Modified[i])
			changed++
		})
		m.mustHave(e.UIDs, changed)
		s.counted(m, tx, e.Delta)
	case *event.MessagesExpunged:
		m := s.mailbox(e.Mailbox)
		m.mustHave(e.UIDs, m.remove(e.UIDs))
		s.counted(m, tx, e.Delta)
	default:
		panic(fmt.Sprintf("%s is not an account's event", event.Name(e)))
	}
}

func (s *State) mailbox(id domain.MailboxID) *Mailbox {
	m, ok := s.Mailboxes[id]
	must(ok, "mailbox %d does not exist", id)
	return m
}

func must(holds bool, format string, args ...any) {
	if !holds {
		panic(fmt.Sprintf(format, args...))
	}
}

// mustHave panics unless the mailbox had all n messages of a set.
func (m *Mailbox) mustHave(set domain.UIDSet, n int) {
	must(n == set.Len(), "mailbox %d has %d of the %d messages %s", m.ID, n, set.Len(), set)
}

// counted books what a change did to a mailbox, and so to the account.
func (s *State) counted(m *Mailbox, tx domain.Tx, d event.Delta) {
	m.ModSeq = tx
	m.Counts = m.Counts.Plus(d)
	s.Usage = s.Usage.Plus(d)
}

// arrive puts a message into a mailbox.
func (s *State) arrive(tx domain.Tx, e *event.MessageAdded) {
	m := s.mailbox(e.Mailbox)
	must(e.UID >= m.UIDNext, "UID %d of mailbox %d is used again", e.UID, m.ID)
	row := Message{e.UID, tx, e.Flags, e.Blob.Size, e.Internal, e.Saved, e.Email, e.Thread}
	m.Append(row)
	m.Digest += row.Digest()
	m.UIDNext = e.UID + 1
	s.counted(m, tx, e.Delta())
}

// transfer copies rows; source and target may be the same mailbox (RFC 9051 section 6.4.7 does not forbid it).
func (s *State) transfer(tx domain.Tx, e *event.MessagesCopied) {
	from, to := s.mailbox(e.From), s.mailbox(e.To)
	var rows []Message
	from.Each(e.UIDs, func(i int) { rows = append(rows, from.At(i)) })
	from.mustHave(e.UIDs, len(rows))
	must(e.First >= to.UIDNext, "UID %d of mailbox %d is used again", e.First, to.ID)
	uid := e.First
	for _, r := range rows {
		r.UID, r.Modified, r.Saved = uid, tx, e.Saved
		to.Append(r)
		to.Digest += r.Digest()
		uid++
	}
	to.UIDNext = uid
	s.counted(to, tx, e.Delta)
}
