-- What the index has of each account.
create table search_accounts (
    account    text    not null,
    number     integer not null, -- position of the account's first entry: the upper bits of its documents' numbers
    tx         integer not null, -- up to which the account's log is applied
    primary key (account)
) without rowid;

-- Which email each message is a copy of.
create table search_messages (
    account text    not null,
    mailbox integer not null,
    uid     integer not null,
    email   integer not null,
    primary key (account, mailbox, uid)
) without rowid;

-- One row for each email, as long as a message refers to it. Text is folded: decomposed, in upper case.
create table documents (
    doc     integer primary key, -- the account's number and the email's: an account's documents lie side by side
    account text    not null,
    email   integer not null,
    refs    integer not null, -- how many messages
    state   integer not null, -- 0: indexed whole, 1: in part, 2: the message cannot be read, 3: it was not read yet
    digest  blob    not null, -- of the text
    octets  integer not null, -- of the text
    grams   integer not null, -- how many different ones
    sent    integer,          -- day of the Date field, counted from 1970
    subject text,
    senders text,             -- From
    tos     text,
    ccs     text,
    bccs    text,
    unique (account, email)
);

create index documents_partial on documents (account, email) where state <> 0;

-- Which grams each document has. The text itself is not kept.
create virtual table grams using fts5 (gram, content = '', contentless_delete = 1, detail = none, tokenize = 'ascii');

create trigger documents_gone after delete on documents begin
    delete from grams where rowid = old.doc;
end;

-- Whether each document is in grams, for comparing.
create view search_postings as
    select account, email, (select count(*) from grams_docsize where id = doc) as present from documents;

create trigger search_postings_gone instead of delete on search_postings begin
    select 1;
end;
