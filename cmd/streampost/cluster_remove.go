package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/streampost/streampost/adapters/natsd"
	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
)

// ClusterRemoveCmd takes a node out.
type ClusterRemoveCmd struct {
	Node  string `arg:"" help:"Name of the node, as cluster status prints it."`
	Force bool   `help:"Although the quorum or a copy of the log would be lost."`
	JSON  bool   `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*ClusterRemoveCmd) Help() string {
	return `For a node that will not come back. Start its replacement first, on an empty data directory with the secret of the cluster: then every stream gets a copy there, and nothing is at risk. A node that still runs hands its copies over before it is taken out; ask another one to remove it. A replacement that has the name of the dead node needs no removal: it takes its place.

What would lose the quorum, or leave fewer nodes than the log has copies, is refused without --force, and so is a removal while nobody answers for some stream, which may have to do with that node.

Examples:

  streampost cluster remove mail3
  streampost cluster remove mail3 --force`
}

// Run removes the node, and says what follows.
func (c *ClusterRemoveCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err != nil {
		return err
	}
	where := path("cluster", "nodes", c.Node)
	if c.Force {
		where += query("force", "true")
	}
	var sum webadmin.RemovedNode
	if err := server.stream(env, http.MethodDelete, where, nil, nil, &sum); err != nil {
		return err
	}
	if c.JSON {
		return env.json(sum)
	}
	env.printf("%s is no member of the cluster any more. If it still runs, stop it, and empty its data directory before it is started again.\nMembers are %s.\n", sum.Node, strings.Join(sum.Members, ", "))
	if len(sum.Members) < sum.Copies {
		env.printf("That is %d nodes for %d copies of the log: start another with serve --join, it gets its copies by itself. Until then the loss of one more may stop all changes.\n", len(sum.Members), sum.Copies)
	}
	return nil
}

// removeNode takes a node out of the cluster, after its copies have moved where it lives.
func (c *core) removeNode(ctx context.Context, node string, force bool, progress func(webadmin.Progress)) (webadmin.RemovedNode, error) {
	if node == c.nats.Name() {
		return webadmin.RemovedNode{}, &domain.Error{
			Kind: domain.Invalid, Msg: "this is node " + node + " itself", Hint: "run the command on another node, or give its --url",
		}
	}
	g := c.nats.Gathered()
	member, ok := g.Member(node)
	if !ok {
		return webadmin.RemovedNode{}, domain.Errorf(domain.NotFound, "%s is no member of the cluster: %s are", node, strings.Join(g.Members, ", "))
	}
	placed, err := c.nats.Placements(ctx)
	if err != nil {
		return webadmin.RemovedNode{}, err
	}
	copies := c.streams.Topology().Replicas
	if why := whyKeep(g, placed, member, copies); len(why) > 0 && !force {
		return webadmin.RemovedNode{}, &domain.Error{
			Kind: domain.Conflict, Msg: "node " + node + " is still needed: " + strings.Join(why, "; "),
			Hint: "start its replacement first, with serve --join on an empty data directory; --force removes it all the same",
		}
	}
	total := 0
	for i := range placed {
		if placed[i].On(member) {
			total++
		}
	}
	moved := func(left int) {
		progress(webadmin.Progress{Done: uint64(max(total-left, 0)), Total: uint64(max(total, left)), Unit: "streams"})
	}
	if slices.Contains(g.Nodes, member) && len(g.Nodes) > copies {
		if err := c.nats.Evacuate(ctx, member, moved); err != nil {
			return webadmin.RemovedNode{}, err
		}
	}
	c.log.Warn("a node is removed from the cluster", "node", node, "force", force)
	if err := c.nats.Remove(ctx, member, force, moved); err != nil {
		return webadmin.RemovedNode{}, err
	}
	members := slices.DeleteFunc(slices.Clone(g.Members), func(m string) bool { return m == member })
	return webadmin.RemovedNode{Node: node, Members: members, Copies: copies}, nil
}

// whyKeep tells what would be lost with a node.
func whyKeep(g natsd.Gathered, placed []natsd.Placement, node string, copies int) (why []string) {
	left, here := len(g.Members)-1, 0
	for _, n := range g.Nodes {
		if n != node {
			here++
		}
	}
	if here < left/2+1 {
		why = append(why, fmt.Sprintf("%d of the other %d nodes are there, which is no quorum", here, left))
	}
	if here < copies {
		why = append(why, fmt.Sprintf("the log has %d copies, and %d nodes would be there", copies, here))
	}
	for i := range placed {
		p := &placed[i]
		if p.Silent {
			why = append(why, "nobody answers for "+p.Stream)
		} else if p.On(node) && p.Without(node) < p.Want/2+1 {
			why = append(why, fmt.Sprintf("%s has %d current copies elsewhere and needs %d", p.Stream, p.Without(node), p.Want/2+1))
		}
	}
	return why
}
