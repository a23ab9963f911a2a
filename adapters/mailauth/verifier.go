package mailauth

import (
	"context"
	"slices"
	"sync"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/authres"
	"github.com/streampost/streampost/domain/dmarc"
)

// Verifier finds out who messages are from. Its methods may be called at once from many goroutines.
type Verifier struct{ cfg Config }

// New makes a Verifier. Errors: domain.Invalid.
func New(cfg Config) (*Verifier, error) {
	if cfg.Resolver == nil || cfg.ID == "" {
		return nil, domain.Errorf(domain.Invalid, "verifying mail needs a resolver and a name for the results")
	}
	cfg.setDefaults()
	return &Verifier{cfg}, nil
}

// Verify finds out what it can about a message, and says what shall become of it. It waits for name servers for Limits.Time, and reads the message once. It does not fail: what cannot be
// told is a result.
func (v *Verifier) Verify(ctx context.Context, a *authres.Arrival) *authres.Verdict {
	asking, cancel := context.WithTimeout(ctx, v.cfg.Limits.Time)
	defer cancel()
	domains, fault := v.authors(a.Header)
	policies := make([]published, len(domains))
	var from sent
	var signatures []signed
	var wg sync.WaitGroup
	wg.Go(func() { from = v.spf(asking, a) })
	wg.Go(func() { signatures = v.dkim(ctx, asking, a) })
	for i, name := range domains {
		wg.Go(func() { policies[i] = v.policy(asking, name) })
	}
	wg.Wait()

	methods := append(slices.Clone(a.Known), from.method)
	for _, s := range signatures {
		methods = append(methods, s.method)
	}
	applied := dmarc.None
	passes, unknown := fault == "", false
	sample := v.cfg.Sample()
	for i := range policies {
		m, policy := v.judge(&policies[i], from, signatures, sample)
		methods = append(methods, m)
		applied = dmarc.Strictest(applied, policy)
		passes = passes && m.Result == authres.Pass
		unknown = unknown || m.Result == authres.TempError
	}
	if fault != "" {
		applied = dmarc.Strictest(applied, dmarc.Quarantine)
		methods = append(methods, authres.Method{Name: "dmarc", Result: authres.PermError, Reason: fault})
	}
	verdict := &authres.Verdict{Top: authres.Field(v.cfg.ID, methods)}
	var removed int
	verdict.Header, removed = authres.Trusted(a.Header, v.cfg.ID)
	verdict.Action, verdict.Because = v.decide(applied, passes, unknown, from.method.Result)
	v.tell(a, methods, verdict, removed)
	return verdict
}

// decide applies this server's own policy.
func (v *Verifier) decide(applied dmarc.Policy, passes, unknown bool, spf authres.Result) (authres.Action, string) {
	p := v.cfg.Policy
	var action authres.Action
	because := "dmarc"
	switch applied {
	case dmarc.Reject:
		action = p.Reject
	case dmarc.Quarantine:
		action = p.Quarantine
	}
	if spf == authres.Fail && !passes && action != authres.Refuse && p.SPFFail != authres.Accept { // RFC 7489 section 6.7: a message that passes DMARC is not refused for SPF.
		action, because = p.SPFFail, "spf"
	}
	if action != authres.Refuse && p.TempError == authres.Later {
		if unknown {
			action, because = authres.Later, "dmarc"
		} else if spf == authres.TempError && !passes && p.SPFFail == authres.Refuse {
			action, because = authres.Later, "spf"
		}
	}
	if action == authres.Accept {
		because = ""
	}
	return action, because
}

// tell counts results and writes one line of log.
func (v *Verifier) tell(a *authres.Arrival, methods []authres.Method, verdict *authres.Verdict, removed int) {
	args := []any{"id", a.ID, "from", a.Sender.String(), "action", verdict.Action.String()}
	for _, m := range methods {
		if v.cfg.Count != nil {
			v.cfg.Count(m.Name, string(m.Result))
		}
		args = append(args, m.Name, string(m.Result))
	}
	if v.cfg.Decided != nil {
		v.cfg.Decided(verdict.Action.String())
	}
	if removed > 0 {
		args = append(args, "forged", removed)
	}
	v.cfg.Logger.Info("message verified", args...)
}
