// What the tests have Thunderbird do: the body of a function that Marionette runs in its chrome. The arguments are the name of a step, the step's own, and a
// function that takes the outcome.
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");

const account = () => MailServices.accounts.accounts.find(a => a.incomingServer.type == "imap");
const server = () => account().incomingServer;
const root = () => server().rootFolder;
const folders = () => root().descendants.filter(f => !f.getFlag(Ci.nsMsgFolderFlags.Virtual) && !f.noSelect);

function folder(path) {
  const found = path.split("/").reduce((f, name) => f && f.subFolders.find(sub => sub.name.toLowerCase() == name.toLowerCase()), root());
  if (!found) {
    throw new Error(`no folder ${path} among ${folders().map(f => f.URI)}`);
  }
  return found.QueryInterface(Ci.nsIMsgImapMailFolder);
}

const messages = f => [...f.msgDatabase.enumerateMessages()];

function message(f, subject) {
  const found = messages(f).find(h => h.mime2DecodedSubject == subject);
  if (!found) {
    throw new Error(`no message "${subject}" among ${messages(f).map(h => h.mime2DecodedSubject)}`);
  }
  return found;
}

// ended gives a promise of what runs with a listener. Names of methods are spelt as older and newer versions have them.
function ended(kind, run) {
  return new Promise((resolve, reject) => {
    const stop = status => (Components.isSuccessCode(status) ? resolve() : reject(new Error(`${kind} ended with 0x${status.toString(16)}`)));
    const nothing = () => {};
    run({
      QueryInterface: ChromeUtils.generateQI([kind]),
      OnStartRunningUrl: nothing, onStartRunningUrl: nothing, OnStopRunningUrl: (_, status) => stop(status), onStopRunningUrl: (_, status) => stop(status),
      OnStartCopy: nothing, onStartCopy: nothing, OnProgress: nothing, onProgress: nothing, SetMessageKey: nothing, setMessageKey: nothing, GetMessageId: nothing, getMessageId: nothing,
      OnStopCopy: stop, onStopCopy: stop,
    });
  });
}
const url = run => ended("nsIUrlListener", run);
const copy = run => ended("nsIMsgCopyServiceListener", run);

// update asks for what has changed in a folder. One that is asked for while another runs does not tell its end, so that is not waited for for ever.
const update = f => Promise.race([url(l => f.updateFolderWithListener(null, l)), new Promise(resolve => setTimeout(resolve, 5000))]);

async function until(what, is) {
  for (let i = 0; !(await is()); i++) {
    if (i == 600) {
      throw new Error(`still not: ${what}`);
    }
    await new Promise(resolve => setTimeout(resolve, 100));
  }
}

function read(f, header) {
  const uri = f.getUriForMsg(header);
  return new Promise((resolve, reject) => {
    let text = "";
    MailServices.messageServiceFromURI(uri).streamMessage(uri, {
      QueryInterface: ChromeUtils.generateQI(["nsIStreamListener", "nsIRequestObserver"]),
      onStartRequest() {},
      onDataAvailable(_, stream, __, count) {
        const bytes = Cc["@mozilla.org/binaryinputstream;1"].createInstance(Ci.nsIBinaryInputStream);
        bytes.setInputStream(stream);
        text += bytes.readBytes(count);
      },
      onStopRequest: (_, status) => (Components.isSuccessCode(status) ? resolve(text) : reject(new Error(`reading ended with 0x${status.toString(16)}`))),
    }, null, null, false, "", false);
  });
}

const steps = {
  // sync asks for the folders, for what has changed in each, and for the text of all that is new.
  async sync(password) {
    server().password = password;
    await url(l => MailServices.imap.discoverAllFolders(root(), l, null));
    for (const f of folders()) {
      f.setFlag(Ci.nsMsgFolderFlags.Offline);
      await update(f.QueryInterface(Ci.nsIMsgImapMailFolder));
      if (f.getTotalMessages(false) > 0) {
        await url(l => f.downloadAllForOffline(l, null));
      }
      const missing = messages(f).filter(h => !(h.flags & Ci.nsMsgMessageFlags.Offline)).map(h => h.messageKey); // of INBOX, which it is busy with itself
      if (missing.length > 0) {
        await url(l => MailServices.imap.downloadMessagesForOffline(missing.join(","), f, l, null));
      }
    }
    return steps.shows();
  },
  // shows gives what Thunderbird has of each folder.
  async shows() {
    return Object.fromEntries(folders().map(f => [
      f.URI.split("/").slice(3).map(decodeURIComponent).join("/"),
      messages(f).map(h => ({ subject: h.mime2DecodedSubject, read: h.isRead, flagged: h.isFlagged, keywords: h.getStringProperty("keywords"), offline: Boolean(h.flags & Ci.nsMsgMessageFlags.Offline) })),
    ]));
  },
  read: (path, subject) => read(folder(path), message(folder(path), subject)),
  async mark(path, subject, how) {
    const f = folder(path), header = message(f, subject);
    if ("read" in how) {
      f.markMessagesRead([header], how.read);
    }
    if ("flagged" in how) {
      f.markMessagesFlagged([header], how.flagged);
    }
    if ("keyword" in how) {
      f.addKeywordsToMessages([header], how.keyword);
    }
  },
  async create(path, name) {
    const above = path ? folder(path) : root();
    above.createSubfolder(name, null);
    await until(`${name} is made`, () => above.subFolders.some(f => f.name == name));
  },
  copy: (from, subject, to, move) => copy(l => MailServices.copy.copyMessages(folder(from), [message(folder(from), subject)], folder(to), move, l, null, false)),
  delete: (path, subject) => copy(l => folder(path).deleteMessages([message(folder(path), subject)], null, false, false, l, false)),
  async append(path, file) {
    const f = Cc["@mozilla.org/file/local;1"].createInstance(Ci.nsIFile);
    f.initWithPath(file);
    await copy(l => MailServices.copy.copyFileMessage(f, folder(path), null, false, Ci.nsMsgMessageFlags.Read, "", l, null));
  },
  compact: path => url(l => folder(path).compact(l, null)),
};

const args = [...arguments];
const done = args.pop();
const step = args.shift();
Promise.resolve().then(() => steps[step](...args)).then(value => done({ value }), error => done({ error: `${step}: ${error}\n${error.stack}` }));
