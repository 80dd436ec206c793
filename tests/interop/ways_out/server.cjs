// An MCP server without a library: its tool `reach` asks for a URL in one of the ways that programs have.
'use strict';
const http = require('http');
const answer = (id, result) => process.stdout.write(JSON.stringify({ jsonrpc: '2.0', id, result }) + '\n');
const got = (url, options) =>
  new Promise((done) => {
    const heard = (response) => {
      let text = '';
      response.on('data', (chunk) => (text += chunk));
      response.on('end', () => done(text));
    };
    http.get(url, options, heard).on('error', (error) => done('error: ' + error.message));
  });
const ways = {
  fetch: (url) => fetch(url).then((response) => response.text(), (error) => 'error: ' + (error.cause || error).message),
  http: (url) => got(url, {}),
  agent: (url) => got(url, { agent: new http.Agent({ keepAlive: true }) }),
};
require('readline').createInterface({ input: process.stdin }).on('line', async (line) => {
  const { id, method, params } = JSON.parse(line);
  if (method === 'initialize') {
    answer(id, {
      protocolVersion: params.protocolVersion,
      capabilities: { tools: {} },
      serverInfo: { name: 'reach', version: '1' },
    });
  } else if (method === 'tools/list') {
    answer(id, { tools: [{ name: 'reach', inputSchema: { type: 'object' } }] });
  } else if (method === 'tools/call') {
    const text = await ways[params.arguments.way](params.arguments.url);
    answer(id, { content: [{ type: 'text', text }] });
  }
});
