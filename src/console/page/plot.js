// Lines over the last ten minutes. The text beside them says the same: each line's value at the time that is looked
// at, and its highest.

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, SAMPLES] = [600, 100, 600];

function element(name, attributes = {}, text = "") {
  const made = name.startsWith("svg:") ? document.createElementNS(SVG, name.slice(4)) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}

export class Plot {
  /** `lines` are a label, a style from 1 to 3, and a function that takes the values out of all series. */
  constructor(parent, { title, unit, lines, format }, look) {
    Object.assign(this, { title, format });
    const id = `plot-${title.toLowerCase().replaceAll(/\W+/g, "-")}`;
    const figure = element("figure", { "aria-labelledby": id });
    const head = element("figcaption", { id });
    head.append(element("strong", {}, title), element("span", { class: "unit" }, unit));
    const legend = element("ul", { class: "legend" });
    this.top = element("span", { class: "top", "aria-hidden": "true" });
    this.svg = element("svg:svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    for (const part of [0.25, 0.5, 0.75, 1]) {
      const y = HEIGHT * part;
      this.svg.append(element("svg:line", { class: "grid", x1: 0, x2: WIDTH, y1: y, y2: y }));
    }
    this.lines = lines.map((line) => {
      const path = element("svg:path", { class: `line line-${line.style}` });
      const sample = element("svg:svg", { viewBox: "0 0 24 8", class: "sample", "aria-hidden": "true" });
      sample.append(element("svg:path", { class: `line line-${line.style}`, d: "M0 4H24" }));
      const value = element("span", { class: "value" });
      const item = element("li");
      item.append(sample, element("span", {}, line.label), value);
      legend.append(item);
      return { ...line, path, value, values: [] };
    });
    this.svg.append(...this.lines.map((line) => line.path).reverse());
    this.cursor = element("svg:line", { class: "cursor", y1: 0, y2: HEIGHT, visibility: "hidden" });
    this.svg.append(this.cursor);
    const area = element("div", { class: "area" });
    const axis = element("p", { class: "axis", "aria-hidden": "true" });
    axis.append(...["10 min ago", "5 min", "now"].map((text) => element("span", {}, text)));
    area.append(this.top, this.svg);
    figure.append(head, legend, area, axis);
    parent.append(figure);
    area.addEventListener("pointermove", (event) => {
      const box = area.getBoundingClientRect();
      look(Math.round((1 - (event.clientX - box.left) / box.width) * SAMPLES));
    });
    area.addEventListener("pointerleave", () => look(null));
  }

  draw(series) {
    for (const line of this.lines) line.values = line.of(series) ?? [];
    const highest = Math.max(0, ...this.lines.flatMap((line) => line.values.filter((value) => value !== null)));
    const top = nice(highest);
    this.top.textContent = highest > 0 ? this.format(top) : "";
    for (const line of this.lines) line.path.setAttribute("d", path(line.values, top));
    const words = this.lines.map(({ label, values }) => {
      const seen = values.filter((value) => value !== null);
      const last = seen.length > 0 ? values.at(-1) : null;
      return `${label} ${this.format(last)} now, at most ${this.format(seen.length > 0 ? Math.max(...seen) : null)}`;
    });
    this.svg.setAttribute("aria-label", `${this.title} in the last ten minutes: ${words.join("; ")}.`);
  }

  /** Shows the values of so many seconds ago. */
  look(back) {
    for (const line of this.lines) line.value.textContent = this.format(line.values.at(-1 - back) ?? null);
    const x = WIDTH - (back * WIDTH) / SAMPLES;
    this.cursor.setAttribute("x1", x);
    this.cursor.setAttribute("x2", x);
    this.cursor.setAttribute("visibility", back > 0 ? "visible" : "hidden");
  }
}

/** A line through values, the last one at the right edge, with gaps where there are none. */
function path(values, top) {
  const step = WIDTH / (SAMPLES - 1);
  const parts = [];
  let pen = false;
  values.forEach((value, n) => {
    if (value === null) {
      pen = false;
      return;
    }
    const x = WIDTH - (values.length - 1 - n) * step;
    const y = HEIGHT - (value / top) * (HEIGHT - 2) - 0.5;
    const alone = !pen && (values[n + 1] ?? null) === null;
    parts.push(`${pen ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}${alone ? "h0.1" : ""}`);
    pen = true;
  });
  return parts.join("");
}

/** The next of 1, 2, 5, 10, 20, 50, … */
function nice(value) {
  if (value <= 0) return 1;
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((n) => n * unit).find((n) => n >= value) ?? value;
}
