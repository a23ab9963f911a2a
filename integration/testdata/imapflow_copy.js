// A client that has a copy of a mailbox: node imapflow_copy.js PORT USER PASSWORD STATE. Without the file STATE it fetches everything and notes what it has;
// with it, it fetches what has changed. See integration/failover_test.go.
const fs = require('fs');
const { ImapFlow } = require('imapflow');
const [port, user, pass, file] = process.argv.slice(2);
(async () => {
  const client = new ImapFlow({ host: '127.0.0.1', port: Number(port), secure: false, doSTARTTLS: false, auth: { user, pass }, logger: false, qresync: true });
  await client.connect();
  const had = fs.existsSync(file) ? JSON.parse(fs.readFileSync(file)) : null;
  const out = { fetched: 0, vanished: 0 };
  client.on('expunge', () => out.vanished++);
  const box = await client.mailboxOpen('INBOX', had ? { changedSince: BigInt(had.modseq), uidValidity: BigInt(had.validity) } : {});
  out.exists = box.exists;
  const changed = had ? { changedSince: BigInt(had.modseq) } : {};
  for await (const m of client.fetch('1:*', { uid: true, flags: true, source: true }, changed)) if (m.source.length) out.fetched++;
  const uids = [];
  for await (const m of client.fetch('1:*', { uid: true })) uids.push(m.uid);
  if (had) {
    out.sameValidity = String(box.uidValidity) === had.validity;
    out.sameUIDs = JSON.stringify(uids) === JSON.stringify(had.uids);
    out.modSeqBack = box.highestModseq < BigInt(had.modseq);
  } else {
    fs.writeFileSync(file, JSON.stringify({ validity: String(box.uidValidity), modseq: String(box.highestModseq), uids }));
  }
  await client.logout();
  console.log(JSON.stringify(out));
})().catch((err) => { console.error(err); process.exit(1); });
