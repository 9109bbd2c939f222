// The page of a roll-out keeps itself up to date: it asks every two seconds, and gets an answer only when something moved.
(() => {
  const EVERY_MS = 2000;
  const root = document.querySelector("[data-roll-out]");
  if (!root) return;
  const region = root.querySelector("[data-region]");
  const notice = root.querySelector("[data-notice]");
  let seen = root.dataset.seen;
  let failures = 0;
  function say(text, link) {
    notice.hidden = !text;
    notice.replaceChildren(text);
    if (!link) return;
    const anchor = document.createElement("a");
    anchor.href = link;
    anchor.textContent = "Log in";
    notice.append(" ", anchor);
  }
  async function look() {
    if (document.hidden) return true;
    const answer = await fetch(`${root.dataset.rollOut}?seen=${seen}`, { redirect: "manual" }).catch(() => null);
    if (answer && (answer.type === "opaqueredirect" || answer.status === 403)) {
      say("Your session has ended: this page is no longer kept up to date.", `${root.dataset.login}?next=${encodeURIComponent(location.pathname)}`);
      return false;
    }
    failures = answer && answer.ok ? 0 : failures + 1;
    say(failures > 3 ? "The Booster cannot be reached: what is shown may be old." : "");
    if (answer && answer.status === 200) {
      const focused = document.activeElement && region.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
      region.innerHTML = await answer.text();
      seen = answer.headers.get("X-Seen") || "";
      if (focused) region.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
    }
    return true;
  }
  async function goOn() {
    if (await look()) setTimeout(goOn, EVERY_MS);
  }
  setTimeout(goOn, EVERY_MS);
})();
