-- What each account uses and may use (RFC 9208).
create table quota (
    account        text    not null,
    bytes          integer not null,
    messages       integer not null,
    limit_bytes    integer not null, -- 0: none
    limit_messages integer not null, -- 0: none
    primary key (account)
) without rowid;
