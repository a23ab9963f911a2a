package extracts

import (
	"context"
	"encoding/json"

	"github.com/streampost/streampost/domain"
)

// portion is how many waiting messages are listed at a time.
const portion = 32

// job is a message whose attachments wait.
type job struct {
	doc     int64
	account domain.AccountID
	email   domain.EmailID
	blob    domain.BlobRef
	parts   []part
	tries   int64
}

// due lists some of those whose time has come.
func (w *Worker) due(ctx context.Context, stream string) (all []job, err error) {
	r, err := w.Rows.Reader(stream, Name)
	if domain.Is(err, domain.NotFound) { // no accounts in there
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	rows, err := r.Query(ctx, `select x.doc, a.account, a.email, a.blob_id, a.blob_key, a.size, a.parts, x.tries from extracts x join attachments a on a.doc = x.doc
		where x.state = 0 and x.due <= $1 order by x.due, x.doc limit $2`, w.Now().Unix(), int64(portion))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var j job
		var id, key, parts []byte
		if err := rows.Scan(&j.doc, &j.account, &j.email, &id, &key, &j.blob.Size, &parts, &j.tries); err != nil {
			return nil, err
		}
		copy(j.blob.ID[:], id)
		copy(j.blob.Key[:], key)
		if err := json.Unmarshal(parts, &j.parts); err != nil {
			j.parts = nil // The view is damaged; comparing it finds that.
		}
		all = append(all, j)
	}
	return all, rows.Err()
}

// count keeps how many messages wait, those whose time has not come included.
func (w *Worker) count(ctx context.Context) error {
	all := int64(0)
	for _, stream := range w.Streams {
		r, err := w.Rows.Reader(stream, Name)
		if domain.Is(err, domain.NotFound) {
			continue
		} else if err != nil {
			return err
		}
		n, _, err := one[int64](ctx, r, `select count(*) from extracts where state = 0`)
		if err != nil {
			return err
		}
		all += n
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting = all
	if all == 0 { // Nobody asks it, so nobody would notice that it is back.
		w.tell(nil)
	}
	return nil
}
