// Keeps the rows of documents that are still being read up to date. Without this file the page has a Refresh link.

const EVERY = 2_000; // milliseconds
const EVERY_WHEN_AWAY = 15_000; // after an error
const AT_ONCE = 100; // ids in one question

const table = document.getElementById("documents");
let timer;

export function rowOf(html) {
  const holder = document.createElement("template");
  holder.innerHTML = html.trim(); // a row of ours, made by the server
  return holder.content.firstElementChild;
}

export function showRow(html) {
  const row = rowOf(html);
  const old = document.getElementById(row.id);
  if (old) old.replaceWith(row);
  else table.tBodies[0].prepend(row);
  table.hidden = false;
  document.getElementById("documents-empty").hidden = true;
  watch();
}

export function watch() {
  clearTimeout(timer);
  if (working().length) timer = setTimeout(look, EVERY);
}

function working() {
  return [...table.querySelectorAll("tr[data-working]")];
}

async function look() {
  if (document.hidden) return watch();
  const ids = working().slice(0, AT_ONCE).map((row) => ["id", row.dataset.id]);
  try {
    const response = await fetch(`${table.dataset.status}?${new URLSearchParams(ids)}`, {
      headers: { Accept: "application/json" },
    });
    if (!response.ok) throw new TypeError(`status ${response.status}`);
    update(ids.map(([, id]) => id), (await response.json()).rows);
    watch();
  } catch {
    timer = setTimeout(look, EVERY_WHEN_AWAY); // the network or the store: the rows stay as they were
  }
}

function update(ids, rows) {
  for (const id of ids) {
    const old = document.getElementById(`document-${id}`);
    if (!rows[id]) {
      old.remove();
      continue;
    }
    const row = rowOf(rows[id]);
    if (stateOf(row) === stateOf(old)) continue;
    if (old.contains(document.activeElement)) continue; // somebody is about to press something there
    old.replaceWith(row);
    announce(row);
  }
}

function stateOf(row) {
  return row.querySelector(".cell-state").textContent.replace(/\s+/g, " ");
}

function announce(row) {
  if (row.hasAttribute("data-working")) return;
  const title = row.querySelector(".document-title").textContent;
  document.getElementById("announcer").textContent = `${title}: ${row.querySelector(".state").textContent.trim()}`;
}

document.getElementById("refresh").addEventListener("click", (event) => {
  event.preventDefault();
  location.reload();
});
watch();
