// Finds the files in what was dropped or chosen, folders with everything in them.

// Yields {file, folder}: folder is where the file stood, such as "Policies/2026", or empty.
export async function* filesOf(transfer) {
  // the entries must be taken before the first await: the browser empties the transfer after the event
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) {
    for (const file of transfer.files) yield { file, folder: "" };
    return;
  }
  for (const entry of entries) yield* walk(entry, "");
}

export function* filesOfInput(files) {
  for (const file of files) {
    const path = file.webkitRelativePath ?? "";
    yield { file, folder: path.split("/").slice(0, -1).join("/") };
  }
}

async function* walk(entry, folder) {
  if (entry.name.startsWith(".")) return; // .DS_Store and its kind
  if (entry.isFile) {
    yield { file: await new Promise((resolve, reject) => entry.file(resolve, reject)), folder };
    return;
  }
  const reader = entry.createReader();
  const inside = folder ? `${folder}/${entry.name}` : entry.name;
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // at most 100 at a time
    if (!some.length) return;
    for (const each of some) yield* walk(each, inside);
  }
}
