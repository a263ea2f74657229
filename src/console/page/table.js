// A table whose rows stay the same elements while their values change, so that neither a reading position nor a
// selection is lost. Every value is put in as text.

export class Table {
  /**
   * `columns` are a `label`, a function `of` that gives a cell's text for a row, and if wanted: `by`, the value that
   * rows are sorted by; `server`, the name by which the gateway sorts; `number`; `part`, a function that gives
   * how much of a bar is filled; `kind`, a function that gives the cell's kind for its looks. `key` names a row;
   * `sorted` is the column by which the gateway sorts at first.
   */
  constructor(table, { columns, key, caption, none, onsort, sorted }) {
    Object.assign(this, { columns, key, caption, none, onsort, rows: [], wanted: "", sorted: null });
    this.title = table.caption;
    this.lines = new Map();
    const head = table.createTHead().insertRow();
    this.heads = columns.map((column) => this.head(head, column));
    this.body = table.createTBody();
    const first = columns.findIndex((column) => sorted && column.server === sorted);
    if (first >= 0) this.mark(columns[first]);
    this.empty = document.createElement("p");
    this.empty.className = "none";
    table.after(this.empty);
  }

  head(row, column) {
    const cell = document.createElement("th");
    cell.scope = "col";
    if (column.number) cell.className = "number";
    if (column.by || column.server) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = column.label;
      button.addEventListener("click", () => this.sort(column));
      cell.append(button);
    } else {
      cell.textContent = column.label;
    }
    row.append(cell);
    return cell;
  }

  /** Sorts by a column; the same one again turns the order round, where the page sorts by itself. */
  sort(column) {
    const again = this.sorted?.column === column;
    this.mark(column, again && !column.server ? !this.sorted.falls : Boolean(column.number));
    if (column.server) this.onsort(column.server);
    else this.draw();
  }

  mark(column, falls = Boolean(column.number)) {
    this.sorted = { column, falls };
    this.heads.forEach((cell, n) => {
      if (this.columns[n] === column) cell.setAttribute("aria-sort", falls ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    });
  }

  find(wanted) {
    this.wanted = wanted.trim().toLowerCase();
    this.draw();
  }

  show(rows, more = {}) {
    this.rows = rows;
    this.more = more;
    this.draw();
  }

  draw() {
    const matches = (row) => this.columns.some((column) => column.search && column.of(row).toLowerCase().includes(this.wanted));
    let rows = this.wanted ? this.rows.filter(matches) : [...this.rows];
    if (this.sorted?.column.by) {
      const { column: { by }, falls } = this.sorted;
      const order = (a, b) => (typeof a === "string" ? a.localeCompare(b) : a - b);
      rows.sort((a, b) => (falls ? order(by(b), by(a)) : order(by(a), by(b))));
    }
    setText(this.title, this.caption(rows.length, this.rows.length, this.more ?? {}));
    const kept = new Map();
    let place = this.body.firstElementChild;
    for (const row of rows) {
      const key = this.key(row);
      const line = this.lines.get(key) ?? this.line();
      kept.set(key, line);
      this.fill(line, row);
      if (line === place) place = place.nextElementSibling;
      else this.body.insertBefore(line, place);
    }
    for (const [key, line] of this.lines) if (!kept.has(key)) line.remove();
    this.lines = kept;
    setText(this.empty, rows.length > 0 ? "" : this.wanted || this.more?.wanted ? "Nothing is like that." : this.none);
    this.empty.hidden = rows.length > 0;
  }

  line() {
    const line = document.createElement("tr");
    this.columns.forEach((column, n) => {
      const cell = document.createElement(n === 0 ? "th" : "td");
      if (n === 0) cell.scope = "row";
      if (column.number) cell.className = "number";
      const text = document.createElement("span");
      text.className = "text";
      cell.append(text);
      if (column.part) {
        const bar = document.createElement("span");
        bar.className = "part";
        bar.setAttribute("aria-hidden", "true");
        cell.append(bar);
      }
      line.append(cell);
    });
    return line;
  }

  fill(line, row) {
    this.columns.forEach((column, n) => {
      const cell = line.cells[n];
      setText(cell.firstElementChild, column.of(row));
      if (column.kind) cell.dataset.kind = column.kind(row);
      if (column.title) cell.title = column.title(row);
      if (column.part) {
        const part = column.part(row);
        const bar = cell.lastElementChild;
        bar.dataset.level = part === null ? "none" : part >= 1 ? "full" : part >= 0.8 ? "high" : "low";
        bar.style.setProperty("--part", Math.min(part ?? 0, 1).toFixed(3));
      }
    });
  }
}

/** Text that has not changed is left alone, so that a selection in it is. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
