// An MCP server that demands a token of the authorization server: the SDK's own transport and check of the header.
//
//   node protected.mjs --issuer URL [--scope-in metadata]
//
// Streamable HTTP with sessions. Without a token 401 and a challenge that names the metadata (RFC 9728) and the scope
// `mcp:tools`; with `--scope-in metadata` the scopes stand in the metadata alone. Two tools: `whoami` returns the
// subject and the scopes of the token; `admin` needs `mcp:admin` too and is answered with 403 `insufficient_scope`
// without it. A token's signature, issuer, audience and expiry are checked with `jose`.
//
// Prints {"url", "levers"}; the levers:
//   POST /forget-tokens      every token that was seen until now is answered with 401
//   POST /forget-sessions    every session is answered with 404
//   GET /calls               the requests that came, each as {"method", "tool"?, "status", "token": its number}

import { randomUUID } from "node:crypto";
import { parseArgs } from "node:util";
import { requireBearerAuth } from "@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js";
import { InvalidTokenError } from "@modelcontextprotocol/sdk/server/auth/errors.js";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import express from "express";
import { createRemoteJWKSet, jwtVerify } from "jose";
import { levers, listen, ready } from "./loopback.mjs";

const { values: options } = parseArgs({
  options: { issuer: { type: "string" }, "scope-in": { type: "string", default: "challenge" } },
});
const metadata = "/.well-known/oauth-protected-resource/mcp";
const sessions = new Map();
const seen = new Map();
const forgotten = new Set();
const calls = [];

const app = express();
const { origin: here } = await listen(app);
const resource = `${here}/mcp`;
const keys = createRemoteJWKSet(new URL("/jwks", options.issuer));

app.get(metadata, (_, response) => {
  response.json({
    resource,
    resource_name: "Protected test server",
    authorization_servers: [options.issuer],
    bearer_methods_supported: ["header"],
    scopes_supported: ["mcp:tools"],
  });
});
app.use("/mcp", express.json(), remember, demand(["mcp:tools"]));
app.use("/mcp", (request, response, next) => {
  // The tool is known before the call runs, so what it needs is asked for by HTTP, as the specification has it.
  const { method, params } = request.body ?? {};
  if (method === "tools/call" && params?.name === "admin") {
    return demand(["mcp:tools", "mcp:admin"])(request, response, next);
  }
  next();
});
app.all("/mcp", speak);

ready({
  url: resource,
  levers: await levers({
    "POST /forget-tokens": () => seen.forEach((_, token) => forgotten.add(token)),
    "POST /forget-sessions": () => {
      for (const { transport } of sessions.values()) transport.close();
      sessions.clear();
    },
    "GET /calls": () => calls,
  }),
});

// A request goes on with a good token that has the scopes. The SDK puts the scopes that it demands into each challenge.
function demand(scopes) {
  const middleware = requireBearerAuth({
    verifier: { verifyAccessToken: verify },
    requiredScopes: scopes,
    resourceMetadataUrl: `${here}${metadata}`,
  });
  return (request, response, next) => {
    if (options["scope-in"] === "metadata" && scopes.length === 1) {
      const set = response.set.bind(response);
      response.set = (name, value) => set(name, value.replace(/, scope="[^"]*"/, ""));
    }
    return middleware(request, response, next);
  };
}

async function verify(token) {
  if (forgotten.has(token)) throw new InvalidTokenError("Token was forgotten");
  try {
    const { payload } = await jwtVerify(token, keys, { issuer: options.issuer, audience: resource, typ: "at+jwt" });
    if (!seen.has(token)) seen.set(token, seen.size + 1);
    const scopes = payload.scope?.split(" ") ?? [];
    return { token, clientId: payload.client_id, scopes, expiresAt: payload.exp, extra: { subject: payload.sub } };
  } catch (error) {
    throw new InvalidTokenError(`Token is not good: ${error.code ?? error.message}`);
  }
}

async function speak(request, response) {
  const id = request.headers["mcp-session-id"];
  let session = sessions.get(id);
  if (!session && id) return response.status(404).json(failure("Session not found"));
  if (!session) {
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (created) => sessions.set(created, session),
      onsessionclosed: (closed) => sessions.delete(closed),
    });
    session = { transport, subject: request.auth.extra.subject };
    await tools().connect(transport);
  }
  if (session.subject !== request.auth.extra.subject) return response.status(404).json(failure("Session not found"));
  await session.transport.handleRequest(request, response, request.body);
}

function tools() {
  const server = new McpServer({ name: "protected", version: "1.0.0" });
  server.registerTool("whoami", { description: "Whose token this is, and what it is for" }, ({ authInfo }) => {
    const { extra, scopes } = authInfo;
    return { content: [{ type: "text", text: JSON.stringify({ subject: extra.subject, scopes }) }] };
  });
  server.registerTool("admin", { description: "Needs one more scope" }, () => ({
    content: [{ type: "text", text: "done as an administrator" }],
  }));
  return server;
}

function remember(request, response, next) {
  const { method, params } = request.body ?? {};
  response.on("finish", () => {
    const token = seen.get(request.headers.authorization?.split(" ")[1]);
    const tool = method === "tools/call" ? params?.name : undefined;
    calls.push({ method: method ?? request.method, tool, status: response.statusCode, token });
  });
  next();
}

function failure(message) {
  return { jsonrpc: "2.0", error: { code: -32001, message }, id: null };
}
