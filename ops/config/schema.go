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
	Cluster    Cluster    `yaml:"cluster"`
	Keys       Keys       `yaml:"keys"`
	Logins     Logins     `yaml:"logins"`
	Views      Views      `yaml:"views"`
	Snapshots  Snapshots  `yaml:"snapshots"`
	Archive    Archive    `yaml:"archive"`
	Search     Search     `yaml:"search"`
	IMAP       IMAP       `yaml:"imap"`
	SMTP       SMTP       `yaml:"smtp"`
	Rates      Rates      `yaml:"rates"`
	Submission Submission `yaml:"submission"`
	LMTP       LMTP       `yaml:"lmtp"`
	Outbound   Outbound   `yaml:"outbound"`
	Pipeline   Pipeline   `yaml:"pipeline"`
	Listeners  Listeners  `yaml:"listeners"`
	POP3       POP3       `yaml:"pop3"`

	ManageSieve ManageSieve `yaml:"managesieve"`
	Admin       Admin       `yaml:"admin"`
	Quota       Quota       `yaml:"quota"`
	Trace       Trace       `yaml:"trace"`
	Vault       Vault       `yaml:"vault"`
	Blobs       Blobs       `yaml:"blobs"`
}

// Vault is about deleted messages, which can be restored for a while.
type Vault struct {
	// How long after its deletion a message can be restored. What is older is purged for good, see purge_every.
	Retention time.Duration `yaml:"retention"`
	// How often the server purges what is older than the retention. 0 means never: then streampost vault purge --expired does it.
	PurgeEvery time.Duration `yaml:"purge_every"`
}

// Blobs is about the stored octets of messages, which are sealed before they go anywhere.
type Blobs struct {
	// Where they lie: in the directory blobs/ of the data directory, in an S3 bucket, or in an object store of the NATS that keeps the log. Nodes that share
	// a log have to share them, so a cluster refuses the directory. `blob copy` moves them from one to another. auto is jetstream for a node of a cluster, see
	// cluster, and directory elsewhere.
	Kind string `yaml:"kind" enum:"auto,directory,s3,jetstream"`
	// That directory, where it is not blobs/ of the data directory.
	Directory string `yaml:"directory"`
	// All nodes have the same directory there, such as a mount of NFS with working locks. It then has a file for each message, and is as safe as that file
	// system is: see docs/operator.md, "Where blobs lie".
	DirectoryIsShared bool `yaml:"directory_is_shared"`
	// There is one node only, though its log is in a NATS cluster. What the disk of its directory loses is lost, and another node could read none of it.
	OneNode bool `yaml:"one_node"`
	// How many octets of blobs that were stored or read lately are kept in cache/ of the data directory, unless they lie in a directory anyway. 0 means none.
	Cache Size `yaml:"cache"`
	// The S3 bucket, for kind s3 and for `blob copy --to s3`.
	S3 S3 `yaml:"s3"`
	// The object store, for kind jetstream and for `blob copy --to jetstream`.
	JetStream JetStreamBlobs `yaml:"jetstream"`
	// How often the server deletes blobs that no account claims any more. 0 means never: then `streampost blob gc` does it.
	CollectEvery time.Duration `yaml:"collect_every"`
	// How old a blob is at least before it is deleted: a message is stored before the log names it. At least an hour.
	Grace time.Duration `yaml:"grace"`
}

// S3 is a bucket that speaks Amazon's protocol: theirs, MinIO, Ceph, versitygw and others. What the user has to be allowed is in docs/operator.md, "Where
// blobs lie".
type S3 struct {
	// The URL of the server without the bucket, such as https://s3.eu-central-1.amazonaws.com.
	URL string `yaml:"url"`
	// The bucket, which has to be there.
	Bucket string `yaml:"bucket"`
	// What the names of all objects begin with, so that installations can share a bucket. Give each its own.
	Prefix string `yaml:"prefix"`
	// The region that requests are signed for. Servers that have none take any.
	Region string `yaml:"region"`
	// Where the name of the bucket goes: into the path of the URL, into its host name, or as it is usual for that host.
	Addressing string `yaml:"addressing" enum:"auto,path,host"`
	// The id of the key to log in with.
	AccessKey string `yaml:"access_key"`
	// That key's secret.
	SecretKey Secret `yaml:"secret_key"`
	// A file with both instead, in Amazon's format, of which the profile default is taken. It is read at the start. With neither,
	// the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) or the role of the machine gives them.
	Credentials string `yaml:"credentials"`
	// A PEM file with the authorities that may sign the server's certificate. Empty means those of the operating system.
	CA string `yaml:"ca"`
	// How long one operation is tried while the server is away, busy or slow. After that mail is refused for the time being. Messages that take longer to
	// move than at 128 KiB a second get more time.
	Timeout time.Duration `yaml:"timeout"`
}

// JetStreamBlobs is an object store of the NATS that keeps the log, in as many copies as the log (streams.replicas).
type JetStreamBlobs struct {
	// Octets of the pieces into which larger messages are cut; at most max_payload of the NATS servers, less a KiB.
	Chunk Size `yaml:"chunk"`
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
	// Copies of every stream in a cluster: 1, 3 or 5. 0 means 3 for a node of a cluster, and 1 elsewhere.
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
	// A PEM file with the certificate that an external server demands of its clients (mutual TLS). It is read again for every connection, so that it
	// may be renewed.
	Certificate string `yaml:"certificate"`
	// The certificate's key, a PEM file too.
	Key string `yaml:"key"`
	// HTTP monitoring addresses of all external servers, such as http://nats1:8222, from which it is read whether they sync before they answer.
	Monitor []string `yaml:"monitor"`
	// Start although an external server is not known to sync its log before it answers. Mail that was accepted is then lost when its machine loses power.
	AllowUnsynced bool `yaml:"allow_unsynced"`
	// An address on which the embedded server listens for NATS clients, for looking at it with the nats tool. Empty means no listener at all.
	Listen string `yaml:"listen"`
	// How often the server proves its whole log while it runs, as `log verify` does, slowly and in the background. 0 means never. Damage goes to the log,
	// the metrics and the health checks.
	VerifyEvery time.Duration `yaml:"verify_every"`
}

