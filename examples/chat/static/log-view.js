// Shows the log of one place: the messages, who came and who left, and how.

import {byId, clean, hueOf, make, makeButton, makeTime} from "./page.js";

const MAX_SHOWN = 500;
const LONG_TEXT = 1200;
const LONG_LINES = 12;
const GROUP_MS = 5 * 60 * 1000;

// How somebody left, by the beginning of the server's words. Anything else stays neutral.
const TAGS = [
  ["closed", "closed"],
  ["connection", "lost"],
  ["crashed", "crashed"],
  ["killed", "crashed"],
  ["the server was killed", "crashed"],
  ["the room crashed", "crashed"],
  ["left", "left"],
  ["thrown out", "thrown"],
  ["disconnected", "thrown"],
];

const dayName = new Intl.DateTimeFormat(undefined, {
  weekday: "long",
  day: "numeric",
  month: "long",
});

const ui = {
  scroller: byId("scroller"),
  empty: byId("empty"),
  log: byId("log"),
  pending: byId("pending"),
  pill: byId("new-messages"),
};

let mine = new Set();
let last = null;
let unseen = 0;
let sticking = true;
let lastScrollTop = 0;
let scrollPlanned = false;

const isMine = (entry) => mine.has(entry.who);

// Show another place, or the same one anew. `ids` are one's own.
export function showLog(place, ids) {
  mine = ids;
  // Old news must not be read aloud again.
  ui.scroller.setAttribute("aria-live", "off");
  last = null;
  ui.log.replaceChildren();
  for (const entry of place.entries) append(entry);
  ui.empty.textContent = place.isRoom
    ? "Nothing has been said yet. The stage is yours."
    : `Nobody but ${place.title} will read this.`;
  ui.empty.hidden = ui.log.childElementCount > 0;
  showPending(place.pending);
  setSticking(true);
  setTimeout(() => ui.scroller.setAttribute("aria-live", "polite"), 300);
}

export function addEntry(entry) {
  append(entry);
  scrollSoon();
  if (entry.kind !== "said" || isMine(entry) || sticking) return;
  unseen += 1;
  renderPill();
}

function append(entry) {
  if (last && new Date(last.at).toDateString() !== new Date(entry.at).toDateString()) {
    ui.log.append(make("li", "day", dayName.format(entry.at)));
    last = null;
  }
  const grouped = last?.kind === "said" && entry.kind === "said" && last.who === entry.who &&
    entry.at - last.at < GROUP_MS;
  if (entry.kind === "said") ui.log.append(makeSaid(entry, grouped));
  else if (entry.kind === "note") ui.log.append(makeNote(entry));
  else ui.log.append(makeDirection(entry));
  last = entry;
  ui.empty.hidden = true;
  while (ui.log.childElementCount > MAX_SHOWN) ui.log.firstElementChild.remove();
  // The first message shown always says whose it is.
  ui.log.firstElementChild.classList.remove("cont");
}

function makeItem(entry) {
  const item = make("li", `entry ${entry.kind} ${hueOf(entry.name)}`);
  item.dataset.kind = entry.kind;
  item.dataset.number = String(entry.number);
  if (isMine(entry)) item.classList.add("own");
  return item;
}

function makeSaid(entry, grouped) {
  const item = makeItem(entry);
  if (grouped) item.classList.add("cont");
  const who = make("p", "who");
  who.append(make("bdi", "name", clean(entry.name, 64)));
  const text = make("div", "text", clean(entry.text, 8000));
  text.dir = "auto";
  item.append(who, text, makeTime(entry.at));
  if (entry.text.length > LONG_TEXT || entry.text.split("\n").length > LONG_LINES) {
    text.classList.add("clamped");
    item.append(makeButton("more", "Show all"));
  }
  return item;
}

function makeDirection(entry) {
  const item = makeItem(entry);
  const words = make("p", "direction");
  const name = make("bdi", "name", clean(entry.name, 64));
  words.append(name, entry.kind === "joined" ? " is here" : " is gone");
  if (entry.kind === "left") {
    const how = clean(entry.text, 300);
    item.dataset.how = how;
    const [, tag] = TAGS.find(([start]) => how.toLowerCase().startsWith(start)) ?? [];
    words.append(make("span", "unseen", ":"), " ");
    words.append(make("span", `tag tag-${tag ?? "other"}`, how || "nobody knows how"));
  }
  item.append(words, makeTime(entry.at));
  return item;
}

function makeNote({note, text, at}) {
  const item = make("li", "entry note");
  item.dataset.kind = "note";
  item.dataset.note = note;
  item.append(make("p", "direction", text), makeTime(at));
  return item;
}

// What is not confirmed yet stands below everything else.
export function showPending(messages) {
  ui.pending.replaceChildren(...messages.map(({text}) => {
    const item = make("li", "entry said own pending");
    item.dataset.kind = "pending";
    const shown = make("div", "text", text);
    shown.dir = "auto";
    item.append(shown, make("span", "at", "not sent yet"));
    return item;
  }));
  if (messages.length > 0) ui.empty.hidden = true;
  scrollSoon();
}

ui.log.addEventListener("click", (event) => {
  const more = event.target.closest("button.more");
  if (!more) return;
  more.parentElement.querySelector(".text").classList.remove("clamped");
  more.remove();
});

// Sticking means that the end of the log is kept in view. Entries are added without measuring
// anything; one frame later, however many there were, the log scrolls once. While sticking, the
// browser's own scroll anchoring is off, so that every scroll event is the user's or our own.
export function setSticking(on) {
  sticking = on;
  ui.scroller.classList.toggle("sticking", on);
  if (!on) return;
  unseen = 0;
  renderPill();
  scrollSoon();
}

export function scrollSoon() {
  if (!sticking || scrollPlanned) return;
  scrollPlanned = true;
  requestAnimationFrame(() => {
    scrollPlanned = false;
    if (sticking) ui.scroller.scrollTop = ui.scroller.scrollHeight;
  });
}

ui.scroller.addEventListener("scroll", () => {
  const {scrollTop, scrollHeight, clientHeight} = ui.scroller;
  const below = scrollHeight - clientHeight - scrollTop;
  if (sticking && scrollTop < lastScrollTop && below > 4) setSticking(false);
  else if (!sticking && scrollTop >= lastScrollTop && below < 48) setSticking(true);
  lastScrollTop = scrollTop;
}, {passive: true});

// The keyboard of a phone and the growing field take room away from the log.
new ResizeObserver(() => {
  lastScrollTop = 0;
  scrollSoon();
}).observe(ui.scroller);

function renderPill() {
  ui.pill.hidden = unseen === 0;
  ui.pill.textContent = unseen === 1 ? "1 new message" : `${unseen} new messages`;
}

ui.pill.addEventListener("click", () => setSticking(true));
