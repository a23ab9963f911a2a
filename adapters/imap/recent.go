package imap

import (
	"sort"
	"sync"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
)

// maxWatermarks bounds the memory that \Recent costs.
const maxWatermarks = 100_000

// watermarks says for each mailbox up to which UID some session has been told of its messages: what lies above is \Recent for the session that
// is told first (RFC 3501 section 2.3.2). It is kept in memory only. A mailbox without a watermark is one that no session has opened since
// the server started; there, what arrived since then is recent.
type watermarks struct {
	mu    sync.Mutex
	since int64 // Unix seconds
	marks map[watermarkKey]domain.UID
}

type watermarkKey struct {
	account domain.AccountID
	mailbox domain.MailboxID
}

func newWatermarks(since int64) *watermarks {
	return &watermarks{since: since, marks: map[watermarkKey]domain.UID{}}
}

// above gives the UID above which a mailbox's messages are recent. It is called inside a View.
func (w *watermarks) above(id domain.AccountID, m *account.Mailbox) domain.UID {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.locked(id, m)
}

func (w *watermarks) locked(id domain.AccountID, m *account.Mailbox) domain.UID {
	if mark, known := w.marks[watermarkKey{id, m.ID}]; known {
		return mark
	}
	if i := sort.Search(len(m.Saved), func(i int) bool { return m.Saved[i] >= w.since }); i > 0 {
		return m.UID[i-1]
	}
	return 0
}

// claim makes the messages from above to last recent for the caller, except those that another session has claimed meanwhile. It gives the
// UID above which they are the caller's.
func (w *watermarks) claim(id domain.AccountID, mailbox domain.MailboxID, above, last domain.UID) domain.UID {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := watermarkKey{id, mailbox}
	above = max(above, w.marks[key])
	if last < above {
		return above
	}
	if _, known := w.marks[key]; !known && len(w.marks) >= maxWatermarks {
		for some := range w.marks {
			delete(w.marks, some)
			break
		}
	}
	w.marks[key] = last
	return above
}
