package config

import "time"

// In this file a comment is documentation for operators: it says what a key does, its unit, and when to change it.

// Config is everything that an operator can decide. These keys concern all of the server.
type Config struct {
	// The directory that holds everything: log/, views/, blobs/, keys/, tls/ and the admin token. It is created with mode 0700.
	// Removing views/ is always safe; removing anything else loses mail.
	Data string `yaml:"data"`
	// The name of this server in greetings, Received fields and the self-signed certificate. Empty means the name that the operating system gives.
	Hostname string `yaml:"hostname"`
	// A number that is added to the port of every listener, so that several instances fit on one machine.
	PortOffset int `yaml:"port_offset"`
	// How long a stopping server waits for commands in flight before it closes their connections.
	Drain time.Duration `yaml:"drain"`
	// How many octets of the data directory's file system new messages leave free. Below that new mail is refused for the time being, while
	// reading and deleting go on.
	Reserve Size `yaml:"reserve"`
	// The address that takes mail for postmaster at a local domain which has no such address (RFC 5321 section 4.5.1). Empty means none.
	Postmaster string `yaml:"postmaster"`

	Logging    Logging    `yaml:"logging"`
	TLS        TLS        `yaml:"tls"`
	Streams    Streams    `yaml:"streams"`
	Keys       Keys       `yaml:"keys"`
	Views      Views      `yaml:"views"`
	IMAP       IMAP       `yaml:"imap"`
	SMTP       SMTP       `yaml:"smtp"`
	Submission Submission `yaml:"submission"`
	LMTP       LMTP       `yaml:"lmtp"`
	Admin      Admin      `yaml:"admin"`
}

// Logging is about the server's own messages, which go to standard error. Every line of a connection carries its id.
type Logging struct {
	// The form of a line: text for people, json for machines.
	Format string `yaml:"format" enum:"text,json"`
	// The least important level that is written.
	Level string `yaml:"level" enum:"debug,info,warn,error"`
}

// TLS is the certificate of every listener.
type TLS struct {
	// A PEM file with the certificate chain. Empty means a self-signed certificate that is made once in data/tls.
	Certificate string `yaml:"certificate"`
	// The PEM file with the certificate's private key.
	Key string `yaml:"key"`
	// The oldest protocol version that is spoken. RFC 8996 forbids what lies before 1.2.
	MinVersion string `yaml:"min_version" enum:"1.2,1.3"`
}

// Streams is the log of record: an embedded NATS server, or an external one when url is set.
type Streams struct {
	// How many shards accounts are spread over. It is fixed when the installation is created; the server refuses to start with another number later.
	// 0 means what the log records, and 4 for a new installation.
	Shards int `yaml:"shards"`
	// Copies of every stream in a NATS cluster: 1, 3 or 5.
	Replicas int `yaml:"replicas"`
	// What every stream's name begins with, so that two installations can share one external NATS.
	Prefix string `yaml:"prefix"`
	// The URL of a NATS server to use instead of the embedded one, such as nats://nats.example.org:4222; several with commas between them.
	URL string `yaml:"url"`
	// A NATS credentials file for the external server.
	Credentials string `yaml:"credentials"`
	// The user for the external server, or the one whom the embedded server demands on listen.
	User string `yaml:"user"`
	// That user's password.
	Password Secret `yaml:"password"`
	// A token for the external server.
	Token Secret `yaml:"token"`
	// A PEM file with the authorities that may sign the external server's certificate. Empty means those of the operating system.
	CA string `yaml:"ca"`
	// HTTP monitoring addresses of all external servers, such as http://nats1:8222, from which it is read whether they sync before they answer.
	Monitor []string `yaml:"monitor"`
	// Start although an external server is not known to sync its log before it answers. Mail that was accepted is then lost when its machine loses power.
	AllowUnsynced bool `yaml:"allow_unsynced"`
	// An address on which the embedded server listens for NATS clients, for looking at it with the nats tool. Empty means no listener at all.
	Listen string `yaml:"listen"`
}

