// A client that goes away and comes back, as integration/resync_test.go wants it: node imapflow.js PORT USER PASSWORD [UIDVALIDITY MODSEQ]
// With the last two it comes back once more, and tells what it was told of as new.
const { ImapFlow } = require('imapflow');
const [port, user, pass, validity, modseq] = process.argv.slice(2);
const open = async (options) => {
  const client = new ImapFlow({ host: '127.0.0.1', port: Number(port), secure: false, doSTARTTLS: false, auth: { user, pass }, logger: false, ...options });
  await client.connect();
  return client;
};
const again = async () => {
  const out = { told: [] };
  const a = await open({ qresync: true });
  a.on('expunge', (e) => out.told.push(`${e.uid} is gone`));
  a.on('flags', (e) => out.told.push(`${e.uid} has flags`));
  const box = await a.mailboxOpen('INBOX', { changedSince: BigInt(modseq), uidValidity: BigInt(validity) });
  out.validity = String(box.uidValidity);
  out.modseq = String(box.highestModseq);
  for await (const m of a.fetch('1:*', { uid: true, flags: true }, { changedSince: BigInt(modseq) })) out.told.push(`${m.uid} has changed`);
  await a.logout();
  console.log(JSON.stringify(out));
};
const first = async () => {
  const out = {};
  let a = await open({ qresync: true });
  out.capabilities = ['CONDSTORE', 'QRESYNC', 'OBJECTID', 'IDLE'].filter((c) => a.capabilities.has(c));
  out.enabled = [...a.enabled].sort();
  let box = await a.mailboxOpen('INBOX');
  const then = { changedSince: box.highestModseq, uidValidity: box.uidValidity };
  out.mailboxId = !!box.mailboxId;
  const before = [];
  for await (const m of a.fetch('1:*', { uid: true, flags: true, emailId: true, threadId: true })) before.push({ uid: m.uid, email: m.emailId, thread: m.threadId });
  out.ids = before.every((m) => m.email && m.thread);
  await a.logout();

  const b = await open({});
  await b.mailboxOpen('INBOX');
  await b.messageFlagsAdd({ uid: String(before[0].uid) }, ['\\Flagged', '$Seen-by-flow']);
  await b.messageDelete({ uid: String(before[1].uid) });
  out.appended = (await b.append('INBOX', 'Subject: from imapflow\r\n\r\nhello\r\n')).uid;

  a = await open({ qresync: true });
  out.expunged = []; out.flags = [];
  a.on('expunge', (e) => out.expunged.push({ uid: e.uid, vanished: !!e.vanished, earlier: !!e.earlier }));
  a.on('flags', (e) => out.flags.push({ uid: e.uid, flags: [...e.flags].sort() }));
  box = await a.mailboxOpen('INBOX', then);
  out.exists = box.exists;
  // And while it is there.
  await b.messageDelete({ uid: String(before[2].uid) });
  await a.noop();
  out.changed = [];
  for await (const m of a.fetch('1:*', { uid: true, flags: true }, { changedSince: then.changedSince })) out.changed.push({ uid: m.uid, modseq: m.modseq > then.changedSince });
  const status = await a.status('INBOX', { highestModseq: true, uidValidity: true });
  out.validity = String(status.uidValidity);
  out.modseq = String(status.highestModseq);
  await a.logout();
  await b.logout();
  out.uids = before.map((m) => m.uid);
  console.log(JSON.stringify(out));
};
(modseq ? again() : first()).catch((err) => { console.error(err); process.exit(1); });
