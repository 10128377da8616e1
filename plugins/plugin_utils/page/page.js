"use strict";
(() => {
  const written = Number(document.body.dataset.written), limit = Number(document.body.dataset.limit);
  const age = Date.now() / 1000 - written, stale = document.getElementById("stale");
  if (stale && age > limit) {
    stale.querySelector("b").textContent = age < 172800 ? Math.floor(age / 3600) + " h" : Math.floor(age / 86400) + " d";
    stale.hidden = false;
  }
  const form = document.getElementById("find");
  if (!form) return;
  const text = form.querySelector("[type=search]"), bad = form.querySelector("[type=checkbox]");
  const rows = [...document.querySelectorAll("table.state tbody tr")];
  const choose = () => {
    const wanted = text.value.toLowerCase();
    let shown = 0;
    for (const row of rows) {
      row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted) || (bad.checked && !("bad" in row.dataset));
      shown += !row.hidden;
    }
    form.querySelector("output").textContent = shown + " of " + rows.length;
  };
  form.hidden = false;
  form.addEventListener("input", choose);
  form.addEventListener("submit", (event) => event.preventDefault());
  choose();
})();
