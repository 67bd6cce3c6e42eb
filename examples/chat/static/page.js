// Small things that every part of the page uses.
//
// What came from somebody else reaches the page through textContent alone, so that nothing that
// anybody types is ever markup.

export const byId = (id) => document.getElementById(id);

export const clean = (value, limit) => String(value ?? "").slice(0, limit);

export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

export function makeButton(className, text) {
  const button = make("button", className, text);
  button.type = "button";
  return button;
}

// A colour for a name: the same on every page.
const HUES = 10;
export function hueOf(name) {
  let hash = 7;
  for (const character of name) hash = (hash * 31 + character.codePointAt(0)) % 65521;
  return `hue-${hash % HUES}`;
}

const clock = new Intl.DateTimeFormat("en-GB", {hour: "2-digit", minute: "2-digit"});
const fullDate = new Intl.DateTimeFormat(undefined, {dateStyle: "full", timeStyle: "medium"});

export function makeTime(at) {
  const date = new Date(at);
  const time = make("time", "at", clock.format(date));
  time.dateTime = date.toISOString();
  time.title = fullDate.format(date);
  return time;
}

// Storage may be forbidden; the page works without it.
export function remember(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {}
}

export function recall(key) {
  try {
    return localStorage.getItem(key) ?? "";
  } catch {
    return "";
  }
}

// For those who listen to the page instead of looking at it.
export function announce(words) {
  byId("announcer").textContent = words;
}
