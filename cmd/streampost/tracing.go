package main

import (
	"context"

	"github.com/streampost/streampost/domain/trace"
	"github.com/streampost/streampost/ops/lifecycle"
	streamtrace "github.com/streampost/streampost/streams/trace"
)

// openTrace begins to note what becomes of messages. While a core is only being looked at, it notes nothing.
func (c *core) openTrace(ctx context.Context) error {
	if c.cfg.Trace.Keep == 0 || c.inspecting {
		return nil
	}
	secret, err := c.streams.Secret(ctx, "trace")
	if err != nil {
		return err
	}
	node, _, err := c.runners()
	if err != nil {
		return err
	}
	c.tracing, err = streamtrace.New(streamtrace.Config{
		Conn: c.conn, Topology: c.streams.Topology(), Secret: secret, Node: node, Keep: c.cfg.Trace.Keep, Size: int64(c.cfg.Trace.Size), Logger: c.log.With("part", "trace"),
	})
	if err == nil {
		c.group.Start(lifecycle.Part{Name: "trace", Run: c.tracing.Run})
	}
	return err
}

// traces is what is told of each step; nil where nothing is traced.
func (c *core) traces() func(trace.Record) {
	if c.tracing == nil {
		return nil
	}
	return c.tracing.Add
}

// found is what answers questions about messages; nil where nothing is traced.
func (c *core) found() func(context.Context, string) ([]trace.Record, error) {
	if c.tracing == nil {
		return nil
	}
	return c.tracing.Find
}
