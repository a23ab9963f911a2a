package sqlview

import (
	"context"
	"errors"
	"fmt"

	"github.com/streampost/streampost/domain"
	"github.com/streampost/streampost/projections"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// classify tells what an error of the driver means for those who wait.
func classify(err error, doing string) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var known *domain.Error
	if errors.As(err, &known) {
		return err
	}
	var s *sqlite.Error
	if !errors.As(err, &s) {
		return domain.Wrap(domain.Unavailable, err, doing) // projections.ErrDamaged, or database/sql says that the file is being closed
	}
	if s.Code() == sqlite3.SQLITE_IOERR_SHORT_READ {
		return domain.Wrap(domain.Unavailable, fmt.Errorf("%w: %w", projections.ErrDamaged, err), doing)
	}
	code := s.Code() & 0xff
	if s.Code() == sqlite3.SQLITE_IOERR_SHMSIZE { // The index of the log could not be made longer.
		code = sqlite3.SQLITE_FULL
	}
	e := domain.Wrap(domain.Unavailable, err, doing)
	switch code { // the low octet is the primary result code
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		e.Err = fmt.Errorf("%w: %w", projections.ErrDamaged, err)
	case sqlite3.SQLITE_FULL:
		e.Msg = "the disk of the views is full"
		e.Hint = "free space; projectors go on by themselves"
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		e.Msg = "the view file cannot be written"
		e.Hint = "check the permissions of the views directory"
	case sqlite3.SQLITE_IOERR:
		e.Msg = "the disk of the views reports an error"
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		e.Msg = "the view file is locked by another process"
		e.Hint = "does a second server or a database tool use this data directory?"
	case sqlite3.SQLITE_CONSTRAINT:
		e.Kind, e.Msg = domain.Exists, "the view has such a row already"
	default:
		e.Kind = domain.Internal
	}
	return e
}
