-- What the index has of each account.
create table search_accounts (
    account    text collate "C"    not null,
    number     bigint not null, -- position of the account's first entry: the upper bits of its documents' numbers
    tx         bigint not null, -- up to which the account's log is applied
    primary key (account)
);

-- Which email each message is a copy of.
create table search_messages (
    account text collate "C"    not null,
    mailbox bigint not null,
    uid     bigint not null,
    email   bigint not null,
    primary key (account, mailbox, uid)
);

-- One row for each email, as long as a message refers to it. Text is folded: decomposed, in upper case.
create table documents (
    doc     bigint primary key, -- the account's number and the email's: an account's documents lie side by side
    account text collate "C"    not null,
    email   bigint not null,
    refs    bigint not null, -- how many messages
    state   bigint not null, -- 0: indexed whole, 1: in part, 2: the message cannot be read, 3: it was not read yet
    digest  bytea    not null, -- of the text
    octets  bigint not null, -- of the text
    grams   bigint not null, -- how many different ones
    sent    bigint,          -- day of the Date field, counted from 1970
    subject text collate "C",
    senders text collate "C",             -- From
    tos     text collate "C",
    ccs     text collate "C",
    bccs    text collate "C",
    unique (account, email)
);

create index documents_partial on documents (account, email) where state <> 0;

-- Which grams each document has. The text itself is not kept.
create table grams (
    doc   bigint   primary key references documents on delete cascade,
    grams bigint[] not null
);

create index grams_of on grams using gin (grams);

-- Whether each document is in grams, for comparing.
create view search_postings as
    select account, email, (select count(*) from grams where grams.doc = documents.doc) as present from documents;

create rule search_postings_gone as on delete to search_postings do instead nothing;
