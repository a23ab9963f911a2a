package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain/directory"
	"github.com/streampost/streampost/ops/lifecycle"
	"github.com/streampost/streampost/ops/metrics"
	"github.com/streampost/streampost/projections/mailboxes"
	"github.com/streampost/streampost/projections/replicas"
	"github.com/streampost/streampost/projections/tasks/worker"
)

// This file joins package replicas with a node.

// openReplicas lets this node look after replicas, and answer those who do on other nodes.
func (c *core) openReplicas(ctx context.Context) error {
	c.replicas = replicas.New(replicas.Config{
		Directory: c.directory, Log: c.streams, Nodes: c.nodes,
		Members:   func() (all, there []string) { g := c.nats.Gathered(); return g.Members, g.Nodes },
		Primaries: mailboxes.Store{Runner: c.runner}.Primaries,
	})
	local := &replicas.Local{Log: c.streams, Runner: c.runner, Check: c.reaches}
	if c.search != nil {
		local.Owes = c.search.Owes
		if err := c.paused.follow(ctx, c.directory, c.nats.Name()); err != nil { // the projectors begin afterwards
			return err
		}
		c.group.Start(lifecycle.Part{Name: "paused replicas", Run: c.keepPauses})
	}
	return local.Answer(c.nodes)
}

// reaches looks at what a replica on this node needs.
func (c *core) reaches(ctx context.Context) (h replicas.Health) {
	var all sync.WaitGroup
	look := func(r *replicas.Reach, look func() (string, error)) {
		all.Go(func() { // what does not answer keeps no other look from its time
			began := time.Now()
			found, err := look()
			if r.Seconds = time.Since(began).Seconds(); err != nil {
				r.Error = err.Error()
				return
			}
			r.OK, r.Found = true, found
		})
	}
	look(&h.Log, func() (string, error) {
		if err := c.streams.Fault(); err != nil {
			return "", err
		}
		names := c.streams.Streams()
		for _, stream := range names {
			if _, err := c.streams.Head(ctx, stream); err != nil {
				return "", fmt.Errorf("%s: %w", stream, err)
			}
		}
		return fmt.Sprintf("%d streams", len(names)), nil
	})
	look(&h.Blobs, func() (string, error) { return c.cfg.Blobs.Kind, c.blobs.Check(ctx) })
	look(&h.Keys, func() (string, error) {
		_, err := c.streams.Secret(ctx, "scram") // it opens a key with the master key
		return "master keys " + strings.Join(c.streams.MasterKey(), " "), err
	})
	all.Wait()
	return h
}

// replicaKinds are the tasks that work on replicas.
func (c *core) replicaKinds() []worker.Kind {
	return []worker.Kind{
		{Name: webadmin.TaskReplicaInitialise, Help: "Watch until replicas follow the log; parameters: accounts, destinations", Resumable: true, Join: true, Limit: 3, Check: c.replicaWork, Run: c.awaitReplicas},
	}
}

// replicaWork checks the parameters of such a task.
func (c *core) replicaWork(ctx context.Context, text json.RawMessage) (json.RawMessage, string, error) {
	var work webadmin.ReplicaWork
	if err := parameters(text, &work); err != nil {
		return nil, "", err
	}
	if c.replicas == nil {
		return nil, "", webadmin.ErrAlone
	}
	sel := directory.Selection{All: len(work.Accounts) == 0}
	for _, name := range work.Accounts {
		sel.Names = append(sel.Names, string(name))
	}
	placed, problems, err := c.directory.Placed(ctx, sel)
	switch {
	case err != nil:
		return nil, "", err
	case len(problems) > 0:
		return nil, "", problems[0].Err
	case sel.All:
		return text, "", nil
	}
	work.Accounts = nil
	for _, a := range placed {
		work.Accounts = append(work.Accounts, a.ID)
	}
	about := ""
	if len(work.Accounts) == 1 {
		about = string(work.Accounts[0])
	}
	text, err = json.Marshal(work)
	return text, about, err
}

// awaitReplicas waits until replicas follow the log, and tells administrators how that ended, unless somebody ended it or it goes on elsewhere.
func (c *core) awaitReplicas(ctx context.Context, job worker.Job) (any, error) {
	var work webadmin.ReplicaWork
	if err := parameters(job.Parameters, &work); err != nil {
		return nil, err
	}
	var f found[replicas.Initialised, replicas.Failure]
	sum, err := c.replicas.Await(ctx, work.Accounts, work.Destinations, func(done, total int, at string) {
		job.Progress(webadmin.Progress{Done: uint64(done), Total: uint64(total), Unit: "replicas", At: at})
	})
	for _, failure := range sum.Failed {
		f.keep(failure)
	}
	failed := len(sum.Failed)
	sum.Failed = nil
	f.Sum = sum
	if ctx.Err() == nil {
		n := initialised(f, failed, err)
		n.Operation = string(job.ID)
		c.notify(ctx, n)
	}
	return f, err
}

// initialised is the notice of replicas that are no longer waited for, because they follow the log or have failed, or because of an error.
func initialised(f found[replicas.Initialised, replicas.Failure], failed int, err error) notice {
	n := notice{Event: "replica-initialised", Failed: failed, Subject: "Replicas are initialised", Details: f}
	n.Text = fmt.Sprintf("%d replicas of %d accounts follow the log after %.1f s.", f.Sum.Replicas, f.Sum.Accounts, f.Sum.Seconds)
	if failed > 0 {
		n.Subject = "Replicas are not initialised"
		n.Text += fmt.Sprintf(" %d do not:\n", failed)
		for _, failure := range f.Items {
			n.Text += "\n  " + failure.Error
		}
	}
	if err != nil {
		n.Failed, n.Subject = max(failed, 1), "Replicas are no longer waited for"
		n.Text += "\n\nThe operation has failed: " + err.Error()
	}
	return n
}

// replicaSamples are the metrics of replicas on this node.
func (c *core) replicaSamples(ctx context.Context) []metrics.Sample {
	kept, paused, err := c.directory.CountPlaced(ctx, c.nats.Name())
	if err != nil {
		return nil
	}
	return metrics.Replicas(kept, paused)
}
