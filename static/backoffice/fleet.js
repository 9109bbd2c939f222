// The fleet's pages keep themselves up to date: the server tells what changed, and the pieces are swapped.
(() => {
  const PATIENCE_MS = 8000; // a reconnection shorter than this is nobody's business
  const AGAIN_MS = 15000;
  const root = document.querySelector("[data-live]");
  if (!root) return;
  const region = root.querySelector("[data-region]");
  const notice = root.querySelector("[data-notice]");
  let source = null;
  let seen = root.dataset.seen;
  let worry = 0;
  let again = 0;
  let isOver = false;

  // --- Ages -------------------------------------------------------------------------------------
  const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  function age(seconds) {
    if (seconds < 5) return "just now";
    const [size, unit] = UNITS.find(([size]) => seconds >= size);
    return `${Math.floor(seconds / size)} ${unit} ago`;
  }
  function tick(within = region) {
    for (const time of within.querySelectorAll("time[data-age]")) {
      const text = age((Date.now() - Date.parse(time.dateTime)) / 1000);
      if (time.textContent !== text) time.textContent = text;
    }
  }
  setInterval(tick, 1000);

  // --- The filter: kept in the address, and still there after pieces were swapped ------------------
  function wanted() {
    const parameters = new URLSearchParams(location.search);
    return { q: (parameters.get("q") || "").trim().toLowerCase(), state: parameters.get("state") || "" };
  }
  function narrow() {
    if (!region.querySelector("[data-filter]")) return;
    const { q, state } = wanted();
    let all = 0;
    let shown = 0;
    for (const group of region.querySelectorAll("[data-group]")) {
      let left = 0;
      for (const item of group.querySelectorAll("li[data-text]")) {
        const fits = item.dataset.text.includes(q) && (!state || item.firstElementChild.dataset.state === state);
        item.hidden = !fits;
        left += fits;
        all += 1;
      }
      group.hidden = !left;
      shown += left;
    }
    for (const chip of region.querySelectorAll(".fleet-chip")) chip.setAttribute("aria-pressed", String(chip.value === state));
    region.querySelector("[data-shown]").textContent = shown === all ? `${all}` : `${shown} of ${all}`;
    region.querySelector("[data-nothing]").hidden = shown > 0 || all === 0;
  }
  function choose(change) {
    const parameters = new URLSearchParams(location.search);
    for (const [name, value] of Object.entries(change)) value ? parameters.set(name, value) : parameters.delete(name);
    const query = parameters.toString();
    history.replaceState(null, "", query ? `?${query}` : location.pathname);
    narrow();
  }
  region.addEventListener("input", (event) => event.target.name === "q" && choose({ q: event.target.value }));
  region.addEventListener("click", (event) => {
    const chip = event.target.closest(".fleet-chip");
    if (chip) choose({ state: chip.value });
    const all = event.target.closest("[data-nothing] a");
    if (all) {
      region.querySelector("[name=q]").value = "";
      choose({ q: "", state: "" });
    }
    if (chip || all) event.preventDefault();
  });
  region.addEventListener("submit", (event) => event.target.matches("[data-filter]") && event.preventDefault());

  // --- Live pieces ------------------------------------------------------------------------------
  function say(text, link) {
    notice.hidden = !text;
    notice.replaceChildren(text);
    if (!link) return;
    const anchor = document.createElement("a");
    anchor.href = link;
    anchor.textContent = "Log in";
    notice.append(" ", anchor);
  }
  function swap(id, html) {
    const old = document.getElementById(id);
    if (!old || !region.contains(old)) return;
    const had = old.contains(document.activeElement) || old === document.activeElement;
    const holder = document.createElement(old.tagName === "TR" ? "tbody" : "div");
    holder.innerHTML = html;
    const piece = holder.firstElementChild;
    if (piece.dataset.state !== old.dataset.state) piece.classList.add("fleet-changed");
    old.replaceWith(piece);
    tick(piece);
    if (had) (piece.matches("a") ? piece : piece.querySelector("a"))?.focus();
  }
  async function refresh() {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => null);
    if (!answer || !answer.ok) return;
    if (new URL(answer.url).pathname !== location.pathname) return over();
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.querySelector("[data-region]");
    if (!fresh) return;
    const typed = region.querySelector("[name=q]");
    const focused = document.activeElement && region.contains(document.activeElement) ? document.activeElement.id : "";
    if (typed) fresh.querySelector("[name=q]")?.replaceWith(typed);
    region.replaceChildren(...fresh.childNodes);
    if (focused) document.getElementById(focused)?.focus();
    tick();
    narrow();
  }
  function over() {
    isOver = true;
    stop();
    const next = encodeURIComponent(location.pathname + location.search);
    say("Your session has ended: this page is no longer kept up to date.", `${root.dataset.login}?next=${next}`);
  }
  function stop() {
    clearTimeout(worry);
    clearTimeout(again);
    worry = again = 0;
    source?.close();
    source = null;
  }
  function fine() {
    clearTimeout(worry);
    worry = 0;
    if (!isOver) say("");
  }
  function start() {
    stop();
    if (isOver) return;
    source = new EventSource(`${root.dataset.live}&seen=${encodeURIComponent(seen)}`);
    const note = (event) => (seen = event.lastEventId || seen);
    source.onopen = fine;
    source.addEventListener("parts", (event) => {
      for (const [id, html] of Object.entries(JSON.parse(event.data))) swap(id, html);
      note(event);
      narrow();
    });
    source.addEventListener("refresh", (event) => {
      note(event);
      refresh();
    });
    source.addEventListener("ended", over);
    source.onerror = () => {
      worry ||= setTimeout(() => say("No live updates at the moment: trying again…"), PATIENCE_MS);
      if (source.readyState === EventSource.CLOSED) again = setTimeout(start, AGAIN_MS);
    };
  }
  // A page in the background listens to nothing, and catches up once it is looked at again.
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : start()));
  addEventListener("pagehide", stop);
  addEventListener("pageshow", (event) => event.persisted && start());

  tick();
  narrow();
  if (!document.hidden) start();
})();