// Cluster makes the server a node of a cluster: several that keep the log together, with its embedded NATS servers, and of which each serves all mail.
type Cluster struct {
	// The secret that all nodes share, base64 of 32 octets, made by `cluster init`. Give it through the environment only. Empty means the file cluster.secret in
	// the data directory; without either the server stands alone.
	Secret Secret `yaml:"secret"`
	// This node's name: letters, digits, ".", "-" and "_", unique in the cluster and kept for as long as the data directory. Empty means the hostname.
	Node string `yaml:"node"`
	// Where the other nodes reach this one: TLS with certificates that follow from the secret, so nobody else is let in.
	Listen string `yaml:"listen"`
	// The address that the other nodes are told, where it is not the one of listen. Empty means that one.
	Advertise string `yaml:"advertise"`
	// Addresses of other nodes, host or host:port. One that lives is enough to find all.
	Join []string `yaml:"join"`
	// Where this node stands, such as a rack or a data centre. No two copies of the log lie in one zone; give all nodes a zone or none.
	Zone string `yaml:"zone"`
	// Keep a copy of the log and nothing else: no views, no mail. It makes a majority for two nodes that serve mail.
	Witness bool `yaml:"witness"`
	// Who is told when replicas are initialised. It is in the server's log as well.
	Notify Notify `yaml:"notify"`
	// Fill this node's copies of the log anew by itself when they are damaged or stale and enough other nodes have all of them. Otherwise `log repair` does it when
	// you say so. The bad copy is put aside, and the node serves nothing for about the time of a restart.
	Repair bool `yaml:"repair"`
	// What IMAP sessions do whose account gets another primary node: stay, since every node serves every account, or follow, and end with BYE so that clients connect
	// again, for those whose load balancer knows the primaries.
	Sessions string `yaml:"sessions" enum:"stay,follow"`
	// What happens to the accounts of a node that is gone. All nodes should have the same.
	Failover Failover `yaml:"failover"`
}

// Notify says who is told of what has ended.
type Notify struct {
	// Addresses of local accounts that get a mail.
	Mail []string `yaml:"mail"`
	// A URL that gets a POST with JSON: event, node, operation, failed, subject, text, details. Empty means none.
	Webhook Secret `yaml:"webhook"`
}

// Failover gives the accounts of a node that is gone or unfit other primaries. Mail is served by all nodes all the time; this is about where clients are sent to. See
// docs/operator.md, "When a node is gone".
type Failover struct {
	// automatic moves accounts, advise only says what should be moved, off watches nothing.
	Mode string `yaml:"mode" enum:"automatic,advise,off"`
	// How often each node renews its lease.
	Beat time.Duration `yaml:"beat"`
	// The suspicion from which on a node counts as gone: N means that its silence was likely by chance once in 10^N beats.
	Threshold int `yaml:"threshold"`
	// The silence that is expected of a node now and then, such as while its disk is busy. Raise it on machines that stall.
	Pause time.Duration `yaml:"pause"`
	// For how long the node in charge is believed to be so without renewing that.
	Charge time.Duration `yaml:"charge"`
	// How long nodes have to be heard again after nobody could be heard.
	Grace time.Duration `yaml:"grace"`
	// For how long a node must call itself unfit, such as with a full disk, before its accounts are moved.
	Unfit time.Duration `yaml:"unfit"`
	// How long a node that was stopped in order has to come back.
	Restart time.Duration `yaml:"restart"`
	// How long a node that came back must be well before it gets accounts.
	Steady time.Duration `yaml:"steady"`
	// At most so many nodes lose their accounts within window; more is only advised.
	Most int `yaml:"most"`
	// See most.
	Window time.Duration `yaml:"window"`
	// Accounts that are moved in a second.
	Rate int `yaml:"rate"`
}

// Keys is the master key, which wraps every account's key.
type Keys struct {
	// The master key as base64 of 32 octets; during a rotation the new one, a comma and the old one. Give it through the environment only.
	// Empty means the files in data/keys, of which the first is made on first run.
	Master Secret `yaml:"master"`
}

// Logins are passwords and those who guess them, for every protocol alike.
type Logins struct {
	// The fewest characters of a new password. NIST SP 800-63B asks for 8, and for no rules about which. Hashes that are imported are taken as they are.
	MinPassword int `yaml:"min_password"`
	// Failed logins of one account, or from one IPv4 address or IPv6 /64, before further ones wait. It is one account's; an address, which many may share, has ten times as many.
	Free int `yaml:"free"`
	// How long the next attempt waits then, doubled by each further failure.
	Delay time.Duration `yaml:"delay"`
	// The longest that an attempt waits.
	MaxDelay time.Duration `yaml:"max_delay"`
	// The time after which half of the failures are forgotten.
	HalfLife time.Duration `yaml:"half_life"`
	// Accounts and addresses with failures that are remembered.
	Remembered int `yaml:"remembered"`
	// Sessions of one account at a time on this node, of all protocols together. Further logins are refused.
	Sessions int `yaml:"sessions"`
	// Sessions of one account at a time, with one protocol and from one IPv4 address or IPv6 /64. It does not count what comes from this machine.
	SessionsPerAddress int `yaml:"sessions_per_address"`
	// Access tokens.
	OIDC OIDC `yaml:"oidc"`
}

// OIDC is an OpenID Connect issuer whose access tokens are taken for logins (OAUTHBEARER, RFC 7628, and XOAUTH2). Tokens are JSON Web Tokens that the
// issuer has signed; it is asked for its keys only, and not before a token comes.
type OIDC struct {
	// The issuer's URL, exactly as tokens have it in iss, such as https://id.example.org/realms/mail. Empty means that no tokens are taken.
	Issuer string `yaml:"issuer"`
	// Of which a token has to name one in aud. It is what the issuer calls this mail server, or the programs that fetch tokens for it.
	Audience []string `yaml:"audience"`
	// Signature algorithms that are taken, of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512 and EdDSA.
	Algorithms []string `yaml:"algorithms"`
	// The claim that holds an address of the account. If it is email, tokens that say email_verified: false are refused. Choose a claim that users
	// cannot set as they like.
	Claim string `yaml:"claim"`
	// A domain that is put behind the claim where it has no @. Then addresses in other domains are refused.
	Domain string `yaml:"domain"`
	// What clients are told to ask the issuer for.
	Scope string `yaml:"scope"`
	// How far clocks may differ.
	Skew time.Duration `yaml:"skew"`
	// After which the issuer's keys are fetched again. A token with an unknown key has them fetched at once, at most twice a minute.
	Refresh time.Duration `yaml:"refresh"`
	// For which known keys are good while the issuer is away.
	Keep time.Duration `yaml:"keep"`
	// How long a fetch may take.
	Timeout time.Duration `yaml:"timeout"`
	// A PEM file with the authorities that may sign the issuer's certificate. Empty means those of the operating system.
	CA string `yaml:"ca"`
}

