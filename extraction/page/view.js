// The parts of view.py. Gradio calls this file's text as a function of (element, trigger, props, watch, ...).
// Everything that comes from a document is set by textContent, value or setAttribute.

function make(tag, attributes, text) {
  const svg = ["svg", "rect", "title"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  if (text !== undefined) node.textContent = text;
  return node;
}

// The parts of one tab speak to each other through this event of the document.
const tell = (field) => document.dispatchEvent(new CustomEvent("doc-field", { detail: { field, tab: outerTab() } }));

function outerTab() {
  let found = null;
  for (let node = element; node; node = node.parentElement) if (node.getAttribute("role") === "tabpanel") found = node;
  return found;
}

function listen(mark) {
  const heard = (event) => {
    if (element.isConnected) event.detail.tab === outerTab() && mark(event.detail.field);
    else document.removeEventListener("doc-field", heard); // this part was taken off the page
  };
  document.addEventListener("doc-field", heard);
}

// Scrolls inside its own box; scrollIntoView would move the whole page.
function show(scroller, node) {
  const outer = scroller.getBoundingClientRect(), inner = node.getBoundingClientRect();
  if (inner.top < outer.top || inner.bottom > outer.bottom) {
    scroller.scrollTop += (inner.top + inner.bottom - outer.top - outer.bottom) / 2;
  }
}

function picture() {
  const root = element.querySelector(".picture");
  let shown = null; // what is drawn: while the model is at it, boxes come without the page

  const boxes = () => [...root.querySelectorAll("rect")];

  function mark(field) {
    for (const box of boxes()) box.classList.toggle("on", box.dataset.field === field);
    const lit = boxes().find((box) => box.dataset.field === field);
    if (!lit) return;
    reach(lit);
    show(root.querySelector(".scroll"), lit);
  }

  // One box is reached with Tab, the others from there with the arrow keys.
  function reach(chosen) {
    for (const box of boxes()) box.setAttribute("tabindex", box === chosen ? 0 : -1);
  }

  function turner(text, label, page, value) {
    const button = make("button", { type: "button", "aria-label": label, class: "turn" }, text);
    button.disabled = page < 1 || page > value.pages;
    button.addEventListener("click", () => trigger("turn", { page, field: null }));
    return button;
  }

  function pressed(event, box, field) {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (event.key !== "Enter" && event.key !== " " && !step) return;
    event.preventDefault();
    if (!step) return tell(field);
    const order = boxes().sort((a, b) => a.y.baseVal.value - b.y.baseVal.value || a.x.baseVal.value - b.x.baseVal.value);
    const next = order[order.indexOf(box) + step];
    if (!next) return;
    reach(next);
    next.focus();
  }

  function drawBoxes(value) {
    const overlay = root.querySelector("svg");
    const focused = overlay.contains(document.activeElement) && document.activeElement.dataset.field;
    const margin = Math.max(value.width, value.height) / 400;
    const area = (box) => (box.right - box.left) * (box.bottom - box.top);
    const here = value.boxes.filter((box) => box.page === value.page).sort((a, b) => area(b) - area(a)); // small ones on top
    overlay.replaceChildren();
    for (const box of here) {
      const rect = make("rect", {
        x: box.left - margin, y: box.top - margin,
        width: box.right - box.left + 2 * margin, height: box.bottom - box.top + 2 * margin,
        class: box.found, role: "button", tabindex: -1, "aria-label": box.label, "data-field": box.field,
      });
      rect.append(make("title", {}, box.label));
      rect.addEventListener("click", () => tell(box.field));
      rect.addEventListener("keydown", (event) => pressed(event, rect, box.field));
      overlay.append(rect);
    }
    reach(boxes().find((box) => box.dataset.field === focused) || boxes()[0]);
    if (focused) boxes().find((box) => box.dataset.field === focused)?.focus({ preventScroll: true });
    const keys = root.querySelector(".keys");
    keys.replaceChildren();
    for (const [found, text] of [["exact", "as printed"], ["normalized", "another form"], ["fuzzy", "similar"]]) {
      if (here.some((box) => box.found === found)) keys.append(make("span", { class: `key ${found}` }, text));
    }
  }

  function draw() {
    const more = shown && props.value && props.value.more;
    const value = shown = more ? { ...shown, ...props.value } : props.value;
    if (more && value.src) return drawBoxes(value);
    root.replaceChildren();
    const kind = value && value.failed ? { class: "failed", role: "alert" } : { class: "hint" };
    const hint = (text) => make("p", kind, text);
    if (!value || (!value.src && !value.pages)) {
      root.append(hint((value && value.note) || "The page appears here, with a box around each field."));
      return;
    }
    const bar = make("div", { class: "bar" });
    bar.append(turner("‹", "Previous page", value.page - 1, value));
    bar.append(make("span", { "aria-live": "polite", class: "where" }, `Page ${value.page} of ${value.pages}`));
    bar.append(turner("›", "Next page", value.page + 1, value), make("span", { class: "keys" }));
    if (!value.src) { // this page cannot be shown, its neighbors may
      root.append(bar, hint(value.note));
      return;
    }
    const scroll = make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Page of the document" });
    const sheet = make("div", { class: "sheet" });
    const image = make("img", { alt: `Page ${value.page}`, src: value.src });
    sheet.append(image, make("svg", {
      viewBox: `0 0 ${value.width} ${value.height}`, preserveAspectRatio: "none", role: "group", "aria-label": "Boxes",
    }));
    scroll.append(sheet);
    root.append(bar, scroll);
    drawBoxes(value);
    image.addEventListener("load", () => mark(value.active));
    mark(value.active);
  }

  listen((field) => {
    if (!shown || !shown.src) return;
    const on = shown.places[field];
    if (on && !shown.boxes.some((box) => box.field === field && box.page === shown.page)) trigger("turn", { page: on, field });
    mark(field);
  });
  watch("value", draw);
  draw();
}

function fields() {
  const root = element.querySelector(".fields");
  const shownEmpty = new Set(); // empty fields that somebody chose to fill in
  const begun = new Set(); // lists whose first row somebody added, which show all their columns
  let of = null; // the document that the two are of
  let next = null; // finds what is focused when rows have changed
  let reading = false; // the model is still at it
  let byField = {};

  const boxOf = (field) => [...root.querySelectorAll("[data-field]")].find((node) => node.dataset.field === field);

  function mark(field) {
    for (const node of root.querySelectorAll("[data-field]")) {
      const mine = node.dataset.field === field;
      node.setAttribute("aria-current", mine);
      if (mine) show(root, node);
    }
  }

  // What is known of a value, in words: where it was found, how sure it is, what was checked.
  function about(entry) {
    const parts = [entry.says];
    if (entry.page) parts.push(`page ${entry.page}`);
    if (entry.normalized && entry.normalized !== entry.value) parts.push(`read as ${entry.normalized}`);
    if (entry.confidence !== null) parts.push(`${entry.confidence} % sure`);
    if (entry.edited) parts.push("edited");
    return [...parts, ...entry.checks.map((check) => check.says)].join("\n");
  }

  function input(field, label, number) {
    const entry = byField[field];
    const box = make("textarea", { rows: 1, "aria-label": label, spellcheck: "false", class: number ? "number" : null });
    box.value = box.defaultValue = entry ? entry.value : "";
    box.readOnly = reading;
    const keep = () => {
      if (box.value !== box.defaultValue) trigger("edit", { of: props.value.of, field, value: box.value });
      box.defaultValue = box.value;
    };
    box.addEventListener("change", keep);
    box.addEventListener("focus", () => tell(field));
    box.addEventListener("keydown", (event) => {
      if (event.key === "Escape") box.value = box.defaultValue;
      if (event.key !== "Enter" || event.shiftKey) return;
      event.preventDefault();
      keep();
    });
    return box;
  }

  function marks(entry) {
    const line = make("span", { class: "marks" });
    const sign = (kind, text, says) => line.append(make("span", { class: kind, role: "img", "aria-label": says, title: says }, text));
    if (entry.found === "none") sign("none", "?", `${entry.says} in the document`);
    if (entry.edited) line.append(make("span", { class: "edited" }, "edited"));
    for (const check of entry.checks) {
      const text = { fails: "✗", holds: "✓" }[check.verdict];
      if (text) sign(check.verdict, text, check.says);
    }
    if (entry.confidence !== null) {
      const doubt = entry.confidence < 50;
      line.append(make("small", { class: doubt ? "sure doubt" : "sure", title: "how sure the model is" }, `${entry.confidence} %`));
    }
    return line;
  }

  function cell(tag, field, label, number) {
    const entry = byField[field];
    const node = make(tag, { "data-field": field, "data-found": entry ? entry.found : "empty", "aria-current": false });
    if (entry) node.title = about(entry);
    const value = make("div", { class: "value" });
    value.append(input(field, label, number));
    if (entry) value.append(marks(entry));
    node.append(value);
    node.addEventListener("click", () => tell(field));
    return node;
  }

  function single(entry, group) {
    const row = make("div", { class: "row" });
    const label = group.name ? `${group.name}, ${entry.label}` : entry.label;
    row.append(make("span", { class: "name" }, entry.label), cell("div", entry.field, label, entry.number));
    return row;
  }

  function adder(empty) {
    const label = "Add a field";
    const list = make("select", { "aria-label": label });
    list.append(make("option", { value: "" }, `${label} …`), ...empty.map((e) => make("option", { value: e.field }, e.label)));
    let keys = false; // the arrow keys change the choice before it is made with Enter
    const add = () => {
      const field = list.value;
      if (empty.find((e) => e.field === field).list) {
        begun.add(field);
        return change({ row: field, act: "add" });
      }
      shownEmpty.add(field);
      draw();
      boxOf(field)?.querySelector("textarea").focus();
    };
    list.addEventListener("pointerdown", () => { keys = false; });
    list.addEventListener("change", () => keys || add());
    list.addEventListener("keydown", (event) => {
      keys = true;
      if (event.key !== "Enter" || !list.value) return;
      event.preventDefault();
      add();
    });
    return list;
  }

  // What has the focus once a row was added, moved or removed: it follows the row, or goes to the one in its place.
  function follow({ row, act }) {
    if (act === "add") return () => [...root.querySelectorAll(`tr[data-list="${CSS.escape(row)}"]`)].pop()?.querySelector("textarea");
    const [, list, index] = row.match(/(.+)\[(\d+)\]$/);
    const to = Number(index) + { up: -1, down: 1, remove: 0 }[act];
    const at = (i) => root.querySelector(`tr[data-at="${CSS.escape(`${list}[${i}]`)}"] button[data-act="${act}"]`);
    const adders = () => root.querySelector(`button[data-adds="${CSS.escape(list)}"]`);
    return () => at(to) || at(to - 1) || at(Number(index)) || adders();
  }

  function button(text, label, action) {
    const data = action.act === "add" ? { "data-adds": action.row } : { "data-act": action.act };
    const made = make("button", { type: "button", "aria-label": label, title: label, ...data }, text);
    made.addEventListener("click", (event) => {
      event.stopPropagation();
      change(action);
    });
    return made;
  }

  function change(action) {
    next = follow(action);
    trigger("rows", { of: props.value.of, ...action });
  }

  function table(group) {
    const made = make("table"), head = make("tr"), top = make("thead"), body = make("tbody");
    const used = group.columns.filter((c) => !c.empty);
    const columns = begun.has(group.list) || !used.length ? group.columns : used;
    head.append(...columns.map((c) => make("th", { scope: "col", class: c.number ? "number" : null }, c.label)));
    if (!reading) head.append(make("td", { class: "acts" }));
    top.append(head);
    group.entries.forEach((entry, i) => {
      const list = entry.at.replace(/\[\d+\]$/, "");
      const line = make("tr", { class: entry.level ? "inner" : null, "data-at": entry.at, "data-list": list });
      for (const column of columns) {
        const field = `${entry.at}.${column.key}`;
        const at = cell("td", field, `${group.name}, row ${i + 1}, ${column.label}`, column.number);
        at.dataset.label = column.label;
        if (column.number) at.classList.add("number");
        if (!byField[field]) at.classList.add("blank");
        line.append(at);
      }
      const acts = make("td", { class: "acts" });
      for (const [sign, name] of [["↑", "up"], ["↓", "down"], ["✕", "remove"]]) {
        const label = name === "remove" ? `Remove row ${i + 1}` : `Move row ${i + 1} ${name}`;
        acts.append(button(sign, label, { row: entry.at, act: name }));
      }
      if (!reading) line.append(acts);
      body.append(line);
    });
    made.append(top, body);
    return made;
  }

  function heading(head) {
    const line = make("div", { class: "headline", role: "status" });
    line.append(make("strong", {}, head.title));
    if (head.sums) line.append(make("span", { class: head.fails ? "fails" : "holds" }, head.sums));
    if (head.review) line.append(make("span", { class: "none" }, `${head.review} value${head.review === 1 ? "" : "s"} to review`));
    return line;
  }

  function section(group) {
    const part = make("section");
    if (group.name) part.append(make("h2", {}, group.name));
    if (group.columns) {
      part.append(table(group));
      if (!reading) part.append(button("+ Row", `Add a row to ${group.name}`, { row: group.list, act: "add" }));
      return part;
    }
    const shown = group.fields.filter((entry) => byField[entry.field] || shownEmpty.has(entry.field));
    const empty = group.fields.filter((entry) => !shown.includes(entry));
    part.append(...shown.map((entry) => single(entry, group)));
    if (empty.length && !reading) part.append(adder(empty));
    return part;
  }

  function draw() {
    const value = props.value || {};
    const rows = value.rows || [];
    const held = root.contains(document.activeElement) ? document.activeElement.closest("[data-field]") : null;
    const typed = held && { field: held.dataset.field, text: document.activeElement.value, at: document.activeElement.selectionStart };
    const lit = root.querySelector('[aria-current="true"]')?.dataset.field;
    const top = root.scrollTop;
    byField = Object.fromEntries(rows.map((entry) => [entry.field, entry]));
    if (value.of !== of) {
      shownEmpty.clear();
      begun.clear();
    }
    of = value.of;
    reading = Boolean(value.reading);
    root.replaceChildren();
    if (!(value.groups || []).length) {
      root.append(make("p", { class: "hint" }, "No fields yet."));
      return;
    }
    if (value.head && value.head.title) root.append(heading(value.head));
    root.append(...value.groups.map(section));
    root.scrollTop = top;
    for (const node of root.querySelectorAll("[data-field]")) node.setAttribute("aria-current", node.dataset.field === lit);
    const wanted = next && next(); // not there yet if this answers an edit of before
    if (wanted) {
      next = null;
      wanted.focus({ preventScroll: true });
      show(root, wanted);
    } else if (typed) { // the answer to an edit must not take the next field out of somebody's hands
      const again = boxOf(typed.field)?.querySelector("textarea");
      if (again) {
        again.value = typed.text;
        again.focus({ preventScroll: true });
        again.setSelectionRange(typed.at, typed.at);
      }
    }
  }

  listen(mark);
  watch("value", draw);
  draw();
}

function talk() {
  const root = element.querySelector(".talk");

  function draw() {
    const entries = (props.value || {}).talk || [];
    root.replaceChildren();
    if (!entries.length) {
      root.append(make("p", { class: "hint" }, "Each question is answered from the document alone, and on its own."));
      return;
    }
    for (const entry of entries) {
      const answer = make("div", { class: "answer" });
      answer.append(make("p", {}, entry.answer));
      if (entry.quote) {
        const quote = make("button", { type: "button", class: "quote" }, `“${entry.quote}”`);
        quote.addEventListener("click", () => tell(entry.field));
        answer.append(quote);
      }
      if (entry.note) answer.append(make("small", { class: entry.quote ? "" : "doubt" }, entry.note));
      root.append(make("p", { class: "question" }, entry.question), answer);
    }
    const forget = make("button", { type: "button", class: "forget" }, "Clear");
    forget.addEventListener("click", () => trigger("forget"));
    root.append(forget);
    root.scrollTop = root.scrollHeight;
  }

  watch("value", draw);
  draw();
}

function rows() {
  const root = element.querySelector(".rows");
  const heads = JSON.parse(root.dataset.head);

  function draw() {
    root.replaceChildren();
    if (!(props.value || []).length) return;
    const made = make("table"), top = make("thead"), head = make("tr"), body = make("tbody");
    head.append(...heads.map((text) => make("th", { scope: "col" }, text)));
    top.append(head);
    for (const row of props.value) {
      const line = make("tr", { class: row.some((text) => /^fail/.test(text)) ? "fails" : null });
      line.append(...row.map((text, i) => make("td", { "data-label": heads[i] }, text)));
      body.append(line);
    }
    made.append(top, body);
    root.append(made);
  }

  watch("value", draw);
  draw();
}

function examples() {
  const root = element.querySelector(".examples");
  for (const one of props.value || []) {
    const button = make("button", { type: "button", class: "example", title: one.file });
    const sheet = make("span", { class: "small", "aria-hidden": "true" }, one.src ? undefined : one.text);
    if (one.src) sheet.append(make("img", { alt: "", src: one.src }));
    button.append(sheet, make("span", {}, one.label));
    button.addEventListener("click", () => trigger("pick", { file: one.file }));
    root.append(button);
  }
}
