// A table with its controls: headings that sort, a field that searches, twigs that fold. Text goes in as text.

const READABLE = 60; // rows of a tree that stand open at first
const SEARCHED = 10; // rows from which a search is worth its place

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== null) element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

const whole = (number) => number.toLocaleString("en");

class ReportTable {
  constructor(table) {
    this.table = table;
    this.rows = new Rows(table.tBodies[0]);
    this.sorted = { column: null, direction: null };
    this.fitting = null;
    for (const heading of table.tHead.rows[0].cells) if (heading.querySelector(".unseen") === null) this.sortable(heading);
    if (this.rows.nested) this.foldable();
    if (this.rows.nested || this.rows.all.length >= SEARCHED) this.tools();
    this.unfold();
  }

  get name() { return document.getElementById(this.table.getAttribute("aria-labelledby"))?.textContent ?? ""; }

  // Sorting -----------------------------------------------------------------------------------------------------------

  sortable(heading) {
    const text = heading.textContent;
    const button = make("button", { type: "button", "aria-label": text ? null : heading.dataset.key ?? "column" }, text);
    button.addEventListener("click", () => this.sort(heading));
    heading.replaceChildren(button);
  }

  // Numbers begin with the largest, words with the first; a third click brings the order of the file back.
  sort(heading) {
    const column = heading.cellIndex;
    const first = heading.classList.contains("n") || this.rows.all.some((row) => row.tr.cells[column]?.dataset.v !== undefined) ? -1 : 1;
    const again = this.sorted.column === column;
    const direction = !again ? first : this.sorted.direction === first ? -first : null;
    this.sorted = direction === null ? { column: null, direction: null } : { column, direction };
    for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
    if (direction) heading.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
    this.rows.sort(this.sorted.column, direction);
  }

  // Folding -----------------------------------------------------------------------------------------------------------

  foldable() {
    this.table.classList.add("folds");
    for (const row of this.rows.all) {
      if (!row.children.length) continue;
      const label = row.tr.querySelector(".label");
      row.twig = make("button", { type: "button", class: "twig", "aria-label": `Inside ${label.textContent}`, onclick: () => this.turn(row, !row.open), onkeydown: (event) => this.key(event, row) });
      label.prepend(row.twig);
    }
    this.rows.foldTo(READABLE);
  }

  turn(row, open) {
    row.open = open;
    this.show();
  }

  // Left closes or goes to the parent, right opens or goes inside, up and down go from twig to twig.
  key(event, row) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const twigs = () => [...this.table.querySelectorAll("tr:not([hidden]) .twig")];
    const beside = (step) => twigs()[twigs().indexOf(row.twig) + step]?.focus();
    const act = {
      ArrowRight: () => (row.open ? row.children.find((child) => child.twig && child.shown)?.twig.focus() : this.turn(row, true)),
      ArrowLeft: () => (row.open ? this.turn(row, false) : row.parent.twig?.focus()),
      ArrowDown: () => beside(1),
      ArrowUp: () => beside(-1),
      Home: () => twigs()[0].focus(),
      End: () => twigs().at(-1).focus(),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  // The line above the table ------------------------------------------------------------------------------------------

  tools() {
    const { rows } = this;
    this.field = make("input", { type: "search", placeholder: rows.nested ? "Find modules, e.g. layers.17 norm" : "Find rows", "aria-label": `Find in ${this.name}`, spellcheck: "false", autocomplete: "off", autocapitalize: "off" });
    this.field.addEventListener("input", () => this.search());
    this.field.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.field.value) return;
      event.preventDefault();
      this.field.value = "";
      this.search();
    });
    this.count = make("output", { role: "status" });
    const all = (open, text) => make("button", { type: "button", onclick: () => { rows.openAll(open); this.show(); } }, text);
    const line = make("div", { class: "tools" }, this.field, ...(rows.nested ? [all(true, "Expand all"), all(false, "Collapse all")] : []), this.count);
    this.table.parentElement.before(line);
  }

  search() {
    const found = this.rows.search(this.field.value);
    this.count.textContent = this.rows.searching ? (found ? `${whole(found)} of ${whole(this.rows.all.length)} rows` : "No row says that.") : "";
    this.show();
  }

  unfold() {
    this.rows.show();
    for (const row of this.rows.all) row.twig?.setAttribute("aria-expanded", `${row.open}`);
  }

  show() {
    this.unfold();
    this.fitting ??= requestAnimationFrame(() => { this.fitting = null; fit([this.table.parentElement]); });
  }
}

// A table that fits its box needs no scrolling, and its heading may stick to the page. All are measured before any is changed.
function fit(boxes) {
  const seen = [...boxes].filter((box) => box.clientWidth);
  const fits = seen.map((box) => box.scrollWidth <= box.clientWidth + 1);
  for (const [at, box] of seen.entries()) {
    box.classList.toggle("fits", fits[at]);
    if (fits[at]) box.removeAttribute("tabindex");
    else box.tabIndex = 0;
  }
}