// Views are the rows that are derived from the log.
type Views struct {
	// Memory for the states of accounts in use. An account of 50,000 messages takes about 2 MiB; others are loaded again when needed.
	Hot Size `yaml:"hot"`
	// Memory for what SORT and THREAD keep of headers between commands (RFC 5256), for all accounts together. A message takes about 200 octets.
	Order Size `yaml:"order"`
	// In this time every account's rows are compared with the log once, in the background. Differences show in the metrics, in /readyz and in the
	// server's log. 0: never.
	VerifyEvery time.Duration `yaml:"verify_every"`
	// In this time every account's rows are compared with their digests once, in the background, which finds rows that something other than the server
	// changed, and reads no log. 0: never.
	CountEvery time.Duration `yaml:"count_every"`
	// How many percent of one CPU's time these comparisons take at most.
	VerifyCPU int `yaml:"verify_cpu"`
	// The PostgreSQL database (13 or newer) that keeps the rows, such as postgres://streampost@db.example.org/mail. Empty means SQLite files in the data directory.
	URL Secret `yaml:"url"`
	// The schema in that database that belongs to this node and no other. What it holds is in schemas whose names begin with it.
	Schema string `yaml:"schema"`
	// Connections to the database at once, at least 16. The projections of a stream commit together, each on a connection of its own: 24 are enough for
	// two streams at a time, and seven more for every other stream.
	Connections int `yaml:"connections"`
}

// Snapshots are the rows of accounts with long logs, sealed as they once were, so that they need not be folded from the beginning. Nothing depends on them.
type Snapshots struct {
	// Make them in the background.
	Enabled bool `yaml:"enabled"`
	// Take from them the rows that this node does not have, or has far older ones of: when it is new, was away for long, or views/ was removed. Only what came
	// after is folded from the log then. With false all of it is, which also makes right what was wrong when a snapshot was made.
	Use bool `yaml:"use"`
	// How many transactions an account's log grows by between two.
	Every int `yaml:"every"`
	// Percent of one CPU that making them takes, at most.
	CPU int `yaml:"cpu"`
}

// Archive is a copy of the log outside of NATS, sealed as the log is, from which a lost log is restored, to a point in time if wanted. See docs/operator.md, "Archive".
type Archive struct {
	// Where it lies: in a directory, in the S3 bucket of blobs.s3, in an object store of the NATS that keeps the log, or nowhere: none switches it off. auto is
	// where blobs lie, but nowhere if that is the NATS, since what loses the log there is likely to lose its archive too.
	Kind string `yaml:"kind" enum:"auto,none,directory,s3,jetstream"`
	// The directory, for kind directory, where it is not archive/ of the data directory. Best is another disk than that of the log.
	Directory string `yaml:"directory"`
	// How long transactions wait at most until they are archived. Each account with new ones costs an object then, which in S3 is a request.
	Every time.Duration `yaml:"every"`
	// How long the archive of a log is kept that a restore has replaced.
	Keep time.Duration `yaml:"keep"`
}

// Search is the index of what messages say, which makes IMAP SEARCH fast. It follows from the log and the blobs, and takes about as much room in
// views/ as the text of all messages.
type Search struct {
	// Keep the index. Without it SEARCH finds the same, and reads every message to find it. The index is made when this is switched on.
	Enabled bool `yaml:"enabled"`
	// How much text of one message is indexed. A message with more is read when it is searched.
	Text Size `yaml:"text"`
	// An index in an OpenSearch cluster, for sites with more mail than one machine should search. It is asked first.
	OpenSearch OpenSearch `yaml:"opensearch"`
	// Text in attachments.
	Tika Tika `yaml:"tika"`
}

// Tika is an Apache Tika server that reads the text in attachments, which SEARCH then finds as text of the body. Attachments of all mail are sent there,
// also of mail that came before this is switched on, and to nobody else. It is asked in the background: an outage delays no mail, what waits is sent later.
// What it finds is kept in views/, until the message is purged or its account erased.
type Tika struct {
	// The URL of the server, such as http://127.0.0.1:9998. It sees what attachments say, so use https unless it is on this machine. Empty means that
	// attachments are found by their names only. What was read is dropped at the next start without it.
	URL string `yaml:"url"`
	// A PEM file with the authorities that may sign the server's certificate. Empty means those of the operating system.
	CA string `yaml:"ca"`
	// Media types that are sent; an asterisk at the end stands for whatever follows. Text is read without Tika; pictures, sound and films are never sent.
	Types []string `yaml:"types"`
	// How large an attachment may be, decoded. Larger ones are not sent.
	File Size `yaml:"file"`
	// How much text of one message's attachments is kept and found.
	Text Size `yaml:"text"`
	// How long one attachment may take.
	Time time.Duration `yaml:"time"`
	// Messages whose attachments are read at the same time. Each takes up to file and text in memory.
	Parallel int `yaml:"parallel"`
}

// OpenSearch is a cluster that keeps an index of what messages say. It is filled from the log in its own time: an outage delays no mail, and SEARCH
// then finds the same without it. What is in it tells much about the mail, so guard it as you guard the mail.
type OpenSearch struct {
	// The URLs of the cluster's nodes, such as https://search1.example.org:9200. Empty means that there is none. When you remove it for good, also
	// run `listener remove`.
	URL []string `yaml:"url"`
	// The user to log in as. It needs to manage, read and write the indexes whose names begin with prefix.
	User string `yaml:"user"`
	// That user's password.
	Password Secret `yaml:"password"`
	// A PEM file with the authorities that may sign the cluster's certificates. Empty means those of the operating system.
	CA string `yaml:"ca"`
	// What the names of indexes and aliases begin with, so that two installations can share a cluster.
	Prefix string `yaml:"prefix"`
	// Shards of an index that is made from now on; `search reindex` makes one. An account's documents are all in one of them.
	Shards int `yaml:"shards"`
	// Copies of each shard beside the first, likewise.
	Replicas int `yaml:"replicas"`
}

