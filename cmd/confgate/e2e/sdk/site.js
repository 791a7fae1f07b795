// The classroom's own web site: another origin than the gateway's, as in real life.

import { once } from "node:events";
import { readFile } from "node:fs/promises";
import http from "node:http";
import path from "node:path";

const html = "text/html; charset=utf-8";
const script = "text/javascript; charset=utf-8";

/** Starts the site; url(gateway) is the classroom, with the SDK of that gateway. */
export async function startClassroom() {
  const files = new Map([
    ["/", [html, await readFile(path.join(import.meta.dirname, "index.html"))]],
    ["/page.js", [script, await readFile(path.join(import.meta.dirname, "page.js"))]],
    ["/favicon.ico", ["image/x-icon", Buffer.alloc(0)]],
  ]);
  const server = http.createServer((request, response) => {
    const [type, body] = files.get(new URL(request.url, "http://site").pathname) ?? [];
    if (!type) return response.writeHead(404).end();
    response.writeHead(200, { "Content-Type": type, "Cache-Control": "no-store" }).end(body);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: (gateway) => `http://127.0.0.1:${server.address().port}/?${new URLSearchParams({ gateway })}`,
    stop: () => new Promise((done) => {
      server.close(done);
      server.closeAllConnections();
    }),
  };
}
