package nodes

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/streampost/streampost/domain"
)

// AnswerVersion tells other nodes which version runs here, from before the log is opened.
func (n *Nodes) AnswerVersion(version string) error {
	return n.answer("version", func(m *nats.Msg) {
		if err := m.Respond([]byte(n.cfg.Node + " " + version)); err != nil {
			n.cfg.Logger.Debug("a question of another node stays without an answer", "error", err)
		}
	})
}

// Mingle makes sure that a version may run beside those of the other nodes, as far as they answer: nodes are upgraded one after the other, so neighbours
// may be one minor version apart and no more. Errors: domain.Invalid.
func (n *Nodes) Mingle(ctx context.Context, version string) error {
	others := map[string]string{}
	err := n.ask(ctx, "version", nil, quiet, func(m *nats.Msg) bool {
		if node, runs, ok := strings.Cut(string(m.Data), " "); ok && node != n.cfg.Node {
			others[node] = runs
		}
		return false
	})
	if err != nil {
		return err
	}
	for _, node := range slices.Sorted(maps.Keys(others)) {
		if !near(version, others[node]) {
			return &domain.Error{
				Kind: domain.Invalid, Msg: fmt.Sprintf("this node runs version %s and node %s version %s, which are more than one minor version apart", version, node, others[node]),
				Hint: "upgrade node after node to the next minor version, all of them, before the one after it; see docs/upgrade.md",
			}
		}
	}
	return nil
}

// near tells whether two versions are at most one minor version apart. One that is no release, such as a build of a commit, is near all: nobody knows.
func near(a, b string) bool {
	major, minor, ok := release(a)
	otherMajor, otherMinor, too := release(b)
	return !ok || !too || major == otherMajor && max(minor, otherMinor)-min(minor, otherMinor) <= 1
}

// release reads the major and minor version of a release, which is written as the Go module system does: v1.2.3. Its v0.0.0 with a date is none.
func release(version string) (major, minor int, ok bool) {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) < 3 || strings.HasPrefix(version, "v0.0.0-") {
		return 0, 0, false
	}
	major, err := strconv.Atoi(parts[0])
	if err == nil {
		minor, err = strconv.Atoi(parts[1])
	}
	return major, minor, err == nil
}
