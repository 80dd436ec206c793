// What the programs here share: a server on a free port of loopback, the levers that a test pulls, and the one line
// of JSON by which a program says where it is.

import { once } from "node:events";
import { createServer } from "node:http";

// A server with this handler; its origin, as `http://127.0.0.1:PORT`. The handler may be set later, for one that has
// to know its own origin first.
export async function listen(handler) {
  const server = createServer(handler);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { server, origin: `http://127.0.0.1:${server.address().port}` };
}

// An origin of its own, which the program under test is never told, where `METHOD /path?argument=value` calls the
// function of that name with the arguments and answers with what it returns, as JSON.
export async function levers(table) {
  const { origin } = await listen(async (request, response) => {
    const url = new URL(request.url, "http://127.0.0.1");
    const lever = table[`${request.method} ${url.pathname}`];
    const answer = (status, body) => {
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    };
    if (!lever) return answer(404, { error: `the levers are: ${Object.keys(table).join(", ")}` });
    try {
      answer(200, (await lever(Object.fromEntries(url.searchParams))) ?? {});
    } catch (error) {
      answer(400, { error: error.message });
    }
  });
  return origin;
}

// A lever's or an option's number: whole, and not negative.
export function count(text) {
  if (!/^\d{1,9}$/.test(text ?? "")) throw new Error(`not a count: ${text}`);
  return Number(text);
}

// The only line on standard output: everything is ready. From now on the program ends when the one that started it
// does, even by SIGKILL: a test that is stopped leaves nothing behind.
export function ready(facts) {
  const parent = process.ppid;
  setInterval(() => process.ppid === parent || process.exit(), 500).unref();
  console.log(JSON.stringify(facts));
}
