// The curves: a few numbers over the last two minutes, each drawn to its own highest. As long as there
// is less to show they are drawn wider, so that somebody who has just come sees more than a corner.

import {make, setText} from "./page.js";

const SVG = "http://www.w3.org/2000/svg";
const POINTS = 240;
const FEWEST = 60;

export class Curve {
  constructor(figure, title, show, least) {
    this.show = show;
    this.least = least; // what fills the height if all points are lower
    this.points = [];
    this.title = title;
    const caption = make("figcaption");
    this.value = make("span", "value", "–");
    this.peak = make("span", "peak");
    caption.append(make("span", "name", title), this.value, this.peak);
    this.svg = document.createElementNS(SVG, "svg");
    this.svg.setAttribute("viewBox", `0 0 ${POINTS} 100`);
    this.svg.setAttribute("preserveAspectRatio", "none");
    this.svg.setAttribute("role", "img");
    this.area = document.createElementNS(SVG, "path");
    this.area.setAttribute("class", "area");
    this.stroke = document.createElementNS(SVG, "path");
    this.stroke.setAttribute("class", "stroke");
    this.svg.append(this.area, this.stroke);
    figure.replaceChildren(caption, this.svg);
  }

  begin(values) {
    this.points = values.slice(-POINTS);
    this.draw();
  }

  add(value) {
    this.points.push(value);
    if (this.points.length > POINTS) this.points.shift();
    this.draw();
  }

  draw() {
    const {points} = this;
    if (points.length === 0) return;
    const highest = Math.max(this.least, ...points);
    const across = Math.max(points.length, FEWEST);
    const step = POINTS / across;
    const x = (index) => ((across - points.length + index + 0.5) * step).toFixed(1);
    const line = points
      .map((one, index) => `${x(index)},${(96 - (one / highest) * 90).toFixed(1)}`)
      .join("L");
    const last = points.at(-1);
    this.stroke.setAttribute("d", points.length > 1 ? `M${line}` : "");
    this.area.setAttribute(
      "d", points.length > 1 ? `M${x(0)},100L${line}L${x(points.length - 1)},100Z` : "",
    );
    this.svg.setAttribute("aria-label", `${this.title}: now ${this.show(last)}`);
    setText(this.value, this.show(last));
    setText(this.peak, `highest ${this.show(Math.max(...points))}`);
  }
}
