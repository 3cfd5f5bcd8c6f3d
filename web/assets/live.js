// Everything works without this file. With it, pages change in place, text copies at a touch, `/` goes to the
// search, and dialogs open where a link would lead to a page.

const watched = document.querySelector("[data-events]");
if (watched) watch(watched.dataset.events);

function watch(address) {
  const source = new EventSource(address);
  source.addEventListener("patch", (event) => {
    for (const [id, html] of Object.entries(JSON.parse(event.data))) patch(id, html);
  });
  window.addEventListener("pagehide", () => source.close());
}

// The server sends contents that its own templates made, so they are escaped already. What was open stays open,
// and who stood on a link or a button stands there again.
function patch(id, html) {
  const element = document.getElementById(id);
  if (!element || element.dataset.html === html) return;
  const reachable = () => [...element.querySelectorAll("a, button, input, summary, [tabindex]")];
  const stood = reachable().indexOf(document.activeElement);
  const open = [...element.querySelectorAll("details")].map((details) => details.open);
  element.innerHTML = html;
  element.dataset.html = html;
  element.querySelectorAll("details").forEach((details, index) => { details.open = open[index] ?? false; });
  prepare(element);
  if (stood >= 0) reachable()[stood]?.focus({ preventScroll: true });
}

function prepare(root) {
  root.querySelectorAll("[data-copy]").forEach((button) => { button.hidden = false; });
  root.querySelectorAll("[data-elapsed]").forEach((clock) => {
    clock.began = performance.now() - Number(clock.dataset.elapsed) * 1000;
  });
}
prepare(document);

setInterval(() => {
  document.querySelectorAll("[data-elapsed]").forEach((clock) => {
    if (clock.began !== undefined) clock.textContent = `${((performance.now() - clock.began) / 1000).toFixed(1)} s`;
  });
}, 100);

document.addEventListener("click", async (event) => {
  const copy = event.target.closest("[data-copy]");
  if (copy) {
    const source = document.getElementById(copy.dataset.copy);
    await navigator.clipboard.writeText(source.dataset.text ?? source.textContent);
    copy.textContent = "Copied";
    setTimeout(() => { copy.textContent = "Copy"; }, 1500);
  }
  const opener = event.target.closest("[data-dialog]");
  const dialog = opener && document.getElementById(opener.dataset.dialog);
  if (dialog) {
    event.preventDefault();
    dialog.showModal();
  }
  const closer = event.target.closest("[data-close]");
  if (closer) {
    event.preventDefault();
    closer.closest("dialog")?.close();
  }
});

// A form is sent once, however often its button is pressed. A download leaves the page as it was.
document.addEventListener("submit", (event) => {
  if (event.target.dataset.stays !== undefined) return;
  if (event.target.dataset.sent) event.preventDefault();
  event.target.dataset.sent = "yes";
});
window.addEventListener("pageshow", () => {
  document.querySelectorAll("form[data-sent]").forEach((form) => delete form.dataset.sent);
});

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select");
  const search = document.querySelector("[data-search]");
  if (event.key === "/" && !typing && search) {
    event.preventDefault();
    search.focus();
    search.select();
  }
});
