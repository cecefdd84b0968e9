// Sets the chosen colours before the first paint. A plain script on purpose: modules run only after the page is parsed.
{
  try {
    const choice = localStorage.getItem("theme");
    if (choice === "light" || choice === "dark") document.documentElement.dataset.theme = choice;
  } catch {
    // storage is closed to us: the system's colours it is
  }
}
