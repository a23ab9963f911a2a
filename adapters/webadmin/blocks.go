package webadmin

import (
	"net/http"

	"github.com/streampost/streampost/projections/door"
)

// Blocks is what door.Directory knows of those whose logins have to wait.
type Blocks interface {
	Blocks() []door.Block
	Unblock(name string) error
}

func (s *Server) blocks(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, notNil(s.b.Directory.Blocks()))
	return nil
}

func (s *Server) unblock(w http.ResponseWriter, r *http.Request) error {
	return done(w, s.b.Directory.Unblock(r.PathValue("blocked")))
}
