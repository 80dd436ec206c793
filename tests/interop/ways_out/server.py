"""An MCP server without a library: its tool `reach` asks for a URL as Python's own library does."""

import json
import sys
import urllib.error
import urllib.request


def reach(url):
    try:
        return urllib.request.urlopen(url, timeout=60).read().decode()
    except urllib.error.HTTPError as error:
        return f"error: {error.code} {error.read().decode()}"
    except OSError as error:
        return f"error: {error}"


for line in sys.stdin:
    message = json.loads(line)
    method, params = message.get("method"), message.get("params")
    if method == "initialize":
        result = {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "reach", "version": "1"},
        }
    elif method == "tools/list":
        result = {"tools": [{"name": "reach", "inputSchema": {"type": "object"}}]}
    elif method == "tools/call":
        result = {"content": [{"type": "text", "text": reach(params["arguments"]["url"])}]}
    else:
        continue
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
