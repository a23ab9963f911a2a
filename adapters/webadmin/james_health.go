package webadmin

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"github.com/streampost/streampost/domain"
)

// Health runs checks of the server.
type Health interface {
	// Names lists all checks.
	Names() []string
	// Run runs the checks of these names, all if there are none.
	Run(ctx context.Context, names ...string) HealthReport
}

// HealthReport is what checks found. It is as bad as the worst of them.
type HealthReport struct {
	Status string        `json:"status"` // "healthy", "degraded" or "unhealthy"
	Checks []HealthCheck `json:"checks"`
}

// HealthCheck is what one check found.
type HealthCheck struct {
	Name    string `json:"componentName"`
	Escaped string `json:"escapedComponentName"`
	Status  string `json:"status"`
	Cause   string `json:"cause,omitempty"`
}

var jamesHealth = []Route{
	{Pattern: "GET /healthcheck", Public: true, serve: (*Server).healthChecks, Summary: "Run all health checks, or those named by ?check=; ?strict makes degraded 503"},
	{Pattern: "GET /healthcheck/checks", Public: true, serve: (*Server).healthNames, Summary: "List health checks"},
	{Pattern: "GET /healthcheck/checks/{name}", Public: true, serve: (*Server).healthCheck, Summary: "Run one health check"},
}

func (s *Server) healthChecks(w http.ResponseWriter, r *http.Request) error {
	names := r.URL.Query()["check"]
	for _, name := range names {
		if !slices.Contains(s.b.Health.Names(), name) {
			return noCheck(name)
		}
	}
	report := s.b.Health.Run(r.Context(), names...)
	writeJSON(w, healthStatus(r, report.Status), report)
	return nil
}

func (s *Server) healthNames(w http.ResponseWriter, _ *http.Request) error {
	type component struct {
		Name    string `json:"componentName"`
		Escaped string `json:"escapedComponentName"`
	}
	list := []component{}
	for _, name := range s.b.Health.Names() {
		list = append(list, component{name, url.PathEscape(name)})
	}
	writeJSON(w, http.StatusOK, list)
	return nil
}

func (s *Server) healthCheck(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if !slices.Contains(s.b.Health.Names(), name) {
		return noCheck(name)
	}
	report := s.b.Health.Run(r.Context(), name)
	writeJSON(w, healthStatus(r, report.Status), report.Checks[0])
	return nil
}

func noCheck(name string) error {
	return domain.Errorf(domain.NotFound, "there is no health check %q", name)
}

// healthStatus is 200 for what is degraded, unless the request is strict.
func healthStatus(r *http.Request, status string) int {
	if status == "unhealthy" || status == "degraded" && r.URL.Query().Has("strict") {
		return http.StatusServiceUnavailable
	}
	return http.StatusOK
}
