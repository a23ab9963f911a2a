-- Where the log of tasks stood at the last entry applied, and how many tasks there ever were.
create table tasks_position (
    account text    not null, -- the pseudo-account of tasks
    seq     integer not null,
    tx      integer not null,
    hash    blob    not null,
    created integer not null,
    ended   integer not null,
    primary key (account)
) without rowid;

create table tasks (
    task         text    not null, -- UUID
    place        integer not null, -- in the order of creation, from 1
    kind         text    not null,
    about        text    not null, -- an account's id, a domain, a stream; empty for everything
    status       text    not null,
    parameters   text    not null, -- JSON
    progress     text    not null, -- JSON; empty before the first report
    result       text    not null, -- JSON; empty where there is none
    error        text    not null,
    hint         text    not null,
    submitted_by text    not null,
    node         text    not null, -- that took the order
    bound        text    not null, -- the one node that may run it, or empty
    runner       text    not null, -- the node of the last attempt
    attempt      integer not null,
    deaths       integer not null,
    cancelled_by text    not null,
    submitted    integer not null, -- this and the others in Unix milliseconds
    started      integer not null, -- the last attempt; 0 before the first
    ended        integer not null, -- 0 as long as it has not
    changed      integer not null,
    finished     integer not null, -- in the order of ending, from 1; 0 as long as it has not
    primary key (task)
) without rowid;

create index tasks_newest on tasks (submitted, place);
create index tasks_by_status on tasks (status, submitted, place);
create index tasks_by_kind on tasks (kind, submitted, place);
create index tasks_by_about on tasks (about, submitted, place);
create index tasks_finished on tasks (finished);
