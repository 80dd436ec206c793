// A real authorization server, which nobody here wrote: `oidc-provider`, with its own pages for login and consent.
//
//   node provider.mjs [--ttl SECONDS] [--client-id ID --redirect-uri URI [--client-secret SECRET]]
//                     [--no-registration] [--no-cimd] [--cimd-at ORIGIN=LOOPBACK_ORIGIN]
//
// Registration (RFC 7591), client id metadata documents, PKCE, resource indicators (RFC 8707) with tokens that are
// JWTs for one resource, refresh tokens that rotate and whose family dies when an old one comes again, revocation
// (RFC 7009), `iss` in the answer (RFC 9207). One person has an account: `alice`, any password.
//
// `--client-id` knows a client beforehand. A client id metadata document must have an https address; `--cimd-at` says
// where on loopback that address is served.
//
// Prints {"issuer", "levers"}; the levers, by POST unless said otherwise:
//   GET /requests                  what came to registration, authorization, token and revocation, with the answers
//   /revoke                        every grant and refresh token is gone
//   /refuse-refresh?times=N        the next N refreshes are answered with invalid_grant
//   /unavailable?times=N           the next N token requests are answered with 503, before anything is done
//   /hold, /release                answers to token requests wait, when all is done and stored, until released
//   /ttl?seconds=N                 how long the access tokens live that are issued from now on

import { parseArgs } from "node:util";
import { errors, Provider } from "oidc-provider";
import { count, levers, listen, ready } from "./loopback.mjs";

const ACCOUNT = "alice";
const SCOPES = ["mcp:tools", "mcp:admin"];
const { values: options } = parseArgs({
  options: {
    ttl: { type: "string", default: "3600" },
    "client-id": { type: "string" },
    "client-secret": { type: "string" },
    "redirect-uri": { type: "string" },
    "no-registration": { type: "boolean", default: false },
    "no-cimd": { type: "boolean", default: false },
    "cimd-at": { type: "string" },
  },
});

// The package's remarks about what suits production are not for standard output.
console.info = console.error;

const now = { ttl: count(options.ttl), refuse: 0, unavailable: 0, held: null };
const grants = new Set();
const requests = [];

const { server, origin: issuer } = await listen();
const provider = new Provider(issuer, {
  clients: known(),
  // Nobody else can log in, however kind the development pages are.
  findAccount: (_, id) => (id === ACCOUNT ? { accountId: id, claims: () => ({ sub: id }) } : undefined),
  scopes: ["openid", "offline_access", ...SCOPES],
  pkce: { required: () => true },
  issueRefreshToken: (_, client) => client.grantTypeAllowed("refresh_token"),
  rotateRefreshToken: () => {
    if (now.refuse > 0) {
      now.refuse -= 1;
      throw new errors.InvalidGrant("refused by a lever");
    }
    return true;
  },
  features: {
    registration: { enabled: !options["no-registration"] },
    clientIdMetadataDocument: { enabled: !options["no-cimd"], ack: "draft-02" },
    revocation: { enabled: true },
    resourceIndicators: { enabled: true, getResourceServerInfo: resourceServer },
  },
  fetch: fetchDocument,
});

provider.on("grant.saved", (grant) => grants.add(grant.jti));
provider.use(async (context, next) => {
  const token = context.path === "/token";
  if (token && now.unavailable > 0) {
    now.unavailable -= 1;
    context.status = 503;
    context.body = { error: "temporarily_unavailable" };
    remember(context);
    return;
  }
  await next();
  remember(context);
  if (token) await now.held?.promise;
});
server.on("request", provider.callback());

ready({
  issuer,
  levers: await levers({
    "GET /requests": () => requests,
    "POST /revoke": revoke,
    "POST /refuse-refresh": ({ times }) => void (now.refuse = count(times)),
    "POST /unavailable": ({ times }) => void (now.unavailable = count(times)),
    "POST /hold": () => void (now.held ??= Promise.withResolvers()),
    "POST /release": () => {
      now.held?.resolve();
      now.held = null;
    },
    "POST /ttl": ({ seconds }) => void (now.ttl = count(seconds)),
  }),
});

// The client that `--client-id` names, as the operator of the server would have put it in by hand.
function known() {
  if (!options["client-id"]) return [];
  const secret = options["client-secret"];
  return [
    {
      client_id: options["client-id"],
      client_name: "Known beforehand",
      redirect_uris: [options["redirect-uri"]],
      grant_types: ["authorization_code", "refresh_token"],
      ...(secret ? { client_secret: secret } : { token_endpoint_auth_method: "none" }),
    },
  ];
}

// Any MCP server on loopback is one of ours; a token is for it alone.
function resourceServer(_, resource) {
  const { protocol, hostname } = new URL(resource);
  if (protocol !== "http:" || hostname !== "127.0.0.1") throw new errors.InvalidTarget();
  return {
    scope: SCOPES.join(" "),
    audience: resource,
    accessTokenFormat: "jwt",
    accessTokenTTL: now.ttl,
    jwt: { sign: { alg: "RS256" } },
  };
}

// A client's document comes from loopback, whatever its address says; nothing else is fetched.
async function fetchDocument(url, { signal, headers }) {
  const [from, to] = options["cimd-at"]?.split("=") ?? [];
  const { origin, pathname, search } = new URL(url);
  if (!from || origin !== from) throw new Error(`nothing is served at ${origin}`);
  return fetch(`${to}${pathname}${search}`, { signal, headers, redirect: "manual" });
}

async function revoke() {
  for (const id of grants) {
    await provider.RefreshToken.revokeByGrantId(id);
    await (await provider.Grant.find(id))?.destroy();
  }
  grants.clear();
}

// What a test may ask about later; no code, token or secret is kept.
function remember(context) {
  const { path, method, status, body, oidc } = context;
  if (!["/reg", "/auth", "/token", "/token/revocation"].includes(path)) return;
  const { grant_type, resource, scope, code_challenge_method, redirect_uri } = oidc?.params ?? {};
  const client_id = oidc?.client?.clientId ?? oidc?.params?.client_id ?? body?.client_id;
  requests.push({
    ...{ path, method, status, error: body?.error, client_id },
    ...{ grant_type, resource, scope, code_challenge_method, redirect_uri },
  });
}
