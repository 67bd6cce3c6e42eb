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

export function setData(element, name, value) {
  if (value === undefined || value === "" || value === false) {
    if (name in element.dataset) delete element.dataset[name];
  } else if (element.dataset[name] !== String(value)) {
    element.dataset[name] = value === true ? "" : value;
  }
}

export function number(value) {
  return value.toLocaleString("en", {maximumFractionDigits: value < 10 ? 1 : 0});
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
