// Sends a question and shows its answer while it is written. Without this file the same form gives the whole answer.

import { dress, startCitations } from "./answers.js";
import { readEvents } from "./events.js";

const NEAR_END = 96; // px: who is this close to the end wants to stay there
const SCOPE = new Set(["document", "title", "kind", "since", "until"]);
const WHY_BROKEN = "The connection broke off. What was written so far is kept.";

const byId = (id) => document.getElementById(id);
const list = byId("messages");
const composer = byId("composer");
const box = byId("question");
const send = byId("send");
const stopButton = byId("stop");
const toEnd = byId("to-end");

let askUrl = composer.action;
let stopUrl;
let busy = false;
let pinned = true;

// --- small helpers ---------------------------------------------------------------------------------------------------

function announce(words) {
  byId("announcer").textContent = words;
}

function fromTemplate(id) {
  return byId(id).content.firstElementChild.cloneNode(true);
}

function fromHtml(html) {
  const holder = document.createElement("template");
  holder.innerHTML = html; // whole blocks, made and sanitised by the server
  return holder.content.firstElementChild;
}

function token() {
  return composer.elements.csrfmiddlewaretoken.value;
}

// Signing in makes the token of a page that was open before worthless, and a reload would lose the words in its box.
async function renewToken() {
  const page = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html");
  const fresh = page.querySelector("#composer [name=csrfmiddlewaretoken]");
  if (fresh) composer.elements.csrfmiddlewaretoken.value = fresh.value;
  return Boolean(fresh);
}

function isNearEnd() {
  return innerHeight + scrollY >= document.documentElement.scrollHeight - NEAR_END;
}

function stayAtEnd() {
  if (pinned) scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" });
}

function setBusy(value) {
  busy = value;
  send.hidden = value;
  stopButton.hidden = !value;
  stopButton.disabled = false;
  composer.setAttribute("aria-busy", String(value));
}

// --- words next to the box -------------------------------------------------------------------------------------------

function showProblem(title, sentence, { reload = false, mayConfirm = false } = {}) {
  const notice = fromTemplate("live-problem");
  notice.querySelector("strong").textContent = title ? `${title}.` : "";
  notice.querySelector("span").textContent = sentence;
  notice.querySelector("a").hidden = !reload;
  notice.querySelector("button").hidden = !mayConfirm;
  byId("composer-problem").replaceChildren(notice);
}

function clearProblem() {
  byId("composer-problem").replaceChildren();
}

async function problemOf(response) {
  const kind = response.headers.get("Content-Type") ?? "";
  if (kind.includes("json")) return response.json();
  if (response.redirected) return { title: "Signed out", sentence: "Sign in again in another tab, then send once more." };
  return { title: "Not sent", sentence: "ChatGrid could not take the question. Try again in a moment." };
}

// --- one exchange ----------------------------------------------------------------------------------------------------

class Exchange {
  constructor(fields, replaced) {
    this.fields = fields;
    this.replaced = replaced;
    this.isStarted = false;
    this.isOver = false;
    this.answer = fromTemplate("live-answer");
    this.prose = this.answer.querySelector(".prose");
    this.blocks = [];
  }

  show() {
    byId("welcome")?.setAttribute("hidden", "");
    list.hidden = false;
    if (this.replaced) {
      this.replaced.replaceWith(this.answer);
    } else {
      this.question = fromTemplate("live-question");
      this.question.querySelector(".message-text").textContent = this.fields.question;
      list.append(this.question, this.answer);
    }
    pinned = true;
    stayAtEnd();
  }

  takeBack() {
    if (this.replaced) this.answer.replaceWith(this.replaced);
    this.question?.remove();
    this.answer.remove();
    if (list.childElementCount) return;
    list.hidden = true;
    byId("welcome")?.removeAttribute("hidden");
  }

  async run({ again = false } = {}) {
    const body = new URLSearchParams({ ...this.fields, csrfmiddlewaretoken: token() });
    // what the search is narrowed to; a question that is asked again keeps what it had
    if (!this.fields.retry) for (const [name, value] of new FormData(composer)) if (SCOPE.has(name)) body.append(name, value);
    const response = await fetch(askUrl, { method: "POST", body, headers: { Accept: "text/event-stream" } });
    const streams = response.headers.get("Content-Type")?.startsWith("text/event-stream");
    if (response.status === 403 && !again && (await renewToken())) return this.run({ again: true });
    if (!response.ok || !streams) return problemOf(response);
    for await (const { name, data } of readEvents(response.body)) this[`on_${name}`]?.(data);
    return null;
  }

  on_start(data) {
    this.isStarted = true;
    stopUrl = data.stop_url;
    if (this.question) this.question.querySelector(".message-text").innerHTML = data.question_html;
    if (data.conversation_url) enterConversation(data.conversation_url, data.title);
  }

