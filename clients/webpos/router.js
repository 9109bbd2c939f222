/**
 * The request router for terminals in a browser: which server a request goes to, until it ends.
 *
 * The same rules as the Python package `request_router`, proved by the same scenarios (clients/scenarios).
 * Rules N6 to N12. Time, calls and storage are given from outside, so that nothing here needs a browser.
 */

const LARGEST_DOCUMENT = 16 * 2 ** 20;
const LONGEST_TEXT = 2000;
const LONGEST_MESSAGE_ID = 200;
const DELIVERIES_KEPT = 1000;
const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 60_000;
const PASSED_OVER_MS = 30_000;
const SPREAD = 0.3;
const SHARED = "";
const GET_TOKEN = "org.openbravo.mobile.core.authenticate.GetToken";
const LONGEST_TOKEN = 8000;
const GENERIC = { name: "Generic", routingType: "failover", isTransactional: false, timeoutS: null };
const STATES = ["online", "transition_to_offline", "offline", "transition_to_online"];
const BOUNDS = {
  ping_interval_ms: [60_000, 86_400_000, 300_000],
  token_refresh_interval_ms: [600_000, 86_400_000, 1_800_000],
  token_max_age_ms: [1, 31_536_000_000, 43_200_000],
  request_retries: [0, 100, 0],
  request_timeout_s: [1, 3600, 15],
  poll_interval_s: [1, 86_400, 60],
};

/** What was sent is no document of the kind that was asked for; the message says where. */
export class WrongDocument extends Error {}
/** The caller asked for what can never be sent; nothing was stored. */
export class WrongRequest extends Error {}
/** No Booster gave an answer; `retryAfterS`: not before. */
export class NoBooster extends Error {
  constructor(reasons, retryAfterS = 0) {
    super(reasons.join("; ") || "no Booster is known");
    this.retryAfterS = retryAfterS;
  }
}
/** A Booster refuses what it was asked; asking another one, or again, would not help. */
export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

// --- Documents: checked from end to end, taken whole or not at all --------------------------------

function wrong(where, what) {
  throw new WrongDocument(`${where} ${what}.`);
}

function anObject(value, where) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) wrong(where, "must be an object");
  return value;
}

function aList(value, where) {
  if (!Array.isArray(value)) wrong(where, "must be a list");
  return value;
}

function aText(value, where) {
  if (typeof value !== "string" || !value || value.length > LONGEST_TEXT) wrong(where, "must be a text");
  return value;
}

function aFlag(value, where) {
  if (typeof value !== "boolean") wrong(where, "must be true or false");
  return value;
}

function once(names, where) {
  if (new Set(names).size !== names.length) wrong(where, "twice");
}

