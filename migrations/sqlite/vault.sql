-- The mailboxes that there are, to know what a deleted message's mailbox was called.
create table vault_mailboxes (
    account text    not null,
    mailbox integer not null,
    name    text    not null, -- full path
    primary key (account, mailbox)
) without rowid;

-- Which email lies where now.
create table vault_places (
    account text    not null,
    mailbox integer not null,
    uid     integer not null,
    email   integer not null,
    primary key (account, mailbox, uid)
) without rowid;

-- Every email that the account has or can have back. It is in the vault when no place holds it.
create table vault_emails (
    account    text    not null,
    email      integer not null,
    places     integer not null, -- how many
    deleted    integer not null, -- when the last place went, Unix milliseconds; 0 while there is one
    delivered  integer not null, -- INTERNALDATE, Unix seconds
    size       integer not null, -- octets of plain text
    attachment integer not null, -- 1 when it has one
    sender     text    not null,
    recipients text    not null, -- one on each line
    subject    text    not null, -- decoded
    origins    text    not null, -- the mailboxes that lost it, the last one last: number, space and name, one on each line
    blob_id    blob    not null,
    blob_key   blob    not null,
    primary key (account, email)
) without rowid;

create index vault_emails_by_deletion on vault_emails (deleted, account, email) where deleted > 0;
