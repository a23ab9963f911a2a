package directory

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/event"
)

// MaxReplicas bounds the replicas of one account.
const MaxReplicas = 16

// priorityStep lies between the priorities of replicas whose nodes are chosen here, so that others fit in between.
const priorityStep = 10

// Placement is one account's replica on one node.
type Placement struct {
	Node     string
	Priority uint32 // the lowest is promoted first
	Paused   bool
}

// place sets a replica, and keeps all in order of priority, those of one priority in order of node.
func (a *Account) place(node string, priority uint32) {
	p := Placement{Node: node, Priority: priority}
	if i := a.placed(node); i >= 0 {
		p.Paused = a.Placements[i].Paused
		a.Placements = slices.Delete(a.Placements, i, i+1)
	}
	i, _ := slices.BinarySearchFunc(a.Placements, p, func(x, y Placement) int {
		return cmp.Or(cmp.Compare(x.Priority, y.Priority), strings.Compare(x.Node, y.Node))
	})
	a.Placements = slices.Insert(a.Placements, i, p)
}

func (a *Account) placed(node string) int {
	return slices.IndexFunc(a.Placements, func(p Placement) bool { return p.Node == node })
}

// Placement finds an account's replica on a node.
func (a *Account) Placement(node string) (Placement, bool) {
	if i := a.placed(node); i >= 0 {
		return a.Placements[i], true
	}
	return Placement{}, false
}

// placement is where a replica must be, for Apply.
func (s *State) placement(id domain.AccountID, node string) (*Account, int) {
	a := s.account(id)
	i := a.placed(node)
	if i < 0 {
		panic(fmt.Sprintf("account %s has no replica on node %q", id, node))
	}
	return a, i
}

// Place keeps replicas of accounts on a node. One that is there gets the priority.
// Errors: domain.NotFound, domain.Erased, domain.Invalid for what is no node's name, domain.TooLarge.
type Place struct {
	Accounts []domain.AccountID
	Node     string
	Priority uint32
	Nodes    []string // that can be a destination
}

func (c Place) decide(s *State) ([]event.Event, error) {
	if err := destination(c.Node, c.Nodes); err != nil {
		return nil, err
	}
	var events []event.Event
	for _, id := range c.Accounts {
		a, err := s.find(id)
		if err != nil {
			return nil, err
		}
		p, placed := a.Placement(c.Node)
		switch {
		case placed && p.Priority == c.Priority:
			continue
		case !placed && len(a.Placements) >= MaxReplicas:
			return nil, domain.Errorf(domain.TooLarge, "%s has replicas on %d nodes, which is the most", a.Login(), MaxReplicas)
		}
		events = append(events, &event.ReplicaPlaced{Account: id, Node: c.Node, Priority: c.Priority})
	}
	return events, nil
}

// destination refuses what cannot be one, and says which can.
func destination(node string, nodes []string) error {
	if slices.Contains(nodes, node) {
		return nil
	}
	known := &domain.Error{Kind: domain.NotFound, Msg: fmt.Sprintf("there is no node %q that serves mail", node), Hint: "there are " + strings.Join(nodes, ", ")}
	if strings.ContainsAny(node, "*?,") {
		known.Kind, known.Msg = domain.Invalid, fmt.Sprintf("%q is no node's name: a destination is one node, without wildcards and lists", node)
	}
	return known
}

// Keep gives accounts as many replicas as are wanted, on the nodes with the fewest. It removes none.
// Errors: domain.NotFound, domain.Erased, domain.Invalid when there are fewer nodes.
type Keep struct {
	Accounts []domain.AccountID
	Replicas int
	Nodes    []string // that can be a destination
}

func (c Keep) decide(s *State) ([]event.Event, error) {
	if err := keep(c.Replicas, c.Nodes); err != nil {
		return nil, err
	}
	load := s.load()
	var events []event.Event
	for _, id := range c.Accounts {
		a, err := s.find(id)
		if err != nil {
			return nil, err
		}
		events = append(events, a.fill(c.Replicas, c.Nodes, load)...)
	}
	return events, nil
}

