-- The role and the database of the views: all that a server needs, and no more. Run it as a superuser:
--
--   psql -v password="'choose one'" -f role.sql
--
-- A server makes its schemas itself and owns them, hence "create" on the database. It needs no extension, no superuser and no other database.
create role streampost login password :password nosuperuser nocreatedb nocreaterole noreplication;
create database streampost_views template template0 encoding 'UTF8' locale 'C';
revoke all on database streampost_views from public;
grant connect, create on database streampost_views to streampost;
