package natsd

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

// shelf is the directory of a stopped server with a group and a stream, each of which holds its age, and with earlier ones in quarantine.
func shelf(t *testing.T) (s *Server, dirs []string) {
	t.Helper()
	s = &Server{cfg: Config{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler), Failpoint: func(string) {}}}
	dirs = []string{"groups/G", "streams/LOG"}
	for dir, age := range map[string]string{"groups/G": "new", "streams/LOG": "new", "quarantine/G": "old", "quarantine/LOG": "old"} {
		if err := os.MkdirAll(filepath.Join(s.cfg.Dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.cfg.Dir, dir, "age"), []byte(age), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.plan(append(dirs, "groups/NONE")); err != nil {
		t.Fatal(err)
	}
	return s, dirs
}

// holds demands what is in a directory; empty means that it is not there.
func (s *Server) holds(t *testing.T, dir, want string) {
	t.Helper()
	if got, _ := os.ReadFile(filepath.Join(s.cfg.Dir, dir, "age")); string(got) != want {
		t.Errorf("%s holds %q, want %q", dir, got, want)
	}
}

// TestAPlanIsFinishedOrDropped: a crash before the first move leaves all copies where they are, for good; one after it is finished.
func TestAPlanIsFinishedOrDropped(t *testing.T) {
	s, dirs := shelf(t)
	for range 2 {
		if err := s.resume(); err != nil {
			t.Fatal(err)
		}
		s.holds(t, "streams/LOG", "new")
		s.holds(t, "groups/G", "new")
		s.holds(t, "quarantine/LOG", "old")
	}

	if err := s.plan(dirs); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(s.cfg.Dir, dirs[0]), s.aside(dirs[0])); err != nil {
		t.Fatal(err)
	}
	if err := s.resume(); err != nil {
		t.Fatal(err)
	}
	s.holds(t, "streams/LOG", "")
	s.holds(t, "groups/G", "")
	s.holds(t, "quarantine/LOG", "new")
	s.holds(t, "quarantine/G", "new")
	if dirs, err := s.planned(); dirs != nil || err != nil {
		t.Errorf("the plan is left: %v, %v", dirs, err)
	}
}

// TestAFailedQuarantineIsUndone: what was moved goes back, the plan is dropped, and the copies of before are still in quarantine.
func TestAFailedQuarantineIsUndone(t *testing.T) {
	s, dirs := shelf(t)
	if err := os.Rename(filepath.Join(s.cfg.Dir, dirs[0]), s.aside(dirs[0])); err != nil {
		t.Fatal(err)
	}
	if err := s.undo(dirs); err != nil {
		t.Fatal(err)
	}
	s.holds(t, "streams/LOG", "new")
	s.holds(t, "groups/G", "new")
	s.holds(t, "quarantine/LOG", "old")
	s.holds(t, "quarantine/G", "old")
	if dirs, err := s.planned(); dirs != nil || err != nil {
		t.Errorf("the plan is left: %v, %v", dirs, err)
	}
}
