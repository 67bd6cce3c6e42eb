// One process, closely. A child that is restarted is followed: the pane shows the process that has
// taken its place.

import {make, number, pidButton, setText} from "./page.js";

const ARMED_FOR = 4000;

function parts(values, count) {
  const found = values.flatMap((value, index) => {
    const pid = /^<\d+\.\d+>/.exec(value)?.[0];
    const part = pid ? pidButton(pid, value) : value;
    return index ? [", ", part] : [part];
  });
  if (count > values.length) found.push(` and ${(count - values.length).toLocaleString("en")} more`);
  return found;
}

export class Detail {
  constructor(ui, look) {
    this.ui = ui;
    this.session = null;
    this.look = look; // called with the pid of a process that is asked for
    this.key = null; // the row that it belongs to, if there is one
    this.subject = null; // the pid, or the name, that was asked for
    this.channel = null;
    this.seen = null;
    this.canKill = false;
    ui.close.addEventListener("click", () => this.close());
    ui.kill.addEventListener("click", () => this.kill());
  }

  open(subject, key = null, isAsked = true) {
    if (this.subject === subject && this.channel) {
      this.key = key;
      return;
    }
    this.channel?.leave();
    this.key = key;
    this.subject = subject;
    this.seen = null;
    this.disarm();
    setText(this.ui.killNote, "");
    this.ui.pane.hidden = false;
    setText(this.ui.title, subject || "not running");
    this.clear();
    this.ui.kill.hidden = true;
    if (isAsked) setText(this.ui.note, "");
    this.channel = null;
    if (!subject) {
      setText(this.ui.note, "This child does not run at present.");
      return;
    }
    const channel = (this.channel = this.session.process(subject));
    channel.on("detail", (detail) => this.show(detail, channel));
    channel.on("ended", ({reason}) => {
      if (this.channel !== channel) return;
      setText(this.ui.note, `${this.subject} has ended: ${reason}`);
      this.ui.kill.hidden = true;
      channel.leave();
      this.channel = null;
    });
    channel.join()
      .receive("ok", (detail) => this.show(detail, channel))
      .receive("error", ({reason}) => {
        if (this.channel !== channel) return;
        // One that was in the tree a moment ago was there.
        setText(this.ui.note, this.key === null ? `${subject}: ${reason}` : `${subject} has ended`);
        channel.leave();
        this.channel = null;
      });
  }

  // A row has changed: follow the child if another process has taken its place.
  follow(processes) {
    if (this.key === null) return;
    const row = processes[this.key];
    if (!row || !row.pid || row.pid === this.subject) return;
    this.open(row.pid, this.key, false);
    const told = this.ui.note.textContent;
    if (told && !told.includes(" now: ")) setText(this.ui.note, `${told}. In its place now: ${row.pid}`);
  }

  // There is another session, to which the channel does not belong.
  renew() {
    if (!this.channel) return;
    this.channel = null;
    this.open(this.subject, this.key, false);
  }

  close() {
    this.channel?.leave();
    this.channel = this.key = this.subject = null;
    this.ui.pane.hidden = true;
    this.look(null);
  }

  show(detail, channel) {
    if (this.channel !== channel) return;
    this.seen = detail;
    this.subject = detail.pid;
    setText(this.ui.title, `${detail.name || detail.label} ${detail.pid}`);
    const kinds = Object.entries(detail.waiting).map(([kind, count]) => `${kind} × ${count}`);
    // Of very many only the first are looked at.
    const counted = Object.values(detail.waiting).reduce((sum, count) => sum + count, 0);
    const among = counted < detail.mailbox ? ` among the first ${number(counted)}` : "";
    const waiting = detail.mailbox === 0
      ? "empty" : `${number(detail.mailbox)}: ${kinds.join(", ")}${among}`;
    this.fact("state", [detail.status]);
    this.fact("runs", detail.name && detail.name !== detail.label ? [detail.label] : []);
    this.fact("socket", detail.socket ? [detail.socket] : []);
    this.fact("started by", detail.parent ? [detail.parent] : []);
    this.fact("traps exits", [detail.traps_exits ? "yes" : "no"]);
    this.fact("mailbox", [waiting]);
    this.fact("links", detail.links, detail.link_count);
    this.fact("monitors", detail.monitors, detail.monitor_count);
    this.fact("monitored by", detail.monitored_by, detail.monitored_by_count);
    this.fact("restarts", [String(detail.restarts)]);
    this.fact("last crash", detail.crash ? [detail.crash] : []);
    const lines = detail.stack.length ? detail.stack : ["(it has not begun)"];
    if (this.stackText !== lines.join("\n")) {
      this.stackText = lines.join("\n");
      this.stack.replaceChildren(...lines.map((line) => make("span", "", line)));
    }
    this.ui.kill.hidden = !this.canKill || detail.is_own || detail.status === "dead";
  }

  // What is told of a process, empty: each part is made again only when it changes, so that a link
  // that is pressed is still there when it is let go, and keeps the focus.
  clear() {
    this.facts = new Map();
    this.list = make("dl", "facts");
    this.stack = make("pre", "stack");
    this.stack.tabIndex = 0;
    this.stackText = null;
    const title = make("h3", "unseen", "Where its code stands, innermost last");
    this.ui.body.replaceChildren(this.list, title, this.stack);
    this.ui.body.hidden = true;
  }

  fact(name, values, count = values.length) {
    this.ui.body.hidden = false;
    let fact = this.facts.get(name);
    if (!fact) {
      fact = {text: null, term: make("dt", "", name), described: make("dd")};
      this.facts.set(name, fact);
      this.list.append(fact.term, fact.described);
    }
    const text = JSON.stringify([values, count]);
    if (fact.text === text) return;
    fact.text = text;
    fact.term.hidden = fact.described.hidden = count === 0;
    fact.described.replaceChildren(...parts(values, count));
  }

  kill() {
    const {kill, killNote} = this.ui;
    if (!("armed" in kill.dataset)) {
      kill.dataset.armed = "";
      setText(kill, "Kill it now");
      this.timer = setTimeout(() => this.disarm(), ARMED_FOR);
      return;
    }
    this.disarm();
    this.session.kill(this.subject)
      .receive("ok", () => setText(killNote, ""))
      .receive("error", ({reason}) => setText(killNote, reason))
      .receive("timeout", () => setText(killNote, "The observer has not answered."));
  }

  disarm() {
    clearTimeout(this.timer);
    delete this.ui.kill.dataset.armed;
    setText(this.ui.kill, "Kill");
  }
}