// IMAP is the listener for mail clients (RFC 9051, RFC 3501).
type IMAP struct {
	// Addresses where a client begins in clear text and may switch to TLS by STARTTLS.
	Listen []string `yaml:"listen"`
	// Addresses that speak TLS from the first octet (RFC 8314 section 3.2).
	ListenTLS []string `yaml:"listen_tls"`
	// Let clients log in without TLS on the listeners whose own address is loopback. Others never can.
	PlaintextOnLoopback bool `yaml:"plaintext_on_loopback"`
	// Capabilities that are not offered and whose commands are unknown, for clients that stumble over them. What makes no sense without one of them goes too.
	Without []string `yaml:"without"`
	// The same for some clients only, which are known by what they say in ID (RFC 2971), as the server's log shows it: rules such as
	// name="Some Mail" version<5.2 without CONDSTORE QRESYNC. All conditions of a rule have to hold, rules add up, an asterisk stands for any
	// text, and < compares versions number by number. A rule holds from ID on, which most clients send first.
	Clients []string `yaml:"clients"`
	// How many messages clients should name in one command (RFC 9738, MESSAGELIMIT); at least 1,000. 0: it is not offered. Clients that know it keep to it.
	MessageLimit int `yaml:"message_limit"`
	// The same for COPY and APPEND only (SAVELIMIT). One of the two may be set.
	SaveLimit int `yaml:"save_limit"`
	// From how many messages on a command is cut short to those with the highest UIDs, and COPY and APPEND are refused, when one of these limits is offered. 0: never.
	// Clients that do not know RFC 9738 then see a part of large mailboxes only, so keep it far above what is offered.
	EnforcedLimit int `yaml:"enforced_limit"`
	// Users, by address, who may read and set the quota of every user (RFC 9208): of others with their address as the name of the
	// quota root. They may also fetch URLs that are authorized for submission (RFC 4467), as a submission server does.
	Admins []string `yaml:"admins"`
	// Networks, such as 192.0.2.0/24, of load balancers that say in a PROXY header (version 1 or 2) for whom they connect. They have to send one; others
	// are cut off if they do.
	Proxies []string `yaml:"proxies"`
	// Let users give rights on their mailboxes to anyone (RFC 4314), which puts them into the lists of all users of all domains. Operators can in any case.
	Anyone bool `yaml:"anyone"`
	// Where mailboxes of others appear (RFC 2342).
	Namespaces Namespaces `yaml:"namespaces"`
	// What clients may use up.
	Limits IMAPLimits `yaml:"limits"`
}

// Namespaces are prefixes of names. Each ends in "/". A user's own mailboxes that are called so already keep their names.
type Namespaces struct {
	// Mailboxes of other users, each below their address, on which one has rights (RFC 4314).
	Others string `yaml:"others"`
	// Those of accounts that belong to a group, see account shared.
	Shared string `yaml:"shared"`
}

// LineLimits bound connections and their pace, for every line protocol alike. A request is what a client sends between two answers.
type LineLimits struct {
	// Open connections in all.
	Connections int `yaml:"connections"`
	// Open connections from one IPv4 address or one IPv6 /64.
	PerAddress int `yaml:"per_address"`
	// Silence between an answer and the next request. RFC 9051 section 5.4 wants 30 minutes for IMAP, RFC 1939 section 3 10 minutes for POP3, RFC 5321
	// section 4.5.3.2 5 minutes for SMTP.
	Idle time.Duration `yaml:"idle"`
	// How long 32 KiB of an answer may stay unread.
	Write time.Duration `yaml:"write"`
	// Octets a second that a request must arrive with on average.
	MinRate int `yaml:"min_rate"`
	// How long a request may be slower than that.
	Grace time.Duration `yaml:"grace"`
	// How long a proxy may take to send its header, see proxies.
	ProxyHeader time.Duration `yaml:"proxy_header"`
	// Silence on the wire after which TCP asks whether the client is still there; one that does not answer for two more minutes is gone. It also keeps
	// connections open that a NAT in between would forget, and wakes telephones.
	KeepAlive time.Duration `yaml:"keep_alive"`
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
	// Between two signs of life of a command that takes long (RFC 9585).
	Progress time.Duration `yaml:"progress"`
	// The largest message that APPEND takes; clients see it as APPENDLIMIT (RFC 7889).
	Message Size `yaml:"message"`
	// The largest annotation of a mailbox or the server; at least 1 KiB (RFC 5464 section 4.1).
	MetadataValue Size `yaml:"metadata_value"`
	// Annotations of one mailbox, or of the server for one user; at least 10.
	MetadataEntries int `yaml:"metadata_entries"`
	// Annotations of one account, their names and values together. They are in memory while the account is in use.
	MetadataOctets Size `yaml:"metadata_octets"`
	// Searches of one session whose results are kept up to date (RFC 5267); more are answered with NOUPDATE. A result takes four octets.
	Contexts int `yaml:"contexts"`
	// Mailboxes that one search looks through (RFC 7377).
	Mailboxes int `yaml:"mailboxes"`
	// Other accounts whose mailboxes one list of mailboxes shows (RFC 4314); those beyond are reached by their names only.
	Owners int `yaml:"owners"`
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
	// Lists of addresses in DNS that are asked about clients.
	Lists Lists `yaml:"lists"`
	// What is looked at of the names of clients.
	Names Names `yaml:"names"`
	// Programs that look at mail by the milter protocol, in their order, each such as "rspamd 127.0.0.1:11332" or "clamav unix:/run/clamav/clamav-milter.ctl fail=later time=1m": a name, an address, and
	// what follows when it fails (accept, the usual: the message goes on without it; later: the client comes again) or one of its steps takes longer than time (30s). See docs/transport.md.
	Milters []string `yaml:"milters"`
	// Putting off senders of whom nobody has heard.
	Greylist Greylist `yaml:"greylist"`
	// Whether and how it is verified who messages are from.
	Verify Verification `yaml:"verify"`
	// Networks, such as 192.0.2.0/24, of load balancers that say in a PROXY header (version 1 or 2) for whom they connect. They have to send one; others
	// are cut off if they do.
	Proxies []string `yaml:"proxies"`
	// What clients may use up.
	Limits SMTPLimits `yaml:"limits"`
}

