package webadmin_test

import (
	"context"
	"strings"
	"testing"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
)

// hooks is one webhook whose receiver fails.
type hooks struct{}

func (hooks) States() []webadmin.Webhook {
	return []webadmin.Webhook{{Name: "crm", Listener: "webhook-crm-1", Site: "https://hooks.example.org", Secrets: 1}}
}

func (hooks) Ping(_ context.Context, name string) (webadmin.Pinged, error) {
	if name != "crm" {
		return webadmin.Pinged{}, domain.Errorf(domain.NotFound, "there is no webhook %s", name)
	}
	return webadmin.Pinged{Status: 500, Problem: "the receiver answers 500"}, nil
}

func TestWebhooks(t *testing.T) {
	s := serve(t, newFake(t), webadmin.Limits{})
	for _, step := range []struct {
		method, path string
		status       int
		has          string
	}{
		{"GET", "/v1/webhooks", 200, `"site":"https://hooks.example.org"`},
		{"POST", "/v1/webhooks/crm/test", 200, `{"status":500,"seconds":0,"problem":"the receiver answers 500"}`},
		{"POST", "/v1/webhooks/other/test", 404, `no webhook other`},
	} {
		status, body := ask(t, step.method, s.URL+step.path, "")
		if status != step.status || !strings.Contains(body, step.has) {
			t.Errorf("%s %s: %d %s, want %d with %s", step.method, step.path, status, body, step.status, step.has)
		}
	}
}
