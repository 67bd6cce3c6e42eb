// Messages that the server has not confirmed yet.
//
// Each has an id of its own, and is sent until the server confirms it: after a lost connection it
// is sent again, and the server, which may have got it the first time, knows it by its id. They go
// one at a time, so that their order stays what it was.

const RETRY_MS = 1000;
const MOST_TRIES = 5;

function newId() {
  // crypto.randomUUID is there on secure pages only.
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Outbox {
  // `push(message)` gives a push of the phoenix client, or null while there is no channel to push
  // to. `rejected(message, reason)` is called with what the server will never take.
  constructor(push, {changed, rejected}) {
    this.push = push;
    this.changed = changed;
    this.rejected = rejected;
    this.messages = [];
    this.sending = null;
    this.timer = 0;
  }

  add(content) {
    this.messages.push({id: newId(), at: Date.now(), tries: 0, ...content});
    this.changed();
    this.flush();
  }

  // Send the first message, unless that is being done.
  flush() {
    clearTimeout(this.timer);
    const [message] = this.messages;
    if (!message || this.sending) return;
    const push = this.push(message);
    if (push === null) return;
    this.sending = message;
    message.tries += 1;
    // Only if it is still this attempt that counts.
    const answered = (handle) => (reply) => {
      if (this.sending !== message) return;
      this.sending = null;
      handle(reply ?? {});
    };
    push
      .receive("ok", answered(() => this.settle(message.id)))
      .receive("error", answered((reply) => {
        if (reply.why === "later") this.timer = setTimeout(() => this.flush(), reply.wait || RETRY_MS);
        else this.reject(message, reply.reason);
      }))
      .receive("timeout", answered(() => {
        if (message.tries < MOST_TRIES) this.flush();
        else this.reject(message, "The server did not confirm this message.");
      }));
  }

  // The channel has gone: whether the message got through, nobody knows.
  interrupt() {
    if (this.sending && this.sending.tries >= MOST_TRIES) {
      this.reject(this.sending, "The server did not confirm this message.");
    }
    this.sending = null;
  }

  // The server has a message: it said so, or the message itself has come.
  settle(id) {
    const index = this.messages.findIndex((message) => message.id === id);
    if (index < 0) return;
    const [message] = this.messages.splice(index, 1);
    if (this.sending === message) this.sending = null;
    this.changed();
    this.flush();
  }

  reject(message, reason) {
    this.messages = this.messages.filter((one) => one !== message);
    this.changed();
    this.rejected(message, reason ?? "The server did not take this message.");
    this.flush();
  }
}