// Rates are how much anybody may send in an hour, see docs/transport.md. 0 means as much as he likes. Who sends more is put off (450, 451 or 452 4.7.1). What is taken of them is counted by all nodes together.
// Clients from smtp.verify.trusted, and LMTP, are not counted.
type Rates struct {
	// Messages that come by MX from one IPv4 address, or one IPv6 /64.
	AddressMessages int `yaml:"address_messages"`
	// Recipients of such messages.
	AddressRecipients int `yaml:"address_recipients"`
	// Messages that come by MX with one envelope sender; reports, which have none, are not counted.
	SenderMessages int `yaml:"sender_messages"`
	// Messages that come by MX to one recipient.
	RecipientMessages int `yaml:"recipient_messages"`
	// Messages that one account submits.
	AccountMessages int `yaml:"account_messages"`
	// Recipients of such messages, here and elsewhere.
	AccountRecipients int `yaml:"account_recipients"`
	// Addresses, senders, recipients and accounts that are remembered, of each kind that is bounded. One takes about 200 octets. Who was seen longest ago is forgotten.
	Remembered int `yaml:"remembered"`
}

// Lists are block lists and white lists of addresses in DNS (RFC 5782), see docs/transport.md. Clients from smtp.verify.trusted, and users who submit mail, are not looked up.
type Lists struct {
	// The lists, each such as "zen.example.org", "bl.example.net score=60 answer=127.0.0.2-127.0.0.9" or "list.example.com allow". What speaks against a client adds up: from 100 on it is
	// refused, from 50 on its mail goes to the mailbox for junk. refuse (100, the usual), junk (50) and tag (0, only a field says so) are words for scores; allow is a list of those to
	// believe, whom no other list refuses. Of answers those from 127.0.0.0/8 count, without 127.255.255.0/24 and, for allow, those that end in 255, unless others are named: an
	// address, a range or a network for each answer=.
	Zones []string `yaml:"zones"`
	// How long all questions about one client may take together. Who does not answer by then refuses nobody.
	Time time.Duration `yaml:"time"`
	// Questions at a time to lists, about all clients together, and as many about names.
	Parallel int `yaml:"parallel"`
}

// Names are those of clients: of their addresses in DNS, and those that they give themselves. See docs/transport.md. Those who are not looked up in lists are not looked at here.
type Names struct {
	// Whether the client's address has a name in DNS that leads back to it: report says so by iprev in Authentication-Results, missing also refuses clients whose addresses have no name,
	// or one without an address, and refuse those as well whose names lead elsewhere. off does not look.
	Reverse string `yaml:"reverse" enum:"report,missing,refuse,off"`
	// The name in EHLO or HELO: report counts what is wrong with it, refuse also refuses clients whose name is no domain with a dot, is this server's own, or is an address that is not theirs.
	Helo string `yaml:"helo" enum:"report,refuse,off"`
}

// Greylist is putting off senders of whom nobody has heard (RFC 6647), see docs/transport.md. Those who are not looked up in lists are not put off.
type Greylist struct {
	// Put off recipients with 451 4.7.1 whose sender has not written to them from the client's network before. Mail from new senders comes later by that, by minutes or hours.
	Enabled bool `yaml:"enabled"`
	// How long after its first try a client is put off.
	Delay time.Duration `yaml:"delay"`
	// How long after its first try it has to come again, or it is new again.
	Window time.Duration `yaml:"window"`
	// How long one that came again is known, from its last mail on.
	Keep time.Duration `yaml:"keep"`
	// How often clients of a network have to come again until nobody from there is put off any more. 0: never.
	Prove int `yaml:"prove"`
	// Do not put off whom SPF lets send for the sender's domain.
	SPF bool `yaml:"spf"`
	// How much is remembered at most, by all nodes together. An entry takes about 150 octets of disk and 300 of the memory of each NATS server that has a copy. What is oldest goes first.
	Entries int `yaml:"entries"`
}

// Verification is how mail from other servers is verified: SPF, DKIM and DMARC, see docs/transport.md.
type Verification struct {
	// Verify who messages from other servers are from, and say so in an Authentication-Results field. Fields of that name which claim to be from this server are removed.
	Enabled bool `yaml:"enabled"`
	// The name of this server, or of all nodes of a cluster, in these fields. Empty means hostname.
	ID string `yaml:"id"`
	// Networks, such as 192.0.2.0/24, whose clients are not verified: this machine, other mail servers of this installation. What they say in Authentication-Results stays.
	Trusted []string `yaml:"trusted"`
	// What happens to a message that fails DMARC where the domain in From wants such messages refused: it is refused, goes to the mailbox for junk, or is accepted with a field that says so.
	Reject string `yaml:"reject" enum:"refuse,junk,accept"`
	// The same where the domain wants them quarantined.
	Quarantine string `yaml:"quarantine" enum:"junk,refuse,accept"`
	// What happens to a message that fails SPF and does not pass DMARC.
	SPFFail string `yaml:"spf_fail" enum:"accept,junk,refuse"`
	// What happens to a message of which DNS cannot tell now whether it passes DMARC: it is accepted with a field that says so, or the client is asked to come again later.
	TempError string `yaml:"temperror" enum:"accept,later"`
	// How long all lookups for one message may take together.
	Time time.Duration `yaml:"time"`
	// How much of a message is in memory while it is verified; a larger one lies in a file meanwhile, enciphered.
	Memory Size `yaml:"memory"`
}

