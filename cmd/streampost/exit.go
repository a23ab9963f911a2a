package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/streampost/streampost/adapters/webadmin"
	"github.com/streampost/streampost/domain"
)

// The exit codes of every command. docs/cli.md is made with them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitFound       = 4
	exitInterrupted = 130
)

var exitCodes = []struct {
	code    int
	meaning string
}{
	{exitOK, "done"},
	{exitFailed, "refused or failed; the message says why"},
	{exitUsage, "the command line or the configuration is wrong"},
	{exitUnreachable, "no running server was found"},
	{exitFound, "a verification, an import or doctor found something: damage, differences, refused messages, problems, records that are missing in DNS, accounts for which an order failed or that could not be promoted, or could not compare everything"},
	{exitInterrupted, "interrupted"},
}

// exitError carries an exit code. A nil err says nothing, because the command has said it all.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usage(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// report says what went wrong and gives the exit code.
func report(env *Env, err error) int {
	if err == nil {
		return exitOK
	}
	code := exitFailed
	var exit *exitError
	if errors.As(err, &exit) {
		code = exit.code
	} else if env.interrupted() {
		code = exitInterrupted
	}
	if text := err.Error(); text != "" {
		env.tell("streampost: %s\n", text)
	}
	var known *domain.Error
	var rest *webadmin.Error
	if errors.As(err, &known) && known.Hint != "" && !errors.As(err, &rest) {
		env.tell("Hint: %s.\n", known.Hint)
	}
	return code
}

// interrupted reports whether the command was interrupted.
func (e *Env) interrupted() bool { return errors.Is(e.Context.Err(), context.Canceled) }
