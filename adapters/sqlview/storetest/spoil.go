package storetest

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"path/filepath"

	"github.com/jackc/pgx/v5"
	"github.com/streampost/streampost/projections"
)

// Spoil runs a statement on the rows of a generation as a stranger does, whose changes no digest follows. dir is that of Open. It fails the test when no row
// was changed.
func Spoil(t TB, dir string, g projections.Generation, statement string, args ...any) {
	t.Helper()
	n, err := spoil(context.Background(), t, dir, g, statement, args)
	if err == nil && n == 0 {
		err = fmt.Errorf("%q changed no row of %s", statement, g)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func spoil(ctx context.Context, t TB, dir string, g projections.Generation, statement string, args []any) (int64, error) {
	if Postgres() {
		conn, err := pgx.Connect(ctx, URL(t, dir))
		if err != nil {
			return 0, err
		}
		defer conn.Close(ctx)
		var id int64
		if err := conn.QueryRow(ctx, "select id from streampost.generations where state = 'used' and stream = $1 and projection = $2 and number = $3",
			g.Stream, g.Projection, g.Number).Scan(&id); err != nil {
			return 0, err
		}
		if _, err := conn.Exec(ctx, fmt.Sprintf("set search_path to streampost_%d", id)); err != nil {
			return 0, err
		}
		tag, err := conn.Exec(ctx, statement, args...)
		return tag.RowsAffected(), err
	}
	path := (&url.URL{Path: filepath.Join(dir, g.String()+".db")}).EscapedPath()
	db, err := sql.Open("sqlite", "file:"+path+"?mode=rw&_pragma=busy_timeout(5000)")
	if err != nil {
		return 0, err
	}
	defer db.Close()
	result, err := db.ExecContext(ctx, statement, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}
