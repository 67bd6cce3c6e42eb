// One room, as this page knows it: its log, who is in it, and what is on the way to it.
//
// Nothing here touches the page; `changed(what)` tells whoever shows the room. The phoenix client
// joins again by itself after a lost connection and after a crash. Each time it says what has been
// seen already, and the server answers with what was missed.

import {clean} from "./page.js";
import {Outbox} from "./outbox.js";

const MAX_ENTRIES = 500;

export class Room {
  // The status is one of
  //   joining   for the first time
  //   live      joined
  //   lost      the connection is gone
  //   crashed   the connection is fine, but the channel has crashed; a new one is being joined
  //   out       thrown out: come back by hand only, and not before `outUntil`
  //   refused   the server did not let us in
  //   left      by our own choice
  status = "joining";
  problem = "";
  entries = [];
  people = [];
  host = null;
  unread = 0;
  outUntil = 0;

  #seen = {epoch: null, seen: 0};
  // The ids of the messages that are shown, so that none is shown twice, whatever happens.
  #shown = new Set();
  #lostAt = 0;
  #roomEnded = false;
  #typing = false;
  #typingToldAt = 0;

  constructor(session, name, changed) {
    this.session = session;
    this.name = name;
    this.title = name;
    this.key = `room:${name}`;
    this.isRoom = true;
    this.changed = changed;
    this.outbox = new Outbox(
      ({id, text}) => (this.status === "live" ? this.channel.push("say", {id, text}) : null),
      {
        changed: () => changed("pending"),
        rejected: ({text}, reason) => changed("rejected", {text, reason}),
      },
    );
    this.#join();
  }

  #join() {
    // The parameters are a function: asked for anew with every join, the first and all others.
    this.channel = this.session.socket.channel(this.key, () => this.#seen);
    for (const kind of ["said", "joined", "left"]) {
      this.channel.on(kind, (entry) => {
        if (!this.#take(entry)) return;
        if (kind === "said" && !this.session.ids.has(entry.who)) this.unread += 1;
        this.changed("entry", this.entries.at(-1));
      });
    }
    this.channel.on("host", ({user}) => {
      this.host = user;
      this.changed("people");
    });
    this.channel.on("room_ended", () => {
      this.#roomEnded = true;
    });
    this.channel.on("thrown_out", ({by, seconds}) => {
      this.#beOut(`${clean(by, 64)} has thrown you out.`, seconds * 1000);
    });
    const presence = new Phoenix.Presence(this.channel);
    presence.onSync(() => {
      this.people = presence.list((user, {metas}) => ({
        user,
        name: clean(metas[0].name, 64),
        tabs: metas.length,
        isBot: metas[0].bot === true,
        isTyping: metas.some((meta) => meta.typing),
      }));
      this.changed("people");
    });
    this.channel.onError((reason) => this.#interrupted(reason?.source !== "transport"));
    this.channel
      .join()
      .receive("ok", (welcome) => this.#joined(welcome))
      .receive("error", (reply) => this.#declined(reply ?? {}));
  }

  #joined(welcome) {
    const before = this.status;
    const isAnother = welcome.epoch !== this.#seen.epoch;
    if (isAnother && this.#seen.epoch !== null) {
      this.note("anew", "The room has begun anew, and the server has forgotten what was said.");
    }
    if (isAnother) this.#seen = {epoch: welcome.epoch, seen: 0};
    if (welcome.lost) this.note("gap", "More was said meanwhile than the room remembers.");
    for (const entry of welcome.entries) this.#take(entry);
    this.user = welcome.user;
    this.host = welcome.host;
    this.status = "live";
    if (before === "crashed") {
      this.note("crashed", this.#roomEnded
        ? "The room crashed. It was opened anew, and nothing that was said is lost."
        : "Your handler crashed. The server has started a new one for you.");
    } else if (before === "lost") {
      const seconds = Math.round((Date.now() - this.#lostAt) / 1000);
      const span = seconds < 2 ? "a moment" : `${seconds} seconds`;
      this.note("back", `The connection was lost for ${span}. You are back.`);
    } else if (before === "out") {
      this.note("back", "You are back.");
    }
    this.#roomEnded = false;
    this.#typing = false;
    this.changed("status");
    this.changed("log");
    this.outbox.flush();
  }

  #declined({reason, why, wait}) {
    // The phoenix client joins again by itself after these, in a moment.
    if (why === "later" || reason === "join crashed" && this.status !== "joining") return;
    if (why === "outside") {
      this.#beOut(clean(reason, 300), wait);
      return;
    }
    this.channel.leave();
    this.status = "refused";
    this.problem = clean(reason, 300) || "The room did not let you in.";
    this.changed("status");
  }

  #interrupted(hasCrashed) {
    this.outbox.interrupt();
    if (this.status === "live" || this.status === "crashed") {
      this.status = hasCrashed ? "crashed" : "lost";
      if (!hasCrashed) this.#lostAt = Date.now();
      this.changed("status");
    }
  }

  #beOut(problem, milliseconds) {
    this.outbox.interrupt();
    this.channel.leave();
    this.status = "out";
    this.problem = problem;
    this.outUntil = Date.now() + milliseconds;
    this.people = [];
    this.changed("people");
    this.changed("status");
  }

  // Entries come once each, in order: in the answer to a join, or as they happen. What happens while
  // a join is answered comes both ways; its number tells.
  #take(entry) {
    if (entry.number <= this.#seen.seen) return false;
    this.#seen.seen = entry.number;
    if (entry.kind === "said" && entry.id) {
      this.outbox.settle(entry.id);
      if (this.#shown.has(entry.id)) return false;
      this.#shown.add(entry.id);
    }
    this.#append(entry);
    return true;
  }

  #append(entry) {
    this.entries.push(entry);
    if (this.entries.length > MAX_ENTRIES) this.#shown.delete(this.entries.shift().id);
  }

  // Something that the page itself has to say.
  note(note, text) {
    this.#append({kind: "note", note, text, at: Date.now()});
    this.changed("entry", this.entries.at(-1));
  }

  get pending() {
    return this.outbox.messages;
  }

  get isHost() {
    return this.host !== null && this.host === this.user;
  }

  send(text) {
    this.#typing = false;
    this.outbox.add({text});
  }

  // The server takes "typing" back by itself after a while, so it is told again meanwhile.
  type(on) {
    if (this.status !== "live") return;
    const now = Date.now();
    if (on === this.#typing && (!on || now - this.#typingToldAt < 4000)) return;
    this.#typing = on;
    this.#typingToldAt = now;
    this.channel.push("typing", {on});
  }

  throwOut(user) {
    if (this.status !== "live") return;
    this.channel.push("throw_out", {user}).receive("error", ({reason}) => {
      this.changed("problem", clean(reason, 300));
    });
  }

  crash(what) {
    if (this.status === "live") this.channel.push("crash", {what});
  }

  comeBack() {
    if (this.status !== "out") return;
    this.#join();
  }

  leave() {
    this.status = "left";
    this.channel.leave();
  }
}
