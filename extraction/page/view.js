// The parts of page_view.py. Gradio calls this file's text as a function of (element, trigger, props, watch, ...).
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

// Both parts speak to each other through this event of the document.
const tell = (field) => document.dispatchEvent(new CustomEvent("doc-field", { detail: { field } }));

function listen(mark) {
  const heard = (event) => {
    if (element.isConnected) mark(event.detail.field);
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
    if (!value || !value.src) {
      root.append(make("p", { class: "hint" }, value ? value.note : "The page appears here, with a box around each field."));
      return;
    }
    const bar = make("div", { class: "bar" });
    bar.append(turner("‹", "Previous page", value.page - 1, value));
    bar.append(make("span", { "aria-live": "polite", class: "where" }, `Page ${value.page} of ${value.pages}`));
    bar.append(turner("›", "Next page", value.page + 1, value));
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

  function mark(field) {
    for (const row of root.querySelectorAll("tbody tr")) {
      const mine = row.dataset.field === field;
      row.setAttribute("aria-selected", mine);
      if (mine) show(root, row);
    }
  }

  function row(entry, confident) {
    const line = make("tr", { "data-field": entry.field, "data-found": entry.found, "aria-selected": false });
    const cell = make("td", { class: "value" });
    const input = make("textarea", { rows: 1, "aria-label": entry.field, spellcheck: "false" });
    input.value = input.defaultValue = entry.value;
    const keep = () => {
      if (input.value !== input.defaultValue) trigger("edit", { field: entry.field, value: input.value });
      input.defaultValue = input.value;
    };
    input.addEventListener("change", keep);
    input.addEventListener("focus", () => tell(entry.field));
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey) {
        event.preventDefault();
        keep();
      }
    });
    cell.append(input);
    line.append(make("th", { scope: "row" }, entry.field), cell, make("td", {}, entry.normalized));
    const found = make("td", { class: `found ${entry.found}` }, entry.says);
    if (entry.page) found.append(make("small", {}, `p. ${entry.page}`));
    if (entry.edited) found.append(make("small", { class: "edited" }, "edited"));
    line.append(found);
    if (confident) line.append(make("td", {}, entry.confidence === null ? "" : `${entry.confidence} %`));
    line.addEventListener("click", () => tell(entry.field));
    return line;
  }

  function draw() {
    const rows = (props.value || {}).rows || [];
    const held = root.contains(document.activeElement) ? document.activeElement : null;
    const typed = held && { field: held.getAttribute("aria-label"), text: held.value, at: held.selectionStart };
    const selected = root.querySelector('tr[aria-selected="true"]')?.dataset.field;
    const top = root.scrollTop;
    root.replaceChildren();
    if (!rows.length) {
      root.append(make("p", { class: "hint" }, "No fields yet."));
      return;
    }
    const confident = rows.some((entry) => entry.confidence !== null);
    const names = ["Field", "Value", "Normalized", "Found", ...(confident ? ["Sure"] : [])];
    const head = make("tr");
    head.append(...names.map((name) => make("th", { scope: "col" }, name)));
    const table = make("table"), top_part = make("thead"), body = make("tbody");
    top_part.append(head);
    body.append(...rows.map((entry) => row(entry, confident)));
    table.append(top_part, body);
    root.append(table);
    root.scrollTop = top;
    for (const line of body.children) line.setAttribute("aria-selected", line.dataset.field === selected);
    if (typed) { // the answer to an edit must not take the next field out of somebody's hands
      const again = [...root.querySelectorAll("textarea")].find((i) => i.getAttribute("aria-label") === typed.field);
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
