// Package health answers the two questions that a supervisor asks: is the process alive, and should it be given work.
//
// A Check looks at one thing and is quick. Its result is healthy, degraded (it works, but somebody should look) or unhealthy (it does not work).
// The whole is as bad as its worst check.
package health

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Status is how well something is.
type Status string

// The three statuses, best first.
const (
	Healthy   Status = "healthy"
	Degraded  Status = "degraded"
	Unhealthy Status = "unhealthy"
)

// Check looks at one thing.
type Check struct {
	Name string
	// Look gives the status and, unless healthy, the cause in a sentence.
	Look func(context.Context) (Status, string)
}

// Result is what one Check found.
type Result struct {
	Name   string `json:"componentName"`
	Status Status `json:"status"`
	Cause  string `json:"cause,omitempty"`
}

// Report is what all checks found.
type Report struct {
	Status Status   `json:"status"`
	Checks []Result `json:"checks"`
}

// Checks are all checks of a server.
type Checks struct {
	// Timeout bounds each check; one that takes longer is unhealthy. Zero means 2 seconds.
	Timeout time.Duration
	List    []Check
}

// Names lists the checks.
func (c *Checks) Names() []string {
	names := make([]string, len(c.List))
	for i, check := range c.List {
		names[i] = check.Name
	}
	return names
}

// Only gives the checks of these names.
func (c *Checks) Only(names ...string) *Checks {
	only := Checks{Timeout: c.Timeout}
	for _, check := range c.List {
		if slices.Contains(names, check.Name) {
			only.List = append(only.List, check)
		}
	}
	return &only
}

// Report runs all checks at once.
func (c *Checks) Report(ctx context.Context) Report {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = 2 * time.Second
	}
	report := Report{Status: Healthy, Checks: make([]Result, len(c.List))}
	var wg sync.WaitGroup
	for i, check := range c.List {
		wg.Go(func() { report.Checks[i] = run(ctx, check, timeout) })
	}
	wg.Wait()
	for _, r := range report.Checks {
		if r.Status == Unhealthy || r.Status == Degraded && report.Status == Healthy {
			report.Status = r.Status
		}
	}
	return report
}

// run gives up on a check that does not honour its context, so that one hanging disk does not hang the answer.
func run(ctx context.Context, check Check, timeout time.Duration) Result {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	found := make(chan Result, 1)
	go func() {
		status, cause := check.Look(ctx)
		found <- Result{check.Name, status, cause}
	}()
	select {
	case r := <-found:
		return r
	case <-ctx.Done():
		return Result{check.Name, Unhealthy, fmt.Sprintf("no answer within %s", timeout)}
	}
}