// Submission is the listener for mail from users (RFC 6409). It wants a login.
type Submission struct {
	// Addresses where a client begins in clear text and switches to TLS by STARTTLS. Clients expect port 587.
	Listen []string `yaml:"listen"`
	// Addresses that speak TLS from the first octet (RFC 8314 section 3.3). Clients expect port 465.
	ListenTLS []string `yaml:"listen_tls"`
	// Let clients on the same machine log in without TLS. Others never can.
	PlaintextOnLoopback bool `yaml:"plaintext_on_loopback"`
	// Refuse messages whose From or Sender field has an address of anybody but the user. The address in MAIL has to be the user's in any case.
	CheckFrom bool `yaml:"check_from"`
	// Networks, such as 192.0.2.0/24, of load balancers that say in a PROXY header (version 1 or 2) for whom they connect. They have to send one; others
	// are cut off if they do.
	Proxies []string `yaml:"proxies"`
	// What clients may use up.
	Limits SMTPLimits `yaml:"limits"`
}

// Outbound is mail from users to other servers, see docs/transport.md.
type Outbound struct {
	// Take mail for others from users who logged in to submission. Without it what is queued stays queued, and recipients elsewhere are refused.
	Enabled bool `yaml:"enabled"`
	// Hosts, host or host:port, that take all mail which no route is for, instead of those that DNS names. They are tried in turn.
	SmartHost []string `yaml:"smart_host"`
	// How these hosts are spoken to: opportunistic takes TLS where it works, require wants TLS, verify a certificate of that name as well, implicit speaks TLS from the first octet.
	SmartHostTLS string `yaml:"smart_host_tls" enum:"opportunistic,none,require,verify,implicit"`
	// Hosts for single domains, each such as "example.net relay.example.com:587 tls=verify" or ".example.net [2001:db8::1]:25", where a dot in front means all domains below.
	Routes []string `yaml:"routes"`
	// Addresses of this machine to send mail of a domain from, each such as "example.org 192.0.2.5 2001:db8::5"; "* 192.0.2.1" is for all domains that have none, and for reports. Without any the system chooses.
	// Where there is one of one family only, hosts are reached by that only. A route may have its own, as source=192.0.2.5, once for each family.
	Sources []string `yaml:"sources"`
	// Which addresses of other servers are tried, and which first: ipv6_first, ipv4_first, ipv6_only, ipv4_only. Families take turns.
	Families string `yaml:"families" enum:"ipv6_first,ipv4_first,ipv6_only,ipv4_only"`
	// Mark the sender of what users send (BATV), so that reports about it are known by the mark: mark only does that, check refuses reports by MX to addresses here without a mark, off does neither. Wait a week between mark and
	// check. Some mailing lists and gateways that go by the sender's address do not know a marked one, and check refuses receipts that are sent to the address in a header.
	BATV string `yaml:"batv" enum:"off,mark,check"`
	// A file of passwords for these hosts, one a line: host as it is named above, user and password, with spaces between. Only the server's user should be able to read it.
	// They go only to hosts whose certificate is checked, so that their route says verify or implicit, and several hosts of one route have the same.
	Passwords string `yaml:"passwords"`
	// Name servers to ask, host:port, which should be on this machine or network. Empty means those of /etc/resolv.conf.
	Resolvers []string `yaml:"resolvers"`
	// Obey what domains say about TLS with their hosts on the web (MTA-STS, RFC 8461). What is known of them is kept in the data directory.
	MTASTS bool `yaml:"mta_sts"`
	// Obey the certificates that domains name in DNS (DANE, RFC 7672), where it can be believed that answers were validated: loopback believes name servers on this machine, all believes all of
	// outbound.resolvers, which then have to validate and to be reached over a network where nobody can change answers. off believes none.
	DANE string `yaml:"dane" enum:"loopback,all,off"`
	// Send domains that ask for it (RFC 8460) a report each day about TLS with their hosts: mail sends it by mail, all posts it to web servers as well, off sends none.
	TLSReports string `yaml:"tls_reports" enum:"off,mail,all"`
	// The address that sends these reports. Its domain should have a DKIM key here, since receivers want reports signed. Empty means postmaster at hostname.
	TLSReportsFrom string `yaml:"tls_reports_from"`
	// A PEM file with the authorities that may sign certificates where a route verifies them. Empty means those of the operating system.
	CA string `yaml:"ca"`
	// The port of hosts that are named without one.
	Port int `yaml:"port"`
	// Deliveries at a time.
	Connections int `yaml:"connections"`
	// Of them, to one domain.
	PerDestination int `yaml:"per_destination"`
	// Of them to all domains of one organisation, such as mail.example.co.uk and example.co.uk. 0 means twice per_destination.
	PerOrganisation int `yaml:"per_organisation"`
	// A message to more recipients than that makes way for others: it has priority -1. 0 means that none does.
	BulkRecipients int `yaml:"bulk_recipients"`
	// The pause before the second attempt, doubled by each further one.
	RetryFirst time.Duration `yaml:"retry_first"`
	// The longest pause.
	RetryMost time.Duration `yaml:"retry_most"`
	// How old a message is when its sender is told that it takes time. 0 means never.
	WarnAfter time.Duration `yaml:"warn_after"`
	// How old it is when it goes back to its sender. RFC 5321 section 4.5.4.1 wants at least 4 to 5 days.
	ExpireAfter time.Duration `yaml:"expire_after"`
}

// Pipeline is what becomes of a message when it arrives: processors of steps, as in James. What steps may be, and the defaults, is in pipeline.md; pipeline show prints them all.
type Pipeline struct {
	// Steps in their order, each such as "root: IsMarkedAsSpam -> ToRepository repository=spam onError=ignore". Those of a processor replace all default steps of that processor; the others stay as they are. In
	// the environment and in flags a comma ends a step, so that steps with commas are for the file.
	Steps []string `yaml:"steps"`
	// Have mail from LMTP processed as well, which is delivered without steps otherwise: the mail server before this one has checked it.
	LMTP bool `yaml:"lmtp"`
	// Processors that a message may visit before it is parked as one that goes in a circle.
	Visits int `yaml:"visits"`
	// Messages of the spool that are processed at a time.
	Parallel int `yaml:"parallel"`
	// For one answer of a hook or of a custom step, with all repetitions.
	CallTime time.Duration `yaml:"call_time"`
	// How long failed reports stay parked in dead, counted from the last failure. 0 keeps them until an operator deletes them. Mail in other repositories is always kept.
	KeepDead time.Duration `yaml:"keep_dead"`
}

