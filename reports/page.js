// What a browser adds to the page: sorting, filtering, expanding and copying. Without it everything is there and readable.
"use strict";
(() => {
  const tools = document.querySelector(".tools");
  const rows = [...document.querySelectorAll(".row")];
  const parts = [...document.querySelectorAll(".part")];
  if (tools && rows.length) prepare();
  for (const typed of document.querySelectorAll(".typed")) offerCopy(typed);
  addEventListener("hashchange", reveal);
  for (const link of document.querySelectorAll(".figures a:not([data-set])")) link.addEventListener("click", () => setTimeout(reveal));
  addEventListener("beforeprint", () => parts.forEach(lay));
  document.addEventListener("keydown", walk);
  reveal();

  function prepare() {
    rows.forEach((row, place) => { row.dataset.place = String(place); });
    for (const choice of tools.querySelectorAll("[data-filter]")) fill(choice);
    tools.hidden = false;
    tools.querySelector("details").open = matchMedia("(min-width: 48rem)").matches;
    tools.addEventListener("input", show);
    tools.addEventListener("reset", () => setTimeout(show));
    tools.addEventListener("submit", (event) => event.preventDefault());
    document.getElementById("unfold").addEventListener("click", unfold);
    for (const cause of document.querySelectorAll(".cause")) offerFindings(cause);
    for (const figure of document.querySelectorAll("[data-set]")) figure.addEventListener("click", () => only(figure.dataset.set, figure.dataset.value));
  }

  // ---- filters ----

  function fill(choice) {
    const by = choice.dataset.filter;
    const said = new Map();
    for (const row of rows) if (row.dataset[by]) said.set(row.dataset[by], wordsFor(by, row));
    const found = [...said].sort((one, other) => rank(by, one).localeCompare(rank(by, other)));
    for (const [value, words] of found) choice.add(new Option(words, value));
    choice.closest("p").hidden = found.length < 2 && by !== "cause" || !found.length;
  }

  function wordsFor(by, row) {
    if (by === "kind") return row.dataset.kindSaid;
    if (by === "standing") return row.dataset.standing.replaceAll("_", " ");
    if (by === "cause") return causeNamed(row.dataset.cause)?.querySelector("h3").textContent ?? row.dataset.cause;
    return row.dataset[by];
  }

  function rank(by, [value, words]) {
    return by === "severity" ? String(["critical", "high", "medium", "low", "info"].indexOf(value)) : words;
  }

  function causeNamed(key) {
    return [...document.querySelectorAll(".cause")].find((cause) => cause.dataset.cause === key);
  }

  function show() {
    const wanted = [...tools.querySelectorAll("[data-filter]")].filter((choice) => choice.value);
    const words = document.getElementById("find").value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    const filters = wanted.length > 0 || words.length > 0;
    for (const row of rows) row.hidden = !(wanted.every((choice) => row.dataset[choice.dataset.filter] === choice.value) && holds(row, words));
    for (const part of parts) {
      const left = part.querySelectorAll(".row:not([hidden])").length;
      part.hidden = filters && !left;
      if (filters && left) lay(part);
    }
    sort(document.getElementById("sort").value);
    tell(filters);
  }

  function only(by, value) {
    tools.reset();
    document.getElementById(by).value = value;
    tools.querySelector("details").open = true;
    show();
  }

  function holds(row, words) {
    if (!words.length) return true;
    const text = row.textContent.toLocaleLowerCase();
    return words.every((word) => text.includes(word));
  }

  function sort(by) {
    for (const part of parts) {
      const [list, more] = part.querySelectorAll(".rows");
      const first = list.children.length;
      const sorted = [...part.querySelectorAll(".row")].sort((one, other) => compare(one, other, by));
      list.append(...sorted.slice(0, first));
      more?.append(...sorted.slice(first));
    }
  }

  function compare(one, other, by) {
    const order = by ? (one.dataset[by] || "\uffff").localeCompare(other.dataset[by] || "\uffff") : 0;
    return order || one.dataset.place - other.dataset.place;
  }

  function tell(filters) {
    const left = rows.filter((row) => !row.hidden).length;
    const sorted = document.getElementById("sort");
    const order = sorted.value ? `, sorted by ${sorted.selectedOptions[0].text}` : "";
    tools.querySelector("[role=status]").textContent = filters || order ? `${left} of ${rows.length} findings shown${order}.` : "";
  }

  // ---- expanding ----

  function lay(part) {
    part.open = true;
    const more = part.querySelector(".more");
    if (more) more.open = true;
  }

  function unfold(event) {
    const folds = rows.filter((row) => !row.hidden).map((row) => row.querySelector("details"));
    const open = folds.some((fold) => !fold.open);
    for (const fold of folds) fold.open = open;
    if (open) parts.forEach(lay);
    event.target.textContent = open ? "Fold all" : "Expand all";
  }

  function reveal() {
    const target = document.getElementById(location.hash.slice(1));
    if (target?.matches("details")) {
      if (target.hidden) {
        tools.reset();
        show();
      }
      target.open = true;
      target.querySelector("summary").focus();
    }
  }

  function walk(event) {
    const here = document.activeElement;
    if (!["ArrowDown", "ArrowUp"].includes(event.key) || !here.matches(".findings summary")) return;
    const all = [...document.querySelectorAll(".findings summary")].filter((each) => each.checkVisibility());
    const next = all[all.indexOf(here) + (event.key === "ArrowDown" ? 1 : -1)];
    if (!next) return;
    event.preventDefault();
    next.focus();
  }

  // ---- commands and causes ----

  function offerFindings(cause) {
    if (!rows.some((row) => row.dataset.cause === cause.dataset.cause)) return;
    const button = buttonSaying("Show its findings");
    button.addEventListener("click", () => {
      only("cause", cause.dataset.cause);
      document.getElementById("findings").focus();
    });
    cause.append(button);
  }

  function offerCopy(typed) {
    const button = buttonSaying("Copy");
    button.addEventListener("click", async () => {
      button.textContent = (await copied(typed.querySelector("code"))) ? "Copied" : "Selected";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    typed.append(button);
  }

  async function copied(code) {
    try {
      await navigator.clipboard.writeText(code.textContent);
      return true;
    } catch {
      getSelection().selectAllChildren(code);
      return false;
    }
  }

  function buttonSaying(words) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = words;
    return button;
  }
})();
