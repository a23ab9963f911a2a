package webadmin

import (
	"context"
	"crypto/rand"
	"io"
	"net/http"
	"strings"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/domain/pipeline"
	"github.com/streampost/streampost/domain/queue"
	"github.com/streampost/streampost/projections/processing"
)

// Pipeline is processing.Processor.
type Pipeline interface {
	Program() *pipeline.Program
	Try(ctx context.Context, t *processing.Trial) (processing.Found, error)
	Inject(ctx context.Context, transfer string, r io.Reader, most int64) (queue.ID, error)
}

// ShownPipeline is the processors that mail goes through, and what steps can be made of.
type ShownPipeline struct {
	Processors []ShownProcessor `json:"processors"`
	Matchers   []string         `json:"matchers"`
	Actions    []string         `json:"actions"`
}

// ShownProcessor is one of them. Steps are as the configuration has them.
type ShownProcessor struct {
	Name  string   `json:"name"`
	Steps []string `json:"steps"`
}

// ShowPipeline writes down some processors.
func ShowPipeline(p *pipeline.Program, names []string) ShownPipeline {
	shown := ShownPipeline{Matchers: pipeline.Matchers(), Actions: pipeline.Actions()}
	for _, name := range names {
		one := ShownProcessor{Name: name}
		for _, s := range p.Steps(name) {
			one.Steps = append(one.Steps, s.Line)
		}
		shown.Processors = append(shown.Processors, one)
	}
	return shown
}

var pipelineRoutes = []Route{
	{Pattern: "POST /mail-transfer-service", Streams: true, BodyType: messageType, Status: http.StatusCreated, serve: (*Server).inject, Summary: "Send a message from the address in its From field to those in To, Cc and Bcc"},
	{Pattern: "GET /v1/pipeline", Answer: ShownPipeline{}, serve: (*Server).showPipeline, Summary: "Show the processors that mail goes through"},
	{Pattern: "POST /v1/pipeline/test", Body: processing.Trial{}, Answer: processing.Found{}, serve: (*Server).tryPipeline, Summary: "Tell what would become of a message; nothing is done"},
}

func (s *Server) inject(w http.ResponseWriter, r *http.Request) error {
	p, err := s.processors()
	if err != nil {
		return err
	}
	transfer := "admin-" + strings.ToLower(rand.Text()[:8])
	id, err := p.Inject(r.Context(), transfer, r.Body, s.limits.Message)
	if err != nil {
		return err
	}
	s.log.Info("message taken from an operator", "id", transfer, "queued", id)
	w.WriteHeader(http.StatusCreated)
	return nil
}

func (s *Server) processors() (Pipeline, error) {
	if s.b.Pipeline != nil {
		if p := s.b.Pipeline(); p != nil {
			return p, nil
		}
	}
	return nil, domain.Errorf(domain.Unavailable, "the queue cannot be read, which the pipeline needs")
}

func (s *Server) showPipeline(w http.ResponseWriter, _ *http.Request) error {
	p, err := s.processors()
	if err == nil {
		writeJSON(w, http.StatusOK, ShowPipeline(p.Program(), p.Program().Processors()))
	}
	return err
}

func (s *Server) tryPipeline(w http.ResponseWriter, r *http.Request) error {
	p, err := s.processors()
	if err != nil {
		return err
	}
	var t processing.Trial
	if err := readJSON(r, &t); err != nil {
		return err
	}
	found, err := p.Try(r.Context(), &t)
	if err == nil {
		writeJSON(w, http.StatusOK, found)
	}
	return err
}
