// Keeps the list up to date: what has changed since the last look, and what stands in the window and is still being read.
// Without this file the page has a Reload link, and every button works.

const EVERY = 2_000; // milliseconds, while something is being read
const EVERY_WHEN_CALM = 15_000; // also after an error
const AT_ONCE = 40; // ids in one question

const shelf = document.getElementById("shelf");
const table = document.getElementById("documents");
const shown = new Map(); // id -> the row's HTML as the server sent it
let since = table.dataset.since;
let timer;

export function rowOf(html) {
  const holder = document.createElement("template");
  holder.innerHTML = html.trim(); // a row of ours, made by the server
  return holder.content.firstElementChild;
}

// Puts a row in the place of the old one, or before all others.
export function showRow(html) {
  const row = rowOf(html);
  const old = document.getElementById(row.id);
  if (old) replace(old, row, html);
  else table.tBodies[0].prepend(row);
  shown.set(row.dataset.id, html);
  shelf.hidden = false;
  document.getElementById("documents-empty").hidden = true;
  look.soon();
}

function replace(old, row, html) {
  const id = row.dataset.id;
  if (shown.get(id) === html || old.contains(document.activeElement) || old.querySelector("details[open]")) return false;
  const choice = row.querySelector("[name=id]");
  if (choice) choice.checked = old.querySelector("[name=id]").checked;
  old.replaceWith(row);
  shown.set(id, html);
  return true;
}

function inWindow(row) {
  const { top, bottom } = row.getBoundingClientRect();
  return bottom > 0 && top < innerHeight;
}

function asked() {
  return [...table.querySelectorAll("tr[data-working]")].filter(inWindow).slice(0, AT_ONCE).map((row) => row.dataset.id);
}

async function look() {
  clearTimeout(timer);
  if (document.hidden) return look.in(EVERY_WHEN_CALM);
  const ids = asked();
  try {
    const query = new URLSearchParams([["since", since], ...ids.map((id) => ["id", id])]);
    const response = await fetch(`${table.dataset.status}?${query}`, { headers: { Accept: "application/json" } });
    if (!response.ok) throw new TypeError(`status ${response.status}`);
    const changes = await response.json();
    since = changes.since;
    document.getElementById("summary").innerHTML = changes.summary; // ours, made by the server
    count(changes.counts);
    update(ids, changes.rows);
    look.in(changes.working ? EVERY : EVERY_WHEN_CALM);
  } catch {
    look.in(EVERY_WHEN_CALM); // the network or the store: the rows stay as they were
  }
}
look.in = (milliseconds) => {
  clearTimeout(timer);
  timer = setTimeout(look, milliseconds);
  look.at = Date.now() + milliseconds;
};
look.soon = () => {
  if (look.at - Date.now() > EVERY) look.in(EVERY);
};

// what the list can be narrowed to, by state
function count(counts) {
  for (const option of document.getElementById("state").options) {
    option.textContent = option.textContent.replace(/\(\d+\)$/, `(${counts[option.value]})`);
  }
}

function update(ids, rows) {
  for (const id of ids) if (!rows[id]) document.getElementById(`document-${id}`)?.remove();
  const ended = [];
  for (const [id, html] of Object.entries(rows)) {
    const old = document.getElementById(`document-${id}`);
    const row = rowOf(html);
    if (!old && "takesNew" in table.dataset) showRow(html);
    else if (old && replace(old, row, html) && !("working" in row.dataset)) ended.push(row);
  }
  announce(ended);
}

// One sentence a look: a reader of 500 rows would never hear anything else.
function announce(ended) {
  if (!ended.length) return;
  const title = ended[0].querySelector(".document-title").textContent;
  const state = ended[0].querySelector(".state").textContent.trim();
  const words = ended.length === 1 ? `${title}: ${state}` : `${ended.length} more documents have been read`;
  document.getElementById("announcer").textContent = words;
}

function watchChoices() {
  const all = document.getElementById("choose-all");
  if (!all) return;
  all.hidden = false;
  const box = all.querySelector("input");
  const choices = () => [...shelf.querySelectorAll("[name=id]")];
  const show = () => {
    const number = choices().filter((choice) => choice.checked).length;
    document.getElementById("chosen").textContent = number ? `${number} chosen` : "None chosen";
    for (const button of document.querySelectorAll("#bulk button")) button.disabled = !number;
  };
  box.addEventListener("change", () => {
    for (const choice of choices()) choice.checked = box.checked;
    show();
  });
  shelf.addEventListener("change", show);
  show();
}

// One row's own button changes that row and nothing else: the page stays where it is.
async function actOnRow(event) {
  const button = event.submitter;
  const address = button?.getAttribute("formaction");
  if (!address || !/\/(retry|cancel)$/.test(address)) return;
  event.preventDefault();
  button.disabled = true;
  try {
    const body = new URLSearchParams({ csrfmiddlewaretoken: shelf.elements.csrfmiddlewaretoken.value });
    const response = await fetch(address, { method: "POST", body, headers: { Accept: "application/json" } });
    if (!response.ok) throw new TypeError(`status ${response.status}`);
    button.blur();
    for (const html of Object.values((await response.json()).rows)) showRow(html);
  } catch {
    button.disabled = false;
    document.getElementById("announcer").textContent = "That did not work. Try again in a moment.";
  }
}

document.getElementById("refresh").addEventListener("click", (event) => {
  event.preventDefault();
  location.reload();
});
shelf.addEventListener("submit", actOnRow);
watchChoices();
look.in(table.querySelector("tr[data-working]") ? EVERY : EVERY_WHEN_CALM);
