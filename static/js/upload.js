// Uploads each chosen or dropped file by itself, with its own progress and its own words. The form works without it.

import { showRow } from "./documents.js";

const AT_ONCE = 3;

const form = document.getElementById("upload");
const input = document.getElementById("files");
const list = document.getElementById("uploads");
const largest = Number(form.dataset.largest);
const waiting = [];
let running = 0;

function addLine(file) {
  const line = document.getElementById("upload-row").content.firstElementChild.cloneNode(true);
  line.querySelector(".upload-name").textContent = file.name;
  line.querySelector("progress").setAttribute("aria-label", `${file.name}, uploaded`);
  line.querySelector("button").addEventListener("click", () => removeLine(line));
  list.append(line);
  list.hidden = false;
  return line;
}

function removeLine(line) {
  line.remove();
  list.hidden = !list.childElementCount;
}

function say(line, words) {
  line.querySelector(".upload-state").textContent = words;
}

function fail(line, sentence) {
  line.classList.add("upload-failed");
  line.querySelector("progress").hidden = true;
  line.querySelector("button").hidden = false;
  say(line, sentence);
}

function succeed(line, { row_html: rowHtml, sentence }) {
  if (rowHtml) showRow(rowHtml);
  if (!sentence) return removeLine(line);
  line.querySelector("progress").hidden = true;
  line.querySelector("button").hidden = false;
  say(line, sentence);
}

function add(files) {
  for (const file of files) {
    const line = addLine(file);
    if (file.size > largest) {
      fail(line, "This file is too large. Split it, or save it smaller, and upload it again.");
      continue;
    }
    say(line, "Waiting");
    waiting.push({ file, line });
  }
  next();
}

function next() {
  while (running < AT_ONCE && waiting.length) {
    running += 1;
    send(waiting.shift());
  }
}

// XMLHttpRequest, because fetch does not say how far an upload is.
function send({ file, line }) {
  const request = new XMLHttpRequest();
  const body = new FormData();
  body.append("csrfmiddlewaretoken", form.elements.csrfmiddlewaretoken.value);
  body.append("documents", file);
  const bar = line.querySelector("progress");
  request.upload.addEventListener("progress", (event) => {
    if (event.lengthComputable) bar.value = Math.round((event.loaded / event.total) * 100);
    say(line, event.loaded < event.total ? `${bar.value} %` : "Storing");
  });
  request.addEventListener("load", () => answer(line, request));
  request.addEventListener("error", () => fail(line, "The connection broke off. Upload the file again."));
  request.addEventListener("loadend", () => {
    running -= 1;
    next();
  });
  request.open("POST", form.action);
  request.setRequestHeader("Accept", "application/json");
  request.send(body);
  say(line, "0 %");
}

function answer(line, request) {
  let data = {};
  try {
    data = JSON.parse(request.responseText);
  } catch {
    // a page of a proxy in between: it says nothing that helps here
  }
  if (request.status === 200) succeed(line, data);
  else fail(line, data.sentence ?? "The file was not taken. Try again in a moment.");
}

function hasFiles(event) {
  return event.dataTransfer?.types.includes("Files");
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  add(input.files);
  form.reset();
});
input.addEventListener("change", () => form.requestSubmit());
document.getElementById("upload-send").hidden = true; // choosing is enough
input.classList.add("is-live");
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
  add(event.dataTransfer.files);
});
addEventListener("beforeunload", (event) => {
  if (running) event.preventDefault();
});
