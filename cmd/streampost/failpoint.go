//go:build !failpoints

package main

import (
	"context"

	"github.com/streampost/streampost/projections"
)

// failpoint is nil in production: see failpoint_crash.go.
func failpoint() func(string) { return nil }

// asVersion is empty: the version is that of the build, see failpoint_crash.go.
func asVersion() string { return "" }

// versioned gives the projections as they are: see failpoint_crash.go.
func versioned(all []projections.Projection) []projections.Projection { return all }

// later does nothing: see failpoint_crash.go.
func (*core) later(context.Context) error { return nil }
