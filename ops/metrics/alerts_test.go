package metrics_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/streampost/streampost/ops/metrics"
	"go.yaml.in/yaml/v3"
)

// TestAlertsAreAboutMetrics that there are, and send to headings of the operator guide that there are.
func TestAlertsAreAboutMetrics(t *testing.T) {
	text, err := os.ReadFile("../prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	guide, err := os.ReadFile("../../docs/operator.md")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	known := map[string][]string{}
	for _, d := range metrics.All() {
		known[d.Name] = d.Labels
	}
	rules := 0
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			rules++
			names := regexp.MustCompile(`streampost_[a-z_]+`).FindAllString(r.Expr, -1)
			if len(names) == 0 || r.Labels["severity"] == "" || r.Annotations["summary"] == "" {
				t.Errorf("%s is about nothing, or says nothing: %+v", r.Alert, r)
			}
			for _, name := range names {
				if _, is := known[name]; !is {
					t.Errorf("%s is about %s, which is no metric", r.Alert, name)
				}
			}
			heading := regexp.MustCompile(`see "([^"]+)"`).FindStringSubmatch(strings.Replace(r.Annotations["description"], "See ", "see ", 1))
			if heading == nil || !strings.Contains(string(guide), "\n## "+heading[1]+"\n") {
				t.Errorf("%s sends to no heading of the guide: %s", r.Alert, r.Annotations["description"])
			}
		}
	}
	if rules == 0 {
		t.Error("there are no rules")
	}
}