/** Return an http(s) address without user, query and fragment; throws WrongDocument. */
export function address(value, where = "address") {
  if (typeof value !== "string" || value.length > LONGEST_TEXT) wrong(where, "must be an address");
  let parts;
  try {
    parts = new URL(value);
  } catch {
    wrong(where, "is no address");
  }
  if (!/^https?:\/\/[^/]/.test(value)) wrong(where, "must be an http or https address");
  if (parts.username || parts.password || /[?#\s@\\]/.test(value)) wrong(where, "must have no user, query or fragment");
  return value.replace(/\/+$/, "");
}

function format(value) {
  const members = anObject(value, "the document");
  if (members.format !== 1) wrong("the document's format", "must be 1");
  return members;
}

function serverOf(value, where) {
  const row = anObject(value, where);
  if (row.type !== "main" && row.type !== "store") wrong(`${where}.type`, "must be main or store");
  const services = aList(row.services, `${where}.services`);
  if (!services.every((name) => typeof name === "string")) wrong(`${where}.services`, "must be a list of texts");
  return {
    key: aText(row.key, `${where}.key`),
    name: aText(row.name, `${where}.name`),
    url: address(row.url, `${where}.url`),
    isMain: row.type === "main",
    allServices: aFlag(row.all_services, `${where}.all_services`),
    services,
  };
}

function serviceOf(value, where) {
  const row = anObject(value, where);
  const timeoutS = row.timeout_s ?? null;
  if (timeoutS !== null && !(Number.isInteger(timeoutS) && timeoutS >= 1)) {
    wrong(`${where}.timeout_s`, "must be a whole number of seconds from 1, or null");
  }
  const kind = aText(row.routing_type, `${where}.routing_type`);
  return {
    name: aText(row.name, `${where}.name`),
    routingType: ["broadcast", "ping"].includes(kind) ? kind : "failover",
    isTransactional: aFlag(row.transactional, `${where}.transactional`),
    timeoutS,
  };
}

function preferencesOf(row) {
  const good = {};
  for (const [name, [least, most, otherwise]] of Object.entries(BOUNDS)) {
    const value = row[name];
    good[name] = Number.isInteger(value) && value >= least && value <= most ? value : otherwise;
  }
  return good;
}

/** Return the configuration that a JSON value spells; throws WrongDocument. */
export function configurationOf(value) {
  const members = format(value);
  const servers = aList(members.servers, "servers").map((row, n) => serverOf(row, `servers[${n}]`));
  const services = aList(members.services, "services").map((row, n) => serviceOf(row, `services[${n}]`));
  once(servers.map((server) => server.key), "servers has a key");
  once(services.map((service) => service.name), "services has a name");
  return {
    organization: aText(anObject(members.organization, "organization").code, "organization.code"),
    isMultiServer: aFlag(members.multi_server, "multi_server"),
    preferences: preferencesOf(anObject(members.preferences, "preferences")),
    servers,
    services,
    boosters: aList(members.boosters, "boosters").map((url, n) => address(url, `boosters[${n}]`)),
  };
}

/** Return the states by server key (a Map) that a JSON value spells; throws WrongDocument. */
export function statusOf(value) {
  const states = new Map();
  aList(format(value).servers, "servers").forEach((value, n) => {
    const row = anObject(value, `servers[${n}]`);
    if (!STATES.includes(row.status)) wrong(`servers[${n}].status`, "is no state");
    states.set(aText(row.key, `servers[${n}].key`), row.status);
  });
  return states;
}

function byCodePoint(one, other) {
  const a = Array.from(one, (c) => c.codePointAt(0));
  const b = Array.from(other, (c) => c.codePointAt(0));
  for (let n = 0; n < Math.min(a.length, b.length); n++) if (a[n] !== b[n]) return a[n] - b[n];
  return a.length - b.length;
}

/** Return the winning service of a request: the longest name contained in it (N6), else Generic. */
export function match(configuration, path) {
  const services = configuration?.services ?? [];
  const length = (service) => Array.from(service.name).length;
  const found = services.filter((service) => path.includes(service.name));
  found.sort((a, b) => length(b) - length(a) || byCodePoint(a.name, b.name));
  return found[0] ?? services.find((service) => service.name === GENERIC.name) ?? GENERIC;
}

// --- What an answer means (N8, N10) ---------------------------------------------------------------

/** Return what it means that no answer came. */
export function away(reason) {
  return { meaning: "away", reason, body: null };
}

function json(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function isObject(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

function responseOf(body) {
  if (!isObject(body)) return {};
  const response = "response" in body ? body.response : body;
  return isObject(response) ? response : {};
}

function messageOf(body) {
  const { error } = responseOf(body);
  const message = isObject(error) ? error.message : error;
  return typeof message === "string" && message ? `: ${message.slice(0, 300)}` : "";
}

/** Return what an HTTP answer means: accepted, refused, wrong, unknown_caller, transition, not_here or away. */
export function meaningOf(status, text) {
  if (status >= 500) return away(`HTTP ${status}`);
  const body = json(text);
  if (status === 401) return { meaning: "unknown_caller", reason: "HTTP 401", body: null };
  if (status === 404 || (status >= 300 && status < 400)) return { meaning: "not_here", reason: `HTTP ${status}`, body: null };
  if (status >= 400) return { meaning: "wrong", reason: `HTTP ${status}${messageOf(body)}`, body: null };
  if (!isObject(body)) return away(`HTTP ${status} without a JSON object`);
  const response = responseOf(body);
  const signal = response.serverStatusSignal;
  if (signal === "TON" || signal === "TOFF") return { meaning: "transition", reason: `in transition (${signal})`, body };
  if (response.error || (Number.isInteger(response.status) && response.status < 0)) {
    return { meaning: "refused", reason: `refused${messageOf(body)}`, body };
  }
  return { meaning: "accepted", reason: "", body };
}

// --- What a terminal believes of each server (N12) ------------------------------------------------

class Flags {
  #states = new Map();
  #told = new Map();

  state(key) {
    return this.#states.get(key) ?? "online";
  }

  #set(key, status) {
    const wasOnline = this.state(key) === "online";
    this.#states.set(key, status.startsWith("transition") ? "transition" : status);
    return !wasOnline && this.state(key) === "online";
  }

  told(states) {
    let came = false;
    for (const [key, status] of states) {
      if (this.#told.get(key) !== status) came = this.#set(key, status) || came;
    }
    this.#told = new Map(states);
    return came;
  }

  answered(key, meaning) {
    if (meaning === "not_here") return false;
    return this.#set(key, { away: "offline", transition: "transition_to_online" }[meaning] ?? "online");
  }

  inOrder(providers, isTransaction) {
    const of = (state) => providers.filter((server) => this.state(server.key) === state);
    return [...of("online"), ...of("offline"), ...(isTransaction ? [] : of("transition"))];
  }

  away(servers) {
    return servers.filter((server) => this.state(server.key) !== "online");
  }
}

// --- Storage --------------------------------------------------------------------------------------

/** Keeps messages in memory: for tests, and where losing them does no harm. */
export class MemoryStore {
  #number = 0;
  #messages = [];
  #deliveries = [];
  #kept = new Map();

  async store(messageId, queues, service, path, body, createdMs) {
    if (this.#messages.some((message) => message.messageId === messageId && queues.includes(message.queue))) return false;
    const text = JSON.stringify(body);
    for (const queue of queues) {
      const message = { number: ++this.#number, messageId, queue, service, path, body: JSON.parse(text), createdMs };
      this.#messages.push({ ...message, attempts: 0, error: null });
    }
    return true;
  }

  async queues() {
    return [...new Set((await this.waiting()).map((message) => message.queue))];
  }

  async first(queue) {
    return (await this.waiting()).find((message) => message.queue === queue) ?? null;
  }

  async waiting() {
    return this.#messages.filter((message) => message.error === null);
  }

  async errors() {
    return this.#messages.filter((message) => message.error !== null);
  }

  async attempted(message) {
    message.attempts += 1;
  }

  async delivered(message, server, isSynchronized, deliveredMs) {
    this.#messages = this.#messages.filter((other) => other.number !== message.number);
    this.#deliveries.push({ messageId: message.messageId, queue: message.queue, server, isSynchronized, deliveredMs });
    this.#deliveries = this.#deliveries.slice(-DELIVERIES_KEPT);
  }

  async deliveries() {
    return [...this.#deliveries];
  }

  async refuse(message, reason) {
    message.error = reason;
  }

  async retry(messageId) {
    const found = (await this.errors()).filter((message) => message.messageId === messageId);
    for (const message of found) message.error = null;
    return found.length;
  }

  async drop(messageId) {
    const before = this.#messages.length;
    this.#messages = this.#messages.filter((message) => message.error === null || message.messageId !== messageId);
    return before - this.#messages.length;
  }

  async get(name) {
    return this.#kept.get(name);
  }

  async set(name, value) {
    this.#kept.set(name, value);
  }

  close() {}
}

function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Keeps messages in IndexedDB: what `store` has answered is on the disk, as far as the browser can promise it. */
export class IndexedDbStore {
  #database;

  constructor(database) {
    this.#database = database;
    database.onversionchange = () => database.close();
  }

  /** Open the store of that name; rejects where the browser has no IndexedDB or refuses it. */
  static async open(name = "booster-router", factory = globalThis.indexedDB) {
    const opening = factory.open(name, 1);
    opening.onupgradeneeded = () => {
      const messages = opening.result.createObjectStore("messages", { keyPath: "number", autoIncrement: true });
      messages.createIndex("once", ["messageId", "queue"], { unique: true });
      messages.createIndex("waitingIn", "waitingIn"); // a refused message has no such member
      opening.result.createObjectStore("deliveries", { keyPath: "number", autoIncrement: true });
      opening.result.createObjectStore("kept");
    };
    return new IndexedDbStore(await done(opening));
  }

  async #write(name, change) {
    const transaction = this.#database.transaction(name, "readwrite", { durability: "strict" });
    const ended = new Promise((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error ?? new Error("The browser ended the transaction."));
    });
    ended.catch(() => {}); // the change may fail first; it is awaited below
    const names = Array.isArray(name) ? name : [name];
    let result;
    try {
      result = await change(...names.map((one) => transaction.objectStore(one)));
    } catch (error) {
      try {
        transaction.abort();
      } catch {
        // it has ended by itself
      }
      throw error;
    }
    await ended;
    return result;
  }

  #read(name) {
    return this.#database.transaction(name).objectStore(name);
  }

  async store(messageId, queues, service, path, body, createdMs) {
    const row = { messageId, service, path, body: JSON.parse(JSON.stringify(body)), createdMs, attempts: 0, error: null };
    return this.#write("messages", async (messages) => {
      for (const queue of queues) {
        if (await done(messages.index("once").getKey([messageId, queue]))) return false;
      }
      for (const queue of queues) await done(messages.add({ ...row, queue, waitingIn: queue }));
      return true;
    });
  }

  async queues() {
    const found = [];
    const cursor = this.#read("messages").index("waitingIn").openKeyCursor(null, "nextunique");
    await new Promise((resolve, reject) => {
      cursor.onerror = () => reject(cursor.error);
      cursor.onsuccess = () => {
        if (!cursor.result) return resolve();
        found.push([cursor.result.primaryKey, cursor.result.key]);
        cursor.result.continue();
      };
    });
    return found.sort((a, b) => a[0] - b[0]).map(([, queue]) => queue);
  }

  async first(queue) {
    return (await done(this.#read("messages").index("waitingIn").get(queue))) ?? null;
  }

  async waiting() {
    return (await done(this.#read("messages").getAll())).filter((message) => message.error === null);
  }

  async errors() {
    return (await done(this.#read("messages").getAll())).filter((message) => message.error !== null);
  }

  async attempted(message) {
    message.attempts += 1;
    await this.#write("messages", (messages) => done(messages.put(message)));
  }

  async delivered(message, server, isSynchronized, deliveredMs) {
    const row = { messageId: message.messageId, queue: message.queue, server, isSynchronized, deliveredMs };
    await this.#write(["messages", "deliveries"], async (messages, deliveries) => {
      await done(messages.delete(message.number));
      const number = await done(deliveries.add(row));
      if (number > DELIVERIES_KEPT) await done(deliveries.delete(IDBKeyRange.upperBound(number - DELIVERIES_KEPT)));
    });
  }

  async deliveries() {
    return done(this.#read("deliveries").getAll());
  }

  async refuse(message, reason) {
    const { waitingIn, ...refused } = { ...message, error: reason };
    await this.#write("messages", (messages) => done(messages.put(refused)));
  }

  async retry(messageId) {
    return this.#ofErrors(messageId, (messages, row) => messages.put({ ...row, error: null, waitingIn: row.queue }));
  }

  async drop(messageId) {
    return this.#ofErrors(messageId, (messages, row) => messages.delete(row.number));
  }

  async #ofErrors(messageId, change) {
    return this.#write("messages", async (messages) => {
      const range = IDBKeyRange.bound([messageId], [messageId, []]);
      const rows = (await done(messages.index("once").getAll(range))).filter((row) => row.error !== null);
      for (const row of rows) await done(change(messages, row));
      return rows.length;
    });
  }

  async get(name) {
    return done(this.#read("kept").get(name));
  }

  async set(name, value) {
    await this.#write("kept", (kept) => done(kept.put(value, name)));
  }

  close() {
    this.#database.close();
  }
}

// --- The router -----------------------------------------------------------------------------------

function ended(outcome, service, tried, server = null, answer = null) {
  const reasons = tried.map((one) => `${one.server}: ${one.reason}`).join("; ").replace(/\.$/, "");
  const reason = `${service.name} failed. ${reasons}.`;
  return { outcome, service: service.name, tried, server, answer, byServer: {}, messageId: null, reason };
}

/** Tell whether JSON carries a body as it is: it would make null of NaN, and no server reads half a character. */
function isDeliverable(body) {
  const carried = (name, value) => {
    const isNumberless = typeof value === "number" && !Number.isFinite(value);
    if (isNumberless || /\p{Surrogate}/u.test(name) || (typeof value === "string" && /\p{Surrogate}/u.test(value))) {
      throw new TypeError("JSON cannot carry this");
    }
    return value;
  };
  try {
    return isObject(body) && isObject(JSON.parse(JSON.stringify(body, carried)));
  } catch {
    return false;
  }
}

/** Routes one terminal's requests; `pump` is called by whoever keeps time. */
export class RequestRouter {
  #transport;
  #now;
  #wall;
  #home;
  #logInAgain;
  #flags = new Flags();
  #pauses = new Map();
  #pingAt = null;
  #pumping = Promise.resolve();

  constructor({ transport, store, now, wall = () => Date.now(), homeUrl = "", logInAgain = async () => false }) {
    this.#transport = transport;
    this.store = store;
    this.#now = now;
    this.#wall = wall;
    const home = { key: "home", name: "Default", url: homeUrl.replace(/\/+$/, ""), isMain: true, allServices: true };
    this.#home = homeUrl ? { ...home, services: [] } : null;
    this.#logInAgain = logInAgain;
    this.configuration = null;
    this.whenDue = () => {};
  }

  configure(configuration) {
    this.configuration = configuration;
  }

  told(states) {
    if (this.#flags.told(states)) this.#pauses.clear();
    this.#planPing();
    this.whenDue();
  }

  servers() {
    if (this.configuration?.servers.length) return this.configuration.servers;
    return this.#home ? [this.#home] : [];
  }

  isOnline(key) {
    return this.#flags.state(key) === "online";
  }

  isInTransition(key) {
    return this.#flags.state(key) === "transition";
  }

  match(path) {
    return match(this.configuration, path);
  }

  providers(service) {
    return this.servers().filter((server) => server.allServices || server.services.includes(service));
  }

  /** Send a request, or store it if its service is transactional; resolves to how it ended. Throws WrongRequest. */
  async request(path, body = {}, { lacks = () => "" } = {}) {
    if (!isDeliverable(body)) throw new WrongRequest("The request cannot be sent as JSON.");
    const service = this.match(path);
    const providers = this.providers(service.name);
    if (service.isTransactional) return this.#store(service, path, { ...body }, providers);
    if (!providers.length) {
      return { ...ended("failure", service, []), reason: `No server provides ${service.name}.` };
    }
    if (service.routingType === "broadcast") return this.#broadcast(service, path, body, providers);
    return this.#failOver(service, path, body, providers, lacks);
  }

  async #store(service, path, body, providers) {
    if (!Array.isArray(body.data) || !body.data.length) {
      throw new WrongRequest("A transaction needs data: a list that is not empty.");
    }
    const messageId = (body.messageId ??= randomId());
    if (typeof messageId !== "string" || !messageId || messageId.length > LONGEST_MESSAGE_ID) {
      throw new WrongRequest(`A messageId is a text of at most ${LONGEST_MESSAGE_ID} characters.`);
    }
    const queues = service.routingType === "broadcast" ? providers.map((server) => server.key) : [SHARED];
    // What nobody provides at present waits for a configuration in which somebody does.
    await this.store.store(messageId, queues.length ? queues : [SHARED], service.name, path, body, this.#wall());
    this.whenDue();
    return { ...ended("stored", service, []), messageId, reason: "" };
  }

  async #failOver(service, path, body, providers, lacks) {
    const tried = [];
    for (const server of this.#flags.inOrder(providers, false)) {
      const answered = await this.#ask(server, service, path, body);
      const missing = answered.meaning === "accepted" ? lacks(answered.body) : "";
      if (answered.meaning === "accepted" && !missing) {
        tried.push({ server: server.key, reason: "" });
        return { ...ended("success", service, tried, server.key, answered.body), reason: "" };
      }
      tried.push({ server: server.key, reason: missing || answered.reason });
      if (["refused", "wrong", "unknown_caller"].includes(answered.meaning)) {
        return ended(answered.meaning === "refused" ? "refused" : "failure", service, tried, server.key, answered.body);
      }
    }
    return ended("failure", service, tried);
  }

  /** Send to every provider whatever its flag; failures are told by server (N9). */
  async #broadcast(service, path, body, providers) {
    const byServer = {};
    for (const server of providers) byServer[server.key] = await this.#ask(server, service, path, body);
    const tried = providers.map(({ key }) => ({ server: key, reason: byServer[key].reason }));
    const accepted = providers.find(({ key }) => byServer[key].meaning === "accepted");
    if (!accepted) return { ...ended("failure", service, tried), byServer };
    const answer = byServer[accepted.key].body;
    return { ...ended("success", service, tried, accepted.key, answer), byServer, reason: "" };
  }

  async #ask(server, service, path, body) {
    const preferences = this.configuration?.preferences;
    const timeoutS = service.timeoutS ?? preferences?.request_timeout_s ?? 15;
    let answered = away("");
    for (let left = 1 + (preferences?.request_retries ?? 0); left > 0; left--) {
      answered = await this.#transport.send(server, path, body, timeoutS);
      if (answered.meaning === "unknown_caller" && (await this.#logInAgain(server))) {
        answered = await this.#transport.send(server, path, body, timeoutS);
      }
      if (answered.meaning !== "away") break;
    }
    this.#note(server, answered);
    return answered;
  }

  #note(server, answered) {
    if (this.#flags.answered(server.key, answered.meaning)) this.#pauses.clear();
    this.#planPing();
  }

  /** Ping who is due to be pinged, and deliver what can be delivered; one at a time does this. */
  pump() {
    const turn = this.#pumping.then(async () => {
      await this.#ping();
      for (const queue of await this.store.queues()) await this.#deliver(queue);
    });
    this.#pumping = turn.catch(() => {});
    return turn;
  }

  /** Return when `pump` has something to do, or null while it has nothing to wait for. */
  async dueAtMs() {
    const moments = (await this.store.queues()).map((queue) => this.#pauses.get(queue)?.notBefore ?? 0);
    if (this.#pingAt !== null) moments.push(this.#pingAt);
    return moments.length ? Math.min(...moments) : null;
  }

  #pingService() {
    const pings = (this.configuration?.services ?? []).filter((service) => service.routingType === "ping");
    return pings.sort((a, b) => byCodePoint(a.name, b.name))[0] ?? null;
  }

  #planPing() {
    if (!this.#pingService() || !this.#flags.away(this.servers()).length) this.#pingAt = null;
    else this.#pingAt ??= this.#now() + this.configuration.preferences.ping_interval_ms;
  }

  /** Ping the servers that are not online, and no others, once an interval (N11). */
  async #ping() {
    this.#planPing();
    if (this.#pingAt === null || this.#now() < this.#pingAt) return;
    const { preferences } = this.configuration;
    const service = this.#pingService();
    this.#pingAt = this.#now() + preferences.ping_interval_ms;
    for (const server of this.#flags.away(this.servers())) {
      const timeoutS = service.timeoutS ?? preferences.request_timeout_s;
      this.#note(server, await this.#transport.send(server, service.name, {}, timeoutS));
    }
  }

  async #deliver(queue) {
    for (let message = await this.store.first(queue); message; message = await this.store.first(queue)) {
      const { failures, notBefore } = this.#pauses.get(queue) ?? { failures: 0, notBefore: 0 };
      if (this.#now() < notBefore) return;
      if (!(await this.#deliverOne(message))) {
        const pause = Math.min(FIRST_PAUSE_MS * 2 ** failures, LONGEST_PAUSE_MS);
        this.#pauses.set(queue, { failures: Math.min(failures + 1, 10), notBefore: this.#now() + pause });
        return;
      }
      this.#pauses.delete(queue);
    }
  }

  async #deliverOne(message) {
    const service = this.match(message.path);
    let providers = this.providers(service.name);
    if (message.queue !== SHARED) {
      if (!this.servers().some((server) => server.key === message.queue)) {
        await this.store.refuse(message, `${message.queue}: is not configured any more`);
        return true;
      }
      providers = providers.filter((server) => server.key === message.queue);
    }
    const order = this.#flags.inOrder(providers, true);
    if (order.length) await this.store.attempted(message);
    for (const server of order) {
      const answered = await this.#ask(server, service, message.path, message.body);
      if (answered.meaning === "accepted") {
        await this.store.delivered(message, server.key, server.isMain, this.#wall());
        return true;
      }
      if (answered.meaning === "refused" || answered.meaning === "wrong") {
        await this.store.refuse(message, `${server.key}: ${answered.reason}`);
        return true;
      }
    }
    return false;
  }
}

/** A message id that nobody else has; also where the page is not served over TLS. */
function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// --- Calls ----------------------------------------------------------------------------------------

/** Call an address: no redirect is followed, no cookie sent; resolves to status, headers and bytes, or throws. */
async function call(fetcher, url, { method = "GET", headers = {}, body, timeoutS }) {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), timeoutS * 1000);
  const options = { method, headers, body, signal: abort.signal };
  try {
    const answer = await fetcher(url, { ...options, redirect: "manual", credentials: "omit", cache: "no-store" });
    if (answer.type === "opaqueredirect") return { status: 302, headers: answer.headers, bytes: new Uint8Array() };
    return { status: answer.status, headers: answer.headers, bytes: await wholeBody(answer) };
  } catch (error) {
    throw new Error(abort.signal.aborted ? `no whole answer within ${timeoutS} s` : String(error?.message ?? error));
  } finally {
    clearTimeout(timer);
  }
}

async function wholeBody(answer) {
  const chunks = [];
  let length = 0;
  const reader = answer.body?.getReader();
  for (let read = await reader?.read(); read && !read.done; read = await reader.read()) {
    length += read.value.length;
    if (length > LARGEST_DOCUMENT) {
      await reader.cancel();
      throw new Error(`an answer of more than ${LARGEST_DOCUMENT} bytes`);
    }
    chunks.push(read.value);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/** Sends requests to mobile servers with `fetch`; `headersFor` gives what a server is told of the caller. */
export class FetchTransport {
  #fetch;
  #headersFor;

  constructor({ fetch = globalThis.fetch.bind(globalThis), headersFor = () => ({}) } = {}) {
    this.#fetch = fetch;
    this.#headersFor = headersFor;
  }

  async send(server, path, body, timeoutS) {
    const headers = { "Content-Type": "application/json", ...this.#headersFor(server) };
    const url = `${server.url}/${path.replace(/^\/+/, "")}`;
    try {
      const answer = await call(this.#fetch, url, { method: "POST", headers, body: JSON.stringify(body), timeoutS });
      return meaningOf(answer.status, new TextDecoder().decode(answer.bytes));
    } catch (error) {
      return away(error.message);
    }
  }
}

/** The Boosters in order: the first that answers, and the first again when it is back. */
export class Boosters {
  #fetch;
  #now;
  #failedAt = new Map();

  constructor(urls, { fetch = globalThis.fetch.bind(globalThis), now = () => performance.now() } = {}) {
    this.urls = urls.map((url) => address(url, "booster"));
    this.#fetch = fetch;
    this.#now = now;
  }

  inOrder() {
    const lately = (url) => this.#now() - (this.#failedAt.get(url) ?? -Infinity) < PASSED_OVER_MS;
    return [...this.urls.filter((url) => !lately(url)), ...this.urls.filter(lately)];
  }

  /** Resolves to the first answer that is one; throws NoBooster or Refused. */
  async ask(method, path, { token = "", headers = {}, body, timeoutS = 10 } = {}) {
    const reasons = [];
    let retryAfterS = 0;
    const sent = { ...headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
    if (body !== undefined) sent["Content-Type"] = "application/json";
    for (const url of this.inOrder()) {
      let answer;
      try {
        const options = { method, headers: sent, body: body && JSON.stringify(body), timeoutS };
        answer = await call(this.#fetch, `${url}/api/v1/terminal${path}`, options);
      } catch (error) {
        this.#failedAt.set(url, this.#now());
        reasons.push(`${url}: ${error.message}`);
        continue;
      }
      this.#failedAt.delete(url);
      if ([200, 201, 204, 304].includes(answer.status)) return answer;
      if (answer.status >= 400 && answer.status < 500 && answer.status !== 429) {
        const detail = json(new TextDecoder().decode(answer.bytes))?.detail;
        throw new Refused(answer.status, typeof detail === "string" ? detail : `HTTP ${answer.status}`);
      }
      reasons.push(`${url}: HTTP ${answer.status}`);
      const after = answer.headers.get("Retry-After") ?? "";
      if (/^\d+$/.test(after)) retryAfterS = Math.max(retryAfterS, Math.min(Number(after), 3600));
    }
    throw new NoBooster(reasons, retryAfterS);
  }

  /** Resolves to `{value, tag, revision}` if the document is another than that of `tag`, else to null. */
  async poll(door, { token, tag = "", waitS = 0 }) {
    const headers = tag ? { "If-None-Match": `"${tag}"` } : {};
    const path = waitS ? `/${door}?wait=${waitS}` : `/${door}`;
    const answer = await this.ask("GET", path, { token, headers, timeoutS: waitS ? waitS + 5 : 10 });
    if (answer.status === 304) return null;
    const value = json(new TextDecoder().decode(answer.bytes));
    if (value === null) throw new WrongDocument("The document is no JSON.");
    const given = (answer.headers.get("ETag") ?? "").replaceAll('"', "").replace(/-gzip$/, "");
    return { value, tag: given, revision: Number(answer.headers.get("X-Booster-Revision") ?? 0) || 0 };
  }
}

/** Return how many milliseconds to wait after so many failures in a row: growing, at most a minute, spread. */
export function pauseMs(failures, notBeforeS = 0, chance = Math.random) {
  const grown = Math.min(FIRST_PAUSE_MS * 2 ** Math.max(failures - 1, 0), LONGEST_PAUSE_MS);
  return Math.max(grown, notBeforeS * 1000) * (1 + SPREAD * chance());
}

/** Return the token that an answer of a login or of GetToken carries, empty where there is none. */
export function tokenIn(answer) {
  const token = isObject(answer) ? answer.authenticationToken : null;
  return typeof token === "string" && token.length <= LONGEST_TOKEN && /^[!-~]+$/.test(token) ? token : "";
}

/** A whole terminal of a browser: the router, kept up to date by the Boosters; one tab at a time delivers. */
export class Terminal {
  #token;
  #locks;
  #lockName;
  #stopping = new AbortController();
  #tags = {};
  #login = "";

  constructor({ store, token, boosters, fetch, homeUrl = "", headersFor = () => ({}), locks = globalThis.navigator?.locks, name = "" }) {
    this.store = store;
    this.#token = token;
    this.#locks = locks;
    this.#lockName = `booster-router ${name}`;
    this.boosters = new Boosters(boosters, fetch ? { fetch } : {});
    const headers = (server) => ({ ...(this.#login && { Authorization: `Bearer ${this.#login}` }), ...headersFor(server) });
    const transport = new FetchTransport({ ...(fetch ? { fetch } : {}), headersFor: headers });
    this.router = new RequestRouter({ transport, store, homeUrl, now: () => performance.now() });
    this.router.whenDue = () => void this.deliver().catch(() => {});
    this.receivedAt = {};
    this.revisions = {};
    this.endedBy = "";
  }

  /** Put the last good documents into force; what cannot be used is passed over. */
  async restore() {
    for (const door of ["configuration", "status"]) {
      const kept = await this.store.get(door);
      try {
        if (kept) this.#take(door, kept);
      } catch (error) {
        if (!(error instanceof WrongDocument)) throw error;
      }
    }
  }

  #take(door, kept) {
    if (door === "configuration") {
      const configuration = configurationOf(kept.value);
      this.router.configure(configuration);
      if (configuration.boosters.length) this.boosters.urls = configuration.boosters;
    } else {
      this.router.told(statusOf(kept.value));
    }
    this.#tags[door] = kept.tag;
    this.revisions[door] = kept.revision;
    this.receivedAt[door] = kept.receivedAt;
  }

  /** Ask for a document once; resolves to whether there was a new one. The last good one stays when it throws. */
  async poll(door, waitS = 0) {
    const polled = await this.boosters.poll(door, { token: this.#token, tag: this.#tags[door], waitS });
    if (polled === null) {
      this.receivedAt[door] = Date.now();
      return false;
    }
    const kept = { ...polled, receivedAt: Date.now() };
    this.#take(door, kept);
    await this.store.set(door, kept);
    return true;
  }

  /** Ping and deliver what is due, unless another tab does. */
  async deliver() {
    if (!this.#locks) return this.router.pump();
    return this.#locks.request(this.#lockName, { ifAvailable: true }, (lock) => (lock ? this.router.pump() : undefined));
  }

  /** Send this login token to the servers from now on, in a header, and renew it; throws WrongRequest. */
  loggedIn(token) {
    if (!tokenIn({ authenticationToken: token })) throw new WrongRequest("This is no token that can be sent.");
    this.#login = token;
  }

  /** Forget the login token. Telling the servers is a request of its own. */
  loggedOut() {
    this.#login = "";
  }

  /** Ask the servers for a new login token until one gives it; resolves to whether one did (4.8). */
  async renewLogin() {
    const old = this.#login;
    const lacks = (answer) => (tokenIn(answer) ? "" : "gave no token");
    const result = await this.router.request(GET_TOKEN, {}, { lacks });
    if (result.outcome !== "success" || !tokenIn(result.answer) || this.#login !== old) return false;
    this.#login = tokenIn(result.answer);
    return true;
  }

  /** Renew the login every interval, and never give up while that fails. */
  async #keepLogin() {
    let failures = 0;
    while (!this.#stopping.signal.aborted) {
      const interval = this.router.configuration?.preferences.token_refresh_interval_ms ?? 1_800_000;
      await this.#rest(failures ? Math.min(pauseMs(failures), interval) : interval);
      if (this.#stopping.signal.aborted || !this.#login) failures = 0;
      else failures = (await this.renewLogin().catch(() => false)) ? 0 : failures + 1;
    }
  }

  /** Begin to poll, to deliver and to renew the login, until `stop`. */
  start() {
    for (const door of ["configuration", "status"]) void this.#keep(door);
    void this.#pump();
    void this.#keepLogin();
  }

  stop() {
    this.#stopping.abort();
  }

  #rest(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#stopping.signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
    });
  }

  async #keep(door) {
    let failures = 0;
    while (!this.#stopping.signal.aborted) {
      const began = performance.now();
      try {
        await this.poll(door, this.#tags[door] ? 50 : 0);
        failures = 0;
        if (!this.#tags[door]) await this.#rest(LONGEST_PAUSE_MS); // a tag that cannot be read: nothing to wait with
        else if (performance.now() - began < FIRST_PAUSE_MS) await this.#rest(pauseMs(1)); // it did not hold the request
      } catch (error) {
        if (error instanceof Refused && error.status === 410) {
          this.endedBy = error.message;
          return;
        }
        failures += 1;
        await this.#rest(error instanceof Refused ? LONGEST_PAUSE_MS : pauseMs(failures, error.retryAfterS));
      }
    }
  }

  async #pump() {
    while (!this.#stopping.signal.aborted) {
      await this.deliver().catch(() => {});
      const due = await this.router.dueAtMs().catch(() => null);
      await this.#rest(Math.min(Math.max((due ?? Infinity) - performance.now(), 1000), 5000));
    }
  }
}
