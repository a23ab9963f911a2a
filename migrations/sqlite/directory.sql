-- Where the directory's log stood at the last entry applied.
create table directory_position (
    account text    not null, -- the directory's pseudo-account
    seq     integer not null,
    tx      integer not null,
    hash    blob    not null,
    primary key (account)
) without rowid;

create table directory_domains (
    name text not null,
    primary key (name)
) without rowid;

create table directory_accounts (
    account  text    not null,
    login    text    not null, -- the first address
    disabled integer not null,
    added    integer not null, -- Tx
    primary key (account)
) without rowid;

create table directory_addresses (
    address text    not null,
    account text    not null,
    added   integer not null, -- Tx
    place   integer not null, -- of its event in that transaction
    primary key (address)
) without rowid;

create index directory_addresses_of on directory_addresses (account, added, place);

create table directory_credentials (
    account    text    not null,
    hash       text    not null, -- PHC string
    iterations integer not null, -- SCRAM-SHA-256 (RFC 7677); 0: no keys
    salt       blob    not null,
    stored_key blob    not null,
    server_key blob    not null,
    primary key (account)
) without rowid;

-- Accounts whose key was destroyed.
create table directory_erased (
    account text    not null,
    tx      integer not null, -- of the directory
    primary key (account)
) without rowid;
