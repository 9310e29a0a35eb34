// The page: one switch of light and dark for all of it, contents that follow, drawings at their size, maps when they are seen, paper.

const root = document.documentElement;
const system = matchMedia("(prefers-color-scheme: dark)");

// Light and dark ------------------------------------------------------------------------------------------------------

const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);

// A map has a switch of its own, unseen here.
function switchMap(map) {
  const dark = map.dataset.theme ? map.dataset.theme === "dark" : system.matches;
  if (dark !== isDark()) map.querySelector(".theme")?.click();
}

const maps = [...document.querySelectorAll(".mscope-treemap")];
const themeSwitch = document.querySelector("[data-theme-switch]");
themeSwitch.hidden = false;
themeSwitch.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  maps.forEach(switchMap);
});
system.addEventListener("change", () => maps.forEach(switchMap));

// Tables --------------------------------------------------------------------------------------------------------------

for (const table of document.querySelectorAll(".mscope-report .box > table")) new ReportTable(table);
const refit = () => fit(document.querySelectorAll(".mscope-report .box"));
refit();
addEventListener("resize", refit);

// Contents ------------------------------------------------------------------------------------------------------------

const bar = document.querySelector(".top nav");
const links = new Map([...bar.querySelectorAll("a")].map((link) => [document.getElementById(link.hash.slice(1)), link]));
links.delete(null);

// The last part that has begun just beneath the bar.
function follow() {
  const line = 160;
  const atEnd = scrollY > 0 && scrollY + innerHeight >= root.scrollHeight - 2;
  const begun = [...links.keys()].filter((part) => part.getBoundingClientRect().top < line);
  const current = links.get(atEnd ? [...links.keys()].at(-1) : begun.at(-1));
  for (const link of links.values()) {
    if (link === current) link.setAttribute("aria-current", "location");
    else link.removeAttribute("aria-current");
  }
  if (!current) { bar.scrollLeft = 0; return; }
  const [start, end] = [current.offsetLeft - bar.offsetLeft, current.offsetLeft - bar.offsetLeft + current.offsetWidth];
  if (start < bar.scrollLeft + 12) bar.scrollLeft = start - 24;
  else if (end > bar.scrollLeft + bar.clientWidth - 30) bar.scrollLeft = end - bar.clientWidth + 60;
}

let waiting = false;
addEventListener("scroll", () => {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; follow(); });
}, { passive: true });

// A link to a folded part opens it.
const unfold = (hash) => document.getElementById(hash.slice(1))?.querySelector(":scope > details:not([open])")?.setAttribute("open", "");
document.addEventListener("click", (event) => {
  const link = event.target.closest?.('a[href^="#"]');
  if (link) unfold(link.hash);
});
addEventListener("hashchange", () => unfold(location.hash));
document.addEventListener("toggle", (event) => fit(event.target.querySelectorAll?.(".box") ?? []), true);

// Drawings ------------------------------------------------------------------------------------------------------------

for (const drawing of document.querySelectorAll(".picture")) {
  const paper = drawing.querySelector(".paper");
  const button = make("button", { type: "button", "aria-pressed": "false" }, "Actual size");
  button.addEventListener("click", () => button.setAttribute("aria-pressed", `${drawing.classList.toggle("actual")}`));
  drawing.before(make("div", { class: "tools" }, button));
  let held = null;
  paper.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "mouse" || event.button || !drawing.classList.contains("actual")) return;
    held = { x: event.clientX + paper.scrollLeft, y: event.clientY + paper.scrollTop };
    paper.setPointerCapture(event.pointerId);
    paper.classList.add("dragged");
  });
  paper.addEventListener("pointermove", (event) => {
    if (held) [paper.scrollLeft, paper.scrollTop] = [held.x - event.clientX, held.y - event.clientY];
  });
  for (const name of ["pointerup", "pointercancel"]) {
    paper.addEventListener(name, () => { held = null; paper.classList.remove("dragged"); });
  }
}

// Maps ----------------------------------------------------------------------------------------------------------------

// A map draws itself as soon as it has a width; until it comes near the window it has none.
const places = [...document.querySelectorAll(".map-place")];
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) reveal(entry.target);
}, { rootMargin: "200px" });

function reveal(place) {
  place.classList.remove("waiting");
  seen.unobserve(place);
}

for (const place of places) {
  place.classList.add("waiting");
  seen.observe(place);
}

// Paper ---------------------------------------------------------------------------------------------------------------

let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  for (const details of closed) details.open = true;
  for (const place of places) {
    reveal(place);
    const choice = place.querySelector('[data-set="by"][aria-pressed="true"]') ?? place.querySelector('[data-set="by"][data-value="bytes"]');
    choice?.click(); // draws now: a map's new width would be noticed after the printing only
  }
});
addEventListener("afterprint", () => {
  for (const details of closed) details.open = false;
  refit();
});

unfold(location.hash || "#");
follow();
