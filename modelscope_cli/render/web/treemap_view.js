// One map in a page: what is shown, the controls, the keys, the address. Every <section class="mscope-treemap"> becomes one.
//
// After each drawing the section sends "mscope:drawn" with {ms, cells, view, by, path}, for tests and benchmarks.

const LISTED = 50;
const ZOOM_MS = 260;
const VIEWS = ["treemap", "icicle"];
const MEASURES = ["parameters", "bytes"];
const THEMES = ["light", "dark"];
const FIELDS = "input, select, textarea";

class View {
  constructor(section) {
    this.section = section;
    this.linked = section.hasAttribute("data-linked");
    this.data = JSON.parse(section.querySelector('script[type="application/json"]').textContent);
    this.top = new Model(this.data).root;
    const { path, view, by, theme } = this.data.start;
    this.usual = { ...this.placed(path), view, by: by ?? (this.top.parameters ? "parameters" : "bytes"), find: "", theme };
    this.state = { ...this.usual };
    this.matches = this.pointed = null;
    this.listed = LISTED;
    this.cells = [];
    this.build();
    this.listen();
    if (this.linked) this.follow();
    else this.refresh();
  }

  build() {
    const choice = (key, values, label) =>
      make("div", { class: "segments", role: "group", "aria-label": label }, ...values.map((value) =>
        make("button", { type: "button", "data-set": key, "data-value": value, onclick: () => this.set({ [key]: value }) }, value[0].toUpperCase() + value.slice(1))));
    const { title } = this.data;
    this.crumbs = make("ol");
    this.input = make("input", { type: "search", placeholder: "Find a tensor … (regex)", "aria-label": "Find tensors by a regular expression", spellcheck: "false", autocomplete: "off", autocapitalize: "off" });
    this.found = make("p", { class: "found", role: "status" });
    this.theme = make("button", { type: "button", class: "theme", title: "Light or dark", "aria-label": "Light or dark", onclick: () => this.set({ theme: this.dark ? "light" : "dark" }) }, "◐");
    this.base = make("canvas", { "aria-hidden": "true" });
    this.over = make("canvas", { tabindex: "0", role: "application", "aria-roledescription": "map", "aria-label": `Map of ${title}. Arrow keys move, Enter zooms in, Escape zooms out. The parts are listed below it.` });
    this.tip = make("div", { class: "tip", hidden: "" });
    this.map = make("div", { class: "map" }, this.base, this.over, this.tip);
    this.chosen = make("p", { class: "chosen", "aria-live": "polite" });
    this.legend = make("ul", { class: "legend", "aria-label": "Colours" });
    this.parts = make("ol", { class: "parts" });
    const key = (text) => make("kbd", {}, text);
    this.section.append(
      titleOf(this.data, this.top),
      make("div", { class: "bar" }, make("nav", { "aria-label": "Where you are" }, this.crumbs), make("div", { class: "find", role: "search" }, this.input), choice("view", VIEWS, "Layout"), choice("by", MEASURES, "Measure"), this.theme),
      this.found, this.map, this.chosen,
      make("div", { class: "foot" }, this.legend, make("p", { class: "keys" }, "click: zoom in · ", key("Esc"), " out · ", key("←↑↓→"), " move · ", key("/"), " find")),
      this.parts);
  }

