package streams

import (
	"context"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/streampost/streampost/domain"
)

// KeyFacts is what the stream KEYS holds, as far as it could be opened.
type KeyFacts struct {
	Stream  string         `json:"stream"`
	Records int            `json:"records"` // one for each account and each secret
	Erased  int            `json:"erased"`  // accounts among them whose key was destroyed
	Masters map[string]int `json:"masters"` // how many records each master key wraps, by its id in hexadecimal
}

// keys proves that every key is there whole: the last record of each name decodes, is wrapped by a master key at hand, and opens under its own
// name. Older versions, which an interrupted Erase or Rotate leaves behind, serve nobody and are passed over. names selects records; nil
// means all.
func (v *verifier) keys(ctx context.Context, names []string) error {
	k := v.log.keys
	v.report.Keys = &KeyFacts{Stream: k.name, Masters: map[string]int{}}
	if names == nil {
		marked := v.log.marked(k.name)
		info, err := v.log.info(ctx, k.handle)
		if err != nil {
			return err
		}
		if finding := lostEnd(info, marked); finding != nil {
			v.add(*finding)
		}
		all, err := k.names(ctx)
		if err != nil {
			return err
		}
		names = slices.Sorted(maps.Keys(all))
	}
	for _, name := range names {
		finding, err := v.key(ctx, name)
		if err != nil {
			return err
		}
		if finding != nil && !v.add(*finding) {
			return nil
		}
	}
	return nil
}

// key looks at one record.
func (v *verifier) key(ctx context.Context, name string) (*Finding, error) {
	k := v.log.keys
	f := &Finding{Stream: k.name}
	if id, found := strings.CutPrefix(name, accountRecord("")); found {
		f.Account = domain.AccountID(id)
	}
	m, err := ask(ctx, v.log.cfg.Limits.Request, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return k.handle.GetLastMsgForSubject(ctx, k.prefix+name)
	})
	var refused *jetstream.APIError
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		f.What = "key record " + name + " is missing"
		return f, nil
	case errors.As(err, &refused) && !passing(err):
		f.What = "key record " + name + " cannot be read: " + refused.Description
		return f, nil
	case err != nil:
		return nil, unavailable(err, "read "+k.prefix+name)
	}
	f.Seq = domain.Seq(m.Sequence)
	v.report.Keys.Records++
	r, _, err := v.log.cfg.Master.unwrap(name, m.Data)
	if err != nil {
		f.What = err.Error()
		return f, nil
	}
	v.report.Keys.Masters[hex.EncodeToString(m.Data[2:10])]++
	account := f.Account != ""
	switch {
	case r.kind == kindErased && account:
		v.report.Keys.Erased++
	case r.kind == kindAccount && account, r.kind == kindSecret && !account:
	default:
		f.What = "key record " + name + " is of kind " + string(rune(r.kind))
		return f, nil
	}
	return nil, nil
}
