package processing

import (
	"cmp"
	"maps"
	"strings"

	"github.com/streampost/streampost/domain/pipeline"
	"github.com/streampost/streampost/domain/queue"
)

// recipients are those of an effect: those of the entry as it has them, and those whose mappings are to be asked still. Where those of the entry's are, too, all are known.
func recipients(e *queue.Entry, f *pipeline.Effect) (known, fresh []queue.Recipient) {
	old := make(map[string]queue.Recipient, len(e.Recipients))
	for _, r := range e.Recipients {
		old[r.Address] = r
	}
	was := func(address string) (r queue.Recipient, is bool) { // or in whose place it came
		if r, is = old[address]; is {
			return r, true
		}
		if r, is = old[f.Mail.Origins[pipeline.Key(address)]]; is {
			r = heir(address, []queue.Recipient{r})
		}
		return r, is
	}
	var of []queue.Recipient // in whose place those of another message come
	for _, a := range f.For {
		if r, is := was(a); is {
			of = append(of, r)
		}
	}
	for _, to := range f.Mail.Recipients {
		r, there := was(to)
		_, is := old[to]
		switch {
		case f.Kind == pipeline.Send && len(of) > 0:
			r = heir(to, of)
		case f.Kind == pipeline.Send || !there:
			r = queue.Recipient{Address: to, Notify: f.Notify}
		}
		if e.Final && (f.Kind == pipeline.Send || !is) {
			fresh = append(fresh, r)
		} else {
			known = append(known, r)
		}
	}
	return known, fresh
}

// origins are those of a mail after an answer about it.
func origins(m *pipeline.Mail, rewrite map[string][]string) map[string]string {
	if len(rewrite) == 0 {
		return m.Origins
	}
	by := make(map[string][]string, len(rewrite))
	for old, to := range rewrite {
		by[pipeline.Key(old)] = to
	}
	all := maps.Clone(m.Origins)
	if all == nil {
		all = map[string]string{}
	}
	taken := map[string]bool{}
	for _, old := range m.Recipients {
		for _, to := range by[pipeline.Key(old)] {
			if k := pipeline.Key(to); !taken[k] && k != pipeline.Key(old) { // The first in whose place it comes counts.
				taken[k], all[k] = true, cmp.Or(m.Origins[pipeline.Key(old)], old)
			}
		}
	}
	return all
}

// heir comes in the place of recipients: what the sender has asked for goes on with the message, and so does the address as the sender knows it, where it is one (RFC 3461 section 5.2.7.1).
func heir(to string, of []queue.Recipient) queue.Recipient {
	if len(of) == 1 {
		r := of[0]
		if r.Original == "" && r.Address != to {
			kind := "rfc822;"
			if strings.ContainsFunc(r.Address, func(c rune) bool { return c > 127 }) {
				kind = "utf-8;" // RFC 6533 section 3.
			}
			r.Original = kind + r.Address
		}
		r.Address = to
		return r
	}
	var wants queue.Notify
	for _, r := range of {
		for _, event := range []queue.Notify{queue.OnSuccess, queue.OnFailure, queue.OnDelay} {
			if r.Notify.Wants(event) {
				wants |= event
			}
		}
	}
	if wants == 0 {
		wants = queue.Never
	}
	return queue.Recipient{Address: to, Notify: wants}
}
