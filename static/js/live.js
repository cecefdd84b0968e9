// Parts of a page that follow what happens: an element with an id and data-live="seconds" is fetched again and swapped.
// Without JavaScript the page is as true as its last reload. What somebody has opened or holds in focus stays so.

const LONGEST = 60;

function remember(part) {
  const open = [...part.querySelectorAll("details[open][id]")].map((each) => each.id);
  const focus = part.contains(document.activeElement) ? document.activeElement.id : "";
  return { open, focus };
}

function restore(part, { open, focus }) {
  for (const id of open) part.querySelector(`#${CSS.escape(id)}`)?.setAttribute("open", "");
  if (focus) part.querySelector(`#${CSS.escape(focus)}`)?.focus();
}

async function fetched(id) {
  const response = await fetch(location.href, { headers: { Accept: "text/html" } });
  // signed out, or no longer allowed: the whole page has to say so
  if (response.redirected || response.status === 403) location.reload();
  if (!response.ok) return null;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  return page.getElementById(id);
}

// a form that somebody is filling in is left alone, and so is a tab that nobody sees
function isBusy(part) {
  const typing = part.contains(document.activeElement) && document.activeElement.matches("input, textarea, select");
  return typing || document.hidden;
}

function follow(part, failures = 0) {
  const seconds = Math.min(Number(part.dataset.live) * 2 ** failures, LONGEST);
  setTimeout(async () => {
    if (isBusy(part)) return follow(part, failures);
    try {
      const fresh = await fetched(part.id);
      if (!fresh) return follow(part, failures + 1);
      const kept = remember(part);
      part.replaceWith(fresh);
      restore(fresh, kept);
      follow(fresh);
    } catch {
      follow(part, failures + 1); // the network is away: the page stays as it was
    }
  }, seconds * 1000);
}

for (const part of document.querySelectorAll("[id][data-live]")) follow(part);
