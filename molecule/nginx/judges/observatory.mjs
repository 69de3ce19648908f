// The HTTP Observatory's own scan, of a machine whose ports 80 and 443 are published elsewhere:
// `node observatory.mjs NAME HTTP_PORT HTTPS_PORT`, with the authority in NODE_EXTRA_CA_CERTS. Prints the result as JSON.
import net from "node:net";
import { syncBuiltinESMExports } from "node:module";

const [name, http, https] = process.argv.slice(2);
const published = { 80: Number(http), 443: Number(https) };
const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...given) {
  const options = Array.isArray(given[0]) ? given[0][0] : given[0];
  if (options?.host === name) Object.assign(options, { host: "127.0.0.1", port: published[options.port] });
  return connect.apply(this, given);
};
syncBuiltinESMExports();

const { scan } = await import("@mdn/mdn-http-observatory/src/scanner/index.js");
const { scan: summary, tests } = await scan(name);
const found = Object.entries(tests).map(([test, { pass, result, scoreModifier }]) => ({ test, pass, result, scoreModifier }));
console.log(JSON.stringify({ grade: summary.grade, score: summary.score, status: summary.statusCode, tests: found }, null, 1));
