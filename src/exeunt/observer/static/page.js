// Small things that all parts of the page use. Text only ever gets into the page as text.

export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Write what a process is called. Where room is short, the class of `Room 'hall'` is cut before the
// key, which tells it from the others.
export function setNamed(element, text) {
  if (element.textContent === text) return;
  const [, kind, key] = /^([^\s'"(]+)( .+)$/su.exec(text) ?? [];
  if (key) element.replaceChildren(make("span", "of", kind), make("span", "key", key));
  else element.textContent = text;
  element.title = text;
}

// What a process is shown as: an id that is but the class of a label with a key says less than that.
export function titleOf({id, name, label}) {
  if (id && label.startsWith(`${id} `)) return label;
  return id || name || label || "(not running)";
}

export function setData(element, name, value) {
  if (value === undefined || value === "" || value === false) {
    if (name in element.dataset) delete element.dataset[name];
  } else if (element.dataset[name] !== String(value)) {
    element.dataset[name] = value === true ? "" : value;
  }
}

// Something to press that has a process shown; `observer.js` listens for it.
export function pidButton(pid, text = pid) {
  const button = make("button", "link", text);
  button.type = "button";
  button.dataset.look = pid;
  return button;
}

// Have just these children in this order, and leave alone those that are in their place.
export function putInOrder(parent, children) {
  const wanted = new Set(children);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  for (const [index, child] of children.entries()) {
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
  }
}

// Made once: to make them takes far longer than to use them.
const ONE_DIGIT = new Intl.NumberFormat("en", {maximumFractionDigits: 1});
const NO_DIGITS = new Intl.NumberFormat("en", {maximumFractionDigits: 0});

export function number(value) {
  if (value === 0) return "0";
  return (value < 10 ? ONE_DIGIT : NO_DIGITS).format(value);
}

export function duration(seconds) {
  if (seconds < 1) return "0 s";
  if (seconds < 120) return `${Math.floor(seconds)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

export function milliseconds(seconds) {
  const value = seconds * 1000;
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}
