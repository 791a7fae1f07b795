// The community app's own web site: another origin than the gateway's, as in
// real life, with the clients' packages as they come from npm.

import { once } from "node:events";
import { readFile } from "node:fs/promises";
import http from "node:http";
import path from "node:path";

import * as esbuild from "esbuild";

const here = path.resolve(import.meta.dirname, "..");
const packages = path.join(here, "node_modules");

const script = "text/javascript; charset=utf-8";

/** Starts the site; url(…) is the app's page with the given versions. */
export async function startSite({ sockjs, kurento }) {
  const files = new Map([
    ["/", ["text/html; charset=utf-8", await readFile(path.join(here, "community/index.html"))]],
    ["/app.js", [script, await readFile(path.join(here, "community/app.js"))]],
    ["/favicon.ico", ["image/x-icon", Buffer.alloc(0)]],
  ]);
  for (const version of sockjs) {
    files.set(`/sockjs-${version}.js`, [script, await readFile(path.join(packages, `sockjs-client-${version}/dist/sockjs.js`))]);
  }
  for (const version of kurento) files.set(`/kurento-utils-${version}.js`, [script, await bundle(version)]);

  const server = http.createServer((request, response) => {
    const [type, body] = files.get(new URL(request.url, "http://site").pathname) ?? [];
    if (!type) return response.writeHead(404).end();
    response.writeHead(200, { "Content-Type": type, "Cache-Control": "no-store" }).end(body);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: (query) => `http://127.0.0.1:${server.address().port}/?${new URLSearchParams(query)}`,
    stop: () => new Promise((done) => {
      server.close(done);
      server.closeAllConnections();
    }),
  };
}

// kurento-utils comes from npm as CommonJS only, and its users bundle it. So
// do we, with nothing changed or added; "events" is Node's module for browsers,
// which every bundler of its day brought along.
async function bundle(version) {
  const result = await esbuild.build({
    entryPoints: [path.join(packages, `kurento-utils-${version}/lib/browser.js`)],
    bundle: true,
    write: false,
    platform: "browser",
    format: "iife",
    globalName: "kurentoUtils",
    define: { global: "globalThis" },
    logLevel: "error",
  });
  return Buffer.from(result.outputFiles[0].contents);
}
