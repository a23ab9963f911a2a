package nodes_test

import (
	"strings"
	"testing"

	"github.com/streampost/streampost/domain"
)

// TestVersionsMingle when they are one minor version apart at most. What is no release mingles with all.
func TestVersionsMingle(t *testing.T) {
	conn := wire(t)
	joins := node(t, conn, "joins", 1)
	if err := joins.Mingle(t.Context(), "v9.9.9"); err != nil {
		t.Errorf("nobody is there: %v", err)
	}
	if err := node(t, conn, "there", 1).AnswerVersion("v1.4.2"); err != nil {
		t.Fatal(err)
	}
	if err := joins.AnswerVersion("v7.0.0"); err != nil { // its own voice does not count
		t.Fatal(err)
	}
	for version, want := range map[string]bool{
		"v1.4.2": true, "v1.4.0-rc.1": true, "v1.5.0": true, "v1.3.9": true, "1.5.7": true, "development": true, "commit 0123456789ab": true,
		"v0.0.0-20261130043627-da8b84dfddfd": true,
		"v1.6.0":                             false, "v1.2.9": false, "v2.4.2": false, "v0.4.2": false,
	} {
		err := joins.Mingle(t.Context(), version)
		if (err == nil) != want || err != nil && (!domain.Is(err, domain.Invalid) || !strings.Contains(err.Error(), "node there version v1.4.2")) {
			t.Errorf("%s joins v1.4.2: %v, want %v", version, err, want)
		}
	}
}
