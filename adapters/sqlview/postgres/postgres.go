// Package postgres keeps views in PostgreSQL 13 or newer (pgx), for sites that want their rows there. It is another projections.Views: the
// statements of projections run unchanged.
//
// Each node has a schema of its own, whose table generations names what there is. The rows of a generation lie in a schema beside it, called
// <node's schema>_<number>; the search_path of a connection selects it, so that no statement names one. Nodes never share rows: they share the
// log.
//
// Commits are synced, whatever the server's default is: a projector that goes on after the database failed must find the head that it knows.
// While the database cannot be reached every operation gives domain.Unavailable; connections are made anew when it is back.
//
// Locking: a session's advisory lock on the node's schema keeps a second server from using it. Writers of one generation take turns; readers
// see committed states and wait for nobody.
package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/migrations"
	"github.com/streampost/streampost/projections"
)

// Options are the store's limits. The zero value means the defaults.
type Options struct {
	Schema         string        // this node's; lower-case letters, digits and "_", 40 at most; streampost
	Connections    int           // to the database at once; 24
	ConnectTimeout time.Duration // to reach the database; 10 s
	TakeTimeout    time.Duration // how long the session of a server that died may keep the schema; 30 s
	LockTimeout    time.Duration // how long deleting a generation waits for its readers before it is put off; 1 s
	Logger         *slog.Logger  // slog.Default
}

