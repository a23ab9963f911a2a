// Package logging makes the one slog.Logger that a process hands to its parts.
//
// Parts return errors; what is logged is logged once, at the edge, with the ids that lead from a connection to an account and a transaction.
package logging

import (
	"fmt"
	"io"
	"log/slog"
)

// New makes a logger that writes text or json lines of at least the given level (debug, info, warn, error).
func New(w io.Writer, format, level string) (*slog.Logger, error) {
	var least slog.Level
	if err := least.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("logging level %q: %w", level, err)
	}
	options := &slog.HandlerOptions{Level: least}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return nil, fmt.Errorf("logging format %q is neither text nor json", format)
}
