// Loaded into every Node of a server whose only way out is the bot's proxy (NODE_OPTIONS=--require).
//
// Node before 22.21 knows nothing of HTTPS_PROXY, and newer ones leave out agents that a program makes for itself. Here the
// connections of http, https and fetch are made through CONNECT; nothing else is changed. Kept small and lazy: it runs at
// every start.
'use strict';

const proxy = read(process.env.HTTPS_PROXY || process.env.HTTP_PROXY);
if (proxy) {
  patch('http', false);
  patch('https', true);
  patchFetch();
}

function read(text) {
  try {
    const url = new URL(text);
    if (url.protocol !== 'http:') return null;
    const login = url.username && Buffer.from(decodeURIComponent(url.username) + ':' + decodeURIComponent(url.password));
    return {
      host: url.hostname.replace(/^\[|\]$/g, ''),
      port: Number(url.port) || 80,
      login: login ? 'Proxy-Authorization: Basic ' + login.toString('base64') + '\r\n' : '',
    };
  } catch {
    return null;
  }
}

function isOwn(host) {
  const name = String(host).replace(/^\[|\]$/g, '').toLowerCase();
  return name === 'localhost' || name.endsWith('.localhost') || name === '::1' || /^127\./.test(name);
}

// A socket that is joined to `host:port`; `done(error, socket)` once.
function tunnel(host, port, done) {
  const net = require('net');
  const socket = net.connect({ host: proxy.host, port: proxy.port });
  const target = (host.includes(':') && host[0] !== '[' ? '[' + host + ']' : host) + ':' + port;
  let head = Buffer.alloc(0);
  const end = (error) => {
    socket.removeListener('data', read);
    socket.removeListener('error', end);
    socket.removeListener('close', closed);
    if (error) socket.destroy();
    done(error, socket);
  };
  const closed = () => end(new Error('the proxy of the sandbox closed the connection to ' + target));
  const read = (chunk) => {
    head = Buffer.concat([head, chunk]);
    const at = head.indexOf('\r\n\r\n');
    if (at < 0) {
      if (head.length > 65536) end(new Error('the proxy of the sandbox gave no answer'));
      return;
    }
    const status = Number(head.toString('latin1', 9, 12));
    if (status === 200) {
      socket.pause();
      const rest = head.subarray(at + 4);
      if (rest.length) socket.unshift(rest);
      return end(null);
    }
    const length = Number((/\r\ncontent-length: *(\d+)/i.exec(head.toString('latin1', 0, at)) || [])[1] || 0);
    if (head.length < at + 4 + Math.min(length, 4096)) return;
    const error = new Error(head.toString('utf8', at + 4, at + 4 + length).trim() || 'the proxy answered ' + status);
    error.code = 'ERR_PROXY_TUNNEL';
    error.statusCode = status;
    end(error);
  };
  socket.on('data', read);
  socket.once('error', end);
  socket.once('close', closed);
  socket.once('connect', () => {
    socket.setNoDelay(true);
    socket.write('CONNECT ' + target + ' HTTP/1.1\r\nHost: ' + target + '\r\n' + proxy.login + '\r\n');
  });
}

function patch(name, secure) {
  const { Agent } = require(name);
  const direct = Agent.prototype.createConnection;
  Agent.prototype.createConnection = function createConnection(...args) {
    const options = args.find((arg) => arg !== null && typeof arg === 'object');
    const done = args.find((arg) => typeof arg === 'function');
    const host = options && (options.host || options.hostname);
    if (!done || !host || options.socketPath || options.path || isOwn(host)) {
      return direct.apply(this, args);
    }
    tunnel(host, options.port || (secure ? 443 : 80), (error, socket) => {
      if (error) return done(error);
      if (!secure) {
        done(null, socket);
        // Nothing comes before the request is sent, so nothing is missed.
        process.nextTick(() => socket.resume());
        return;
      }
      // Beside the proxy's answer nothing was read, so that TLS begins at its beginning. Sessions are kept by the agent's
      // own way, and host and port would make it connect anew.
      const { host: _host, port: _port, ...rest } = options;
      const servername = 'servername' in options ? options.servername : /[^\d.:]/.test(host) ? host : '';
      done(null, direct.call(this, { ...rest, socket, servername }));
    });
    return undefined;
  };
}

function patchFetch() {
  const key = Symbol.for('undici.globalDispatcher.1');
  const ours = new WeakSet();
  const connect = (options, done) => {
    const { hostname, protocol, servername } = options;
    const secure = protocol === 'https:';
    const port = options.port || (secure ? 443 : 80);
    const finish = (error, socket) => {
      if (error) return done(error, null);
      if (!secure) return done(null, socket);
      const name = servername || hostname.replace(/^\[|\]$/g, '');
      const session = require('tls').connect({
        socket,
        servername: /[^\d.:]/.test(name) ? name : undefined,
        ALPNProtocols: ['http/1.1'],
      });
      session.once('secureConnect', () => {
        session.removeListener('error', failed);
        done(null, session);
      });
      const failed = (error) => done(error, null);
      session.once('error', failed);
    };
    if (isOwn(hostname)) {
      const socket = require('net').connect({ host: hostname.replace(/^\[|\]$/g, ''), port });
      const failed = (error) => finish(error);
      socket.once('error', failed);
      socket.once('connect', () => {
        socket.removeListener('error', failed);
        finish(null, socket);
      });
      return socket;
    }
    return tunnel(hostname, port, finish);
  };
  // Puts an agent with our connector in the place of whichever was made: of Node's own undici, or of an installed one.
  const mend = () => {
    const made = globalThis[key];
    if (made && !ours.has(made) && made.constructor && made.constructor.name === 'Agent') {
      const agent = new made.constructor({ connect });
      ours.add(agent);
      globalThis[key] = agent;
    }
  };
  // undici looks here when it is loaded, and makes an agent where there is none.
  Object.defineProperty(globalThis, key, {
    configurable: true,
    enumerable: false,
    get() {
      delete globalThis[key];
      process.nextTick(mend);
      queueMicrotask(mend);
      return undefined;
    },
    set(value) {
      Object.defineProperty(globalThis, key, { value, writable: true, enumerable: false, configurable: true });
    },
  });
  const original = globalThis.fetch;
  if (typeof original !== 'function') return;
  let ready = false;
  Object.defineProperty(globalThis, 'fetch', {
    configurable: true,
    enumerable: true,
    writable: true,
    value: function fetch(input, init) {
      if (!ready) {
        ready = true;
        // Loads Node's own undici, which makes its agent.
        void globalThis.Headers;
        mend();
      }
      return original.call(this, input, init);
    },
  });
}
