// Lets a terminal meet Boosters that fail, are hostile, and come back; prints what became of it.
import * as module from "../../../clients/webpos/router.js";

const { Boosters, MemoryStore, RequestRouter, Terminal, configurationOf } = module;
const document = JSON.parse(process.argv[2]);
const modes = { "https://a.example": "ok", "https://b.example": "ok" };
const calls = [];

async function fetcher(url, options) {
  const { origin, pathname } = new URL(url);
  calls.push([origin, pathname, options.redirect, options.credentials]);
  const mode = modes[origin] ?? "ok";
  if (mode === "down") throw new TypeError("refused");
  if (mode === "redirect") return new Response(null, { status: 302, headers: { Location: "https://evil.example" } });
  if (mode === "revoked") return new Response('{"detail":"revoked"}', { status: 410 });
  if (options.headers["If-None-Match"] === '"t1"' && mode === "ok") return new Response(null, { status: 304 });
  const told = mode === "hostile" ? { ...document, servers: [{ ...document.servers[0], url: "javascript:alert(1)" }] } : document;
  return new Response(JSON.stringify(told), { headers: { ETag: '"t1-gzip"', "X-Booster-Revision": "7" } });
}

const kind = (promise) => promise.then((value) => value, (error) => error.constructor.name);
const store = new MemoryStore();
const terminal = new Terminal({ store, token: "bst_terminal_x.y", boosters: Object.keys(modes), fetch: fetcher, locks: null });
const told = { first: await terminal.poll("configuration"), again: await terminal.poll("configuration") };
modes["https://a.example"] = "hostile";
told.hostile = await kind(terminal.poll("configuration"));
told.keptServers = terminal.router.servers().map((server) => server.url);
modes["https://a.example"] = "redirect";
modes["https://b.example"] = "down";
told.nobody = await kind(terminal.poll("configuration"));
modes["https://a.example"] = "revoked";
told.revoked = await kind(terminal.poll("configuration"));
const later = new Terminal({ store, token: "t", boosters: [], fetch: fetcher, locks: null });
await later.restore();
told.restored = [later.router.servers().map((server) => server.key), later.revisions.configuration];
told.hosts = [...new Set(calls.map(([origin]) => origin))];
told.options = [...new Set(calls.map(([, , redirect, credentials]) => `${redirect} ${credentials}`))];

let time = 0;
const boosters = new Boosters(Object.keys(modes), { fetch: fetcher, now: () => time });
modes["https://a.example"] = "down";
modes["https://b.example"] = "ok";
await boosters.poll("status", { token: "t" });
told.passedOver = boosters.inOrder();
time = 30_000;
told.back = boosters.inOrder();
const sent = [];
const renewing = new Terminal({
  store: new MemoryStore(), token: "t", boosters: [], locks: null, homeUrl: "https://home.example",
  fetch: async (url, options) => {
    sent.push(options.headers.Authorization);
    return new Response(sent.length === 2 ? '{"authenticationToken":"new"}' : "{}");
  },
});
renewing.loggedIn("old");
told.renewed = [await renewing.renewLogin(), await renewing.renewLogin(), await renewing.renewLogin()];
told.sentLogins = sent;
const path = "org.openbravo.retail.posterminal.OrderLoader";
const tickets = new MemoryStore();
const router = new RequestRouter({ transport: null, store: tickets, now: () => 0 });
const services = [{ name: path, routing_type: "failover", transactional: true, timeout_s: null }];
router.configure(configurationOf({ ...document, services }));
told.unsendable = {};
for (const [name, value] of Object.entries({ nan: NaN, infinite: -Infinity, half: "\ud83d" })) {
  told.unsendable[name] = await kind(router.request(path, { data: [{ gross: value }] }));
}
told.unsendableWaiting = (await tickets.waiting()).length;
told.exports = Object.keys(module).sort();
process.stdout.write(JSON.stringify(told));
