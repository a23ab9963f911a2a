package webadmin

import (
	"context"
	"net/http"
	"time"
)

// Webhooks are those that are configured.
type Webhooks interface {
	States() []Webhook
	// Ping sends a test event. Errors: domain.NotFound.
	Ping(ctx context.Context, name string) (Pinged, error)
}

// Webhook is how a webhook is doing.
type Webhook struct {
	Name     string    `json:"name"`
	Listener string    `json:"listener"` // its id among the listeners
	Site     string    `json:"site"`     // where events go, without the path, which may be a secret
	Events   []string  `json:"events"`   // none: all
	Gone     bool      `json:"gone"`     // the receiver answered 410, and gets nothing more
	Until    time.Time `json:"until,omitzero"`
	Secrets  int       `json:"secrets"` // that sign
	Problem  string    `json:"problem,omitempty"`
}

// Pinged is what came of a test event.
type Pinged struct {
	Status  int     `json:"status,omitempty"` // of HTTP; absent without an answer
	Seconds float64 `json:"seconds"`
	Problem string  `json:"problem,omitempty"` // absent when the receiver took it
}

var webhookRoutes = []Route{
	{Pattern: "GET /v1/webhooks", Answer: []Webhook{}, serve: (*Server).webhooks, Summary: "List webhooks and how they are doing"},
	{Pattern: "POST /v1/webhooks/{webhook}/test", Answer: Pinged{}, Status: http.StatusOK, serve: (*Server).pingWebhook, Summary: "Send a webhook's receiver a test event; a success has a webhook that is gone go on"},
}

func (s *Server) webhooks(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, notNil(s.b.Webhooks.States()))
	return nil
}

func (s *Server) pingWebhook(w http.ResponseWriter, r *http.Request) error {
	answer, err := s.b.Webhooks.Ping(r.Context(), r.PathValue("webhook"))
	if err == nil {
		writeJSON(w, http.StatusOK, answer)
	}
	return err
}
