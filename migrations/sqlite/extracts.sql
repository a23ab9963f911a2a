-- The number of each account: the upper bits of its documents' numbers.
create table extract_accounts (
    account text    not null,
    number  integer not null, -- position of the account's first entry
    primary key (account)
) without rowid;

-- The messages with attachments that an extractor may find text in, until they are purged.
create table attachments (
    doc      integer primary key, -- the account's number and the email's
    account  text    not null,
    email    integer not null,
    blob_id  blob    not null,
    blob_key blob    not null,
    size     integer not null, -- octets of plain text
    parts    text    not null, -- where the attachments lie and what they are, JSON
    unique (account, email)
);

-- What the extractor found, which no log knows.
create table extracts (
    doc   integer primary key,
    state integer not null, -- 0: waits, 1: whole, 2: there is more text than is kept, 3: given up
    tries integer not null, -- that failed
    due   integer not null, -- when to try, Unix seconds; before the first try the negative of when the message came
    text  blob              -- deflated; the texts of the attachments with NUL between them
);

create index extracts_waiting on extracts (due, doc) where state = 0;

-- Which grams each text has.
create virtual table grams using fts5 (gram, content = '', contentless_delete = 1, detail = none, tokenize = 'ascii');

create trigger attachments_gone after delete on attachments begin
    delete from extracts where doc = old.doc;
    delete from grams where rowid = old.doc;
end;
