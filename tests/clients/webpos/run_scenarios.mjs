import { readFileSync } from "node:fs";
import * as module from "../../../clients/webpos/router.js";
import { run } from "./scenarios.mjs";

const scenarios = JSON.parse(readFileSync(0, "utf8"));
const told = {};
for (const [name, scenario] of Object.entries(scenarios)) {
  told[name] = await run(module, scenario, new module.MemoryStore()).catch((error) => ({ error: String(error.stack) }));
}
process.stdout.write(JSON.stringify(told));
