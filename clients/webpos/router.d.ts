/** Types of `router.js`. Durations carry their unit in the name; times are milliseconds. */

export type State = "online" | "transition_to_offline" | "offline" | "transition_to_online";
export type Meaning = "accepted" | "refused" | "wrong" | "unknown_caller" | "transition" | "not_here" | "away";
export type Door = "configuration" | "status";
export type Body = Record<string, unknown>;

export interface Service {
  name: string;
  routingType: "failover" | "broadcast" | "ping";
  isTransactional: boolean;
  timeoutS: number | null;
}
export interface Server {
  key: string;
  name: string;
  url: string;
  isMain: boolean;
  allServices: boolean;
  services: string[];
}
export interface Preferences {
  ping_interval_ms: number;
  token_refresh_interval_ms: number;
  token_max_age_ms: number;
  request_retries: number;
  request_timeout_s: number;
  poll_interval_s: number;
}
export interface Configuration {
  organization: string;
  isMultiServer: boolean;
  preferences: Preferences;
  servers: Server[];
  services: Service[];
  boosters: string[];
}
export interface Answered {
  meaning: Meaning;
  reason: string;
  body: unknown;
}
export interface Result {
  outcome: "success" | "stored" | "refused" | "failure";
  service: string;
  tried: { server: string; reason: string }[];
  server: string | null;
  answer: unknown;
  byServer: Record<string, Answered>;
  messageId: string | null;
  reason: string;
}
export interface Message {
  number: number;
  messageId: string;
  queue: string;
  service: string;
  path: string;
  body: Body;
  createdMs: number;
  attempts: number;
  error: string | null;
}
export interface Delivery {
  messageId: string;
  queue: string;
  server: string;
  isSynchronized: boolean;
  deliveredMs: number;
}
export interface Store {
  store(id: string, queues: string[], service: string, path: string, body: Body, createdMs: number): Promise<boolean>;
  queues(): Promise<string[]>;
  first(queue: string): Promise<Message | null>;
  waiting(): Promise<Message[]>;
  errors(): Promise<Message[]>;
  attempted(message: Message): Promise<void>;
  delivered(message: Message, server: string, isSynchronized: boolean, deliveredMs: number): Promise<void>;
  deliveries(): Promise<Delivery[]>;
  refuse(message: Message, reason: string): Promise<void>;
  retry(messageId: string): Promise<number>;
  drop(messageId: string): Promise<number>;
  get(name: string): Promise<any>;
  set(name: string, value: unknown): Promise<void>;
  close(): void;
}
export interface Transport {
  /** Never rejects. */
  send(server: Server, path: string, body: Body, timeoutS: number): Promise<Answered>;
}

export class WrongDocument extends Error {}
export class WrongRequest extends Error {}
export class NoBooster extends Error {
  constructor(reasons: string[], retryAfterS?: number);
  retryAfterS: number;
}
export class Refused extends Error {
  constructor(status: number, detail: string);
  status: number;
}

export function address(value: unknown, where?: string): string;
export function configurationOf(value: unknown): Configuration;
export function statusOf(value: unknown): Map<string, State>;
export function match(configuration: Configuration | null, path: string): Service;
export function away(reason: string): Answered;
export function meaningOf(status: number, text: string): Answered;
export function tokenIn(answer: unknown): string;
export function pauseMs(failures: number, notBeforeS?: number, chance?: () => number): number;

export class MemoryStore implements Store {}
export interface MemoryStore extends Store {}
export class IndexedDbStore implements Store {
  static open(name?: string, factory?: IDBFactory): Promise<IndexedDbStore>;
}
export interface IndexedDbStore extends Store {}

export class RequestRouter {
  constructor(parts: {
    transport: Transport;
    store: Store;
    now: () => number;
    wall?: () => number;
    homeUrl?: string;
    logInAgain?: (server: Server) => Promise<boolean>;
  });
  readonly store: Store;
  configuration: Configuration | null;
  whenDue: () => void;
  configure(configuration: Configuration): void;
  told(states: Map<string, State>): void;
  servers(): Server[];
  isOnline(key: string): boolean;
  isInTransition(key: string): boolean;
  match(path: string): Service;
  providers(service: string): Server[];
  request(path: string, body?: Body, options?: { lacks?: (answer: unknown) => string }): Promise<Result>;
  pump(): Promise<void>;
  dueAtMs(): Promise<number | null>;
}
export class FetchTransport implements Transport {
  constructor(parts?: { fetch?: typeof fetch; headersFor?: (server: Server) => Record<string, string> });
  send(server: Server, path: string, body: Body, timeoutS: number): Promise<Answered>;
}
export class Boosters {
  constructor(urls: string[], parts?: { fetch?: typeof fetch; now?: () => number });
  urls: string[];
  inOrder(): string[];
  ask(
    method: string,
    path: string,
    options?: { token?: string; headers?: Record<string, string>; body?: Body; timeoutS?: number },
  ): Promise<{ status: number; headers: Headers; bytes: Uint8Array }>;
  poll(
    door: Door,
    options: { token: string; tag?: string; waitS?: number },
  ): Promise<{ value: unknown; tag: string; revision: number } | null>;
}
export class Terminal {
  constructor(parts: {
    store: Store;
    token: string;
    boosters: string[];
    fetch?: typeof fetch;
    homeUrl?: string;
    headersFor?: (server: Server) => Record<string, string>;
    locks?: LockManager;
    name?: string;
  });
  readonly store: Store;
  readonly router: RequestRouter;
  readonly boosters: Boosters;
  receivedAt: Partial<Record<Door, number>>;
  revisions: Partial<Record<Door, number>>;
  endedBy: string;
  restore(): Promise<void>;
  poll(door: Door, waitS?: number): Promise<boolean>;
  deliver(): Promise<void>;
  loggedIn(token: string): void;
  loggedOut(): void;
  renewLogin(): Promise<boolean>;
  start(): void;
  stop(): void;
}
