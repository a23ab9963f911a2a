package gate

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/admission"
	"github.com/streampost/streampost/domain/authres"
)

// Memory keeps what greylisting remembers, for all nodes. Errors: domain.Unavailable.
type Memory interface {
	Load(ctx context.Context, name string) ([]byte, error) // nil: there is no such entry
	Save(ctx context.Context, name string, value []byte, keep time.Duration) error
}

// Greylist puts off senders of whom nobody has heard (RFC 6647).
type Greylist struct {
	admission.Greylisting
	Memory Memory
	// Allows tells what SPF says of mail of a domain from an address: who passes is not put off. nil: nobody is asked.
	Allows func(ctx context.Context, host string, address netip.Addr) authres.Result
	// Told is told what became of each recipient; nil counts nothing.
	Told func(outcome string)
}

// greylisted puts a recipient off whose sender is new, at least for a while. What is not known, since the memory cannot be read or written, puts nobody off.
func (g *Gate) greylisted(ctx context.Context, e *admission.Envelope) *admission.Refusal {
	list := g.cfg.Greylist
	if list == nil || e.Opinion != nil && e.Opinion.Known {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Limits.Time)
	defer cancel()
	if e.Asked == nil {
		e.Asked = &admission.Asked{}
	}
	outcome, wait, err := g.consult(ctx, list, e)
	if err != nil {
		outcome = "failed"
		g.cfg.Logger.Warn("greylisting cannot remember: nobody is put off", "error", err)
	}
	if list.Told != nil {
		list.Told(outcome)
	}
	if outcome != "waiting" {
		return nil
	}
	return &admission.Refusal{Code: 451, Enhanced: [3]int{4, 7, 1}, Text: fmt.Sprintf("Greylisted: nobody here knows this sender yet, come again in %s", inMinutes(wait)), Why: "greylist"}
}

// consult says what becomes of a recipient, and remembers it.
func (g *Gate) consult(ctx context.Context, list *Greylist, e *admission.Envelope) (outcome string, wait time.Duration, err error) {
	defer func() { e.Asked.Forgetful = e.Asked.Forgetful || err != nil }()
	if e.Asked.Forgetful { // A memory that hangs costs the time of one recipient, and not of all.
		return "", 0, domain.Errorf(domain.Unavailable, "the memory failed before, for another recipient of the message")
	}
	now, subnet := g.cfg.Now(), string(admission.Subnet(e.Client.Address))
	network, triple := "network\x00"+subnet, strings.Join([]string{"triple", subnet, series(e.Sender), e.Recipient}, "\x00")
	of, err := list.load(ctx, network)
	if err != nil {
		return "", 0, err
	}
	state, pass, keep := list.Network(now, of, false)
	if pass {
		return "network", 0, list.save(ctx, network, &state, keep)
	}
	old, err := list.load(ctx, triple)
	if err != nil {
		return "", 0, err
	}
	state, v := list.Triple(now, old)
	switch {
	case v.Pass && v.Proved:
		if !e.Asked.Proved { // one message proves no more to five recipients than to one
			proved, _, keep := list.Network(now, of, true)
			if err := list.save(ctx, network, &proved, keep); err != nil {
				return "", 0, err
			}
			e.Asked.Proved = true
		}
		return "returned", 0, list.save(ctx, triple, &state, v.Keep)
	case v.Pass:
		return "known", 0, list.save(ctx, triple, &state, v.Keep)
	case list.vouched(ctx, e, g.cfg.Limits.Time/2): // The rest of the time is that of the memory: who keeps name servers that do not answer is put off, too.
		return "spf", 0, nil
	}
	return "waiting", v.Wait, list.save(ctx, triple, &state, v.Keep)
}

func (l *Greylist) load(ctx context.Context, name string) (*admission.Grey, error) {
	b, err := l.Memory.Load(ctx, name)
	return admission.ReadGrey(b), err
}

func (l *Greylist) save(ctx context.Context, name string, state *admission.Grey, keep time.Duration) error {
	if keep == 0 {
		return nil
	}
	return l.Memory.Save(ctx, name, state.Bytes(), keep)
}

// vouched tells whether SPF says within a time that the client may send for the sender's domain. It is asked once for each message, however many recipients that has.
func (l *Greylist) vouched(ctx context.Context, e *admission.Envelope, most time.Duration) bool {
	if l.Allows == nil {
		return false
	}
	if e.Asked.SPF == "" {
		ctx, cancel := context.WithTimeout(ctx, most)
		defer cancel()
		address, _ := netip.AddrFromSlice(e.Client.Address)
		host := e.Client.Helo // RFC 7208 section 2.4: of reports it is the name that the client gave itself.
		if at := strings.LastIndexByte(e.Sender, '@'); at >= 0 {
			host = e.Sender[at+1:]
		}
		e.Asked.SPF = l.Allows(ctx, host, address)
	}
	return e.Asked.SPF == authres.Pass
}

// series is a sender without what lists and shops change from message to message: what follows + or =, and digits of the local part.
func series(sender string) string {
	at := strings.LastIndexByte(sender, '@')
	if at < 0 {
		return sender
	}
	local := sender[:at]
	if i := strings.IndexAny(local, "+="); i > 0 {
		local = local[:i]
	}
	var b strings.Builder
	for i := range len(local) {
		if digit := '0' <= local[i] && local[i] <= '9'; !digit {
			b.WriteByte(local[i])
		} else if i == 0 || local[i-1] < '0' || local[i-1] > '9' {
			b.WriteByte('#')
		}
	}
	return b.String() + sender[at:]
}
