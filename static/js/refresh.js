// Looks at a page again while something is under way there: [data-refresh="seconds"] is replaced by what it has become.

async function lookAgain(part) {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => null);
  if (!answer?.ok) {
    return true; // a server that is away for a moment is asked again
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById(part.id);
  if (!fresh) {
    return false;
  }
  part.replaceChildren(...fresh.childNodes);
  return Boolean(part.querySelector("progress"));
}

for (const part of document.querySelectorAll("[data-refresh]")) {
  const pause = Number(part.dataset.refresh) * 1000;
  const again = async () => (await lookAgain(part)) && setTimeout(again, pause);
  setTimeout(again, pause);
}
