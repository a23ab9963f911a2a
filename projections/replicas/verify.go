package replicas

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/account"
	"github.com/streampost/streampost/domain/directory"
	"github.com/streampost/streampost/projections"
	"github.com/streampost/streampost/projections/door"
)

// Difference is a digest that nodes have otherwise at one transaction of an account.
type Difference struct {
	Account domain.AccountID          `json:"accountId"`
	Name    string                    `json:"accountName"`
	Tx      domain.Tx                 `json:"tx"`
	Mailbox domain.MailboxID          `json:"mailbox,omitempty"` // 0: the account beside the messages of its mailboxes
	Digests map[string]account.Digest `json:"digests"`           // by node; one that lacks the mailbox has none
}

// Verified is the sum of a comparison.
type Verified struct {
	Nodes     []string `json:"nodes"`
	Missing   []string `json:"missing"` // members that were not compared because they did not answer, but for those known to be witnesses
	Accounts  int      `json:"accounts"`
	Mailboxes int      `json:"mailboxes"`
	Differ    int      `json:"differ"` // accounts
	// Open are accounts that changed so fast, or whose rows are so far behind on a node or cannot be read there, that the nodes were not seen at one transaction.
	Open []string `json:"open"`
}

// Verify compares the digests of every mailbox of accounts on nodes, on all that have rows when none is named, at one transaction of each account. Nothing
// but the digests beside the rows is read; rows that do not agree with those are found by counting them, see projections.Runner.Count.
// Errors: domain.NotFound for a node that there is not, domain.Unavailable when one of them does not answer, domain.Invalid for less than two.
func (r *Replicas) Verify(ctx context.Context, sel directory.Selection, nodes []string, different func(Difference), progress func(done, total int)) (sum Verified, err error) {
	placed, problems, err := r.cfg.Directory.Placed(ctx, sel)
	switch {
	case err != nil:
		return sum, err
	case len(problems) > 0:
		return sum, refusal(problems)
	}
	if sum.Nodes, sum.Missing, err = r.comparable(ctx, nodes); err != nil {
		return sum, err
	}
	sum.Open = []string{}
	done := 0
	for some := range slices.Chunk(placed, max(1, r.cfg.Limits.AtOnce/5)) { // an account has more than one mailbox
		if err := r.verify(ctx, some, &sum, different); err != nil {
			return sum, err
		}
		done += len(some)
		progress(done, len(placed))
	}
	return sum, nil
}

// comparable are the nodes that can be compared: those named, or all, and then which are missing.
func (r *Replicas) comparable(ctx context.Context, nodes []string) (some, missing []string, err error) {
	said, err := r.gatherAll(ctx, question{})
	if err != nil {
		return nil, nil, err
	}
	missing = []string{}
	members, _ := r.cfg.Members()
	for _, node := range members {
		if h := said[node]; len(nodes) == 0 && (h == nil || h.failure != "") && !r.witness(node) {
			missing = append(missing, node)
		}
	}
	maps.DeleteFunc(said, func(_ string, h *heard) bool { return h.Witness || h.failure != "" })
	for _, node := range nodes {
		if err := destinationOf(node, members); err != nil {
			return nil, nil, err
		}
		if said[node] == nil {
			return nil, nil, &domain.Error{Kind: domain.Unavailable, Msg: fmt.Sprintf("node %s does not answer, or keeps no mail", node), Hint: "replica test shows what each node reaches"}
		}
	}
	if len(nodes) == 0 {
		nodes = slices.Sorted(maps.Keys(said))
	}
	nodes = slices.Compact(slices.Sorted(slices.Values(nodes)))
	if len(nodes) < 2 {
		return nil, nil, domain.Errorf(domain.Invalid, "there are less than two nodes to compare: %v", nodes)
	}
	return nodes, missing, nil
}

func destinationOf(node string, members []string) error {
	if slices.Contains(members, node) {
		return nil
	}
	return domain.Errorf(domain.NotFound, "there is no node %q: there are %v", node, members)
}

// verify compares some accounts, and looks again at those that the nodes do not show at one transaction.
func (r *Replicas) verify(ctx context.Context, placed []door.Placed, sum *Verified, different func(Difference)) error {
	for look := 0; len(placed) > 0; look++ {
		if look > 0 {
			if err := projections.Pause(ctx, r.cfg.Limits.Pause); err != nil {
				return domain.Wrap(domain.Unavailable, err, "compare replicas")
			}
		}
		said, err := r.gather(ctx, question{Accounts: idsOf(placed), Mailboxes: true})
		if err != nil {
			return err
		}
		for _, node := range sum.Nodes {
			if h := said[node]; h == nil || h.failure != "" {
				return &domain.Error{Kind: domain.Unavailable, Msg: fmt.Sprintf("node %s does not answer any more", node), Hint: "compare the others by naming them"}
			}
		}
		var open []door.Placed
		for _, a := range placed {
			stream := r.cfg.Log.StreamOf(a.ID)
			read := !slices.ContainsFunc(sum.Nodes, func(node string) bool { return !said[node].reads(stream) })
			if !read || !compare(a, sum, said, different) {
				open = append(open, a)
			}
		}
		if placed = open; look+1 >= r.cfg.Limits.Looks {
			for _, a := range placed {
				sum.Open = append(sum.Open, a.Login)
			}
			return nil
		}
	}
	return nil
}

// compare compares one account. It tells whether all nodes show it at one transaction.
func compare(a door.Placed, sum *Verified, said map[string]*heard, different func(Difference)) bool {
	first := said[sum.Nodes[0]].Accounts[a.ID]
	boxes := map[domain.MailboxID]bool{}
	for _, node := range sum.Nodes {
		at := said[node].Accounts[a.ID]
		if at.Tx != first.Tx {
			return false
		}
		for box := range at.Mailboxes {
			boxes[box] = true
		}
	}
	sum.Accounts++
	sum.Mailboxes += len(boxes)
	found := false
	tell := func(box domain.MailboxID, digest func(standing) (account.Digest, bool)) {
		d := Difference{Account: a.ID, Name: a.Login, Tx: first.Tx, Mailbox: box, Digests: map[string]account.Digest{}}
		want, has := digest(first)
		differs := false
		for _, node := range sum.Nodes {
			got, there := digest(said[node].Accounts[a.ID])
			if there {
				d.Digests[node] = got
			}
			differs = differs || got != want || there != has
		}
		if differs {
			found = true
			different(d)
		}
	}
	for _, box := range slices.Sorted(maps.Keys(boxes)) {
		tell(box, func(s standing) (account.Digest, bool) { digest, has := s.Mailboxes[box]; return digest, has })
	}
	if !found { // a mailbox that differs makes the account differ
		tell(0, func(s standing) (account.Digest, bool) { return s.Digest, s.Tx > 0 })
	}
	if found {
		sum.Differ++
	}
	return true
}
