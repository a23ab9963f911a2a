package health_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/streampost/streampost/ops/health"
)

func fixed(name string, s health.Status, cause string) health.Check {
	return health.Check{Name: name, Look: func(context.Context) (health.Status, string) { return s, cause }}
}

func TestTheWorstCheckDecides(t *testing.T) {
	ok, slow, down := fixed("log", health.Healthy, ""), fixed("views", health.Degraded, "lag"), fixed("blobs", health.Unhealthy, "gone")
	for want, list := range map[health.Status][]health.Check{
		health.Healthy: {ok}, health.Degraded: {ok, slow}, health.Unhealthy: {slow, down, ok},
	} {
		c := health.Checks{List: list}
		if r := c.Report(t.Context()); r.Status != want || len(r.Checks) != len(list) || r.Checks[0].Name != list[0].Name {
			t.Errorf("%+v, want %s", r, want)
		}
	}
}

func TestHangingCheckIsUnhealthy(t *testing.T) {
	forever := make(chan struct{})
	defer close(forever)
	c := health.Checks{Timeout: time.Millisecond, List: []health.Check{{Name: "disk", Look: func(context.Context) (health.Status, string) { <-forever; return health.Healthy, "" }}}}
	r := c.Report(t.Context())
	if r.Status != health.Unhealthy || !strings.Contains(r.Checks[0].Cause, "no answer") {
		t.Errorf("%+v", r)
	}
}

func TestDisk(t *testing.T) {
	c := health.Checks{List: []health.Check{health.Disk(t.TempDir(), 1)}}
	if r := c.Report(t.Context()); r.Status == health.Unhealthy {
		t.Errorf("%+v", r)
	}
	c.List[0] = health.Disk(t.TempDir(), 1<<62)
	if r := c.Report(t.Context()); r.Status != health.Unhealthy || !strings.Contains(r.Checks[0].Cause, "MiB are free") {
		t.Errorf("%+v", r)
	}
	c.List[0] = health.Disk("/does/not/exist", 1)
	if r := c.Report(t.Context()); r.Status != health.Unhealthy {
		t.Errorf("%+v", r)
	}
}

func TestRoom(t *testing.T) {
	if err := health.NewRoom(t.TempDir(), 1).Check(); err != nil {
		t.Error(err)
	}
	full := health.NewRoom(t.TempDir(), 1<<62)
	for range 2 {
		if err := full.Check(); err == nil {
			t.Error("there is room for everything")
		}
	}
}