// Keys is the master key, which wraps every account's key.
type Keys struct {
	// The master key as base64 of 32 octets; during a rotation the new one, a comma and the old one. Give it through the environment only.
	// Empty means the files in data/keys, of which the first is made on first run.
	Master Secret `yaml:"master"`
}

// Views are the rows that are derived from the log.
type Views struct {
	// Memory for the states of accounts in use. An account of 50,000 messages takes about 2 MiB; others are loaded again when needed.
	Hot Size `yaml:"hot"`
}

// IMAP is the listener for mail clients (RFC 9051, RFC 3501).
type IMAP struct {
	// Addresses where a client begins in clear text and may switch to TLS by STARTTLS.
	Listen []string `yaml:"listen"`
	// Addresses that speak TLS from the first octet (RFC 8314 section 3.2).
	ListenTLS []string `yaml:"listen_tls"`
	// Let clients log in without TLS on the listeners whose own address is loopback. Others never can.
	PlaintextOnLoopback bool `yaml:"plaintext_on_loopback"`
	// Capabilities that are not offered and whose commands are unknown, for clients that stumble over them.
	Without []string `yaml:"without"`
	// What clients may use up.
	Limits IMAPLimits `yaml:"limits"`
}

// LineLimits bound connections and their pace, for every line protocol alike. A request is what a client sends between two answers.
type LineLimits struct {
	// Open connections in all.
	Connections int `yaml:"connections"`
	// Open connections from one IPv4 address or one IPv6 /64.
	PerAddress int `yaml:"per_address"`
	// Silence between an answer and the next request. RFC 9051 section 5.4 wants 30 minutes for IMAP, RFC 5321 section 4.5.3.2 5 minutes for SMTP.
	Idle time.Duration `yaml:"idle"`
	// How long 32 KiB of an answer may stay unread.
	Write time.Duration `yaml:"write"`
	// Octets a second that a request must arrive with on average.
	MinRate int `yaml:"min_rate"`
	// How long a request may be slower than that.
	Grace time.Duration `yaml:"grace"`
}

// IMAPLimits bound what one IMAP client, or all of them together, can use up.
type IMAPLimits struct {
	LineLimits `yaml:",inline"`
	// From the beginning of a connection to its login.
	Login time.Duration `yaml:"login"`
	// For a TLS handshake.
	Handshake time.Duration `yaml:"handshake"`
	// How long the server itself may work on one change or one look at the account.
	Work time.Duration `yaml:"work"`
	// The largest message that APPEND takes; clients see it as APPENDLIMIT (RFC 7889).
	Message Size `yaml:"message"`
	// Failed logins before the connection is closed.
	Failures int `yaml:"failures"`
	// The pause before a failed login is answered, times the number of failures.
	FailureDelay time.Duration `yaml:"failure_delay"`
	// Commands in a row that break the grammar before the connection is closed; before login it is a tenth of that.
	BadCommands int `yaml:"bad_commands"`
	// One command of a client that has not logged in.
	BeforeLogin CommandLimits `yaml:"before_login"`
	// One command of a client that has.
	AfterLogin CommandLimits `yaml:"after_login"`
}

// CommandLimits bound what one IMAP command may cost.
type CommandLimits struct {
	// Octets of the whole command, messages that stream through aside.
	Command Size `yaml:"command"`
	// Memory that its arguments take together.
	Kept Size `yaml:"kept"`
	// Octets of one literal among the arguments.
	Literal Size `yaml:"literal"`
	// Nesting of parentheses.
	Depth int `yaml:"depth"`
	// Nesting of search keys without parentheses, such as NOT and OR.
	Nesting int `yaml:"nesting"`
	// Elements of all lists together.
	Items int `yaml:"items"`
	// Ranges of one set of numbers once they are merged.
	Ranges int `yaml:"ranges"`
	// Octets that are read away after an error before the connection is closed instead.
	Drain Size `yaml:"drain"`
}

// SMTP is the listener for mail from other servers. It takes mail for local addresses only.
type SMTP struct {
	// Addresses to listen on. Other servers expect port 25.
	Listen []string `yaml:"listen"`
	// Answer a full mailbox with 452 4.2.2, on which senders try again for days, instead of 552 5.2.2.
	QuotaTemporary bool `yaml:"quota_temporary"`
	// What clients may use up.
	Limits SMTPLimits `yaml:"limits"`
}

