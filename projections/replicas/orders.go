package replicas

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/directory"
	"github.com/streampost/streampost/domain/event"
	"github.com/streampost/streampost/projections/door"
)

// Order says which accounts' replicas are to be changed.
type Order struct {
	directory.Selection
	// Destination is the node that it is about. Keep and Pause can do without.
	Destination string
	Priority    uint32
	// Keep is how many replicas each account is to have, on nodes that are chosen, instead of one on Destination.
	Keep int
	// New means accounts as well that will be added.
	New bool
	// Partial does what can be done, and tells what cannot, instead of doing nothing.
	Partial bool
}

// Failure is an account that something could not be done for, or a name that is no account's.
type Failure struct {
	Account domain.AccountID `json:"accountId,omitempty"`
	Name    string           `json:"accountName"`
	Error   string           `json:"error"`
}

// Outcome is what an order did.
type Outcome struct {
	Accounts  []domain.AccountID // that are as was wanted
	Nodes     []string           // that their replicas concern
	Selectors []string           // of accounts to be added
	Failed    []Failure
}

// Set gives accounts replicas, or other priorities. Errors: domain.Invalid, domain.NotFound, domain.TooLarge, before anything was done; domain.Unavailable.
// Nodes are chosen among those that answer.
func (r *Replicas) Set(ctx context.Context, actor string, o Order) (done Outcome, err error) {
	nodes, err := r.destinations(ctx, o.Destination)
	if err != nil {
		return done, err
	}
	command := func(ids []domain.AccountID) directory.Command {
		if o.Keep != 0 {
			return directory.Keep{Accounts: ids, Replicas: o.Keep, Nodes: nodes}
		}
		return directory.Place{Accounts: ids, Node: o.Destination, Priority: o.Priority, Nodes: nodes}
	}
	if err := r.cfg.Directory.Try(ctx, command(nil)); err != nil {
		return done, err
	}
	selectors, err := o.selectors()
	if err != nil {
		return done, err
	}
	enrol := func(selector string) directory.Command {
		return directory.Enrol{Selector: selector, Node: o.Destination, Priority: o.Priority, Keep: o.Keep, Nodes: nodes}
	}
	for _, selector := range selectors {
		if err := r.cfg.Directory.Try(ctx, enrol(selector)); err != nil {
			return done, err
		}
	}
	chosen, err := r.choose(ctx, o, &done)
	if err != nil {
		return done, err
	}
	if err := r.try(ctx, o, command, chosen); err != nil {
		return done, err
	}
	for _, selector := range selectors { // they come first, so that an account which is added meanwhile has its replicas by one of the two
		if err := r.cfg.Directory.ChangeEnrolments(ctx, actor, enrol(selector)); err != nil {
			return done, err
		}
	}
	done.Selectors, done.Nodes = selectors, []string{o.Destination}
	r.carryOut(ctx, actor, command, chosen, &done)
	if o.Keep != 0 {
		done.Nodes = nodes
	}
	return done, nil
}

// Remove ends replicas of accounts on a node, which may be gone. Errors as of Set.
func (r *Replicas) Remove(ctx context.Context, actor string, o Order) (done Outcome, err error) {
	if err := r.hasDestination(ctx, o.Destination); err != nil {
		return done, err
	}
	selectors, err := r.dismissed(ctx, o)
	if err != nil {
		return done, err
	}
	dismiss := func(selector string) directory.Command {
		return directory.Dismiss{Selector: selector, Node: o.Destination}
	}
	for _, selector := range selectors {
		if err := r.cfg.Directory.Try(ctx, dismiss(selector)); err != nil {
			return done, err
		}
	}
	command := func(ids []domain.AccountID) directory.Command {
		return directory.Unplace{Accounts: ids, Node: o.Destination}
	}
	chosen, err := r.choosePlaced(ctx, o, &done)
	if err == nil {
		err = r.try(ctx, o, command, chosen)
	}
	if err != nil {
		return done, err
	}
	for _, selector := range selectors {
		if err := r.cfg.Directory.ChangeEnrolments(ctx, actor, dismiss(selector)); err != nil {
			return done, err
		}
	}
	done.Selectors, done.Nodes = selectors, []string{o.Destination}
	r.carryOut(ctx, actor, command, chosen, &done)
	return done, nil
}

// Pause stops or resumes replicas of accounts, all of them or those on Destination. Errors as of Set.
func (r *Replicas) Pause(ctx context.Context, actor string, o Order, paused bool) (done Outcome, err error) {
	if o.Destination != "" {
		if err := r.hasDestination(ctx, o.Destination); err != nil {
			return done, err
		}
		done.Nodes = []string{o.Destination}
	}
	command := func(ids []domain.AccountID) directory.Command {
		return directory.Pause{Accounts: ids, Node: o.Destination, Paused: paused}
	}
	chosen, err := r.choosePlaced(ctx, o, &done)
	if err == nil {
		err = r.try(ctx, o, command, chosen)
	}
	if err != nil {
		return done, err
	}
	r.carryOut(ctx, actor, command, chosen, &done)
	return done, nil
}