func (o Options) withDefaults() Options {
	if o.Schema == "" {
		o.Schema = "streampost"
	}
	if o.Connections <= 0 {
		o.Connections = 24
	}
	if o.ConnectTimeout <= 0 {
		o.ConnectTimeout = 10 * time.Second
	}
	if o.TakeTimeout <= 0 {
		o.TakeTimeout = 30 * time.Second
	}
	if o.LockTimeout <= 0 {
		o.LockTimeout = time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

var schemaForm = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,39}$`)

// Views is one node's schemas. It implements projections.Views.
type Views struct {
	pool *pgxpool.Pool
	opt  Options
	lock *pgx.Conn // holds the advisory lock

	mu   sync.Mutex
	open map[projections.Generation]*view
}

var (
	_ projections.Views   = (*Views)(nil)
	_ projections.Bounded = (*Views)(nil)
)

// compared is how many connections are left for comparisons.
const compared = 9

// Bounds shares out the connections.
func (v *Views) Bounds() (writes, looks int) { return max(1, v.opt.Connections-compared), compared }

// Open connects to a database by URL or key=value string (https://www.postgresql.org/docs/current/libpq-connect.html) and makes the node's schema when
// it is not there. Errors: domain.Invalid for a string or schema that is none, domain.Unavailable.
func Open(ctx context.Context, url string, opt Options) (*Views, error) {
	opt = opt.withDefaults()
	if !schemaForm.MatchString(opt.Schema) {
		return nil, domain.Errorf(domain.Invalid, "the schema %q may hold up to 40 lower-case letters, digits and \"_\" only", opt.Schema)
	}
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, domain.Errorf(domain.Invalid, "the URL of the view database cannot be understood; it looks like postgres://user@host/database") // pgx's text may show the password
	}
	config.MaxConns = int32(opt.Connections)
	config.ConnConfig.ConnectTimeout = opt.ConnectTimeout
	config.ConnConfig.RuntimeParams["application_name"] = opt.Schema
	for key, value := range map[string]string{
		"synchronous_commit": "on",
		// The lock of a machine that lost its power is free after a minute: https://www.postgresql.org/docs/current/runtime-config-connection.html
		"tcp_keepalives_idle": "30", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "3",
	} {
		config.ConnConfig.RuntimeParams[key] = value
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, domain.Wrap(domain.Invalid, err, "use the view database")
	}
	v := &Views{pool: pool, opt: opt, open: map[projections.Generation]*view{}}
	if err := v.begin(ctx); err != nil {
		return nil, errors.Join(err, v.Close())
	}
	return v, nil
}

// begin takes the node's schema.
func (v *Views) begin(ctx context.Context) error {
	var err error
	if v.lock, err = pgx.ConnectConfig(ctx, v.pool.Config().ConnConfig); err != nil {
		return classify(err, "connect to the view database")
	}
	// The session of a server that died may last for a moment.
	_, err = v.lock.Exec(ctx, fmt.Sprintf("set lock_timeout = %d; select pg_advisory_lock(%d)", v.opt.TakeTimeout.Milliseconds(), number(v.opt.Schema)), pgx.QueryExecModeSimpleProtocol)
	var met *pgconn.PgError
	if errors.As(err, &met) && met.Code == lockNotAvailable {
		e := domain.Errorf(domain.Unavailable, "the schema %s of the view database is in use by another server", v.opt.Schema)
		e.Hint = "give every node a schema of its own: views.schema"
		return e
	}
	if err != nil {
		return classify(err, "lock the views")
	}
	if _, err := v.pool.Exec(ctx, fmt.Sprintf(registry, v.opt.Schema), pgx.QueryExecModeSimpleProtocol); err != nil {
		return classify(err, "make the schema "+v.opt.Schema)
	}
	if _, err := v.registry(ctx, "update %s.generations set state = 'dropped' where state = 'scratch'"); err != nil {
		return err
	}
	v.sweep(ctx)
	return nil
}

// registry is the table of what there is. A generation that is dropped keeps its line until its schema is gone.
const registry = `create schema if not exists %[1]s;
create table if not exists %[1]s.generations (
    id         bigint generated always as identity primary key,
    stream     text   not null,
    projection text   not null,
    number     bigint not null,
    state      text   not null check (state in ('used', 'scratch', 'dropped'))
);
create unique index if not exists generations_used on %[1]s.generations (stream, projection, number) where state = 'used';`

// number makes the key of an advisory lock.
func number(name string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte("streampost " + name)) // never fails
	return int64(h.Sum64())
}

// registry runs a statement in which %s is the node's schema.
func (v *Views) registry(ctx context.Context, statement string, args ...any) (int64, error) {
	tag, err := v.pool.Exec(ctx, fmt.Sprintf(statement, v.opt.Schema), args...)
	return tag.RowsAffected(), classify(err, "look up what views there are")
}

// Close ends all connections.
func (v *Views) Close() error {
	v.mu.Lock()
	for _, w := range v.open {
		w.end()
	}
	clear(v.open)
	v.mu.Unlock()
	if v.lock != nil {
		ctx, cancel := context.WithTimeout(context.Background(), v.opt.ConnectTimeout)
		defer cancel()
		_ = v.lock.Close(ctx)
	}
	v.pool.Close()
	return nil
}

// Generations lists all that there is.
func (v *Views) Generations(ctx context.Context) ([]projections.Generation, error) {
	rows, err := v.pool.Query(ctx, fmt.Sprintf("select stream, projection, number from %s.generations where state = 'used'", v.opt.Schema))
	if err != nil {
		return nil, classify(err, "list views")
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[projections.Generation])
	return all, classify(err, "list views")
}

// Open gives a generation.
func (v *Views) Open(ctx context.Context, g projections.Generation) (projections.View, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if w := v.open[g]; w != nil {
		return w, nil
	}
	id, err := v.find(ctx, g)
	if err == nil && id == 0 {
		id, err = v.make(ctx, "used", g, func(schema string) (string, error) { return definition(g.Projection) })
	}
	if err != nil {
		return nil, err
	}
	w := v.view(id, g.Projection)
	err = w.whole(ctx)
	if err == nil {
		err = v.adopt(ctx, id, g.Projection)
	}
	if err != nil {
		w.end()
		return nil, err
	}
	v.open[g] = w
	return w, nil
}

// adopt adds digests to a generation of a build that counted none, and what tells of accounts ahead to one that knew of none.
func (v *Views) adopt(ctx context.Context, id int64, projection string) error {
	var known bool
	if err := v.pool.QueryRow(ctx, "select exists (select from pg_tables where schemaname = $1 and tablename = 'ahead')", v.schema(id)).Scan(&known); err != nil {
		return classify(err, "open a view")
	}
	if !known {
		if err := classify(pgx.BeginFunc(ctx, v.pool, func(tx pgx.Tx) error {
			_, err := tx.Conn().PgConn().Exec(ctx, "set local search_path to "+v.schema(id)+"; "+migrations.Postgres("ahead")).ReadAll()
			return err
		}), "add a table to a view"); err != nil {
			return err
		}
	}
	if err := v.pool.QueryRow(ctx, "select exists (select from information_schema.columns where table_schema = $1 and table_name = 'head' and column_name = 'counted')",
		v.schema(id)).Scan(&known); err != nil || known {
		return classify(err, "open a view")
	}
	there, err := v.tables(ctx, id)
	if err != nil {
		return err
	}
	// One of another version may lack some.
	tables := slices.DeleteFunc(migrations.Counted(projection), func(table string) bool { return !slices.Contains(there, table) })
	return classify(pgx.BeginFunc(ctx, v.pool, func(tx pgx.Tx) error {
		_, err := tx.Conn().PgConn().Exec(ctx, "set local search_path to "+v.schema(id)+"; alter table head add column counted bigint not null default 0; "+digests(projection, tables)).ReadAll()
		return err
	}), "add digests to a view")
}

// find gives the id of a generation; 0 when there is none.
func (v *Views) find(ctx context.Context, g projections.Generation) (id int64, err error) {
	err = v.pool.QueryRow(ctx, fmt.Sprintf("select id from %s.generations where state = 'used' and stream = $1 and projection = $2 and number = $3", v.opt.Schema),
		g.Stream, g.Projection, g.Number).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	return id, classify(err, "look up a view")
}

// definition is the SQL that makes a projection's tables.
func definition(projection string) (string, error) {
	text := migrations.Postgres(projection)
	if text == "" {
		return "", domain.Errorf(domain.Internal, "projection %s has no definition", projection)
	}
	return migrations.Postgres("head") + migrations.Postgres("ahead") + text + digests(projection, migrations.Counted(projection)), nil
}

// make adds a line to the registry and a schema with what define says, all or nothing.
func (v *Views) make(ctx context.Context, state string, g projections.Generation, define func(schema string) (string, error)) (id int64, err error) {
	err = pgx.BeginFunc(ctx, v.pool, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, fmt.Sprintf("insert into %s.generations (stream, projection, number, state) values ($1, $2, $3, $4) returning id", v.opt.Schema),
			g.Stream, g.Projection, g.Number, state).Scan(&id); err != nil {
			return err
		}
		schema := v.schema(id)
		text, err := define(schema)
		if err != nil {
			return err
		}
		_, err = tx.Conn().PgConn().Exec(ctx, "create schema "+schema+"; set local search_path to "+schema+"; set local streampost.count = 'off'; set local check_function_bodies = off; "+text).ReadAll()
		return err
	})
	return id, classify(err, "make the tables of "+g.Projection)
}

func (v *Views) schema(id int64) string { return fmt.Sprintf("%s_%d", v.opt.Schema, id) }

// Copy makes a generation from another.
func (v *Views) Copy(ctx context.Context, from, to projections.Generation) error {
	source, err := v.find(ctx, from)
	if err != nil {
		return err
	}
	if source == 0 {
		return domain.Errorf(domain.NotFound, "there is no view %s", from)
	}
	_, err = v.make(ctx, "used", to, func(string) (string, error) {
		tables, err := v.tables(ctx, source)
		if err != nil {
			return "", err
		}
		made, err := definition(to.Projection)
		if err != nil {
			return "", err
		}
		var text strings.Builder
		text.WriteString(made + "; delete from head; ")
		// One statement sees one committed state, so all tables are copied by one. What refers to other tables is looked at when it ends.
		text.WriteString("with ")
		for i, table := range tables {
			if i > 0 {
				text.WriteString(", ")
			}
			fmt.Fprintf(&text, "copy_%d as (insert into %s select * from %s.%[2]s)", i, table, v.schema(source))
		}
		text.WriteString(" select 1; update head set version = 0, ready = 0")
		return text.String(), nil
	})
	return err
}

func (v *Views) tables(ctx context.Context, id int64) ([]string, error) {
	rows, err := v.pool.Query(ctx, "select tablename::text from pg_tables where schemaname = $1 order by tablename", v.schema(id))
	if err != nil {
		return nil, classify(err, "list the tables of a view")
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return tables, classify(err, "list the tables of a view")
}

// Drop deletes a generation. Its rows go when nobody reads them any more.
func (v *Views) Drop(ctx context.Context, g projections.Generation) error {
	v.mu.Lock()
	w := v.open[g]
	delete(v.open, g)
	v.mu.Unlock()
	if _, err := v.registry(ctx, "update %s.generations set state = 'dropped' where state = 'used' and stream = $1 and projection = $2 and number = $3",
		g.Stream, g.Projection, g.Number); err != nil {
		return err
	}
	if w != nil {
		w.end()
	}
	v.sweep(ctx)
	return nil
}

// Aside drops a generation: the database has no place to keep a damaged one.
func (v *Views) Aside(ctx context.Context, g projections.Generation) error { return v.Drop(ctx, g) }

// sweep deletes the schemas of what was dropped. What somebody still reads stays for the next time.
func (v *Views) sweep(ctx context.Context) {
	rows, err := v.pool.Query(ctx, fmt.Sprintf("select id from %s.generations where state = 'dropped'", v.opt.Schema))
	if err != nil {
		return
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return
	}
	for _, id := range ids {
		err := pgx.BeginFunc(ctx, v.pool, func(tx pgx.Tx) error {
			_, err := tx.Conn().PgConn().Exec(ctx, fmt.Sprintf("set local lock_timeout = %d; drop schema if exists %s cascade; delete from %s.generations where id = %d",
				v.opt.LockTimeout.Milliseconds(), v.schema(id), v.opt.Schema, id)).ReadAll()
			return err
		})
		var met *pgconn.PgError
		if err != nil && (!errors.As(err, &met) || met.Code != lockNotAvailable) {
			v.opt.Logger.Warn("what is left of a dropped view stays in the database until the next try", "schema", v.schema(id), "error", err)
		}
	}
}

// Scratch makes empty tables for one comparison.
func (v *Views) Scratch(ctx context.Context, projection string) (projections.View, func(), error) {
	id, err := v.make(ctx, "scratch", projections.Generation{Projection: projection}, func(string) (string, error) {
		text, err := definition(projection)
		return strings.ReplaceAll(text, "create table ", "create unlogged table "), err
	})
	if err != nil {
		return nil, nil, err
	}
	w := v.view(id, projection)
	return w, func() {
		w.end()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), v.opt.ConnectTimeout)
		defer cancel()
		if _, err := v.registry(ctx, "update %s.generations set state = 'dropped' where id = $1", id); err == nil {
			v.sweep(ctx) // otherwise the next start does
		}
	}, nil
}

// Size adds up what the tables and indexes of a generation take.
func (v *Views) Size(ctx context.Context, g projections.Generation) (octets int64, err error) {
	id, err := v.find(ctx, g)
	if err != nil || id == 0 {
		return 0, err
	}
	err = v.pool.QueryRow(ctx, `select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where n.nspname = $1 and c.relkind = 'r'`, v.schema(id)).Scan(&octets)
	return octets, classify(err, "measure a view")
}

// view makes the handle of a schema.
func (v *Views) view(id int64, projection string) *view {
	c := &connector{base: stdlib.GetPoolConnector(v.pool), schema: v.schema(id)}
	w := &view{schema: v.schema(id), projection: projection, mark: fmt.Sprintf("/*%d*/ ", id), db: sql.OpenDB(c)}
	w.db.SetMaxIdleConns(0) // the pool keeps them
	return w
}

// connector takes connections from the pool and points them to a schema.
type connector struct {
	base   driver.Connector
	schema string
}

func (c *connector) Driver() driver.Driver { return c.base.Driver() }

// keyed has rows found by their keys. Statements name few rows of large tables, and a new table has no statistics, so that the planner
// would read all of it.
const keyed = "set enable_hashjoin = off; set enable_mergejoin = off"

// pointsTo is where a connection remembers its schema.
const pointsTo = "streampost.schema"

func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.base.Connect(ctx)
	if err != nil {
		return nil, err
	}
	raw := conn.(*stdlib.Conn).Conn().PgConn()
	if raw.CustomData()[pointsTo] != c.schema {
		if _, err := raw.Exec(ctx, "set search_path to "+c.schema+"; "+counted+"; "+keyed).ReadAll(); err != nil {
			_ = conn.Close() // back to the pool, which drops it if it is broken
			return nil, err
		}
		raw.CustomData()[pointsTo] = c.schema
	}
	return conn, nil
}
