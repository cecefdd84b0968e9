// What script adds to a finished answer: a copy button on code, keyboard scrolling, the card over a citation.

const CARD_GAP = 8;
const OPEN_AFTER = 150; // milliseconds: a pointer that only passes opens nothing
const CLOSE_AFTER = 250; // time to move from the number into the card

let card;
let current;
let timer;

export function dress(container) {
  for (const code of container.querySelectorAll(".prose pre")) addCopyButton(code);
  for (const box of container.querySelectorAll(".prose pre, .prose .table-scroll")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  }
  for (const link of container.querySelectorAll(".prose .citation")) nameCitation(link);
}

function addCopyButton(code) {
  if (code.parentElement.classList.contains("code-block")) return;
  const block = document.createElement("div");
  block.className = "code-block";
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button button-small code-copy";
  button.textContent = "Copy";
  button.addEventListener("click", () => copy(code, button));
  code.replaceWith(block);
  block.append(code, button);
}

async function copy(code, button) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Press Ctrl + C";
    getSelection().selectAllChildren(code);
  }
  setTimeout(() => (button.textContent = "Copy"), 2000);
}

function sourceOf(link) {
  return document.getElementById(decodeURIComponent(link.hash.slice(1)));
}

function textsOf(source, names) {
  return names.map((name) => source.querySelector(name)?.textContent).filter(Boolean);
}

function nameCitation(link) {
  const source = sourceOf(link);
  if (!source) return;
  const words = textsOf(source, [".source-title", ".source-locator"]);
  const doubt = link.matches(".citation-doubtful") ? ", not confirmed" : "";
  link.setAttribute("aria-label", `Source ${parseInt(link.textContent, 10)}${doubt}: ${words.join(", ")}`);
}

function buildCard() {
  card = document.createElement("div");
  card.className = "citation-card";
  card.id = "citation-card";
  card.popover = "manual";
  card.addEventListener("pointerenter", () => clearTimeout(timer));
  card.addEventListener("pointerleave", closeSoon);
  document.body.append(card);
}

function fillCard(source) {
  const link = source.querySelector("a");
  const title = document.createElement("a");
  title.className = "citation-card-title";
  title.href = link.href;
  title.textContent = source.querySelector(".source-title").textContent;
  const place = document.createElement("p");
  place.className = "quiet";
  place.textContent = textsOf(source, [".source-locator", ".source-facts", ".source-doubt"]).join(" · ");
  const quote = document.createElement("blockquote");
  quote.textContent = source.querySelector(".source-quote").textContent;
  card.replaceChildren(title, ...(place.textContent ? [place] : []), ...(quote.textContent ? [quote] : []));
}

function placeCard(link) {
  const box = link.getBoundingClientRect();
  const width = card.offsetWidth;
  const height = card.offsetHeight;
  const left = Math.min(Math.max(CARD_GAP, box.left - 16), innerWidth - width - CARD_GAP);
  const above = box.top - height - CARD_GAP;
  card.style.left = `${left}px`;
  card.style.top = `${above > 0 ? above : box.bottom + CARD_GAP}px`;
}

function open(link) {
  const source = sourceOf(link);
  if (!source) return;
  if (!card) buildCard();
  close();
  current = link;
  fillCard(source);
  card.showPopover();
  placeCard(link);
  link.setAttribute("aria-expanded", "true");
}

function close() {
  clearTimeout(timer);
  if (!current) return;
  current.removeAttribute("aria-expanded");
  current = undefined;
  card.hidePopover();
}

function closeSoon() {
  clearTimeout(timer);
  timer = setTimeout(close, CLOSE_AFTER);
}

const citationAt = (event) => event.target.closest?.(".prose .citation");

export function startCitations(container) {
  container.addEventListener("pointerover", (event) => {
    const link = citationAt(event);
    if (!link || event.pointerType === "touch") return;
    clearTimeout(timer);
    if (link !== current) timer = setTimeout(open, OPEN_AFTER, link);
  });
  container.addEventListener("pointerout", (event) => {
    if (citationAt(event)) closeSoon();
  });
  container.addEventListener("focusin", (event) => {
    const link = citationAt(event);
    if (link?.matches(":focus-visible")) open(link);
  });
  container.addEventListener("focusout", closeSoon);
  container.addEventListener("click", follow);
  document.addEventListener("keydown", (event) => event.key === "Escape" && close());
  document.addEventListener("scroll", close, { passive: true });
  document.addEventListener("pointerdown", (event) => {
    if (current && !card.contains(event.target) && event.target !== current) close();
  });
}

// A click goes to the passage; a finger, which cannot hover, sees the card first.
function follow(event) {
  const link = citationAt(event);
  const source = link && sourceOf(link);
  if (!source) return;
  if (event.pointerType === "touch" && current !== link) {
    event.preventDefault();
    open(link);
  } else if (!event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    location.href = source.querySelector("a").href;
  }
}
