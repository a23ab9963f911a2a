package main

import (
	"github.com/streampost/streampost/adapters/imap"
	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/adapters/netline"
	"github.com/streampost/streampost/adapters/smtp"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/ops/config"
)

// The configuration's limits as each adapter wants them. A test checks that no field of an adapter's limits is left out.

func lineLimits(l config.LineLimits) netline.Limits { return netline.Limits(l) }

func imapLimits(l config.IMAPLimits) imap.Limits {
	return imap.Limits{
		Line: lineLimits(l.LineLimits), Login: l.Login, Handshake: l.Handshake, Work: l.Work,
		Append:   int64(l.Message),
		Failures: l.Failures, FailureDelay: l.FailureDelay, BadCommands: l.BadCommands,
		BeforeLogin: commandLimits(l.BeforeLogin), AfterLogin: commandLimits(l.AfterLogin),
	}
}

func commandLimits(l config.CommandLimits) wire.Limits {
	return wire.Limits{
		Command: int64(l.Command), Kept: int64(l.Kept), Literal: int64(l.Literal), Depth: l.Depth, Nesting: l.Nesting, Items: l.Items, Ranges: l.Ranges, Drain: int64(l.Drain),
	}
}

func smtpLimits(l config.SMTPLimits) smtp.Limits {
	return smtp.Limits{
		Line:       lineLimits(l.LineLimits),
		Content:    delivery.Limits{Message: int64(l.Message), Header: int64(l.Header), Fields: l.Fields, Line: int(l.Line), Hops: l.Hops},
		Recipients: l.Recipients, BadRecipients: l.BadRecipients, AuthFailures: l.AuthFailures, AuthDelay: l.AuthDelay,
		Replies: l.Replies, Work: l.Work, Parallel: l.Parallel, Remembered: l.Remembered, RememberFor: l.RememberFor,
	}
}
