package main

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"net/http"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/ops/lifecycle"
	"github.com/streampost/streampost/projections/door"
)

// connectOrOpen gives the running server, or, when none runs, opens the data directory itself and gives a door to that which only this process
// can reach. The directory's lock keeps a server from starting meanwhile. looks see the directory before anything in it is opened.
func (g *Globals) connectOrOpen(env *Env, looks ...func(*core) error) (*session, error) {
	found, c, err := g.connectOrTake(env)
	if err != nil || c == nil {
		return &session{client: found}, err
	}
	var opened *client
	err = nil
	for _, look := range looks {
		err = errors.Join(err, look(c))
	}
	if err == nil {
		err = c.open(env)
	}
	if err == nil {
		err = c.settle(env)
	}
	if err == nil {
		opened, err = c.privateDoor()
	}
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	return &session{opened, c}, nil
}

// connectOrTake gives the running server, or, when none runs, the data directory, of which nothing is open yet.
func (g *Globals) connectOrTake(env *Env) (*client, *core, error) {
	found, err := g.connect()
	var exit *exitError
	if err == nil {
		err = found.call(env, http.MethodGet, path("status"), nil, nil)
		if !errors.As(err, &exit) || exit.code != exitUnreachable {
			return found, nil, nil // it is there, and itself says what it cannot do now
		}
	}
	if g.URL != "" || !errors.As(err, &exit) || exit.code != exitUnreachable {
		return found, nil, err
	}
	loaded, err := g.load()
	if err != nil {
		return nil, nil, err
	}
	if err := exists(&loaded.Config); err != nil {
		return nil, nil, err
	}
	log := slog.New(slog.NewTextHandler(env.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	c, err := newCore(&loaded.Config, log)
	if err != nil {
		return nil, nil, err
	}
	if _, clustered, err := c.secret(); err != nil || clustered {
		if err == nil {
			err = &domain.Error{
				Kind: domain.Unavailable, Msg: "the data directory is that of a node of a cluster, which does not run",
				Hint: "start the node, or give the command another node with --data or --url: alone it cannot know what the others agreed on",
			}
		}
		return nil, nil, errors.Join(err, c.close())
	}
	c.inspecting = true
	c.cfg.Views.VerifyEvery, c.cfg.Views.CountEvery = 0, 0 // a command compares what it is asked for only
	return nil, c, nil
}

// plan asks what the projections have still to do. Without a running server it opens the log and the views and projects nothing.
func (g *Globals) plan(env *Env) (plan []webadmin.Planned, err error) {
	found, c, err := g.connectOrTake(env)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return plan, found.call(env, http.MethodGet, path("projections", "plan"), nil, &plan)
	}
	if err = c.openLog(env); err == nil {
		err = c.openViews(env)
	}
	if err == nil {
		plan, err = c.views().Plan(env)
	}
	return plan, errors.Join(err, c.close())
}

// session is a client and, without a running server, the core behind it.
type session struct {
	*client
	core *core
}

// Close ends what connectOrOpen opened.
func (s *session) Close() {
	if s.core != nil {
		if err := s.core.close(); err != nil {
			s.core.log.Error("close", "err", err)
		}
	}
}

// settle waits until the views show what the log holds, as far as they can: a view that has stopped is one of the things to be looked at.
func (c *core) settle(ctx context.Context) error {
	for _, stream := range c.streams.Streams() {
		head, err := c.streams.Head(ctx, stream)
		if err != nil {
			return err
		}
		if err := c.runner.Wait(ctx, stream, head); err != nil && ctx.Err() != nil {
			return err
		}
	}
	return nil
}

// privateDoor serves the admin door inside this process.
func (c *core) privateDoor() (*client, error) {
	token := rand.Text()
	door, err := c.admin(token, func() []webadmin.Listener { return nil })
	if err != nil {
		return nil, err
	}
	pipe := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	c.group.Start(lifecycle.Part{Name: "admin", Run: func(context.Context) error { return door.Serve(pipe) }, Stop: door.Shutdown})
	return &client{adminAccess{"http://streampost", token}, &http.Client{Transport: &http.Transport{DialContext: pipe.dial}}}, nil
}

// closedDirectory stands for a directory that could not be opened. Only what commands ask for while they inspect is answered.
type closedDirectory struct{ webadmin.Directory }

func (closedDirectory) Lookup(context.Context, string) (door.Account, error) {
	return door.Account{}, domain.Errorf(domain.Unavailable, "the directory cannot be read: name the account by its id")
}

// pipeListener accepts connections from its own dial.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipeListener) Close() error {
	close(p.closed)
	return nil
}

func (p *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "inside", Net: "pipe"} }
