// Package config is the one place where an operator's decisions enter the program.
//
// Config is the schema: its fields are the keys and their comments the documentation, from which docs/configuration.md is made. Load lays
// the layers on top of each other (defaults, YAML file, environment, flags), remembers where each value came from, and refuses whatever it
// does not know: a key that is spelled wrongly is an error with a line number, never a silent default.
package config

import "time"

// ClusterPort is where nodes meet unless the configuration says otherwise.
const ClusterPort = "6222"

// Default is the configuration of a server that nobody has configured: everything on loopback, on ports that need no privilege.
func Default() Config {
	return Config{
		Data:    "./streampost-data",
		Drain:   10 * time.Second,
		Reserve: 64 << 20,
		Logging: Logging{Format: "text", Level: "info"},
		TLS:     TLS{MinVersion: "1.2"},
		Search: Search{
			Enabled: true, Text: 16 << 20, OpenSearch: OpenSearch{Prefix: "streampost", Shards: 1, Replicas: 1},
			Tika: Tika{
				Types: []string{
					"application/pdf", "application/msword", "application/vnd.*", "application/rtf", "application/epub+zip", "application/x-iwork*", "application/octet-stream",
				},
				File: 20 << 20, Text: 1 << 20, Time: time.Minute, Parallel: 2,
			},
		},
		Streams: Streams{VerifyEvery: 7 * 24 * time.Hour},
		Cluster: Cluster{Listen: ":" + ClusterPort, Sessions: "stay", Failover: Failover{
			Mode: "automatic", Beat: 500 * time.Millisecond, Threshold: 8, Pause: time.Second, Charge: 4 * time.Second, Grace: time.Second,
			Unfit: 30 * time.Second, Restart: 2 * time.Minute, Steady: time.Minute, Most: 3, Window: 10 * time.Minute, Rate: 1_000,
		}},
		Logins: Logins{
			MinPassword: 8, Free: 3, Delay: time.Second, MaxDelay: 15 * time.Second, HalfLife: 15 * time.Minute, Remembered: 100_000, Sessions: 2_000, SessionsPerAddress: 50,
			OIDC: OIDC{
				Algorithms: []string{"RS256", "ES256", "PS256", "EdDSA"}, Claim: "email", Scope: "openid email",
				Skew: time.Minute, Refresh: time.Hour, Keep: 24 * time.Hour, Timeout: 10 * time.Second,
			},
		},
		Views:     Views{Hot: 64 << 20, Order: 64 << 20, VerifyEvery: 7 * 24 * time.Hour, CountEvery: 24 * time.Hour, VerifyCPU: 5, Schema: "streampost", Connections: 24},
		Snapshots: Snapshots{Enabled: true, Use: true, Every: 10_000, CPU: 25},
		Archive:   Archive{Kind: "none", Every: 5 * time.Second, Keep: 30 * 24 * time.Hour},
		IMAP: IMAP{
			Listen:              []string{"127.0.0.1:1143"},
			ListenTLS:           []string{"127.0.0.1:1993"},
			PlaintextOnLoopback: true,
			// It enables UIDONLY and then speaks of message numbers (https://github.com/modern-email/defects/issues/49).
			Clients:    []string{`name="Microsoft Office 365" without UIDONLY`},
			Namespaces: Namespaces{Others: "Other Users/", Shared: "Shared Folders/"},
			Limits: IMAPLimits{
				LineLimits: LineLimits{Connections: 10_000, PerAddress: 2_000, Idle: 30 * time.Minute, Write: time.Minute, MinRate: 256, Grace: time.Minute, ProxyHeader: 5 * time.Second, KeepAlive: 2 * time.Minute},
				Login:      2 * time.Minute, Handshake: 30 * time.Second, Work: time.Minute, Progress: 10 * time.Second,
				Message: 100 << 20, Contexts: 16, Mailboxes: 1_000, Owners: 1_000,
				MetadataValue: 64 << 10, MetadataEntries: 100, MetadataOctets: 1 << 20,
				Failures: 5, FailureDelay: time.Second, BadCommands: 50,
				BeforeLogin: CommandLimits{Command: 128 << 10, Kept: 64 << 10, Literal: 32 << 10, Depth: 10, Nesting: 500, Items: 200, Ranges: 200, Drain: 256 << 10},
				AfterLogin:  CommandLimits{Command: 8 << 20, Kept: 1 << 20, Literal: 512 << 10, Depth: 50, Nesting: 500, Items: 20_000, Ranges: 200_000, Drain: 16 << 20},
			},
		},
		SMTP: SMTP{
			Listen:   []string{"127.0.0.1:1025"},
			Limits:   smtpLimits(1_000, 100),
			Names:    Names{Reverse: "report", Helo: "report"},
			Greylist: Greylist{Delay: 5 * time.Minute, Window: 48 * time.Hour, Keep: 35 * 24 * time.Hour, Prove: 5, SPF: true, Entries: 100_000},
			Lists:    Lists{Time: 4 * time.Second, Parallel: 256},
			Verify: Verification{
				Enabled: true, Trusted: []string{"127.0.0.0/8", "::1/128"}, Reject: "refuse", Quarantine: "junk", SPFFail: "accept", TempError: "accept", Time: 6 * time.Second, Memory: 64 << 10,
			},
		},
		Rates: Rates{Remembered: 50_000},
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
		Trace: Trace{Keep: 7 * 24 * time.Hour, Size: 256 << 20},
		Quota: Quota{WarnGrace: 24 * time.Hour},
		Outbound: Outbound{
			Enabled: true, SmartHostTLS: "opportunistic", MTASTS: true, DANE: "loopback", TLSReports: "off", Families: "ipv6_first", BATV: "off", Port: 25, Connections: 50, PerDestination: 5, BulkRecipients: 100,
			RetryFirst: 2 * time.Minute, RetryMost: 2 * time.Hour, WarnAfter: 4 * time.Hour, ExpireAfter: 5 * 24 * time.Hour,
		},
		Pipeline: Pipeline{Visits: 30, Parallel: 16, CallTime: time.Minute, KeepDead: 30 * 24 * time.Hour},
		Listeners: Listeners{
			Learning: Learning{Kind: "rspamd", Message: 4 << 20, Time: 30 * time.Second, From: "now"},
			Export:   Export{From: "beginning", Size: 64 << 20, Age: 24 * time.Hour},
			Publish:  Publish{From: "beginning"},
		},
		POP3: POP3{
			Listen:              []string{"127.0.0.1:1110"},
			ListenTLS:           []string{"127.0.0.1:1995"},
			PlaintextOnLoopback: true,
			Limits: POP3Limits{
				LineLimits: LineLimits{Connections: 10_000, PerAddress: 2_000, Idle: 10 * time.Minute, Write: time.Minute, MinRate: 256, Grace: time.Minute, ProxyHeader: 5 * time.Second, KeepAlive: 2 * time.Minute},
				Login:      2 * time.Minute, Handshake: 30 * time.Second, Work: time.Minute, Command: 512,
				Failures: 5, FailureDelay: time.Second, BadCommands: 50,
			},
		},
		ManageSieve: ManageSieve{
			Listen:              []string{"127.0.0.1:1419"},
			PlaintextOnLoopback: true,
			Limits: ManageSieveLimits{
				LineLimits: LineLimits{Connections: 10_000, PerAddress: 2_000, Idle: 30 * time.Minute, Write: time.Minute, MinRate: 256, Grace: time.Minute, ProxyHeader: 5 * time.Second, KeepAlive: 2 * time.Minute},
				Login:      2 * time.Minute, Handshake: 30 * time.Second, Work: time.Minute,
				Failures: 5, FailureDelay: time.Second, BadCommands: 50,
			},
		},
		Admin: Admin{
			Listen: []string{"127.0.0.1:8000"},
			Limits: AdminLimits{Connections: 100, Body: 1 << 20, Message: 256 << 20, HeaderTime: 10 * time.Second, RequestTime: time.Minute, IdleTime: 2 * time.Minute},
		},
		Vault: Vault{Retention: 365 * 24 * time.Hour, PurgeEvery: 24 * time.Hour},
		Blobs: Blobs{
			CollectEvery: 24 * time.Hour, Grace: 24 * time.Hour, Kind: "auto", Cache: 1 << 30,
			S3: S3{Region: "us-east-1", Addressing: "auto", Timeout: 30 * time.Second}, JetStream: JetStreamBlobs{Chunk: 128 << 10},
		},
	}
}

func smtpLimits(connections, perAddress int) SMTPLimits {
	return SMTPLimits{
		LineLimits: LineLimits{Connections: connections, PerAddress: perAddress, Idle: 5 * time.Minute, Write: time.Minute, MinRate: 256, Grace: time.Minute, ProxyHeader: 5 * time.Second, KeepAlive: 2 * time.Minute},
		Message:    50 << 20, Line: 64 << 10, Header: 1 << 20, Fields: 10_000, Hops: 100,
		Recipients: 1_000, Copies: 20_000, BadRecipients: 100, AuthFailures: 3, AuthDelay: time.Second, Replies: 10_000, Work: time.Minute,
		Parallel: 32, Remembered: 1_000, RememberFor: 24 * time.Hour,
	}
}
