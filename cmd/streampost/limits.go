package main

import (
	"net/netip"

	"github.com/streampost/streampost/adapters/imap"
	"github.com/streampost/streampost/adapters/imap/wire"
	"github.com/streampost/streampost/adapters/managesieve"
	"github.com/streampost/streampost/adapters/netline"
	"github.com/streampost/streampost/adapters/pop3"
	"github.com/streampost/streampost/adapters/smtp"
	"github.com/streampost/streampost/domain/delivery"
	"github.com/streampost/streampost/ops/config"
	"github.com/streampost/streampost/projections/door"
)

// The configuration's limits as each adapter wants them. A test checks that no field of an adapter's limits is left out.

func lineLimits(l config.LineLimits) netline.Limits { return netline.Limits(l) }

func imapLimits(l config.IMAPLimits) imap.Limits {
	return imap.Limits{
		Line: lineLimits(l.LineLimits), Login: l.Login, Handshake: l.Handshake, Work: l.Work, Progress: l.Progress,
		Append: int64(l.Message), Contexts: l.Contexts, Mailboxes: l.Mailboxes, Owners: l.Owners,
		MetadataValue: int(l.MetadataValue), MetadataEntries: l.MetadataEntries, MetadataOctets: int64(l.MetadataOctets),
		Failures: l.Failures, FailureDelay: l.FailureDelay, BadCommands: l.BadCommands,
		BeforeLogin: commandLimits(l.BeforeLogin), AfterLogin: commandLimits(l.AfterLogin),
	}
}

func pop3Limits(l config.POP3Limits) pop3.Limits {
	return pop3.Limits{
		Line: lineLimits(l.LineLimits), Login: l.Login, Handshake: l.Handshake, Work: l.Work, Command: int(l.Command),
		Failures: l.Failures, FailureDelay: l.FailureDelay, BadCommands: l.BadCommands,
	}
}

func manageSieveLimits(l config.ManageSieveLimits) managesieve.Limits {
	return managesieve.Limits{
		Line: lineLimits(l.LineLimits), Login: l.Login, Handshake: l.Handshake, Work: l.Work,
		Failures: l.Failures, FailureDelay: l.FailureDelay, BadCommands: l.BadCommands,
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
		Recipients: l.Recipients, Copies: l.Copies, BadRecipients: l.BadRecipients, AuthFailures: l.AuthFailures, AuthDelay: l.AuthDelay,
		Replies: l.Replies, Work: l.Work, Parallel: l.Parallel, Remembered: l.Remembered, RememberFor: l.RememberFor,
	}
}

func sessions(l config.Logins) door.Sessions {
	return door.Sessions{Account: l.Sessions, Address: l.SessionsPerAddress}
}

// networks are those of a list that config.Check has seen.
func networks(list []string) (all []netip.Prefix) {
	for _, text := range list {
		if network, err := netip.ParsePrefix(text); err == nil {
			all = append(all, network.Masked())
		}
	}
	return all
}

func guessing(l config.Logins) door.Guessing {
	return door.Guessing{Free: l.Free, Delay: l.Delay, Max: l.MaxDelay, HalfLife: l.HalfLife, Remembered: l.Remembered}
}
