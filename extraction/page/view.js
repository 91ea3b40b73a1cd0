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

  function mark(field) {
    const boxes = [...root.querySelectorAll("rect")];
    for (const box of boxes) box.classList.toggle("on", box.dataset.field === field);
    const lit = boxes.find((box) => box.dataset.field === field);
    if (lit) show(root.querySelector(".scroll"), lit);
  }

  function turner(text, label, page, value) {
    const button = make("button", { type: "button", "aria-label": label, class: "turn" }, text);
    button.disabled = page < 1 || page > value.pages;
    button.addEventListener("click", () => trigger("turn", { page, field: null }));
    return button;
  }

  function draw() {
    const value = props.value;
    root.replaceChildren();
    const hint = (text) => make("p", { class: "hint" }, text);
    if (!value || (!value.src && !value.pages)) {
      root.append(hint(value ? value.note : "The page appears here, with a box around each field."));
      return;
    }
    const bar = make("div", { class: "bar" });
    bar.append(turner("‹", "Previous page", value.page - 1, value));
    bar.append(make("span", { "aria-live": "polite", class: "where" }, `Page ${value.page} of ${value.pages}`));
    bar.append(turner("›", "Next page", value.page + 1, value));
    if (!value.src) { // this page cannot be shown, its neighbors may
      root.append(bar, hint(value.note));
      return;
    }
    for (const [found, text] of [["exact", "as printed"], ["normalized", "another form"], ["fuzzy", "similar"]]) {
      if (value.boxes.some((box) => box.found === found)) bar.append(make("span", { class: `key ${found}` }, text));
    }
    const scroll = make("div", { class: "scroll", tabindex: 0, "aria-label": "Page of the document" });
    const sheet = make("div", { class: "sheet" });
    const image = make("img", { alt: `Page ${value.page}`, src: value.src });
    const overlay = make("svg", { viewBox: `0 0 ${value.width} ${value.height}`, preserveAspectRatio: "none" });
    const margin = Math.max(value.width, value.height) / 400;
    const area = (box) => (box.right - box.left) * (box.bottom - box.top);
    for (const box of [...value.boxes].sort((a, b) => area(b) - area(a))) { // small ones on top
      const rect = make("rect", {
        x: box.left - margin, y: box.top - margin,
        width: box.right - box.left + 2 * margin, height: box.bottom - box.top + 2 * margin,
        class: box.found, role: "button", tabindex: 0, "aria-label": box.label, "data-field": box.field,
      });
      rect.append(make("title", {}, box.label));
      rect.addEventListener("click", () => tell(box.field));
      rect.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        tell(box.field);
      });
      overlay.append(rect);
    }
    sheet.append(image, overlay);
    scroll.append(sheet);
    root.append(bar, scroll);
    image.addEventListener("load", () => mark(value.active));
    mark(value.active);
  }

  listen((field) => {
    const value = props.value;
    if (!value || !value.src) return;
    const on = value.places[field];
    if (on && !value.boxes.some((box) => box.field === field)) trigger("turn", { page: on, field });
    mark(field);
  });
  watch("value", draw);
  draw();
}

function fields() {
  const root = element.querySelector(".fields");
  const shownEmpty = new Set(); // empty fields that somebody chose to fill in
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
    const keep = () => {
      if (box.value !== box.defaultValue) trigger("edit", { of: props.value.of, field, value: box.value });
      box.defaultValue = box.value;
    };
    box.addEventListener("change", keep);
    box.addEventListener("focus", () => tell(field));
    box.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey) return;
      event.preventDefault();
      keep();
    });
    return box;
  }

  function marks(entry) {
    const line = make("span", { class: "marks" });
    if (entry.found === "none") line.append(make("span", { class: "none" }, entry.says));
    if (entry.edited) line.append(make("span", { class: "edited" }, "edited"));
    for (const check of entry.checks) {
      const sign = { fails: "✗", holds: "✓" }[check.verdict];
      if (sign) line.append(make("span", { class: check.verdict, role: "img", "aria-label": check.says, title: check.says }, sign));
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

  function single(entry) {
    const row = make("div", { class: "row" });
    row.append(make("span", { class: "name" }, entry.label), cell("div", entry.field, entry.label, entry.number));
    const known = byField[entry.field];
    if (known && known.confidence !== null) row.append(make("small", {}, `${known.confidence} %`));
    return row;
  }

  function adder(empty) {
    const label = "Add a field";
    const list = make("select", { "aria-label": label });
    list.append(make("option", { value: "" }, `${label} …`), ...empty.map((e) => make("option", { value: e.field }, e.label)));
    list.addEventListener("change", () => {
      const field = list.value;
      shownEmpty.add(field);
      draw();
      boxOf(field)?.querySelector("textarea").focus();
    });
    return list;
  }

  function button(text, label, action) {
    const made = make("button", { type: "button", "aria-label": label, title: label }, text);
    made.addEventListener("click", (event) => {
      event.stopPropagation();
      trigger("rows", { of: props.value.of, ...action });
    });
    return made;
  }

  function table(group) {
    const made = make("table"), head = make("tr"), top = make("thead"), body = make("tbody");
    head.append(...group.columns.map((c) => make("th", { scope: "col", class: c.number ? "number" : null }, c.label)));
    head.append(make("th", { scope: "col", class: "acts" }, ""));
    top.append(head);
    group.entries.forEach((entry, i) => {
      const line = make("tr", { class: entry.level ? "inner" : null });
      for (const column of group.columns) {
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
      line.append(acts);
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
    if (group.name) part.append(make("h3", {}, group.name));
    if (group.columns) {
      part.append(table(group), button("+ Row", `Add a row to ${group.name}`, { row: group.list, act: "add" }));
      return part;
    }
    const shown = group.fields.filter((entry) => byField[entry.field] || shownEmpty.has(entry.field));
    const empty = group.fields.filter((entry) => !shown.includes(entry));
    part.append(...shown.map(single));
    if (empty.length) part.append(adder(empty));
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
    root.replaceChildren();
    if (!(value.groups || []).length) {
      root.append(make("p", { class: "hint" }, "No fields yet."));
      return;
    }
    if (value.head && value.head.title) root.append(heading(value.head));
    root.append(...value.groups.map(section));
    root.scrollTop = top;
    for (const node of root.querySelectorAll("[data-field]")) node.setAttribute("aria-current", node.dataset.field === lit);
    if (typed) { // the answer to an edit must not take the next field out of somebody's hands
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
