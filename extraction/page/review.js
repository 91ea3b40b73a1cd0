// The queue of the Review tab, and its keys. view.js stands before this file: `make` and `show` are its.

function queue() {
  const root = element.querySelector(".queue");
  const keys = { a: "accept", s: "skip" };

  function entry(one) {
    const button = make("button", { type: "button", class: one.ready ? "entry" : "entry broken", "aria-current": one.open });
    button.append(make("span", { class: "file" }, one.file), make("small", {}, one.says));
    button.disabled = !one.ready;
    button.addEventListener("click", () => trigger("choose", { file: one.file }));
    return button;
  }

  function draw() {
    const value = props.value;
    if (!value) return;
    const list = make("div", { class: "entries", role: "group", "aria-label": "Drafts, the least sure first" });
    list.append(...value.entries.map(entry));
    const bar = make("progress", { max: Math.max(value.count, 1), value: value.accepted, "aria-label": "Accepted" });
    root.replaceChildren(make("strong", { role: "status" }, `${value.accepted} of ${value.count} accepted`), bar);
    if (value.without) root.append(make("small", {}, `${value.without} without a draft`));
    root.append(list);
    const open = list.querySelector('[aria-current="true"]');
    if (open) show(list, open);
  }

  function pressed(event) {
    if (!element.isConnected) {
      document.removeEventListener("keydown", pressed);
      return;
    }
    const typing = event.target.matches("textarea, input, select, [contenteditable=true]");
    if (event.key === "Escape" && typing && element.offsetParent) event.target.blur();
    if (typing || event.repeat || event.ctrlKey || event.metaKey || event.altKey || !element.offsetParent) return;
    const name = keys[event.key.toLowerCase()];
    if (name) document.getElementById(name).click();
  }

  document.addEventListener("keydown", pressed);
  watch("value", draw);
  draw();
}
