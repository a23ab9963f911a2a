// Package config is the one place where an operator's decisions enter the program.
//
// Config is the schema: its fields are the keys and their comments the documentation, from which docs/configuration.md is made. Load lays
// the layers on top of each other (defaults, YAML file, environment, flags), remembers where each value came from, and refuses whatever it
// does not know: a key that is spelled wrongly is an error with a line number, never a silent default.
package config

import "time"

// Default is the configuration of a server that nobody has configured: everything on loopback, on ports that need no privilege.
func Default() Config {
	return Config{
		Data:    "./streampost-data",
		Drain:   10 * time.Second,
		Reserve: 64 << 20,
		Logging: Logging{Format: "text", Level: "info"},
		TLS:     TLS{MinVersion: "1.2"},
		Streams: Streams{Replicas: 1},
		Views:   Views{Hot: 64 << 20},
		IMAP: IMAP{
			Listen:              []string{"127.0.0.1:1143"},
			ListenTLS:           []string{"127.0.0.1:1993"},
			PlaintextOnLoopback: true,
			Limits: IMAPLimits{
				LineLimits: LineLimits{Connections: 10_000, PerAddress: 2_000, Idle: 30 * time.Minute, Write: time.Minute, MinRate: 256, Grace: time.Minute},
				Login:      2 * time.Minute, Handshake: 30 * time.Second, Work: time.Minute,
				Message:  100 << 20,
				Failures: 5, FailureDelay: time.Second, BadCommands: 50,
				BeforeLogin: CommandLimits{Command: 128 << 10, Kept: 64 << 10, Literal: 32 << 10, Depth: 10, Nesting: 500, Items: 200, Ranges: 200, Drain: 256 << 10},
				AfterLogin:  CommandLimits{Command: 8 << 20, Kept: 1 << 20, Literal: 512 << 10, Depth: 50, Nesting: 500, Items: 20_000, Ranges: 200_000, Drain: 16 << 20},
			},
		},
		SMTP: SMTP{
			Listen: []string{"127.0.0.1:1025"},
			Limits: smtpLimits(1_000, 100),
		},
		Submission: Submission{
			Listen:              []string{"127.0.0.1:1587"},
			ListenTLS:           []string{"127.0.0.1:1465"},
			PlaintextOnLoopback: true,
			Limits:              smtpLimits(1_000, 100),
		},
		LMTP: LMTP{
			Listen: []string{"127.0.0.1:1124"},
			Limits: smtpLimits(1_000, 1_000), // all from the one mail server
		},
		Admin: Admin{
			Listen: []string{"127.0.0.1:8000"},
			Limits: AdminLimits{Connections: 100, Body: 1 << 20, Message: 256 << 20, HeaderTime: 10 * time.Second, RequestTime: time.Minute, IdleTime: 2 * time.Minute},
		},
	}
}

func smtpLimits(connections, perAddress int) SMTPLimits {
	return SMTPLimits{
		LineLimits: LineLimits{Connections: connections, PerAddress: perAddress, Idle: 5 * time.Minute, Write: time.Minute, MinRate: 256, Grace: time.Minute},
		Message:    50 << 20, Line: 64 << 10, Header: 1 << 20, Fields: 10_000, Hops: 100,
		Recipients: 1_000, BadRecipients: 100, AuthFailures: 3, AuthDelay: time.Second, Replies: 10_000, Work: time.Minute,
		Parallel: 32, Remembered: 1_000, RememberFor: 24 * time.Hour,
	}
}
