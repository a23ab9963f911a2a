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
    shared   integer not null, -- 1: its mailboxes belong to a group
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

create table directory_app_passwords (
    account   text    not null,
    name      text    not null,
    hash      blob    not null, -- SHA-256
    created   integer not null, -- Unix seconds
    expires   integer not null, -- Unix seconds; 0: never
    protocols text    not null, -- with spaces between them; empty: all
    added     integer not null, -- Tx
    place     integer not null, -- of its event in that transaction
    primary key (account, name)
) without rowid;

-- Where replicas of accounts are kept.
create table directory_replicas (
    account  text    not null,
    node     text    not null,
    priority integer not null, -- the lowest is promoted first
    paused   integer not null,
    primary key (account, node)
) without rowid;

-- Replicas that accounts get when they are added.
create table directory_enrolments (
    selector text    not null, -- which accounts
    keep     integer not null, -- on how many of the destinations; 0: all
    primary key (selector)
) without rowid;

create table directory_destinations (
    selector text    not null,
    node     text    not null,
    priority integer not null,
    primary key (selector, node)
) without rowid;

-- Where mail for addresses and domains goes instead.
create table directory_mappings (
    source text    not null, -- an address, or @ and a domain
    kind   text    not null,
    target text    not null,
    goal   text    not null, -- the target as it is looked up
    added  integer not null, -- Tx
    place  integer not null, -- of its event in that transaction
    primary key (source, kind, target)
) without rowid;

create index directory_mappings_to on directory_mappings (goal, source);

-- Accounts whose key was destroyed.
create table directory_erased (
    account text    not null,
    tx      integer not null, -- of the directory
    primary key (account)
) without rowid;
