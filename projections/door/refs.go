package door

import (
	"context"
	"sync"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/event"
)

// blobRefs remembers where messages of one account lie that were delivered or read last, so that reading them needs no row and does not wait
// for one. An email's octets never change, so nothing here grows stale.
type blobRefs struct {
	mu   sync.Mutex
	refs map[domain.EmailID]domain.BlobRef
}

// maxBlobRefs is how many messages are remembered for each account, at about 100 octets each.
const maxBlobRefs = 1024

// maxRemembered is how many messages one request may ask of memory; larger ones read rows in bulk anyway.
const maxRemembered = 64

func (r *blobRefs) put(id domain.EmailID, ref domain.BlobRef) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refs == nil {
		r.refs = map[domain.EmailID]domain.BlobRef{}
	}
	if len(r.refs) >= maxBlobRefs {
		for victim := range r.refs { // Any will do: order of use costs more to keep than a row to read.
			delete(r.refs, victim)
			break
		}
	}
	r.refs[id] = ref
}

// settled is the ledger's news.
func (r *blobRefs) settled(events []event.Event) {
	for _, e := range events {
		if added := event.Arrival(e); added != nil {
			r.put(added.Email, added.Blob)
		}
	}
}

// find gives the messages of a set, in rising order of UID, if all that the mailbox has of it are remembered.
func (r *blobRefs) find(m *account.Mailbox, uids domain.UIDSet) ([]Email, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []Email
	for uid := range uids.All() {
		i, ok := m.Index(uid)
		if !ok {
			continue
		}
		ref, ok := r.refs[m.Email[i]]
		if !ok {
			return nil, false
		}
		found = append(found, Email{UID: uid, Email: m.Email[i], Blob: ref})
	}
	return found, true
}

// remembered answers a request for blobs alone from memory, if it can.
func (a *Accounts) remembered(ctx context.Context, h *hot, mailbox domain.MailboxID, uids domain.UIDSet, want Columns) (found []Email, ok bool, err error) {
	if want != WantBlob || uids.Len() > maxRemembered {
		return nil, false, nil
	}
	err = h.ledger.view(ctx, func(s *account.State) error {
		if m := s.Mailboxes[mailbox]; m != nil {
			found, ok = h.refs.find(m, uids)
		}
		return nil
	})
	return found, ok, err
}
