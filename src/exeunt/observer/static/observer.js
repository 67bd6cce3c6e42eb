// The observer's page: puts what comes from the node into its parts.

import {Curve} from "./curves.js";
import {Detail} from "./detail.js";
import {List, crashItem, mailboxItem, socketItem, topicItem} from "./lists.js";
import {milliseconds, number, setText} from "./page.js";
import {Search} from "./search.js";
import {Session} from "./session.js";
import {Store} from "./store.js";
import {Tree} from "./tree.js";

const by = (id) => document.getElementById(id);

const WORDS = {
  connecting: "connecting",
  live: "live",
  lost: "connection lost, trying again",
  refused: "cannot connect",
};

const store = new Store();
const tree = new Tree(by("tree"), choose);
const curves = [
  new Curve(by("curve-processes"), "processes", number, 4),
  new Curve(by("curve-messages"), "messages/s", number, 4),
  new Curve(by("curve-lag"), "loop lag", milliseconds, 0.005),
];
const lists = [
  new List(by("crashes"), "crash", crashItem, "none since the observer runs", "number"),
  new List(by("mailboxes"), "mailbox", mailboxItem, "none", "mailbox"),
  new List(by("sockets"), "socket", socketItem, "nobody is connected"),
  new List(by("topics"), "topic", topicItem, "no topic has subscribers"),
];

const detail = new Detail(
  {
    pane: by("detail"),
    title: by("detail-title"),
    note: by("detail-note"),
    body: by("detail-body"),
    close: by("detail-close"),
    kill: by("kill"),
    killNote: by("kill-note"),
  },
  look,
);
const search = new Search(
  {
    pane: by("found"),
    note: by("found-note"),
    list: by("found-list"),
    close: by("found-close"),
    field: by("find"),
  },
  look,
);
let session = null;

function watch(token) {
  session?.end();
  session = new Session(token, {
    status: setStatus,
    began: (seen) => {
      store.begin(seen.version, seen.picture);
      tree.reset();
      detail.canKill = seen.allow_kill;
      for (const [index, curve] of curves.entries()) {
        curve.begin(seen.history.map((point) => point[index + 1]));
      }
      draw();
    },
    changed: ({version, change}) => {
      const before = store.version;
      if (!store.take(version, change)) {
        watch(token); // a change is missing: begin anew with a whole picture
        return;
      }
      if (store.version === before) return;
      const {node} = store;
      for (const [index, value] of [node.processes, node.messages, node.lag].entries()) {
        curves[index].add(value);
      }
      draw();
    },
  });
  detail.session = search.session = session;
  detail.renew();
}

// A pid in the lists and in the detail.
addEventListener("click", (event) => {
  const pid = event.target.closest?.("[data-look]")?.dataset.look;
  if (pid) look(pid);
});

addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  if (by("found").contains(document.activeElement)) {
    search.close();
    by("find").focus();
  } else if (!by("detail").hidden) {
    const wasWithin = by("detail").contains(document.activeElement);
    detail.close();
    if (wasWithin) tree.refocus();
  }
});

function setStatus(status) {
  document.body.dataset.status = status;
  setText(by("state-text"), WORDS[status]);
  by("token-form").hidden = status !== "refused";
}

function draw() {
  tree.draw(store);
  for (const list of lists) list.draw(store);
  by("mailboxes-pane").hidden = Object.keys(store.rows("mailbox")).length === 0;
  detail.follow(store.rows("process"));
  const {node} = store;
  setText(by("title"), `exeunt observer, node ${node.number}`);
  const counts = [
    some(node.processes, "process", "processes"),
    ...(node.zombies ? [some(node.zombies, "zombie", "zombies")] : []),
    some(node.restarts, "restart", "restarts"),
    some(node.crashes, "crash", "crashes"),
    some(node.connections, "connection", "connections"),
  ];
  setText(by("totals"), counts.join(", "));
}

function some(count, one, several) {
  return `${number(count)} ${count === 1 ? one : several}`;
}

function choose(key) {
  const row = store.rows("process")[key];
  if (!row) return;
  tree.select(key);
  detail.open(row.pid, key);
}

function look(subject) {
  if (subject === null) {
    tree.select(null);
    return;
  }
  search.mark(subject);
  const found = Object.entries(store.rows("process")).find(([, row]) => row.pid === subject);
  if (found) choose(found[0]);
  else {
    tree.select(null);
    detail.open(subject);
  }
}

by("find-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const subject = by("find").value.trim();
  if (!subject) return;
  const [, pid] = /^<?(\d+\.\d+)>?$/.exec(subject) ?? [];
  if (!pid) {
    search.ask(subject);
    return;
  }
  search.close();
  look(`<${pid}>`);
});

by("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const token = by("token").value.trim();
  if (token) location.hash = `token=${encodeURIComponent(token)}`;
});

function tokenFromHash() {
  return new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
}

addEventListener("hashchange", () => {
  detail.close();
  setStatus("connecting");
  watch(tokenFromHash());
});
watch(tokenFromHash());
