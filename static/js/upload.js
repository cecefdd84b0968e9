// Uploads each chosen or dropped file by itself, a few at a time, each with its own words and a way to try again.
// The form works without it.

import { showRow } from "./documents.js";
import { filesOf, filesOfInput } from "./folders.js";

const AT_ONCE = 4;
const TRIES = 4; // of a file for which the server had no time
const PAUSE = 2_000; // milliseconds, doubled with each try

const form = document.getElementById("upload");
const panel = document.getElementById("uploads-panel");
const list = document.getElementById("uploads");
const largest = Number(form.dataset.largest);
const buttons = Object.fromEntries(["retry", "stop", "clear"].map((name) => [name, document.getElementById(`uploads-${name}`)]));
let waiting = [];
let failed = [];
const running = new Set();
const count = { all: 0, taken: 0, known: 0 };
let pausedUntil = 0;

function add({ file, folder }) {
  if (file.name.startsWith(".")) return;
  const upload = { file, folder, tries: 0, line: null };
  count.all += 1;
  if (file.size > largest) fail(upload, "This file is too large. Split it, or save it smaller, and upload it again.", false);
  else waiting.push(upload);
}

async function addAll(found) {
  try {
    for await (const each of found) {
      add(each);
      next();
    }
  } catch {
    count.all += 1;
    fail({ file: { name: "A folder" }, folder: "" }, "The browser could not read it to its end. Choose it with the button.", false);
  }
  show();
}

function lineOf(upload) {
  if (upload.line) return upload.line;
  const line = document.getElementById("upload-row").content.firstElementChild.cloneNode(true);
  line.querySelector(".upload-name").textContent = upload.folder ? `${upload.folder}/${upload.file.name}` : upload.file.name;
  line.querySelector("progress").setAttribute("aria-label", `${upload.file.name}, uploaded`);
  line.querySelector("button").addEventListener("click", () => again([upload]));
  upload.line = line;
  list.append(line);
  return line;
}

function drop(upload) {
  upload.line?.remove();
  upload.line = null;
}

function say(upload, words) {
  lineOf(upload).querySelector(".upload-state").textContent = words;
}

function fail(upload, sentence, canRetry = true) {
  const line = lineOf(upload);
  line.classList.add("upload-failed");
  line.querySelector("progress").hidden = true;
  line.querySelector("button").hidden = !canRetry;
  say(upload, sentence);
  failed.push({ upload, canRetry });
}

function again(uploads) {
  failed = failed.filter(({ upload }) => !uploads.includes(upload));
  for (const upload of uploads) {
    drop(upload);
    upload.tries = 0;
    waiting.push(upload);
  }
  next();
}

function next() {
  const pause = pausedUntil - Date.now();
  if (pause > 0) {
    if (waiting.length) setTimeout(next, pause + 50);
  } else {
    while (running.size < AT_ONCE && waiting.length) send(waiting.shift());
  }
  show();
}

// XMLHttpRequest, because fetch does not say how far an upload is.
function send(upload) {
  const request = new XMLHttpRequest();
  running.add(request);
  const body = new FormData();
  body.append("csrfmiddlewaretoken", form.elements.csrfmiddlewaretoken.value);
  body.append("folder", upload.folder);
  body.append("documents", upload.file);
  const bar = lineOf(upload).querySelector("progress");
  request.upload.addEventListener("progress", (event) => {
    if (event.lengthComputable) bar.value = Math.round((event.loaded / event.total) * 100);
    say(upload, event.loaded < event.total ? `${bar.value} %` : "Storing");
  });
  request.addEventListener("load", () => answer(upload, request));
  request.addEventListener("error", () => later(upload, "The connection broke off.", 0));
  request.addEventListener("loadend", () => {
    running.delete(request);
    next();
  });
  request.open("POST", form.action);
  request.setRequestHeader("Accept", "application/json");
  request.send(body);
  say(upload, "0 %");
}

function answer(upload, request) {
  let data = {};
  try {
    data = JSON.parse(request.responseText);
  } catch {
    // a page of a proxy in between: it says nothing that helps here
  }
  if (request.status === 200) {
    succeed(upload, data);
  } else if (request.status === 429 || request.status >= 502) {
    later(upload, data.sentence ?? "The server is busy.", Number(request.getResponseHeader("Retry-After")) * 1000);
  } else {
    fail(upload, data.sentence ?? "The file was not taken. Try again in a moment.");
  }
}

function succeed(upload, { row_html: rowHtml, sentence }) {
  drop(upload);
  count.taken += 1;
  if (sentence) count.known += 1;
  showRow(rowHtml);
}

// The server had no time: all uploads wait a little, then this one is tried again.
function later(upload, sentence, milliseconds) {
  upload.tries += 1;
  if (upload.tries >= TRIES) return fail(upload, `${sentence} Try again in a moment.`);
  drop(upload);
  waiting.unshift(upload);
  pausedUntil = Date.now() + (milliseconds || PAUSE * 2 ** upload.tries);
}

function show() {
  panel.hidden = count.all === 0;
  const busy = running.size + waiting.length > 0;
  const words = [`${count.taken} of ${count.all} uploaded`];
  if (count.known) words.push(`${count.known} were here already`);
  if (failed.length) words.push(`${failed.length} not taken`);
  if (busy && pausedUntil > Date.now()) words.push("waiting for the server");
  document.getElementById("uploads-summary").textContent = `${words.join(", ")}.`;
  const bar = document.getElementById("uploads-progress");
  bar.max = count.all;
  bar.value = count.taken + failed.length;
  buttons.retry.hidden = !failed.some(({ canRetry }) => canRetry);
  buttons.stop.hidden = !busy;
  buttons.clear.hidden = busy;
}

buttons.retry.addEventListener("click", () => again(failed.filter(({ canRetry }) => canRetry).map(({ upload }) => upload)));
buttons.stop.addEventListener("click", () => {
  count.all -= waiting.length;
  waiting = [];
  show();
});
buttons.clear.addEventListener("click", () => {
  list.replaceChildren();
  failed = [];
  Object.assign(count, { all: 0, taken: 0, known: 0 });
  show();
});

function hasFiles(event) {
  return event.dataTransfer?.types.includes("Files");
}

for (const input of form.querySelectorAll("input[type=file]")) {
  input.classList.add("is-live");
  input.addEventListener("change", () => {
    addAll([...filesOfInput(input.files)]);
    input.value = "";
  });
}
form.addEventListener("submit", (event) => event.preventDefault());
document.getElementById("upload-send").hidden = true; // choosing is enough
document.getElementById("drop-hint").hidden = false;

document.addEventListener("dragover", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  form.classList.add("upload-over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) form.classList.remove("upload-over");
});
document.addEventListener("drop", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  form.classList.remove("upload-over");
  addAll(filesOf(event.dataTransfer));
});
addEventListener("beforeunload", (event) => {
  if (running.size + waiting.length) event.preventDefault();
});
