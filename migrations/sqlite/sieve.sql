-- The Sieve scripts of accounts (RFC 5228, RFC 5804).
create table scripts (
    account text    not null,
    name    text    not null,
    content text    not null,
    active  integer not null, -- 1: it runs at delivery; at most one of an account does
    tx      integer not null, -- of its last change
    primary key (account, name)
) without rowid;

-- What deliveries have left for later ones.
create table marks (
    account text    not null,
    kind    text    not null,
    name    text    not null,
    until   integer not null, -- Unix seconds
    primary key (account, kind, name)
) without rowid;
create index marks_by_end on marks (account, kind, until, name);

-- How accounts answer while their owners are away.
create table vacations (
    account text    not null,
    enabled integer not null,
    since   integer not null, -- Unix seconds; 0: no bound
    until   integer not null,
    subject text    not null,
    plain   text    not null,
    html    text    not null,
    made    integer not null, -- when it was set, Unix seconds
    tx      integer not null,
    primary key (account)
) without rowid;

-- How far the scripts of an account have come. There is a row from the first change on.
create table scripted (
    account text    not null,
    tx      integer not null,
    primary key (account)
) without rowid;