// LMTP is the listener for mail from a local mail server (RFC 2033), which has checked it already.
type LMTP struct {
	// Addresses to listen on; a Unix socket is unix:/path. LMTP has no login, so they must not be reachable from outside.
	Listen []string `yaml:"listen"`
	// Answer a full mailbox with 452 4.2.2, on which senders try again for days, instead of 552 5.2.2.
	QuotaTemporary bool `yaml:"quota_temporary"`
	// Networks, such as 192.0.2.0/24, of load balancers that say in a PROXY header (version 1 or 2) for whom they connect. They have to send one; others
	// are cut off if they do.
	Proxies []string `yaml:"proxies"`
	// What clients may use up.
	Limits SMTPLimits `yaml:"limits"`
}

// POP3 is the listener for programs that take mail away (RFC 1939). They see INBOX and nothing else.
type POP3 struct {
	// Addresses where a client begins in clear text and may switch to TLS by STLS. Clients expect port 110. An empty list switches POP3 off.
	Listen []string `yaml:"listen"`
	// Addresses that speak TLS from the first octet (RFC 8314 section 3.2). Clients expect port 995.
	ListenTLS []string `yaml:"listen_tls"`
	// Let clients log in without TLS on the listeners whose own address is loopback. Others never can.
	PlaintextOnLoopback bool `yaml:"plaintext_on_loopback"`
	// How long a user has to wait between two logins (RFC 2449 section 6.5), for sites whose users look for mail every few seconds. 0: not at all.
	LoginDelay time.Duration `yaml:"login_delay"`
	// Networks, such as 192.0.2.0/24, of load balancers that say in a PROXY header (version 1 or 2) for whom they connect. They have to send one; others
	// are cut off if they do.
	Proxies []string `yaml:"proxies"`
	// What clients may use up.
	Limits POP3Limits `yaml:"limits"`
}

// POP3Limits bound what one POP3 client, or all of them together, can use up.
type POP3Limits struct {
	LineLimits `yaml:",inline"`
	// From the beginning of a connection to its login.
	Login time.Duration `yaml:"login"`
	// For a TLS handshake.
	Handshake time.Duration `yaml:"handshake"`
	// How long the server itself may work on one look at the account, or on what QUIT deletes.
	Work time.Duration `yaml:"work"`
	// The longest command; RFC 2449 section 4 wants 253 octets. AUTH and what follows it may have 16 KiB.
	Command Size `yaml:"command"`
	// Failed logins before the connection is closed.
	Failures int `yaml:"failures"`
	// The pause before a failed login is answered, times the number of failures.
	FailureDelay time.Duration `yaml:"failure_delay"`
	// Commands in a row that make no sense before the connection is closed; before login it is at most 5.
	BadCommands int `yaml:"bad_commands"`
}

// ManageSieve is the listener for programs that edit the users' Sieve scripts (RFC 5804).
type ManageSieve struct {
	// Addresses where a client begins in clear text and may switch to TLS by STARTTLS. Clients expect port 4190. An empty list switches ManageSieve off.
	Listen []string `yaml:"listen"`
	// Let clients log in without TLS on the listeners whose own address is loopback. Others never can.
	PlaintextOnLoopback bool `yaml:"plaintext_on_loopback"`
	// Networks, such as 192.0.2.0/24, of load balancers that say in a PROXY header (version 1 or 2) for whom they connect. They have to send one; others
	// are cut off if they do.
	Proxies []string `yaml:"proxies"`
	// What clients may use up.
	Limits ManageSieveLimits `yaml:"limits"`
}

// ManageSieveLimits bound what one ManageSieve client, or all of them together, can use up. How large and how many scripts may be is no matter of clients: 64 of at
// most 256 KiB, and 1 MiB together.
type ManageSieveLimits struct {
	LineLimits `yaml:",inline"`
	// From the beginning of a connection to its login.
	Login time.Duration `yaml:"login"`
	// For a TLS handshake.
	Handshake time.Duration `yaml:"handshake"`
	// How long the server itself may work on one command.
	Work time.Duration `yaml:"work"`
	// Failed logins before the connection is closed.
	Failures int `yaml:"failures"`
	// The pause before a failed login is answered, times the number of failures.
	FailureDelay time.Duration `yaml:"failure_delay"`
	// Commands in a row that make no sense before the connection is closed; before login it is at most 5.
	BadCommands int `yaml:"bad_commands"`
}

// SMTPLimits bound what one client, or all of them together, can use up. SMTP, submission and LMTP have one set each.
type SMTPLimits struct {
	LineLimits `yaml:",inline"`
	// The largest message; clients see it as SIZE (RFC 1870).
	Message Size `yaml:"message"`
	// The longest line of a message. RFC 5321 section 4.5.3.1.6 promises 1000 octets; much mail has longer ones. The longest
	// command has 2,048 octets, an AUTH and what follows it 12,290 (RFC 4954 section 4).
	Line Size `yaml:"line"`
	// Octets of a message's header.
	Header Size `yaml:"header"`
	// Fields in a message's header.
	Fields int `yaml:"fields"`
	// Received fields in a message's header, above which it is taken for one that loops (RFC 5321 section 6.3).
	Hops int `yaml:"hops"`
	// Recipients of one message. RFC 5321 section 4.5.3.1.8 demands 100.
	Recipients int `yaml:"recipients"`
	// Copies is how many mailboxes and addresses elsewhere one message is for at most, with all the members of the groups that its recipients are. Beyond it a recipient gets 452.
	Copies int `yaml:"copies"`
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
	// Messages that some recipients have and others not yet, which are remembered so that a second try makes no copies and those who failed get an
	// answer of their own.
	Remembered int `yaml:"remembered"`
	// For how long.
	RememberFor time.Duration `yaml:"remember_for"`
}

// Trace is the record of what becomes of each message, by which `trace` answers.
type Trace struct {
	// How long it is kept; 0 keeps none.
	Keep time.Duration `yaml:"keep"`
	// How many octets it may take; what is oldest goes first.
	Size Size `yaml:"size"`
}