func keep(replicas int, nodes []string) error {
	switch {
	case replicas < 1 || replicas > MaxReplicas:
		return domain.Errorf(domain.Invalid, "an account has 1 to %d replicas, not %d", MaxReplicas, replicas)
	case replicas > len(nodes):
		return &domain.Error{
			Kind: domain.Invalid, Msg: fmt.Sprintf("%d replicas want as many nodes that serve mail, and there are %d", replicas, len(nodes)), Hint: "there are " + strings.Join(nodes, ", "),
		}
	}
	return nil
}

// load counts the replicas on each node.
func (s *State) load() map[string]int {
	load := map[string]int{}
	for _, a := range s.Accounts {
		for _, p := range a.Placements {
			load[p.Node]++
		}
	}
	return load
}

// fill chooses nodes for the replicas that an account lacks, and counts them in load.
func (a *Account) fill(replicas int, nodes []string, load map[string]int) (events []event.Event) {
	nodes = slices.DeleteFunc(slices.Clone(nodes), func(node string) bool { return a.placed(node) >= 0 })
	slices.SortFunc(nodes, func(x, y string) int { return cmp.Or(cmp.Compare(load[x], load[y]), strings.Compare(x, y)) })
	next := uint32(priorityStep)
	if n := len(a.Placements); n > 0 {
		next = after(a.Placements[n-1].Priority)
	}
	for _, node := range nodes[:min(max(0, replicas-len(a.Placements)), len(nodes))] {
		events = append(events, &event.ReplicaPlaced{Account: a.ID, Node: node, Priority: next})
		load[node]++
		next = after(next)
	}
	return events
}

// after is the next priority, or the same where there is none.
func after(priority uint32) uint32 { return priority + min(priorityStep, math.MaxUint32-priority) }

// Unplace ends replicas of accounts on a node, which may be gone. Errors: domain.NotFound, domain.Erased, also when one has no replica there.
type Unplace struct {
	Accounts []domain.AccountID
	Node     string
}

func (c Unplace) decide(s *State) ([]event.Event, error) {
	var events []event.Event
	for _, id := range c.Accounts {
		a, err := s.find(id)
		if err != nil {
			return nil, err
		}
		if a.placed(c.Node) < 0 {
			return nil, domain.Errorf(domain.NotFound, "%s has no replica on node %q", a.Login(), c.Node)
		}
		events = append(events, &event.ReplicaRemoved{Account: id, Node: c.Node})
	}
	return events, nil
}

// Pause stops or resumes replicas of accounts: on one node, or on all where they have one. What is as wanted stays.
// Errors: domain.NotFound, domain.Erased, also when one has no such replica.
type Pause struct {
	Accounts []domain.AccountID
	Node     string // empty: all
	Paused   bool
}

func (c Pause) decide(s *State) ([]event.Event, error) {
	var events []event.Event
	for _, id := range c.Accounts {
		a, err := s.find(id)
		if err != nil {
			return nil, err
		}
		found := false
		for _, p := range a.Placements {
			if c.Node != "" && p.Node != c.Node {
				continue
			}
			if found = true; p.Paused != c.Paused {
				events = append(events, &event.ReplicaPaused{Account: id, Node: p.Node, Paused: c.Paused})
			}
		}
		switch {
		case !found && c.Node != "":
			return nil, domain.Errorf(domain.NotFound, "%s has no replica on node %q", a.Login(), c.Node)
		case !found:
			return nil, domain.Errorf(domain.NotFound, "%s has no replica", a.Login())
		}
	}
	return events, nil
}

// Destinations lists the nodes on which some account has a replica, or would get one when it is added.
func (s *State) Destinations() []string {
	all := map[string]bool{}
	for node := range s.load() {
		all[node] = true
	}
	for _, e := range s.Enrolments {
		for _, d := range e.Destinations {
			all[d.Node] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}