  on_block({ index, html }) {
    while (this.blocks.length <= index) {
      const holder = document.createElement("div");
      holder.className = "prose-block";
      this.blocks.push(holder);
      this.prose.append(holder);
    }
    this.blocks[index].innerHTML = html;
    stayAtEnd();
  }

  on_done(data) {
    this.end(data);
    announce(data.state === "stopped" ? "Stopped" : "Answer complete");
  }

  on_problem(data) {
    this.end(data);
    announce("The answer could not be completed");
  }

  end({ message_html: messageHtml, meter_html: meterHtml }) {
    this.isOver = true;
    const finished = fromHtml(messageHtml);
    this.answer.replaceWith(finished);
    dress(finished);
    if (meterHtml) byId("meter")?.replaceWith(fromHtml(meterHtml));
    stayAtEnd();
  }

  breakOff() {
    this.answer.querySelector(".typing").remove();
    this.answer.removeAttribute("aria-busy");
    showProblem("Connection lost", WHY_BROKEN, { reload: true });
    announce("Connection lost");
  }
}

async function ask(fields, replaced) {
  if (busy) return;
  clearProblem();
  setBusy(true);
  const exchange = new Exchange(fields, replaced);
  exchange.show();
  announce("Answering");
  try {
    const problem = await exchange.run();
    if (problem) refuse(exchange, problem);
    else if (!exchange.isOver) exchange.breakOff();
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof DOMException)) throw error;
    // what fetch and its reader raise when the network is gone
    if (exchange.isStarted) exchange.breakOff();
    else refuse(exchange, { title: "Not sent", sentence: "ChatGrid cannot be reached. Check the network and send again." });
  } finally {
    stopUrl = undefined;
    setBusy(false);
  }
}

function refuse(exchange, { title, sentence, may_confirm: mayConfirm = false }) {
  exchange.takeBack();
  // what was typed meanwhile comes behind it: no word of either is lost
  box.value = [exchange.fields.question, box.value].filter(Boolean).join("\n\n");
  grow();
  showProblem(title, sentence, { mayConfirm });
  announce("");
  box.focus();
}

function enterConversation(url, title) {
  const path = new URL(url, location.href).pathname;
  if (path === location.pathname) return;
  history.pushState({}, "", path);
  askUrl = new URL("ask", new URL(path, location.href)).href;
  byId("chat-title").textContent = title;
  document.title = document.title.replace(/^[^·]*/, `${title} `);
  addToHistory(path, title);
}

// The menu of the new row comes with the next page; its link is there at once.
function addToHistory(path, title) {
  const nav = document.querySelector(".history");
  let today = nav?.querySelector('ul[data-day="Today"]');
  if (!nav) return;
  if (!today) {
    byId("history-empty")?.remove();
    const heading = document.createElement("h3");
    heading.textContent = "Today";
    today = document.createElement("ul");
    today.dataset.day = "Today";
    nav.querySelector("h2").after(heading, today);
  }
  const row = document.createElement("li");
  row.className = "conversation";
  const link = document.createElement("a");
  link.className = "row";
  link.href = path;
  link.setAttribute("aria-current", "page");
  const words = document.createElement("span");
  words.textContent = title;
  link.append(words);
  row.append(link);
  today.prepend(row);
}

async function stop() {
  if (!stopUrl) return;
  stopButton.disabled = true;
  announce("Stopping");
  try {
    await fetch(stopUrl, { method: "POST", headers: { "X-CSRFToken": token(), Accept: "application/json" } });
  } catch {
    stopButton.disabled = false; // the network: the reader of the stream says so
  }
}

// --- the box ---------------------------------------------------------------------------------------------------------

function grow() {
  if (CSS.supports("field-sizing", "content")) return;
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight}px`;
}

composer.addEventListener("submit", (event) => {
  event.preventDefault();
  const question = box.value.trim();
  if (!question || busy) return;
  box.value = "";
  grow();
  // the button of a notice about a secret says that the person means it
  ask(event.submitter?.name === "confirmed" ? { question, confirmed: "1" } : { question });
});

box.addEventListener("input", grow);
box.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  if (!busy) composer.requestSubmit();
});

stopButton.addEventListener("click", stop);

byId("chat").addEventListener("submit", (event) => {
  const form = event.target;
  if (form.matches("[data-retry]")) {
    event.preventDefault();
    ask({ retry: form.elements.retry.value }, form.closest(".message"));
  } else if (form.matches("[data-suggestions]")) {
    event.preventDefault();
    ask({ question: event.submitter.value });
  }
});

// --- reading ---------------------------------------------------------------------------------------------------------

function follow() {
  pinned = isNearEnd();
  toEnd.hidden = pinned || list.hidden;
}

toEnd.addEventListener("click", () => {
  pinned = true;
  stayAtEnd();
});
addEventListener("scroll", follow, { passive: true });
addEventListener("popstate", () => location.reload());

byId("key-hint").hidden = false;
startCitations(list);
dress(list);
grow();
if (!location.hash && list.childElementCount) stayAtEnd();
follow();
