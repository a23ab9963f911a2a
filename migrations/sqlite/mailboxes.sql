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
    limit_bytes       integer not null, -- 0: none
    limit_messages    integer not null, -- 0: none
    primary key (account)
) without rowid;

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

create table mailboxes (
    account      text    not null,
    mailbox      integer not null,
    name         text    not null, -- full path
    special_use  text    not null,
    uid_validity integer not null,
    uid_next     integer not null,
    created      integer not null, -- Tx
    modseq       integer not null, -- Tx of the last change inside, expunges included
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

-- Which conversation a thread key leads to. The first message with the key decides, and the row stays when the message goes.
create table threads (
    account    text    not null,
    thread_key integer not null,
    thread     integer not null,
    primary key (account, thread_key)
) without rowid;
