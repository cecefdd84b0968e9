// The console's own few lines: Django's lists to choose from (select2) get the name that their label gives to the field.

function nameOf(select) {
  return select.getAttribute("aria-label") ?? select.labels?.[0]?.textContent.trim() ?? "";
}

function nameChoosers() {
  for (const select of document.querySelectorAll("select.admin-autocomplete")) {
    const chooser = select.nextElementSibling;
    for (const part of chooser?.querySelectorAll("[role='combobox'], [role='textbox']") ?? []) {
      part.setAttribute("aria-label", nameOf(select));
    }
  }
}

// after Django's own, which stands in the same queue; jQuery's "ready" may come later than the page's "load"
window.django?.jQuery?.(nameChoosers);
document.addEventListener("formset:added", () => setTimeout(nameChoosers));
