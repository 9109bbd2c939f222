// Runs scenarios with a transport and a clock of the test's own, in Node and in a page.

export async function run(module, scenario, store) {
  const { RequestRouter, away, configurationOf, meaningOf, statusOf } = module;
  const unexecuted = {
    refused: away("connection refused"),
    timeout: away("no answer in time"),
    refusal: meaningOf(200, '{"response":{"status":-1,"error":{"message":"no"}}}'),
    transition: meaningOf(200, '{"response":{"status":0,"serverStatusSignal":"TON"}}'),
  };
  for (const status of [500, 404, 401, 400]) unexecuted[`http_${status}`] = meaningOf(status, "{}");
  const modes = {};
  const told = { contacts: [], accepted: {}, results: [] };
  let time = 0;
  let router;
  const transport = {
    async send(server, path, body, timeoutS) {
      const mode = modes[server.key] ?? "ok";
      told.contacts.push([time, server.key, router.match(path).name]);
      if (mode === "timeout") time += timeoutS * 1000;
      if (mode in unexecuted) return unexecuted[mode];
      const executed = (told.accepted[server.key] ??= []);
      if (body.messageId && !executed.includes(body.messageId)) executed.push(body.messageId);
      return mode === "lost_answer" ? away("connection broken off") : meaningOf(200, '{"response":{"status":0}}');
    },
  };
  const documents = { configuration: scenario.configuration, status: scenario.status };
  const start = () => {
    router = new RequestRouter({ transport, store, now: () => time, wall: () => time, homeUrl: scenario.home_url ?? "" });
    router.configure(configurationOf(documents.configuration));
    if (documents.status !== null) router.told(statusOf(documents.status));
  };
  const advance = async (milliseconds) => {
    const end = time + milliseconds;
    for (let due = await router.dueAtMs(); due !== null && due <= end; due = await router.dueAtMs()) {
      const before = [time, told.contacts.length].join();
      time = Math.max(time, due);
      await router.pump();
      if ([time, told.contacts.length].join() === before) break;
    }
    time = Math.max(time, end);
  };
  start();
  for (const step of scenario.steps) {
    if (step.fault) modes[step.fault.server] = step.fault.mode;
    else if (step.request) {
      const { id, path, data } = step.request;
      const result = await router.request(path, data === undefined ? {} : { data, messageId: id });
      told.results.push([id, { outcome: result.outcome, server: result.server, tried: result.tried.map((t) => t.server) }]);
    } else if (step.restart) start();
    else if (step.advance_ms !== undefined) await advance(step.advance_ms);
    else {
      Object.assign(documents, step);
      router.configure(configurationOf(documents.configuration));
      if (step.status) router.told(statusOf(documents.status));
    }
    await router.pump();
  }
  told.queue = (await store.waiting()).map((message) => message.messageId);
  told.errors = (await store.errors()).map((message) => message.messageId);
  told.online = Object.fromEntries(router.servers().map(({ key }) => [key, router.isOnline(key)]));
  return told;
}
