-- The number of each account: the upper bits of its documents' numbers.
create table extract_accounts (
    account text collate "C" not null,
    number  bigint not null, -- position of the account's first entry
    primary key (account)
);

-- The messages with attachments that an extractor may find text in, until they are purged.
create table attachments (
    doc      bigint primary key, -- the account's number and the email's
    account  text collate "C" not null,
    email    bigint not null,
    blob_id  bytea  not null,
    blob_key bytea  not null,
    size     bigint not null, -- octets of plain text
    parts    text collate "C" not null, -- where the attachments lie and what they are, JSON
    unique (account, email)
);

-- What the extractor found, which no log knows.
create table extracts (
    doc   bigint primary key references attachments on delete cascade,
    state bigint not null, -- 0: waits, 1: whole, 2: there is more text than is kept, 3: given up
    tries bigint not null, -- that failed
    due   bigint not null, -- when to try, Unix seconds; before the first try the negative of when the message came
    text  bytea            -- deflated; the texts of the attachments with NUL between them
);

create index extracts_waiting on extracts (due, doc) where state = 0;

-- Which grams each text has.
create table grams (
    doc   bigint   primary key references extracts on delete cascade,
    grams bigint[] not null
);

create index grams_of on grams using gin (grams);
