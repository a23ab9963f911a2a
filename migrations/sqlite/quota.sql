-- What each account uses and may use (RFC 9208).
create table quota (
    account         text    not null,
    bytes           integer not null,
    messages        integer not null,
    mailboxes       integer not null default 0,
    limit_bytes     integer not null default 0, -- 0: none
    limit_messages  integer not null default 0, -- 0: none
    limit_mailboxes integer not null default 0, -- 0: none
    primary key (account)
) without rowid;
