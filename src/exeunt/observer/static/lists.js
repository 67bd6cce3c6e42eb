// What stands beside the tree: crashes, sockets, and topics with their members.

import {make, pidButton, putInOrder} from "./page.js";

function first(what, aside) {
  const line = make("div", "first");
  line.append(make("span", "what", what), make("span", "soft", aside));
  return line;
}

// An item is made again only if its row has changed, so that what is selected in it stays, and what
// is pressed in it is still there when it is let go.
export class List {
  constructor(element, section, item, empty, order = null) {
    Object.assign(this, {element, section, item, order});
    this.empty = make("li", "empty", empty);
    this.items = new Map(); // by key: the row as text, and its element
  }

  draw(store) {
    const rows = Object.entries(store.rows(this.section));
    if (this.order) rows.sort(([, one], [, other]) => other[this.order] - one[this.order]);
    const before = this.items;
    this.items = new Map(rows.map(([key, row]) => {
      const text = JSON.stringify(row);
      const known = before.get(key);
      return [key, known?.text === text ? known : {text, element: this.item(row)}];
    }));
    const elements = [...this.items.values()].map(({element}) => element);
    putInOrder(this.element, elements.length ? elements : [this.empty]);
  }
}

export function crashItem(crash) {
  const item = make("li");
  const at = new Date(crash.at * 1000).toLocaleTimeString([], {hour12: false});
  item.append(first(`${crash.name || crash.label} ${crash.pid}`, at));
  item.append(make("div", "reason", crash.reason));
  if (crash.where) item.append(make("div", "place", crash.where));
  return item;
}

export function mailboxItem(mailbox) {
  const item = make("li");
  const line = first("", mailbox.mailbox.toLocaleString("en"));
  line.firstChild.append(`${mailbox.name || mailbox.label} `, pidButton(mailbox.pid));
  item.append(line);
  return item;
}

export function socketItem(socket) {
  const item = make("li");
  item.append(first(socket.id || socket.socket, socket.transport));
  const place = make("div", "place", `${socket.socket} `);
  place.append(pidButton(socket.pid));
  item.append(place);
  const left = socket.topic_count - socket.topics.length;
  const topics = socket.topics.join(", ") + (left > 0 ? ` and ${left} more` : "");
  item.append(make("div", "members", topics || "has joined nothing"));
  return item;
}

export function topicItem(topic) {
  const item = make("li");
  item.append(first(topic.topic, `${topic.member_count.toLocaleString("en")}`));
  const members = make("div", "members");
  for (const [index, [pid, label, id]] of topic.members.entries()) {
    members.append(`${index ? ", " : ""}${id || label} `, pidButton(pid));
  }
  const left = topic.member_count - topic.members.length;
  if (left > 0) members.append(`, and ${left.toLocaleString("en")} more`);
  item.append(members);
  return item;
}
