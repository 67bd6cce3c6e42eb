// Private messages: one channel, which only this person can join, and a conversation with each
// person who has written or is written to.

import {clean, recall, remember} from "./page.js";
import {Outbox} from "./outbox.js";

const MAX_ENTRIES = 500;

export class Conversation {
  entries = [];
  unread = 0;
  people = [];
  isRoom = false;
  isHost = false;
  host = null;

  constructor(inbox, user, name) {
    this.inbox = inbox;
    this.user = user;
    this.title = name;
    this.key = `user:${user}`;
  }

  get status() {
    return this.inbox.status;
  }

  get pending() {
    return this.inbox.outbox.messages.filter((message) => message.to === this.user);
  }

  send(text) {
    this.inbox.outbox.add({text, to: this.user});
  }

  type() {}
}

export class Inbox {
  status = "joining";
  conversations = new Map();

  #seen = {epoch: null, seen: 0};
  #shown = new Set();
  // The number of the last message that was read, in this tab or another one, before or now.
  #read = 0;

  // `changed(what, conversation, detail)` is called as a room's `changed` is.
  constructor(session, changed) {
    this.session = session;
    this.changed = changed;
    this.outbox = new Outbox(
      ({id, to, text}) => (this.status === "live" ? this.channel.push("tell", {id, to, text}) : null),
      {
        changed: () => changed("pending", null),
        rejected: ({to, text}, reason) =>
          changed("rejected", this.conversations.get(to), {text, reason}),
      },
    );
    this.join();
  }

  // Also when a new token has made this page another person, with an inbox of its own.
  join() {
    const me = this.session.id;
    this.channel?.leave();
    this.channel = this.session.socket.channel(`user:${me}`, () => this.#seen);
    this.channel.on("told", (entry) => this.#take(entry));
    this.channel.onError(() => {
      this.outbox.interrupt();
      if (this.status === "live") this.#setStatus("lost");
    });
    this.channel.join().receive("ok", (welcome) => {
      if (welcome.epoch !== this.#seen.epoch) {
        this.#seen = {epoch: welcome.epoch, seen: 0};
        const [epoch, number] = recall(`exeunt.read.${this.session.id}`).split(" ");
        this.#read = epoch === welcome.epoch ? Number(number) : 0;
      }
      for (const entry of welcome.entries) this.#take(entry);
      this.#setStatus("live");
      this.outbox.flush();
    });
  }

  #setStatus(status) {
    this.status = status;
    for (const conversation of this.conversations.values()) this.changed("status", conversation);
  }

  with(user, name) {
    let conversation = this.conversations.get(user);
    if (!conversation) {
      conversation = new Conversation(this, user, clean(name, 64));
      this.conversations.set(user, conversation);
    }
    return conversation;
  }

  #take(entry) {
    if (entry.number <= this.#seen.seen) return;
    this.#seen.seen = entry.number;
    if (this.#shown.has(entry.id)) return;
    this.#shown.add(entry.id);
    const isMine = this.session.ids.has(entry.who);
    const conversation = isMine
      ? this.with(entry.to, entry.to_name)
      : this.with(entry.who, entry.name);
    conversation.entries.push(entry);
    if (conversation.entries.length > MAX_ENTRIES) {
      this.#shown.delete(conversation.entries.shift().id);
    }
    this.outbox.settle(entry.id);
    if (!isMine && entry.number > this.#read) conversation.unread += 1;
    this.changed("entry", conversation, entry);
  }

  // What has come so far is read, when there is nothing unread in any conversation.
  read() {
    if ([...this.conversations.values()].some((conversation) => conversation.unread > 0)) return;
    this.#read = this.#seen.seen;
    remember(`exeunt.read.${this.session.id}`, `${this.#seen.epoch} ${this.#read}`);
  }
}
