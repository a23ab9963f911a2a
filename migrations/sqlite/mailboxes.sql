-- One row for each account: where its log stood at the last entry applied, and the facts that belong to no mailbox.
create table accounts (
    account           text    not null,
    seq               integer not null, -- position in the stream
    tx                integer not null,
    hash              blob    not null, -- SHA-256 of the sealed entry
    erased            integer not null, -- 1 when the key was destroyed; every other row of the account is gone then
    next_mailbox      integer not null,
    next_email        integer not null,
    last_uid_validity integer not null,
    purged            integer not null, -- Tx at which deleted messages were last given up
    limit_bytes       integer not null, -- 0: none
    limit_messages    integer not null, -- 0: none
    limit_mailboxes   integer not null, -- 0: none
    access_reset      integer not null, -- Tx at which the access keys of all mailboxes were last reset
    epoch             integer not null, -- how often the account was promoted
    primary_node      text    not null, -- where its clients are sent to; empty before the first promotion
    digest            integer not null, -- account.State.Digest, its 64 bits as a signed number
    primary key (account)
) without rowid;

create index accounts_by_primary on accounts (primary_node) where primary_node <> '';

create table keywords (
    account text    not null,
    number  integer not null, -- its bit, counted after the system flags
    name    text    not null,
    primary key (account, number)
) without rowid;

create table subscriptions (
    account text not null,
    name    text not null,
    primary key (account, name)
) without rowid;

-- Annotations (RFC 5464).
create table metadata (
    account text    not null,
    mailbox integer not null, -- 0: the account as a whole
    entry   text    not null, -- in lower case
    value   blob    not null,
    primary key (account, mailbox, entry)
) without rowid;

-- Access control lists (RFC 4314).
create table rights (
    account    text    not null,
    mailbox    integer not null,
    identifier text    not null, -- an account's id or "anyone", with "-" before it when rights are taken away
    rights     text    not null, -- letters
    primary key (account, mailbox, identifier)
) without rowid;

create table mailboxes (
    account      text    not null,
    mailbox      integer not null,
    name         text    not null, -- full path
    special_use  text    not null,
    uid_validity integer not null,
    uid_next     integer not null,
    created      integer not null, -- Tx
    modseq       integer not null, -- Tx of the last change inside, expunges included
    access_reset integer not null, -- Tx at which its access keys were last reset
    digest       integer not null, -- of the messages: account.Mailbox.Digest, its 64 bits as a signed number
    primary key (account, mailbox)
) without rowid;

create table messages (
    account  text    not null,
    mailbox  integer not null,
    uid      integer not null,
    email    integer not null,
    thread   integer not null,
    flags    integer not null, -- bits: five system flags, then the account's keywords
    modseq   integer not null, -- Tx of the last change
    size     integer not null, -- octets
    internal integer not null, -- INTERNALDATE, Unix seconds
    saved    integer not null, -- SAVEDATE, Unix seconds
    primary key (account, mailbox, uid)
) without rowid;

-- What is the same for every copy of a message. The row lives as long as a message refers to it.
create table emails (
    account   text    not null,
    email     integer not null,
    refs      integer not null, -- how many messages
    blob_id   blob    not null,
    blob_key  blob    not null,
    size      integer not null, -- octets of plain text
    envelope  blob    not null, -- ENVELOPE, IMAP wire form
    structure blob    not null, -- BODYSTRUCTURE, IMAP wire form
    primary key (account, email)
) without rowid;

-- The rest of emails, apart because SQLite is slow with rows of more than a thousand octets.
create table summaries (
    account text    not null,
    email   integer not null,
    summary blob    not null, -- event.MarshalSummary
    primary key (account, email)
) without rowid;
