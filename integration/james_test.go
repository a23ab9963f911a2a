package integration

import (
	"strings"
	"testing"
)

// What tasks of James's types count is the same in every store of views. The demo has two accounts, and the first of them messages.
func TestJamesCounts(t *testing.T) {
	t.Parallel()
	s := demoServer(t)
	for _, c := range []struct{ kind, parameter, want string }{
		{"recompute-mailbox-counters", "throttle=100000", `"processedMailboxes":12`},
		{"recompute-current-quotas", "throttle=100000", `"processedQuotaRoots":2`},
		{"RecomputeUserFastViewProjectionItemsTask", "account=alice@example.org", `"processedMessageCount":6`},
		{"full-reindexing", "throttle=100000", `"successfullyReprocessedMailCount":6`},
		{"full-reindexing", "outdated=true", `"successfullyReprocessedMailCount":6`},
		{"user-reindexing", "account=alice@example.org", `"successfullyReprocessedMailCount":6`},
		{"mailbox-reindexing", "account=alice@example.org", `"failedReprocessedMailCount":0`},
	} {
		out := s.run("task", "run", c.kind, c.parameter, "--wait", "--json")
		if told := strings.Join(strings.Fields(out), ""); !strings.Contains(told, c.want) || !strings.Contains(told, `"status":"completed"`) {
			t.Errorf("%s %s tells %s", c.kind, c.parameter, told)
		}
	}
}
