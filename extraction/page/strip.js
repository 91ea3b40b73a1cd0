// The documents of a file and its pages. view.js stands before this file: `make` and `show` are its.

function strip() {
  const root = element.querySelector(".strip");
  let begins = [], drawn = null; // the pages where documents begin, as a person has set them

  const named = (pages) => (pages.length === 1 ? `page ${pages[0]}` : `pages ${pages[0]}-${pages[pages.length - 1]}`);
  const started = (value) => value.documents.slice(1).map((one) => one.pages[0]);

  function groups(value) {
    const made = [];
    for (const { page, src } of value.pages) {
      if (!made.length || begins.includes(page)) made.push([]);
      made[made.length - 1].push({ page, src });
    }
    return made;
  }

  function chooser(number, text, value, attributes) {
    const current = number === value.chosen ? "true" : "false";
    const button = make("button", { type: "button", class: "choice", "aria-current": current, ...attributes }, text);
    button.addEventListener("click", () => trigger("choose", { document: number, page: null }));
    return button;
  }

  function thumbnail({ page, src }, number) {
    const button = make("button", { type: "button", class: "thumbnail", "aria-label": `Show page ${page}` });
    if (src) button.append(make("img", { src, alt: "" }));
    button.append(make("span", {}, `${page}`));
    button.addEventListener("click", () => trigger("choose", { document: number, page }));
    return button;
  }

  // What stands between two pages: a click on it cuts or joins them.
  function joint(before, page) {
    const cut = begins.includes(page);
    const label = cut ? `Join pages ${before} and ${page}` : `Cut between pages ${before} and ${page}`;
    const button = make("button", { type: "button", class: cut ? "joint cut" : "joint", "aria-label": label, title: label, "data-page": page }, cut ? "✂" : "·");
    button.addEventListener("click", () => {
      begins = cut ? begins.filter((one) => one !== page) : [...begins, page].sort((a, b) => a - b);
      draw();
      root.querySelector(`.joint[data-page="${page}"]`)?.focus();
    });
    return button;
  }

  function pages(value) {
    const line = make("div", { class: "pages", role: "group", "aria-label": "Pages of the file" });
    let before = null;
    for (const group of groups(value)) {
      const numbers = group.map((one) => one.page);
      const number = value.documents.findIndex((one) => one.pages[0] === numbers[0]) + 1;
      const same = number && String(value.documents[number - 1].pages) === String(numbers);
      if (before !== null) line.append(joint(before, numbers[0]));
      const box = make("div", { class: same && number === value.chosen ? "group on" : "group" });
      group.forEach((one, i) => {
        if (i) box.append(joint(group[i - 1].page, one.page));
        box.append(thumbnail(one, same ? number : value.chosen));
      });
      line.append(box);
      before = numbers[numbers.length - 1];
    }
    return line;
  }

  function draw() {
    const value = props.value;
    root.replaceChildren();
    if (!value) {
      drawn = null;
      return;
    }
    if (drawn !== value) begins = started(value);
    drawn = value;
    if (value.documents.length > 1) {
      const list = make("div", { class: "choices", role: "group", "aria-label": "Documents in this file" });
      value.documents.forEach((one, i) => {
        list.append(chooser(i + 1, `${one.title || "Document"} (${named(one.pages)})`, value));
      });
      root.append(list);
    }
    if (!value.pages.length) {
      const open = make("button", { type: "button", class: "choice" }, `${value.count} pages, read as one document. Cut it …`);
      open.addEventListener("click", () => trigger("pages", {}));
      root.append(open);
      return;
    }
    if (value.pages.length > 1) root.append(pages(value));
    if (String(begins) !== String(started(value))) {
      const count = begins.length + 1;
      const again = make("button", { type: "button", class: "again" }, count === 1 ? "Read as one document" : `Read as ${count} documents`);
      again.addEventListener("click", () => trigger("again", { begins }));
      root.append(again);
    }
  }

  watch("value", draw);
  draw();
}
