package sorting

import (
	"cmp"
	"hash/fnv"
	"slices"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/collation"
	"github.com/streampost/streampost/domain/message"
	"github.com/streampost/streampost/domain/threading"
)

// maxText bounds the octets that are kept of one text.
const maxText = 256

// Table knows what puts messages of one account in order. Rows are added and never change. It is not for concurrent use.
type Table struct {
	rows    map[domain.EmailID]uint32
	columns [texts][]uint32 // numbers of texts
	sent    []int64         // unless undated
	undated []bool
	reply   []bool
	id      []uint32 // numbers of Message-IDs
	from    []uint32 // where the references of a row begin
	refs    []uint32

	texts interner
	ids   map[message.Reference]uint32
}

// NewTable makes an empty Table.
func NewTable() *Table {
	t := &Table{rows: map[domain.EmailID]uint32{}, ids: map[message.Reference]uint32{}}
	t.texts.numbers = map[string]uint32{}
	t.texts.number("") // is 0
	return t
}

// Has tells whether a message is there.
func (t *Table) Has(email domain.EmailID) bool {
	_, has := t.rows[email]
	return has
}

// Weight estimates the Table's octets.
func (t *Table) Weight() int64 {
	return 1024 + 96*int64(len(t.rows)) + 4*int64(len(t.refs)) + 32*int64(len(t.ids)) + 72*int64(len(t.texts.all)) + t.texts.octets
}

// Add takes what is needed of a message that is not there.
func (t *Table) Add(email domain.EmailID, s *message.Summary) {
	t.rows[email] = uint32(len(t.sent))
	e := &s.Envelope
	subject, reply := message.BaseSubject(e.Subject)
	for i, text := range [texts]string{mailboxOf(e.Cc), mailboxOf(e.From), subject, mailboxOf(e.To), shown(e.From), shown(e.To)} {
		t.columns[i] = append(t.columns[i], t.texts.number(short(collation.Casemap(text))))
	}
	t.sent = append(t.sent, s.SentAt)
	t.undated = append(t.undated, s.SentAt == 0)
	t.reply = append(t.reply, reply)
	t.id = append(t.id, t.idOf(message.ReferenceOf(e.MessageID)))
	t.from = append(t.from, uint32(len(t.refs)))
	for _, r := range s.References {
		t.refs = append(t.refs, t.idOf(r))
	}
	if len(s.References) == 0 { // RFC 5256 section 3, "REFERENCES": then the first valid id of In-Reply-To is the only reference.
		if r := message.ReferenceOf(e.InReplyTo); r != 0 {
			t.refs = append(t.refs, t.idOf(r))
		}
	}
}

func (t *Table) idOf(r message.Reference) uint32 {
	if r == 0 {
		return 0
	}
	n, known := t.ids[r]
	if !known {
		n = uint32(len(t.ids) + 1)
		t.ids[r] = n
	}
	return n
}

// sentOf is the sent date of a row (RFC 5256 section 2.2).
func (t *Table) sentOf(m *account.Message) int64 {
	if row := t.rows[m.Email]; !t.undated[row] {
		return t.sent[row]
	}
	return m.Internal
}

// Threading gives what package threading wants of rows, all of which are there. It stays valid when the Table grows.
func (t *Table) Threading(rows []account.Message) []threading.Message {
	all := make([]threading.Message, len(rows))
	for i := range rows {
		row := t.rows[rows[i].Email]
		end := len(t.refs)
		if int(row)+1 < len(t.from) {
			end = int(t.from[row+1])
		}
		all[i] = threading.Message{
			Sent: t.sentOf(&rows[i]), Subject: t.columns[textColumns[Subject]][row], Reply: t.reply[row], ID: t.id[row],
			References: t.refs[t.from[row]:end:end],
		}
	}
	return all
}

// mailboxOf is the mailbox of the first address (RFC 5256 section 3, keys CC, FROM and TO: addr-mailbox of the first address in the envelope).
func mailboxOf(list []message.Address) string {
	if len(list) == 0 {
		return ""
	}
	return list[0].Mailbox
}

// shown is what a reader sees of the first address: its name, or else its address (RFC 5957 section 3); of a group its name.
func shown(list []message.Address) string {
	if len(list) == 0 {
		return ""
	}
	switch a := list[0]; {
	case a.Name != "":
		return message.DecodeWords(a.Name)
	case a.Host == "":
		return message.DecodeWords(a.Mailbox)
	default:
		return a.Mailbox + "@" + a.Host
	}
}

// short bounds a text; different ones stay different.
func short(s string) string {
	if len(s) <= maxText {
		return s
	}
	h := fnv.New128a()
	h.Write([]byte(s))
	return string(h.Sum([]byte(s[:maxText-h.Size()])))
}

// interner gives equal texts one number.
type interner struct {
	numbers map[string]uint32
	all     []string
	octets  int64
	sorted  []uint32 // numbers of some of the texts, from the first on, in the order of the texts
	ranks   []uint32 // places in sorted, by number
}

func (x *interner) number(s string) uint32 {
	n, known := x.numbers[s]
	if !known {
		n = uint32(len(x.all))
		x.numbers[s] = n
		x.all = append(x.all, s)
		x.octets += int64(len(s))
	}
	return n
}

// order gives the ranks of all texts. Texts that came since the last time are sorted and merged in.
func (x *interner) order() []uint32 {
	old := len(x.sorted)
	if old == len(x.all) {
		return x.ranks
	}
	compare := func(a, b uint32) int { return cmp.Compare(x.all[a], x.all[b]) }
	fresh := make([]uint32, 0, len(x.all)-old)
	for n := old; n < len(x.all); n++ {
		fresh = append(fresh, uint32(n))
	}
	slices.SortFunc(fresh, compare)
	merged := make([]uint32, 0, len(x.all))
	for a, b := x.sorted, fresh; len(a)+len(b) > 0; {
		if len(b) == 0 || len(a) > 0 && compare(a[0], b[0]) < 0 {
			merged, a = append(merged, a[0]), a[1:]
		} else {
			merged, b = append(merged, b[0]), b[1:]
		}
	}
	x.sorted, x.ranks = merged, make([]uint32, len(merged))
	for rank, n := range merged {
		x.ranks[n] = uint32(rank)
	}
	return x.ranks
}