// Quota is what a new account may use (RFC 9208). Limits of accounts that exist are set with `account quota`.
type Quota struct {
	// Octets of all messages together; 0 means no limit.
	Bytes Size `yaml:"bytes"`
	// Messages; 0 means no limit.
	Messages int64 `yaml:"messages"`
	// Mailboxes, those that a new account begins with included; 0 means no limit.
	Mailboxes int64 `yaml:"mailboxes"`
	// At how many percent of a limit of octets or messages a user gets a warning into INBOX, such as [80, 95]; an empty list means never. It needs a listener of the log, `quota-warnings-1`.
	WarnAt []string `yaml:"warn_at"`
	// How much time there is at least between two warnings of a user about the same percentage.
	WarnGrace time.Duration `yaml:"warn_grace"`
	// A file with the text of warnings, as a template; empty means the one that comes with the server. See "Warnings of full accounts" in operator.md.
	WarnTemplate string `yaml:"warn_template"`
}

// Admin is the REST door of the command line and of monitoring. Whoever has its token can do everything.
type Admin struct {
	// Addresses to listen on. It speaks plain HTTP, so they should be on loopback.
	Listen []string `yaml:"listen"`
	// The bearer token. Empty means one that is made on first run and kept in the file admin.json of the data directory, mode 0600.
	Token Secret `yaml:"token"`
	// A token that may look at everything and change nothing. Empty means that there is none.
	ReadOnlyToken Secret `yaml:"read_only_token"`
	// A token that may do everything but DELETE and what destroys as it does, such as erasing an account by a task. Empty means that there is none.
	NoDeleteToken Secret `yaml:"no_delete_token"`
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

// Listeners are what the server does for other systems when something happens to an account. They read the log in their own time: none of them delays mail,
// and what one cannot do becomes a dead letter. A listener that is not configured any more keeps its place in the log for its return, until `listener remove`
// leaves nothing of it behind. See docs/operator.md, "Telling other systems".
type Listeners struct {
	// HTTP receivers of events, such as `crm https://hooks.example.org/mail secret=/etc/streampost/crm.secret event=Message* domain=example.org`: a name, a URL,
	// a file with a secret a line, all of which sign (Standard Webhooks), and what else is wanted: `event=` with a name or a pattern, `account=` and `domain=`, each
	// as often as needed; `from=beginning` to begin with all that ever happened; `timeout=10s`; `attempts=14`, after which an event becomes a dead letter;
	// `ca=` and a PEM file; `private` to let the URL lead to this machine or a private network; `content` to send also what messages, scripts, vacations and
	// annotations say.
	Webhooks []string `yaml:"webhooks"`
	// Spam filters that learn from users.
	Learning Learning `yaml:"learning"`
	// Files of events.
	Export Export `yaml:"export"`
	// A stream of events in NATS.
	Publish Publish `yaml:"publish"`
}

// Learning has a spam filter learn from what users move into their mailbox for junk and out of it, file there by APPEND, or flag with $Junk and $NotJunk. What the
// server files itself is not learnt, and neither is what goes from there into the trash. Such messages are sent there as they are.
type Learning struct {
	// The URL of what learns: of rspamd its controller, such as http://127.0.0.1:11334. Empty means that nothing is learnt.
	URL string `yaml:"url"`
	// How it is spoken to: rspamd is its /learnspam and /learnham; http is one POST of message/rfc822 to the URL, with Streampost-Learn: spam or ham.
	Kind string `yaml:"kind" enum:"rspamd,http"`
	// The controller's password, or a bearer token for http.
	Password Secret `yaml:"password"`
	// A PEM file with the authorities that may sign the server's certificate. Empty means those of the operating system.
	CA string `yaml:"ca"`
	// How large a message may be. Larger ones are not learnt.
	Message Size `yaml:"message"`
	// How long one message may take.
	Time time.Duration `yaml:"time"`
	// Where it begins when it is new: with what users do from now on, or with all that they ever did.
	From string `yaml:"from" enum:"now,beginning"`
}

// Export writes events into files for other systems: a JSON object a line, an event a line, each once, and each on disk before the next of its account. Messages'
// headers and text are not among it.
type Export struct {
	// The directory of the files, for one node alone. They are named for the time at which they were begun, events-TIME.ndjson; the one that is being written has
	// .part behind that. Nobody removes them but you. Empty means none.
	Directory string `yaml:"directory"`
	// Names of events, or patterns with asterisks: MessageAdded, Mailbox*. An empty list means all.
	Events []string `yaml:"events"`
	// Ids or addresses of accounts whose events are written, beside those of domains. With both empty it is everybody's.
	Accounts []string `yaml:"accounts"`
	// Domains whose accounts' events are written.
	Domains []string `yaml:"domains"`
	// Also write what messages, scripts, vacations and annotations say.
	Content bool `yaml:"content"`
	// Where it begins when it is new: with all that ever happened, or with what happens from now on.
	From string `yaml:"from" enum:"beginning,now"`
	// Octets after which a file is full.
	Size Size `yaml:"size"`
	// Age at which a file is full, if anything is in it.
	Age time.Duration `yaml:"age"`
}

// Publish puts events into a JetStream stream of yours: a JSON object a message, on the subject SUBJECT.ACCOUNT.EVENT, with its id as Nats-Msg-Id. Messages'
// headers and text are not among it.
type Publish struct {
	// The stream, which has to be there and to take `SUBJECT.>`. Empty means that nothing is published.
	Stream string `yaml:"stream"`
	// What subjects begin with.
	Subject string `yaml:"subject"`
	// The URL of the NATS that has the stream, if it is not the one that keeps the log.
	URL string `yaml:"url"`
	// A NATS credentials file for it.
	Credentials string `yaml:"credentials"`
	// The user for it.
	User string `yaml:"user"`
	// That user's password.
	Password Secret `yaml:"password"`
	// A PEM file with the authorities that may sign its certificate. Empty means those of the operating system.
	CA string `yaml:"ca"`
	// Names of events, or patterns with asterisks: MessageAdded, Mailbox*. An empty list means all.
	Events []string `yaml:"events"`
	// Ids or addresses of accounts whose events are published, beside those of domains. With both empty it is everybody's.
	Accounts []string `yaml:"accounts"`
	// Domains whose accounts' events are published.
	Domains []string `yaml:"domains"`
	// Also publish what messages, scripts, vacations and annotations say.
	Content bool `yaml:"content"`
	// Where it begins when it is new: with all that ever happened, or with what happens from now on.
	From string `yaml:"from" enum:"beginning,now"`
}
