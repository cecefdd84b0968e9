// The frame of every page: the colours' switch, and menus that close when one looks elsewhere.

const root = document.documentElement;

function chosenTheme() {
  return root.dataset.theme ?? "system";
}

function chooseTheme(choice) {
  if (choice === "system") delete root.dataset.theme;
  else root.dataset.theme = choice;
  try {
    localStorage.setItem("theme", choice);
  } catch {
    // storage is closed to us: the choice holds for this page
  }
}

function showTheme(buttons) {
  for (const button of buttons) {
    button.setAttribute("aria-pressed", String(button.dataset.themeChoice === chosenTheme()));
  }
}

function startThemes(fieldset) {
  const buttons = fieldset.querySelectorAll("[data-theme-choice]");
  for (const button of buttons) {
    button.addEventListener("click", () => {
      chooseTheme(button.dataset.themeChoice);
      showTheme(buttons);
    });
  }
  showTheme(buttons);
  fieldset.hidden = false;
}

function openMenus() {
  return document.querySelectorAll("details[data-menu][open], .conversation details[open]");
}

document.querySelectorAll("[data-themes]").forEach(startThemes);

document.addEventListener("click", (event) => {
  for (const menu of openMenus()) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of openMenus()) {
    const focused = menu.contains(document.activeElement);
    menu.open = false;
    if (focused) menu.querySelector("summary").focus();
  }
});

// a browser that restores a page restores its open menus too
window.addEventListener("pageshow", () => openMenus().forEach((menu) => (menu.open = false)));
