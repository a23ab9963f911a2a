package postgres

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections"
)

// Codes of errors (https://www.postgresql.org/docs/current/errcodes-appendix.html). Their first two characters are the class.
const (
	uniqueViolation   = "23505"
	undefinedTable    = "42P01"
	invalidSchemaName = "3F000"
	undefinedColumn   = "42703"
	dataCorrupted     = "XX001"
	indexCorrupted    = "XX002"
	diskFull          = "53100"
	tooManyClients    = "53300"
	lockNotAvailable  = "55P03"
	noPrivilege       = "42501"
	badPassword       = "28P01"
	noDatabase        = "3D000"
	readOnly          = "25006"
	badData           = "22" // the class of values that no column takes, text with NUL for instance
	tooMuch           = "54" // the class of values that are too large, for an index for instance
)

// foreign tells errors of the database or the way to it.
func foreign(err error) bool {
	var met *pgconn.PgError
	var connect *pgconn.ConnectError
	var broken net.Error
	return errors.As(err, &met) || errors.As(err, &connect) || errors.As(err, &broken) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.ErrUnexpectedEOF) ||
		pgconn.SafeToRetry(err) // of a connection that broke before
}

// key is how the database names the key of a row in the details of a uniqueViolation: columns, then values.
var key = regexp.MustCompile(`\(account[,)].*?=\(([^,)]+)`)

// duplicate says whose row is there already.
func duplicate(err error) error {
	var met *pgconn.PgError
	if errors.As(err, &met) && met.Code == uniqueViolation {
		if found := key.FindStringSubmatch(met.Detail); found != nil {
			return &projections.Duplicate{Account: domain.AccountID(found[1]), Err: err}
		}
	}
	return err
}

// classify tells what an error means for those who wait; nil for nil.
func classify(err error, doing string) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var known *domain.Error
	if errors.As(err, &known) {
		return err
	}
	e := domain.Wrap(domain.Unavailable, err, doing)
	var met *pgconn.PgError
	if !errors.As(err, &met) {
		e.Msg = "the view database cannot be reached"
		e.Hint = "is it running? mail that needs its rows waits; projectors go on by themselves when it is back"
		return e
	}
	if strings.HasPrefix(met.Code, badData) || strings.HasPrefix(met.Code, tooMuch) { // trying again does not help, and those that are projected beside it must go on
		e.Kind, e.Msg = domain.Corrupt, "the view database cannot keep a value"
		return e
	}
	switch met.Code {
	case uniqueViolation:
		e.Kind, e.Msg = domain.Exists, "the view has such a row already"
	case undefinedTable, invalidSchemaName, undefinedColumn, dataCorrupted, indexCorrupted:
		e.Err = fmt.Errorf("%w: %w", projections.ErrDamaged, err)
	case diskFull:
		e.Msg, e.Hint = "the disk of the view database is full", "free space there; projectors go on by themselves"
	case tooManyClients:
		e.Hint = "raise max_connections of the database, or lower views.connections"
	case noPrivilege:
		e.Hint = "grant the server's role what docs/operator.md lists"
	case badPassword, noDatabase:
		e.Hint = "check views.url: user, password and database"
	case readOnly:
		e.Hint = "views.url leads to a standby: it has to lead to the primary"
	}
	return e
}