// Submission is the listener for mail from users (RFC 6409). It wants a login.
type Submission struct {
	// Addresses where a client begins in clear text and switches to TLS by STARTTLS. Clients expect port 587.
	Listen []string `yaml:"listen"`
	// Addresses that speak TLS from the first octet (RFC 8314 section 3.3). Clients expect port 465.
	ListenTLS []string `yaml:"listen_tls"`
	// Let clients on the same machine log in without TLS. Others never can.
	PlaintextOnLoopback bool `yaml:"plaintext_on_loopback"`
	// What clients may use up.
	Limits SMTPLimits `yaml:"limits"`
}

// LMTP is the listener for mail from a local mail server (RFC 2033), which has checked it already.
type LMTP struct {
	// Addresses to listen on; a Unix socket is unix:/path. LMTP has no login, so they must not be reachable from outside.
	Listen []string `yaml:"listen"`
	// Answer a full mailbox with 452 4.2.2, on which senders try again for days, instead of 552 5.2.2.
	QuotaTemporary bool `yaml:"quota_temporary"`
	// What clients may use up.
	Limits SMTPLimits `yaml:"limits"`
}

// SMTPLimits bound what one client, or all of them together, can use up. SMTP, submission and LMTP have one set each.
type SMTPLimits struct {
	LineLimits `yaml:",inline"`
	// The largest message; clients see it as SIZE (RFC 1870).
	Message Size `yaml:"message"`
	// The longest line of a message. RFC 5321 section 4.5.3.1.6 promises 1000 octets; much mail has longer ones.
	Line Size `yaml:"line"`
	// Octets of a message's header.
	Header Size `yaml:"header"`
	// Fields in a message's header.
	Fields int `yaml:"fields"`
	// Received fields in a message's header, above which it is taken for one that loops (RFC 5321 section 6.3).
	Hops int `yaml:"hops"`
	// Recipients of one message. RFC 5321 section 4.5.3.1.8 demands 100.
	Recipients int `yaml:"recipients"`
	// Refused recipients on one connection before it is closed, which slows down guessing.
	BadRecipients int `yaml:"bad_recipients"`
	// Failed logins on one connection before it is closed.
	AuthFailures int `yaml:"auth_failures"`
	// The pause after a failed login, doubled each time.
	AuthDelay time.Duration `yaml:"auth_delay"`
	// Lines of answer on one connection since the last accepted message before it is closed.
	Replies int `yaml:"replies"`
	// How long the server itself may work on a command.
	Work time.Duration `yaml:"work"`
	// Accounts of one message that are written at the same time.
	Parallel int `yaml:"parallel"`
	// Messages that some recipients have and others not yet, which are remembered so that a second try makes no copies.
	Remembered int `yaml:"remembered"`
	// For how long.
	RememberFor time.Duration `yaml:"remember_for"`
}

// Admin is the REST door of the command line and of monitoring. Whoever has its token can do everything.
type Admin struct {
	// Addresses to listen on. It speaks plain HTTP, so they should be on loopback.
	Listen []string `yaml:"listen"`
	// The bearer token. Empty means one that is made on first run and kept in the file admin.json of the data directory, mode 0600.
	Token Secret `yaml:"token"`
	// What clients may use up.
	Limits AdminLimits `yaml:"limits"`
}

// AdminLimits bound what clients of the admin door can use up.
type AdminLimits struct {
	// Connections in all.
	Connections int `yaml:"connections"`
	// The largest request body, imports aside.
	Body Size `yaml:"body"`
	// The largest message of an import.
	Message Size `yaml:"message"`
	// How long a client may take to send the header of a request.
	HeaderTime time.Duration `yaml:"header_time"`
	// How long a request may take. Those that stream (import, verify, rebuild, show) may take this long between two lines.
	RequestTime time.Duration `yaml:"request_time"`
	// How long a connection may stay open without a request.
	IdleTime time.Duration `yaml:"idle_time"`
}
