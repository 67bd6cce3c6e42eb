// One process, closely. A child that is restarted is followed: the pane shows the process that has
// taken its place.

import {make, setText} from "./page.js";

const ARMED_FOR = 4000;

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
    this.ui.body.replaceChildren();
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
        setText(this.ui.note, `${subject}: ${reason}`);
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
    const facts = make("dl", "facts");
    const add = (name, value) => {
      if (value === "" || value.length === 0) return;
      const described = make("dd");
      described.append(...[value].flat());
      facts.append(make("dt", "", name), described);
    };
    add("state", detail.status);
    add("runs", detail.label);
    add("started by", this.peers(detail.parent ? [detail.parent] : [], 1));
    add("traps exits", detail.traps_exits ? "yes" : "no");
    const kinds = Object.entries(detail.waiting).map(([kind, count]) => `${kind} × ${count}`);
    add("mailbox", detail.mailbox === 0 ? "empty" : `${detail.mailbox}: ${kinds.join(", ")}`);
    add("links", this.peers(detail.links, detail.link_count));
    add("monitors", this.peers(detail.monitors, detail.monitor_count));
    add("monitored by", this.peers(detail.monitored_by, detail.monitored_by_count));
    add("restarts", String(detail.restarts));
    add("last crash", detail.crash);
    const stack = make("pre", "stack", detail.stack.join("\n") || "(it has not begun)");
    stack.tabIndex = 0;
    const title = make("h3", "unseen", "Where its code stands, innermost last");
    this.ui.body.replaceChildren(facts, title, stack);
    this.ui.kill.hidden = !this.canKill || detail.is_own || detail.status === "dead";
  }

  peers(names, count) {
    const parts = names.flatMap((name, index) => {
      const pid = /^<\d+\.\d+>/.exec(name)?.[0];
      const part = pid ? make("button", "link", name) : document.createTextNode(name);
      if (pid) {
        part.type = "button";
        part.addEventListener("click", () => this.look(pid));
      }
      return index ? [", ", part] : [part];
    });
    if (count > names.length) parts.push(` and ${(count - names.length).toLocaleString("en")} more`);
    return parts;
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
