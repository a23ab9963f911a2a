// Package storetest opens the view store that tests of projections and of the whole server run on: SQLite, or Postgres where
// STREAMPOST_TEST_VIEWS=postgres and STREAMPOST_POSTGRES_URL, the URL of a role that may make roles and databases, say so.
package storetest

import (
	"context"
	"os"
	"sync"

	"github.com/streampost/streampost/adapters/sqlview"
	"github.com/streampost/streampost/adapters/sqlview/postgres"
	"github.com/streampost/streampost/adapters/sqlview/postgres/pgtest"
	"github.com/streampost/streampost/projections"
)

// TB is what tests of package testing and of rapid have in common.
type TB = pgtest.TB

// Store is a view store that can be closed.
type Store interface {
	projections.Views
	Close() error
}

// Postgres tells whether tests run on Postgres.
func Postgres() bool { return os.Getenv("STREAMPOST_TEST_VIEWS") == "postgres" }

// Open opens a store. The same directory gives what was there before it was closed. Options are for SQLite.
func Open(t TB, dir string, opt sqlview.Options) (Store, error) {
	if !Postgres() {
		return sqlview.Open(dir, opt)
	}
	return postgres.Open(context.Background(), URL(t, dir), postgres.Options{Logger: opt.Logger})
}

var (
	mu   sync.Mutex
	urls = map[string]string{}
)

// URL gives the database that stands for a directory.
func URL(t TB, dir string) string {
	t.Helper()
	mu.Lock()
	defer mu.Unlock()
	if urls[dir] == "" {
		urls[dir] = pgtest.Shared(t).Database(t)
	}
	return urls[dir]
}