// selectors are those of accounts to be added.
func (o *Order) selectors() (all []string, err error) {
	if !o.New {
		return nil, nil
	}
	if o.All {
		all = append(all, directory.SelectAll)
	}
	for _, name := range o.Domains {
		all = append(all, directory.DomainSelector(name))
	}
	for _, name := range o.Names {
		if !directory.Wild(name) {
			return nil, domain.Errorf(domain.Invalid, "%s is one account: accounts to be added are meant by a domain, a pattern, or all", name)
		}
		all = append(all, directory.NameSelector(name))
	}
	return all, nil
}

// dismissed are the selectors of accounts to be added that shall get no replica on Destination any more: every one that gives them one there, when all are meant.
func (r *Replicas) dismissed(ctx context.Context, o Order) (all []string, err error) {
	if !o.New || !o.All {
		return o.selectors()
	}
	enrolments, err := r.cfg.Directory.Enrolments(ctx)
	for selector, e := range enrolments {
		if slices.ContainsFunc(e.Destinations, func(d event.Destination) bool { return d.Node == o.Destination }) {
			all = append(all, selector)
		}
	}
	slices.Sort(all)
	return all, err
}

// choose finds the accounts of an order. Names that are none refuse it, unless it may be carried out in part.
func (r *Replicas) choose(ctx context.Context, o Order, done *Outcome) ([]door.Placed, error) {
	chosen, problems, err := r.cfg.Directory.Placed(ctx, o.Selection)
	if err != nil {
		return nil, err
	}
	if o.New { // there need not be any yet
		problems = slices.DeleteFunc(problems, func(p directory.Problem) bool { return domain.Is(p.Err, domain.NotFound) })
	}
	if len(problems) > 0 && !o.Partial {
		return nil, refusal(problems)
	}
	for _, p := range problems {
		done.Failed = append(done.Failed, Failure{Name: p.Name, Error: p.Err.Error()})
	}
	return chosen, nil
}

// choosePlaced is choose without accounts that have no replica such as the order is about, unless they are named one by one.
func (r *Replicas) choosePlaced(ctx context.Context, o Order, done *Outcome) ([]door.Placed, error) {
	chosen, err := r.choose(ctx, o, done)
	if err != nil {
		return nil, err
	}
	named := !o.All && len(o.Domains) == 0 && !slices.ContainsFunc(o.Names, directory.Wild)
	if named {
		return chosen, nil
	}
	chosen = slices.DeleteFunc(chosen, func(a door.Placed) bool {
		return !slices.ContainsFunc(a.Placements, func(p directory.Placement) bool { return o.Destination == "" || p.Node == o.Destination })
	})
	if len(chosen) == 0 && !o.New {
		return nil, domain.Errorf(domain.NotFound, "no such account has a replica%s", onNode(o.Destination))
	}
	return chosen, nil
}

func onNode(node string) string {
	if node == "" {
		return ""
	}
	return " on node " + node
}

// shownProblems bounds the names in one error.
const shownProblems = 10

// refusal tells all that is wrong with names, or as much as one reads.
func refusal(problems []directory.Problem) error {
	var texts []string
	for _, p := range problems[:min(len(problems), shownProblems)] {
		texts = append(texts, p.Err.Error())
	}
	if more := len(problems) - shownProblems; more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return &domain.Error{
		Kind: domain.KindOf(problems[0].Err), Msg: "nothing was done: " + strings.Join(texts, "; "), Hint: "correct the names, or do it for the others with --partial",
	}
}

// try refuses what can be foreseen to fail, unless it may be done in part.
func (r *Replicas) try(ctx context.Context, o Order, command func([]domain.AccountID) directory.Command, chosen []door.Placed) error {
	if o.Partial {
		return nil
	}
	return r.cfg.Directory.Try(ctx, command(idsOf(chosen)))
}

func idsOf(placed []door.Placed) []domain.AccountID {
	ids := make([]domain.AccountID, 0, len(placed))
	for _, a := range placed {
		ids = append(ids, a.ID)
	}
	return ids
}

// carryOut changes the replicas of the chosen accounts.
func (r *Replicas) carryOut(ctx context.Context, actor string, command func([]domain.AccountID) directory.Command, chosen []door.Placed, done *Outcome) {
	failed := r.cfg.Directory.ChangePlacements(ctx, actor, idsOf(chosen), command)
	for _, a := range chosen {
		if err := failed[a.ID]; err != nil {
			done.Failed = append(done.Failed, Failure{a.ID, a.Login, err.Error()})
		} else {
			done.Accounts = append(done.Accounts, a.ID)
		}
	}
}

// hasDestination refuses a node that neither is there nor has replicas.
func (r *Replicas) hasDestination(ctx context.Context, node string) error {
	nodes, err := r.cfg.Directory.Destinations(ctx)
	if err != nil {
		return err
	}
	all, _ := r.cfg.Members()
	for _, member := range all {
		if !slices.Contains(nodes, member) {
			nodes = append(nodes, member)
		}
	}
	return r.cfg.Directory.Try(ctx, directory.Place{Node: node, Nodes: nodes})
}

// Enrolments tells which replicas accounts get that are added, by selector.
func (r *Replicas) Enrolments(ctx context.Context) (map[string]directory.Enrolment, error) {
	return r.cfg.Directory.Enrolments(ctx)
}
