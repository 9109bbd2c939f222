// The tree page: unfolds what lies below a node, fetched when it is first wanted.
document.addEventListener("click", async (event) => {
  const toggle = event.target.closest(".tree-toggle");
  const more = event.target.closest("[data-more]");
  if (toggle) {
    const list = toggle.closest("li").querySelector(":scope > ul");
    const open = toggle.getAttribute("aria-expanded") !== "true";
    if (open && toggle.dataset.children) {
      const answer = await fetch(toggle.dataset.children);
      if (!answer.ok) return;
      list.innerHTML = await answer.text();
      delete toggle.dataset.children;
    }
    toggle.setAttribute("aria-expanded", String(open));
    list.hidden = !open;
  } else if (more) {
    const answer = await fetch(more.dataset.more);
    if (answer.ok) more.closest("li").outerHTML = await answer.text();
  }
});

// A mobile server's tabs follow its check boxes, as in the manual: a ticked "All …" hides its tab.
document.addEventListener("DOMContentLoaded", () => {
  for (const [box, prefix] of [["id_all_organizations", "organizations_by_server"], ["id_all_services", "services_by_server"]]) {
    const input = document.getElementById(box);
    if (!input) continue;
    const follow = () => document.body.classList.toggle(`hide-${prefix}`, input.checked);
    input.addEventListener("change", follow);
    follow();
  }
});

// A notice channel shows the fields of its kind only.
document.addEventListener("DOMContentLoaded", () => {
  const kind = document.querySelector("form#channel_form #id_kind");
  if (!kind) return;
  const follow = () => {
    document.body.classList.toggle("hide-webhook", kind.value !== "webhook");
    document.body.classList.toggle("hide-email", kind.value !== "email");
  };
  kind.addEventListener("change", follow);
  follow();
});

// A file may be dropped where one can be chosen; the form then goes on as if it had been chosen.
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    const area = event.target.closest?.(".windows-drop");
    if (!area) return;
    event.preventDefault();
    area.classList.toggle("is-over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) {
      const input = area.querySelector("input[type=file]");
      input.files = event.dataTransfer.files;
      input.form.requestSubmit();
    }
  });
}

// A part that brings itself up to date while somebody looks at it; what cannot be fetched is shown as stale.
document.addEventListener("DOMContentLoaded", () => {
  for (const part of document.querySelectorAll("[data-refresh]")) {
    setInterval(async () => {
      if (document.hidden) return;
      let answer;
      try {
        answer = await fetch(part.dataset.refresh, { redirect: "error" });
      } catch {
        answer = { ok: false };
      }
      part.classList.toggle("is-stale", !answer.ok);
      if (answer.ok) part.innerHTML = await answer.text();
    }, 3000);
  }
});
