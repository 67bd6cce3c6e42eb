// What stands beside the tree: crashes, sockets, and topics with their members.

import {make} from "./page.js";

function fill(list, items, empty) {
  if (items.length === 0) items = [make("li", "empty", empty)];
  list.replaceChildren(...items);
}

function first(what, aside) {
  const line = make("div", "first");
  line.append(make("span", "what", what), make("span", "soft", aside));
  return line;
}

// Draw a list again only if its rows have changed, so that what is selected in it stays.
export class List {
  constructor(element, section, item, empty, isNewestFirst = false) {
    Object.assign(this, {element, section, item, empty, isNewestFirst});
    this.text = null;
  }

  draw(store) {
    const rows = Object.values(store.rows(this.section));
    const text = JSON.stringify(rows);
    if (text === this.text) return;
    this.text = text;
    if (this.isNewestFirst) rows.sort((one, other) => other.number - one.number);
    fill(this.element, rows.map(this.item), this.empty);
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

export function socketItem(socket) {
  const item = make("li");
  item.append(first(socket.id || socket.socket, socket.transport));
  item.append(make("div", "place", `${socket.socket} ${socket.pid}`));
  const left = socket.topic_count - socket.topics.length;
  const topics = socket.topics.join(", ") + (left > 0 ? ` and ${left} more` : "");
  item.append(make("div", "members", topics || "has joined nothing"));
  return item;
}

export function topicItem(topic) {
  const item = make("li");
  item.append(first(topic.topic, `${topic.member_count.toLocaleString("en")}`));
  const members = topic.members.map(([pid, label, id]) => `${id || label} ${pid}`);
  const left = topic.member_count - members.length;
  if (left > 0) members.push(`and ${left.toLocaleString("en")} more`);
  item.append(make("div", "members", members.join(", ")));
  return item;
}
