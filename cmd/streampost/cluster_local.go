package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/ops/cluster"
	"github.com/streampost/streampost/streams"
)

// ClusterLocalCmd runs three nodes on one machine.
type ClusterLocalCmd struct {
	DemoPassword string `placeholder:"PASSWORD" help:"Password of both demo accounts, instead of random ones."`
	PortOffset   int    `placeholder:"N" help:"Add N to every port."`
}

// Help teaches.
func (*ClusterLocalCmd) Help() string {
	return `Three processes, with their data below the data directory and ports 100 apart, form a cluster that serves the demo domain. Kill any one of them, and look what the others do.

Examples:

  streampost cluster local
  streampost cluster local --data /tmp/three --port-offset 2000 --demo-password secret`
}

// Nodes of a local cluster.
const (
	localNodes  = 3
	localApart  = 100 // between the ports of two nodes
	localRoutes = 16222
)

// Run starts the nodes and waits for them.
func (c *ClusterLocalCmd) Run(g *Globals, env *Env) error {
	loaded, err := g.load()
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return domain.Wrap(domain.Internal, err, "find the program")
	}
	if err := c.prepare(loaded.Config.Data); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(env)
	defer stop()
	var all sync.WaitGroup
	errs := make([]error, localNodes)
	lines := &mixer{to: env.Stdout}
	for n := range localNodes {
		node := exec.Command(program, c.arguments(g, loaded.Config.Data, n)...)
		node.Stdout, node.Stderr = lines.of(n), lines.of(n)
		node.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C reaches this process only, which passes it on
		if err := node.Start(); err != nil {
			stop()
			errs[n] = domain.Wrap(domain.Unavailable, err, fmt.Sprintf("start node%d", n+1))
			break
		}
		env.printf("node%d is process %d, its data is in %s\n", n+1, node.Process.Pid, localDir(loaded.Config.Data, n))
		all.Go(func() {
			ended := context.AfterFunc(ctx, func() { _ = node.Process.Signal(syscall.SIGTERM) })
			defer ended()
			if err := node.Wait(); err != nil && ctx.Err() == nil {
				errs[n] = domain.Wrap(domain.Unavailable, err, fmt.Sprintf("node%d ended", n+1))
				env.tell("node%d ended: %v. The others go on. Start it again with\n\n  %s %s\n\n", n+1, err, program, strings.Join(c.arguments(g, loaded.Config.Data, n), " "))
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func localDir(data string, n int) string { return filepath.Join(data, fmt.Sprintf("node%d", n+1)) }

// prepare gives every node its directory and the secret, and the first of a new cluster the master key.
func (c *ClusterLocalCmd) prepare(data string) error {
	var secret cluster.Secret
	isNew := true
	for n := range localNodes {
		s, err := cluster.Load(localDir(data, n))
		if err == nil {
			secret, isNew = s, false
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return domain.Wrap(domain.Invalid, err, "read the secret of the cluster")
		}
	}
	if isNew {
		secret = cluster.New()
	}
	for n := range localNodes {
		dir := localDir(data, n)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return domain.Wrap(domain.Unavailable, err, "make the directory of a node")
		}
		if n == 0 && isNew {
			if _, err := streams.LoadMaster(filepath.Join(dir, "keys")); err != nil {
				return err
			}
			if err := markFounder(dir); err != nil {
				return err
			}
		}
		if err := secret.Save(dir); err != nil && !errors.Is(err, fs.ErrExist) {
			return domain.Wrap(domain.Unavailable, err, "write the secret of the cluster")
		}
	}
	return nil
}

// arguments are those of one node's serve.
func (c *ClusterLocalCmd) arguments(g *Globals, data string, n int) []string {
	args := []string{"serve", "--data", localDir(data, n), "--port-offset", fmt.Sprint(c.PortOffset + n*localApart)}
	if g.ConfigFile != "" {
		args = append(args, "--config", g.ConfigFile)
	}
	for _, set := range append([]string{
		fmt.Sprintf("cluster.node=node%d", n+1), fmt.Sprintf("cluster.listen=127.0.0.1:%d", localRoutes),
	}, g.Set...) {
		args = append(args, "--set", set)
	}
	for other := range localNodes {
		if other != n {
			args = append(args, "--join", fmt.Sprintf("127.0.0.1:%d", localRoutes+c.PortOffset+other*localApart))
		}
	}
	if n == 0 {
		args = append(args, "--demo")
		if c.DemoPassword != "" {
			args = append(args, "--demo-password", c.DemoPassword)
		}
	}
	return args
}

// mixer writes whole lines of several writers to one, each with the name of its node.
type mixer struct {
	mu sync.Mutex
	to io.Writer
}

// of gives the writer of a node.
func (m *mixer) of(n int) io.Writer {
	read, write := io.Pipe()
	go func() {
		lines := bufio.NewReader(read)
		for {
			line, err := lines.ReadString('\n')
			if line != "" {
				m.mu.Lock()
				_, _ = fmt.Fprintf(m.to, "node%d  %s", n+1, line)
				m.mu.Unlock()
			}
			if err != nil {
				return
			}
		}
	}()
	return write
}
