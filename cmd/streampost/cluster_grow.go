package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/ops/cluster"
	"github.com/streampost/streampost/ops/config"
)

// ClusterGrowCmd makes a cluster of a server that stands alone.
type ClusterGrowCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Help teaches.
func (*ClusterGrowCmd) Help() string {
	return `Run it twice. First where a server stands alone: it makes the secret of the cluster and says what to do. Blobs must lie where other nodes see them: see blob copy. Then start two more nodes, on empty data directories with that secret, which wait; and restart the server. It is then the first node, keeps all it had, and serves mail a few seconds later.

Then run it again, on any node: every stream of the log gets two more copies, one stream after the other, while mail comes and goes. It may be interrupted and run again. Until it has ended, the first node must not be lost.

Examples:

  streampost blob copy --to jetstream           # and set blobs.kind: jetstream, unless blobs are in S3 or a shared directory
  streampost cluster grow
  streampost serve --join mail1.example.org     # on two other machines, with cluster.secret
  systemctl restart streampost
  streampost cluster grow`
}

// Run prepares the server, or has the cluster make copies.
func (c *ClusterGrowCmd) Run(g *Globals, env *Env) error {
	server, err := g.connect()
	if err == nil {
		err = c.spread(server, env)
	}
	var exit *exitError
	var answer *webadmin.Error
	alone := errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound
	if stopped := errors.As(err, &exit) && exit.code == exitUnreachable; g.URL == "" && (alone || stopped) {
		return c.prepare(g, env)
	}
	return err
}

// spread has the nodes make copies of all streams.
func (c *ClusterGrowCmd) spread(server *client, env *Env) error {
	var sum webadmin.Grown
	if err := server.stream(env, http.MethodPost, path("cluster", "grow"), nil, nil, &sum); err != nil {
		return err
	}
	if c.JSON {
		return env.json(sum)
	}
	env.printf("Each of %d streams has %d copies; %d streams got more.\n", sum.Streams, sum.Copies, sum.Scaled)
	return nil
}

// prepare makes the secret and marks the log as one that becomes a node's. The server, if it runs, goes on as it is.
func (c *ClusterGrowCmd) prepare(g *Globals, env *Env) error {
	loaded, err := g.load()
	if err != nil {
		return err
	}
	cfg := &loaded.Config
	if err := exists(cfg); err != nil {
		return err
	}
	if err := mayGrow(cfg); err != nil {
		return err
	}
	if exists, err := cluster.Exists(cfg.Data); err != nil || exists {
		if err == nil && !grows(cfg.Data) {
			err = &domain.Error{Kind: domain.Exists, Msg: cfg.Data + " has the secret of a cluster already", Hint: "start it with streampost serve --join HOST"}
		}
		if err != nil {
			return err
		}
		c.tell(env, cfg)
		return nil
	}
	// The mark comes first: a secret without it would make a node that refuses its log.
	if err := os.WriteFile(filepath.Join(cfg.Data, growFile), nil, 0o600); err != nil {
		return domain.Wrap(domain.Unavailable, err, "mark the log as one that grows")
	}
	if err := cluster.New().Save(cfg.Data); err != nil {
		return domain.Wrap(domain.Unavailable, err, "write the secret of the cluster")
	}
	c.tell(env, cfg)
	return nil
}

func (c *ClusterGrowCmd) tell(env *Env, cfg *config.Config) {
	env.printf("The secret of the cluster is %s.\n\n"+
		"1. Copy it to the data directories of two other nodes, mode 0600, and start them; they wait:\n\n  streampost serve --join HOST-OF-THIS-NODE\n\n"+
		"2. Restart this server, with --join and the address of one of them. It serves mail again after some seconds.\n"+
		"3. When streampost cluster status shows three nodes, run streampost cluster grow again.\n", filepath.Join(cfg.Data, cluster.File))
}

// mayGrow refuses what the nodes of a cluster could not share.
func mayGrow(cfg *config.Config) error {
	if cfg.Streams.URL != "" {
		return domain.Errorf(domain.Invalid, "the log is in the NATS that streams.url names: its operator makes copies, see \"An external NATS\" in the operator's guide")
	}
	if cfg.Streams.Replicas == 1 {
		return domain.Errorf(domain.Invalid, "streams.replicas is 1: leave it out, or set it to 3")
	}
	if b := cfg.Blobs; b.Kind == whereUsual || b.Kind == inDirectory && !b.DirectoryIsShared && !b.OneNode {
		return &domain.Error{
			Kind: domain.Invalid, Msg: "blobs lie in a directory of this server, where other nodes could not read them",
			Hint: "run streampost blob copy --to jetstream (or s3), stop the server, run it once more, set blobs.kind, start the server, and come back",
		}
	}
	if a := cfg.Archive; a.Directory == "" && (a.Kind == inDirectory || a.Kind == whereUsual && cfg.Blobs.Kind == inDirectory) {
		return &domain.Error{
			Kind: domain.Invalid, Msg: "the archive lies in the data directory of this server, where other nodes could not go on with it",
			Hint: "let archive.directory name a directory that is the same on all nodes, or set archive.kind to s3 or none",
		}
	}
	return nil
}

// growFile is in the data directory of a server that stood alone from when it is to become a node until it is one.
const growFile = "cluster.grow"

func grows(data string) bool {
	_, err := os.Stat(filepath.Join(data, growFile))
	return err == nil
}

// grown takes the mark away.
func (c *core) grown() error {
	if err := os.Remove(c.data.join(growFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return domain.Wrap(domain.Unavailable, err, "note that the log is that of a node")
	}
	return nil
}

// growLog gives every stream as many copies as the log is to have.
func (c *core) growLog(ctx context.Context, progress func(webadmin.Progress)) (sum webadmin.Grown, err error) {
	sum.Copies = c.streams.Topology().Replicas
	if here := c.nats.Gathered().Nodes; len(here) < sum.Copies {
		return sum, &domain.Error{
			Kind: domain.Conflict, Msg: fmt.Sprintf("%d copies of the log need as many nodes, and here are %v", sum.Copies, here),
			Hint: "start the others with serve --join, and run this again when cluster status shows them",
		}
	}
	total := -1
	err = c.nats.Scale(ctx, sum.Copies, func(left int) {
		if total < 0 {
			total = left
		}
		sum.Scaled = max(total-left, 0)
		progress(webadmin.Progress{Done: uint64(sum.Scaled), Total: uint64(total), Unit: "streams"})
	})
	if err != nil {
		return sum, err
	}
	placed, err := c.nats.Placements(ctx)
	sum.Streams = len(placed)
	return sum, err
}