  listen() {
    const { over, input } = this;
    over.addEventListener("mousemove", (event) => this.point(event));
    over.addEventListener("mouseleave", () => this.point(null));
    over.addEventListener("click", (event) => this.click(event));
    over.addEventListener("keydown", (event) => this.key(event));
    let waiting = 0;
    input.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => this.set({ find: input.value }), this.top.leaves > 20000 ? 180 : 60);
    });
    input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== "Escape") return;
      event.preventDefault();
      clearTimeout(waiting);
      if (event.key === "Escape") { input.value = ""; over.focus(); }
      this.set({ find: input.value });
      if (event.key === "Enter") this.nextMatch();
    });
    (this.linked ? document : this.section).addEventListener("keydown", (event) => {
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.target.matches?.(FIELDS)) return;
      if (event.key === "/") { input.focus(); input.select(); }
      else if (event.key === "Escape" || event.key === "Backspace") this.out();
      else return;
      event.preventDefault();
    });
    const again = () => this.refresh({ still: true });
    new ResizeObserver(() => { if (this.measureMap()) again(); }).observe(this.map);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
    for (const [name, printing] of [["beforeprint", true], ["afterprint", false]]) addEventListener(name, () => { this.printing = printing; again(); });
    if (this.linked) addEventListener("popstate", () => this.follow());
  }

  get dark() {
    if (this.printing) return false;
    return this.state.theme ? this.state.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }

  get style() { return STYLES[this.dark ? "dark" : "light"]; }

  // What is shown, and the address that says it -----------------------------------------------------------------------

  // Change some of it. A new place is a step that "back" undoes; all else is not.
  set(change, { silent = false } = {}) {
    const before = this.state;
    this.state = { ...before, ...("root" in change && change.root !== before.root ? { selected: null } : {}), ...change };
    const { root, view, by, find } = this.state;
    const moved = root !== before.root;
    if (moved) this.listed = LISTED;
    if (find !== before.find) this.search();
    if (this.linked && !silent) this.write(moved);
    this.refresh({ from: moved ? before.root : null, still: !moved && view === before.view && by === before.by });
  }

  write(step) {
    const { state, usual } = this;
    const words = new URLSearchParams();
    if (state.root !== usual.root) words.set("path", state.root.path);
    for (const key of ["view", "by", "find", "theme"]) if (state[key] !== usual[key]) words.set(key, state[key]);
    const text = `${words}`;
    try {
      history[step ? "pushState" : "replaceState"](null, "", text ? `#${text}` : location.pathname + location.search);
    } catch { /* a frame without an address of its own: the map works, its links do not */ }
  }

  follow() {
    const words = new URLSearchParams(location.hash.slice(1));
    const pick = (key, values) => (values.includes(words.get(key)) ? words.get(key) : this.usual[key]);
    const find = (this.input.value = words.get("find") ?? "");
    const place = this.placed(words.get("path") ?? this.data.start.path);
    this.set({ ...place, find, view: pick("view", VIEWS), by: pick("by", MEASURES), theme: pick("theme", THEMES) }, { silent: true });
  }

  // What fills the map for a path, and what is selected in it: a tensor has nothing inside to show.
  placed(path) {
    const place = (path && this.top.at(path)) || this.top;
    return place.isModule || !place.parent ? { root: place, selected: null } : { root: place.parent, selected: place };
  }

  // Finding -----------------------------------------------------------------------------------------------------------

  search() {
    const { find } = this.state;
    this.matches = null;
    this.wrong = "";
    if (!find) return;
    try {
      this.matches = new Matches(this.top, new RegExp(find, "i"));
    } catch (problem) {
      this.wrong = `Not a regular expression yet: ${problem.message.split(": ").pop()}`;
    }
  }

  nextMatch() {
    if (!this.matches?.number) return;
    const { selected, root } = this.state;
    const place = this.matches.next(this.top, selected ? selected.first + selected.leaves : 0);
    const cell = place.way.includes(root) ? this.cellOf(place) : null;
    const seen = cell && showing(cell, place) && Math.min(cell.x1 - cell.x0, cell.y1 - cell.y0) > 12;
    if (seen || !place.parent) this.select(place);
    else this.set({ root: place.parent, selected: place });
  }

  // Moving ------------------------------------------------------------------------------------------------------------

  zoom(place) {
    const goal = place.isModule ? place : place.parent ?? place;
    if (goal === this.state.root) this.select(place);
    else this.set({ root: goal, selected: place === goal ? null : place });
  }

  out() {
    const { root } = this.state;
    if (root.parent) this.set({ root: root.parent, selected: root });
  }

  select(place) {
    this.state.selected = place;
    this.rings();
    this.describe();
  }

  // To the module under the pointer; where a single tensor is shown, to what is around it.
  click(event) {
    const cell = this.cellAt(event);
    if (!cell) return;
    const { place } = cell;
    const lone = !cell.open && (!place.isModule || ordered(place, "icicle", this.state.by).length < 2);
    const goal = lone ? place.parent ?? place : place;
    if (goal === this.state.root) this.select(place);
    else this.set({ root: goal, selected: lone ? place : null });
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { root, selected, view, by } = this.state;
    const current = selected?.way.includes(root) ? selected : root;
    const below = current.isModule ? ordered(current, view, by) : [];
    const row = current === root ? below : ordered(current.parent, view, by);
    const beside = (step) => (current === root ? row[0] : row[row.indexOf(current) + step]);
    const turned = view === "icicle"; // siblings stand above each other
    const goal = {
      [turned ? "ArrowUp" : "ArrowLeft"]: () => beside(-1),
      [turned ? "ArrowDown" : "ArrowRight"]: () => beside(1),
      [turned ? "ArrowRight" : "ArrowDown"]: () => below[0],
      [turned ? "ArrowLeft" : "ArrowUp"]: () => (current === root ? undefined : current.parent),
      Home: () => row[0],
      End: () => row[row.length - 1],
    }[event.key];
    const enter = event.key === "Enter" || event.key === " ";
    if (!goal && !enter) return;
    event.preventDefault();
    if (enter && current !== root) this.zoom(current);
    const place = goal?.();
    if (place) this.select(place);
  }

  // Pointing ----------------------------------------------------------------------------------------------------------

  cellAt(event) {
    const { left, top } = this.over.getBoundingClientRect();
    const [x, y] = [event.clientX - left, event.clientY - top];
    return this.cells.findLast(({ x0, y0, x1, y1 }) => x >= x0 && x < x1 && y >= y0 && y < y1) ?? null;
  }

  // The cell of a place, or of what it is drawn as a part of.
  cellOf(place) {
    if (!this.byPlace) {
      this.byPlace = new Map();
      for (const cell of this.cells) for (const shown of [cell.place, ...(cell.also ?? [])]) this.byPlace.set(shown, cell);
    }
    for (let around = place; around; around = around.parent) if (this.byPlace.has(around)) return this.byPlace.get(around);
    return null;
  }

  point(event) {
    const cell = event && this.cellAt(event);
    const { tip } = this;
    if (cell !== this.pointed) {
      this.pointed = cell;
      this.rings();
      tip.hidden = !cell;
      if (cell) tip.replaceChildren(make("strong", {}, cell.place.path || cell.place.label), ...factsOf(cell.place, this.state.by, this.top).map((line) => make("p", {}, ...line)));
    }
    if (!cell) return;
    const frame = this.map.getBoundingClientRect();
    const [x, y] = [event.clientX - frame.left, event.clientY - frame.top];
    tip.style.left = `${Math.max(4, x + 16 + tip.offsetWidth > frame.width ? x - tip.offsetWidth - 12 : x + 16)}px`;
    tip.style.top = `${Math.max(4, y + 18 + tip.offsetHeight > frame.height ? y - tip.offsetHeight - 12 : y + 18)}px`;
  }

  // Showing -----------------------------------------------------------------------------------------------------------

  // Fit the canvases to the page. Returns whether that changes anything.
  measureMap() {
    const { clientWidth: width, clientHeight: height } = this.map;
    const ratio = Math.min(devicePixelRatio || 1, 3);
    if (this.printing || !width || (this.width === width && this.height === height && this.ratio === ratio)) return false;
    Object.assign(this, { width, height, ratio });
    for (const canvas of [this.base, this.over]) [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    return true;
  }

  refresh({ from = null, still = false } = {}) {
    const { section, state, top } = this;
    const theme = this.printing ? "light" : state.theme;
    if (theme) section.dataset.theme = theme;
    else delete section.dataset.theme;
    if (!this.width && !this.measureMap()) return;
    for (const button of section.querySelectorAll("[data-set]")) button.setAttribute("aria-pressed", `${state[button.dataset.set] === button.dataset.value}`);
    this.point(null);
    const [before, old] = [still ? null : this.snapshot(), this.cells];
    this.draw();
    this.crumbs.replaceChildren(...crumbsOf(state.root, state.by, top, (change) => this.set(change)));
    this.found.classList.toggle("wrong", Boolean(this.wrong));
    this.input.setAttribute("aria-invalid", `${Boolean(this.wrong)}`);
    this.found.replaceChildren(...(this.wrong ? [this.wrong] : this.matches ? foundOf(this.matches, top) : []));
    this.legend.replaceChildren(...legendOf(state.root, state.by));
    this.list();
    this.describe();
    this.rings();
    if (before) this.animate(before, from, old);
  }

  list() {
    const { root, by } = this.state;
    this.parts.setAttribute("aria-label", `Parts of ${root.label}`);
    this.parts.replaceChildren(...partsOf(root, by, this.listed, (place) => this.zoom(place), () => { this.listed += 10 * LISTED; this.list(); }));
  }

  // The line beneath the map: the selected place, or the one that fills the map.
  describe() {
    const place = this.state.selected ?? this.state.root;
    this.chosen.replaceChildren(strong(place.path || place.label), ...factsOf(place, this.state.by, this.top).flatMap((line) => [" · ", ...line]));
  }

  pen(canvas) {
    const ctx = canvas.getContext("2d");
    ctx.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    return ctx;
  }

  draw() {
    const began = performance.now();
    performance.mark("mscope:draw");
    const { root, view, by } = this.state;
    const { style, width, height } = this;
    const ctx = this.pen(this.base);
    this.animation = null;
    ctx.globalAlpha = 1;
    ctx.fillStyle = style.paper;
    ctx.fillRect(0, 0, width, height);
    const painter = new Painter(ctx, root.model, by, style, this.matches);
    this.cells = LAYOUTS[view](root, by, width, height, (cell) => painter.wanted(cell));
    this.byPlace = null;
    for (const cell of this.cells) painter.cell(cell);
    if (!this.cells.length) painter.write(fontOf(14, false), `No ${by} in here`, 16, 24, style.soft);
    const ms = performance.now() - began;
    performance.measure("mscope:drawn", "mscope:draw");
    this.section.dispatchEvent(new CustomEvent("mscope:drawn", { bubbles: true, detail: { ms, cells: this.cells.length, view, by, path: root.path } }));
  }

  // Rings around what is pointed at and what is selected.
  rings() {
    const ctx = this.pen(this.over);
    const { state, style } = this;
    const ring = (cell, colour, wide) => {
      ctx.strokeStyle = colour;
      ctx.lineWidth = wide;
      ctx.beginPath();
      ctx.roundRect(cell.x0 + 1.5, cell.y0 + 1.5, Math.max(1, cell.x1 - cell.x0 - 3), Math.max(1, cell.y1 - cell.y0 - 3), 3);
      ctx.stroke();
    };
    ctx.clearRect(0, 0, this.width, this.height);
    if (this.pointed) ring(this.pointed, style.ring, 1.5);
    const selected = state.selected?.way.includes(state.root) && this.cellOf(state.selected);
    if (!selected) return;
    ring(selected, style.halo, 5);
    ring(selected, style.ring, 2.5);
  }

  // A copy of the picture, or null where nothing is to move.
  snapshot() {
    if (!this.cells.length || matchMedia("(prefers-reduced-motion: reduce)").matches) return null;
    const { width, height } = this.base;
    const copy = Object.assign(document.createElement("canvas"), { width, height });
    copy.getContext("2d").drawImage(this.base, 0, 0);
    return copy;
  }

  // From one picture to another: the old one grows until the new place fills the map, or shrinks into the new one.
  animate(before, from, old) {
    const after = this.snapshot();
    if (!after) return;
    const { base, width, height, state } = this;
    const inwards = from && old.find((cell) => showing(cell, state.root));
    const outwards = from && !inwards && this.cells.find((cell) => showing(cell, from));
    const full = { x0: 0, y0: 0, x1: width, y1: height };
    const small = inwards || outwards || full;
    const [near, far] = outwards ? [before, after] : [after, before];
    const began = performance.now();
    const token = (this.animation = {});
    const frame = (now) => {
      if (this.animation !== token) return;
      const done = Math.min(1, Math.max(0, now - began) / ZOOM_MS);
      const eased = 1 - (1 - done) ** 3;
      const grown = outwards ? 1 - eased : eased;
      const [x0, y0, x1, y1] = ["x0", "y0", "x1", "y1"].map((key) => small[key] + (full[key] - small[key]) * grown);
      const ctx = this.pen(base);
      // a picture, drawn so that its rectangle `part` comes to lie at x0 … y1
      const project = (picture, part, alpha) => {
        const [sx, sy] = [(x1 - x0) / (part.x1 - part.x0), (y1 - y0) / (part.y1 - part.y0)];
        ctx.globalAlpha = alpha;
        ctx.drawImage(picture, x0 - part.x0 * sx, y0 - part.y0 * sy, width * sx, height * sy);
      };
      project(far, small, 1);
      project(near, full, grown);
      ctx.globalAlpha = 1;
      if (done < 1) requestAnimationFrame(frame);
      else ctx.drawImage(after, 0, 0, width, height);
    };
    requestAnimationFrame(frame);
  }
}

const showing = (cell, place) => cell.place === place || Boolean(cell.also?.includes(place));

for (const section of document.querySelectorAll(".mscope-treemap")) new View(section);
